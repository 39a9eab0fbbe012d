"""Races at the points where they would do harm: the other party acts in the very moment, on every run.

A function that the code calls at that point is replaced by one that lets somebody else act first (a sync point), so
nothing here depends on time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import (
    DocStore,
    DocumentNotFound,
    Workspace,
    WorkspaceNotFound,
    claims,
    contents,
    durable,
    memory,
    refcount,
    subindexes,
)
from docstore.cas import ContentStore
from docstore.ingest import build as build_module
from docstore.ingest.plan import Planner
from docstore.ingest.publish import Publisher
from docstore.lifecycle import collect as collect_module
from docstore.testing import HashEmbedder
from tests.folders import execute, files, hash_of, problems, query
from tests.races import Killed, first

NOTE = b"The same note for everybody.\n"
TWIN = NOTE.replace(b"\n", b"\r\n")
DEAD = "d" * 32


class Meanwhile(HashEmbedder):
    """Lets somebody else act while the first text is embedded."""

    def __init__(self, dimension: int = 64) -> None:
        super().__init__(dimension)
        self.act: Callable[[], object] | None = None

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        act, self.act = self.act, None
        if act is not None:
            act()
        return super().embed(texts)


def orphan(folder: Path) -> Path:
    """A file that no row names."""
    path = folder / "documents" / "ab" / ("ab" * 32 + ".txt")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"left by a crash")
    return path


def collect_until_killed(store: DocStore) -> None:
    """Unlinks what is doomed, and dies before the rows go."""

    def dies(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "delete_document", dies)
        with pytest.raises(Killed):
            store.collect()


# -- claims -----------------------------------------------------------------------------------------------------------


def test_files_of_an_owner_whose_claim_was_taken_over_are_swept(folder: Path, store: DocStore) -> None:
    left = orphan(folder)
    execute(folder, "INSERT INTO claims VALUES (?, ?)", f"document:{hash_of(NOTE)}", DEAD)
    store.workspace("alice").add(NOTE)
    assert query(folder, "SELECT * FROM claims") == []
    assert store.collect().leftovers == 1
    assert not left.exists()


def test_files_of_a_dead_owner_are_swept(folder: Path, store: DocStore) -> None:
    left = orphan(folder)
    execute(folder, "INSERT INTO claims VALUES (?, ?)", "document:x", DEAD)
    assert store.collect().leftovers == 1
    assert not left.exists()
    assert query(folder, "SELECT * FROM claims") == []


def test_a_claim_is_taken_over_once(folder: Path) -> None:
    embedder = Meanwhile()
    with DocStore(folder, embedder=embedder) as store:
        execute(folder, "INSERT INTO claims VALUES (?, ?)", f"document:{hash_of(NOTE)}", DEAD)
        owners: list[str] = []
        embedder.act = lambda: owners.extend(owner for (owner,) in query(folder, "SELECT owner FROM claims"))
        store.workspace("alice").add(NOTE)
    assert len(owners) == 2 and DEAD not in owners


def test_a_collection_leaves_the_claims_of_the_living(folder: Path) -> None:
    embedder = Meanwhile()
    with DocStore(folder, embedder=embedder) as store:
        held: list[Any] = []

        def collect() -> None:
            store.collect()
            held.extend(query(folder, "SELECT * FROM claims"))

        embedder.act = collect
        store.workspace("alice").add(NOTE)
    assert len(held) == 2
    assert query(folder, "SELECT sweeps_wanted FROM totals") == [(0,)]


def test_claims_are_held_until_the_commit(folder: Path, store: DocStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace
    held: list[int] = []

    def replace(source: Path, target: Path) -> None:
        held.append(len(query(folder, "SELECT * FROM claims")))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    store.workspace("alice").add(NOTE)
    assert held == [2] * 4


# -- adding -----------------------------------------------------------------------------------------------------------


def test_a_workspace_that_appears_meanwhile_is_used(
    folder: Path, store: DocStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = refcount.workspace_id
    made: list[Workspace] = []

    def looks_too_early(db: Any, name: str) -> int | None:
        found = real(db, name)
        if not made:
            with DocStore(folder, embedder=HashEmbedder()) as other, monkeypatch.context() as patch:
                patch.setattr(refcount, "workspace_id", real)
                made.append(other.workspace(name))
        return found

    monkeypatch.setattr(refcount, "workspace_id", looks_too_early)
    assert store.workspace("alice")._id == made[0]._id


def test_a_workspace_deleted_while_it_embeds(folder: Path) -> None:
    embedder = Meanwhile()
    with DocStore(folder, embedder=embedder) as store:
        alice = store.workspace("alice")
        embedder.act = lambda: store.delete_workspace("alice")
        with pytest.raises(WorkspaceNotFound):
            alice.add(NOTE)
        assert files(folder) == []
        assert query(folder, "SELECT sweeps_wanted FROM totals") == [(0,)]


def test_a_condemned_text_takes_the_sub_indexes_of_all_pipelines_with_it(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store, DocStore(folder, embedder=HashEmbedder(32)) as second:
        alice = store.workspace("alice")
        hash = alice.add(NOTE).hash
        second.workspace("alice").link(hash)
        alice.remove(hash)
        collect_until_killed(store)
        assert files(folder) == []
        alice.add(TWIN)
        assert store.verify().problems == ()
        assert problems(folder) == []


def test_linking_under_a_second_pipeline_uses_the_stored_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Planner.plan
    rounds: list[int] = []

    def plan(self: Planner, pending: Any, group: Any) -> Any:
        rounds.append(len(pending))
        assert len(rounds) < 10, "for ever"
        return real(self, pending, group)

    with DocStore(folder, embedder=HashEmbedder()) as store:
        hash = store.workspace("alice").add(NOTE).hash
    monkeypatch.setattr(Planner, "plan", plan)
    with DocStore(folder, embedder=HashEmbedder(32)) as second:
        assert second.workspace("alice").link(hash).hash == hash
    assert len(rounds) == 1
    assert len(files(folder, "texts")) == 1


def test_a_text_collected_after_the_look_is_published_afresh(
    store: DocStore, alice: Workspace, bob: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = alice.add(NOTE).hash

    def collect() -> None:
        alice.remove(hash)
        assert store.collect().documents == 1

    done = first(monkeypatch, Publisher, "publish", lambda: None)  # the first round publishes nothing
    real = Publisher.publish

    def publish(self: Publisher, items: Any, group: Any) -> None:
        if items and len(done) == 1:
            done.append("collected")
            collect()
        real(self, items, group)

    monkeypatch.setattr(Publisher, "publish", publish)
    assert bob.add(TWIN).hash == hash_of(TWIN)
    assert done[1:] == ["collected"]
    assert problems(folder) == []


def test_a_text_collected_before_it_is_loaded_is_looked_for_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store, DocStore(folder, embedder=HashEmbedder(32)) as second:
        alice = store.workspace("alice")
        hash = alice.add(NOTE).hash

        def half_collect() -> None:
            alice.remove(hash)
            collect_until_killed(store)

        done = first(monkeypatch, build_module, "load_text", half_collect)
        with pytest.raises(DocumentNotFound):
            second.workspace("bob").link(hash)
        assert done


def test_a_document_collected_while_its_text_lives_on_cannot_be_linked(folder: Path) -> None:
    embedder = Meanwhile(32)
    with DocStore(folder, embedder=HashEmbedder()) as store, DocStore(folder, embedder=embedder) as second:
        alice = store.workspace("alice")
        hash = alice.add(NOTE).hash
        alice.add(TWIN)

        def collect() -> None:
            alice.remove(hash)
            assert store.collect().documents == 1

        embedder.act = collect
        with pytest.raises(DocumentNotFound):
            second.workspace("bob").link(hash)
    assert problems(folder) == []
    assert query(folder, "SELECT * FROM claims") == []


def test_a_publication_that_cannot_be_undone_is_swept(folder: Path, store: DocStore, alice: Workspace) -> None:
    def dies(_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable.Publication, "sync", dies)
        patch.setattr(durable.Publication, "undo", lambda _: None)
        with pytest.raises(Killed):
            alice.add(NOTE)
    assert len(files(folder)) == 4
    assert store.collect().leftovers == 4
    assert files(folder) == []


# -- collecting -------------------------------------------------------------------------------------------------------


def sweep_is_due(folder: Path) -> bool:
    return query(folder, "SELECT sweeps_wanted > sweeps_done FROM totals") == [(1,)]


def test_what_an_add_reaps_is_swept_later(
    folder: Path, store: DocStore, alice: Workspace, bob: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between dooming and reaping somebody adds one of two documents of a text, and so reaps both: the collection does
    # not know what was unlinked, and cannot have synced it.
    for data in (NOTE, TWIN):
        bob.add(data)
    store.delete_workspace("bob")
    done = first(monkeypatch, collect_module, "_reap_doomed", lambda: alice.add(NOTE))
    assert store.collect().documents == 0
    assert done
    assert sweep_is_due(folder)


def test_a_sweep_asked_for_during_a_collection_is_still_due(
    folder: Path, store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.remove(alice.add(NOTE).hash)

    def ask() -> None:
        with store._parts.database.write() as db:
            claims.request_sweep(db)

    done = first(monkeypatch, collect_module, "sync_entries", ask)
    store.collect()
    assert done
    assert sweep_is_due(folder)
    store.collect()
    assert not sweep_is_due(folder)


def test_empty_directories_of_a_crash_are_swept(folder: Path, store: DocStore) -> None:
    (folder / "embeddings" / ("f" * 32) / "ab" / ("ab" * 32)).mkdir(parents=True)
    execute(folder, "INSERT INTO claims VALUES (?, ?)", "document:x", DEAD)
    store.collect()
    assert not (folder / "embeddings").exists()


# -- searching and reading --------------------------------------------------------------------------------------------


def test_a_document_added_while_a_view_is_built_is_found_by_the_next_search(
    alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add(b"red fox")
    done = first(monkeypatch, subindexes, "_codes", lambda: alice.add(b"red bird"))
    alice.search("red")
    assert done
    assert {hit.text for hit in alice.search("red")} == {"red fox", "red bird"}


def test_a_document_collected_while_it_is_opened_is_not_found(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = alice.add(NOTE).hash

    def collect() -> None:
        alice.remove(hash)
        store.collect()

    done = first(monkeypatch, ContentStore, "open", collect)
    with pytest.raises(DocumentNotFound):
        store.read(hash)
    assert done


def test_a_document_collected_and_added_again_while_it_is_opened_is_read(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = alice.add(NOTE).hash
    real = ContentStore.open

    def opened(self: ContentStore, hash: str, suffix: str) -> Any:
        if done:
            return real(self, hash, suffix)
        done.append("")
        alice.remove(hash)
        store.collect()
        alice.add(NOTE)
        raise FileNotFoundError(2, "no such file", "as it was between the two")

    done: list[str] = []
    monkeypatch.setattr(ContentStore, "open", opened)
    with store.read(hash) as file:
        assert file.read() == NOTE


class Weighed:
    """A view that lets somebody else act while its weight is asked for."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    @property
    def nbytes(self) -> int:
        self._act()
        return 100


def test_values_kept_at_once_are_all_counted() -> None:
    cache: Any = memory.Memory(1000)
    others: list[threading.Thread] = []

    def act() -> None:  # each time that the weight is asked for
        others.append(threading.Thread(target=cache.put, args=(len(others), Weighed(lambda: None))))
        others[-1].start()
        others[-1].join(0.3)

    cache.put("first", Weighed(act))
    for other in others:
        other.join()
    assert others
    assert cache._used == 100 * len(cache._values) == 100 * (1 + len(others))
