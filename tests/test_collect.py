"""Collect: deletes what nothing references, spares the rest, and finishes what a crash began."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from docstore import DocStore, IntegrityError, InvalidArgument, Progress, Workspace, durable
from docstore.lifecycle import collect as collect_module
from docstore.testing import HashEmbedder
from tests.folders import apparent_bytes, execute, files, problems, query
from tests.races import Killed

NOTE = b"A note that will go."


def test_only_the_last_reference_frees(store: DocStore, alice: Workspace, bob: Workspace, folder: Path) -> None:
    hash = alice.add(NOTE).hash
    bob.add(NOTE)
    alice.remove(hash)
    assert store.collect().documents == 0
    bob.remove(hash)
    size = sum((folder / path).stat().st_size for path in files(folder))
    report = store.collect(dry_run=True)
    assert (report.documents, report.bytes) == (1, size)
    assert files(folder)
    assert store.collect() == report
    assert files(folder) == []
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["tmp"]
    counts = (
        "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM texts), (SELECT count(*) FROM subindexes), "
    )
    assert query(folder, counts + "(SELECT count(*) FROM claims)") == [(0, 0, 0, 0)]


@pytest.mark.parametrize("damage", ["DELETE FROM texts", "UPDATE documents SET media_type = 'no/such'"])
def test_what_a_collection_would_refuse_its_preview_refuses(
    store: DocStore, alice: Workspace, folder: Path, damage: str
) -> None:
    alice.remove(alice.add(NOTE).hash)
    execute(folder, damage)
    for dry_run in (True, False):
        with pytest.raises(IntegrityError, match="The catalog says that document"):
            store.collect(dry_run=dry_run)


def test_what_a_collection_would_not_find_its_preview_does_not_count(
    store: DocStore, alice: Workspace, folder: Path
) -> None:
    alice.remove(alice.add(NOTE).hash)
    execute(folder, "DELETE FROM pipelines")
    assert store.collect(dry_run=True).bytes == store.collect().bytes


def test_the_grace_period(store: DocStore, alice: Workspace) -> None:
    hash = alice.add(NOTE).hash
    alice.remove(hash)
    assert store.collect(timedelta(hours=1)).documents == 0
    assert store.collect(timedelta.max).documents == 0
    assert alice.link(hash).reused
    alice.remove(hash)
    assert store.collect().documents == 1
    with pytest.raises(InvalidArgument, match="negative"):
        store.collect(timedelta(seconds=-1))


def test_a_time_that_a_clock_noted_when_it_was_ahead_keeps_nothing(
    store: DocStore, alice: Workspace, folder: Path
) -> None:
    alice.remove(alice.add(b"one thing").hash)
    execute(folder, "UPDATE documents SET unreferenced_at = '2999-01-01T00:00:00.000Z'")
    assert store.collect(grace=timedelta(days=1)).documents == 0
    assert store.collect().documents == 1


def test_the_catalog_gives_its_pages_back(store: DocStore, alice: Workspace, folder: Path) -> None:
    empty = apparent_bytes(folder)
    report = alice.add_many([f"document {number}".encode() for number in range(300)], metadata={"pad": "x" * 3000})
    full = (folder / "catalog.db").stat().st_size + (folder / "catalog.db-wal").stat().st_size
    assert full > 1_000_000
    seen: list[Progress] = []
    store.delete_workspace("alice")
    assert store.collect(progress=seen.append).documents == len(report.added) == seen[-1].done
    assert apparent_bytes(folder) < empty + 100_000


@pytest.mark.parametrize("survived", range(12))
def test_an_interrupted_collection_is_finished_by_the_next(
    folder: Path, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        going = [alice.add(data).hash for data in (b"one", b"two", b"three\n", b"three\r\n")]
        kept = bob.add(b"two").hash
        bob.add(b"four")
        store.delete_workspace("alice")

        calls = 0
        real = durable.unlink

        def dies(path: Path, keep: Path) -> None:
            nonlocal calls
            if calls == survived:
                raise Killed
            calls += 1
            real(path, keep)

        with monkeypatch.context() as patch:
            patch.setattr(durable, "unlink", dies)
            with contextlib.suppress(Killed):
                store.collect()
        # Whatever was reached: nothing referenced is touched, and what is left verifies.
        with store.read(kept) as file:
            assert file.read() == b"two"
        assert store.verify().problems == ()
        assert bob.search("two four", k=9)
        # An add of what was being collected publishes it afresh.
        assert bob.add(b"one").name == "untitled"
        assert problems_of_live(folder) == []
        store.collect()
        assert problems(folder) == []
        assert {hash for hash in going if store.refcount(hash)} == {kept, going[0]}
        assert len(files(folder, "documents")) == 3
        bob_documents = bob.documents()
        for document in bob_documents:
            bob.remove(document.hash)
        store.collect()
        assert files(folder) == []


def problems_of_live(folder: Path) -> list[str]:
    """Doomed rows may lack files; nothing else may."""
    doomed_texts = {
        hash
        for (hash,) in query(
            folder,
            "SELECT hash FROM texts t WHERE NOT EXISTS (SELECT 1 FROM documents WHERE text_id = t.id AND doomed = 0)",
        )
    }
    return [each for each in problems(folder) if not any(hash in each for hash in doomed_texts)]


def test_many_documents_of_one_text_cost_no_more_than_as_many_texts(folder: Path) -> None:
    def seconds(documents: list[bytes]) -> float:
        with DocStore(folder / str(len(set(documents))) / documents[0][:3].hex(), embedder=HashEmbedder()) as store:
            store.workspace("alice").add_many(documents)
            store.delete_workspace("alice")
            began = time.monotonic()
            assert store.collect().documents == len(documents)
            return time.monotonic() - began

    own = seconds([b"<p>text %d</p>" % number for number in range(400)])
    shared = seconds([b"<!-- %d --><p>text</p>" % number for number in range(400)])
    assert shared < 2 * own + 0.5  # it was 20 times as long


def test_writers_of_other_processes_get_their_turn(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store, DocStore(folder, embedder=HashEmbedder()) as other:
        store.workspace("alice").add_many([b"document %d" % number for number in range(1000)])
        store.delete_workspace("alice")
        with ThreadPoolExecutor(1) as pool:
            collecting = pool.submit(store.collect)
            waits: list[float] = []
            while not collecting.done():
                began = time.monotonic()
                other.workspace(f"w{len(waits)}")
                waits.append(time.monotonic() - began)
            assert collecting.result().documents == 1000
        assert len(waits) > 10
        assert max(waits) < 1


def test_a_reader_does_not_hold_up_a_collection(folder: Path, store: DocStore, alice: Workspace) -> None:
    alice.add(NOTE)
    reader = sqlite3.connect(folder / "catalog.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM documents").fetchall()
    store.delete_workspace("alice")
    began = time.monotonic()
    assert store.collect().documents == 1
    assert time.monotonic() - began < 5
    reader.close()


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC])
def test_what_the_progress_callback_raises_comes_out_as_it_is(store: DocStore, alice: Workspace, number: int) -> None:
    alice.add_many([b"a note", b"another note"])
    store.delete_workspace("alice")
    raised = OSError(number, os.strerror(number))

    def tell(_: Progress) -> None:
        raise raised

    with pytest.raises(OSError, match=os.strerror(number)) as error:
        store.collect(progress=tell)
    assert error.value is raised
    assert error.value.__cause__ is error.value.__context__ is None
    store.collect()
    assert store.stats().documents == 0
    assert store.verify().leftovers == 0


def test_removals_are_synced_before_they_are_settled(
    folder: Path, store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.remove(alice.add(NOTE).hash)
    with monkeypatch.context() as patch:
        patch.setattr(collect_module, "sync_entries", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            store.collect()
    # A power cut here may bring files back that no row names: the next collection must look for them.
    returned = folder / "texts" / "ab" / ("ab" * 32 + ".zst")
    returned.parent.mkdir(parents=True)
    returned.write_bytes(b"back from the dead")
    assert store.collect().leftovers == 1
    assert files(folder) == []
    assert query(folder, "SELECT sweeps_wanted = sweeps_done FROM totals") == [(1,)]


def test_what_others_doomed_is_reaped(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.remove(alice.add(NOTE).hash)
    collect_module._doom(store._parts, "9999")
    assert store.collect().documents == 1
    assert files(folder) == []


def test_a_doomed_document_is_a_miss(store: DocStore, alice: Workspace, embedder: HashEmbedder, folder: Path) -> None:
    hash = alice.add(NOTE).hash
    alice.remove(hash)
    collect_module._doom(store._parts, "9999")
    assert store.refcount(hash) == 0
    with pytest.raises(LookupError):
        alice.link(hash)
    with pytest.raises(LookupError):
        store.read(hash)
    before = embedder.embedded
    assert not alice.add(NOTE).reused
    assert embedder.embedded == before + 1
    assert store.collect().documents == 0
    assert problems(folder) == []


@pytest.mark.parametrize("order", [1, -1])
def test_doomed_documents_of_one_text_come_back_together(folder: Path, order: int) -> None:
    both = [b"one text, two documents\n", b"one text, two documents\r\n"]
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=True) as store:  # so that neither waits for the other
        alice = store.workspace("alice")
        for document in alice.add_many(both).added:
            alice.remove(document.hash)
        collect_module._doom(store._parts, "9999")
        assert len(alice.add_many(both[::order]).added) == 2
        assert store.collect().documents == 0
        assert problems(folder) == []


def test_a_doomed_document_whose_text_lives_on_is_a_miss(
    store: DocStore, alice: Workspace, bob: Workspace, embedder: HashEmbedder, folder: Path
) -> None:
    hash = alice.add(b"one text, two documents\n").hash
    bob.add(b"one text, two documents\r\n")
    alice.remove(hash)
    collect_module._doom(store._parts, "9999")
    assert alice.add(b"one text, two documents\n").hash == hash
    assert embedder.embedded == 1
    assert store.collect().documents == 0
    assert problems(folder) == []


def test_orphans_of_a_crash_are_swept_and_strangers_spared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(b"stays")
        kept = set(files(folder))
        # A power cut after the renames and before the commit, as far as one process can play it.
        with monkeypatch.context() as patch:
            patch.setattr(durable.Publication, "sync", lambda _: (_ for _ in ()).throw(Killed()))
            patch.setattr(durable.Publication, "undo", lambda _: None)
            with pytest.raises(Killed):
                alice.add(b"never committed")
        assert len(set(files(folder)) - kept) == 4
        stranger = folder / "documents" / "ab" / "notes.txt"
        stranger.parent.mkdir(exist_ok=True)
        stranger.write_bytes(b"not ours")
        report = store.verify()
        assert report.leftovers == 4
        assert [(each.kind, each.path) for each in report.problems] == [("foreign", "documents/ab/notes.txt")]
        assert store.collect().leftovers == 4
        assert set(files(folder)) - kept == {stranger.relative_to(folder)}
        assert store.verify().leftovers == 0
        assert alice.add(b"never committed").chunks == 1


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors through /proc")
def test_no_descriptor_is_leaked(store: DocStore, alice: Workspace) -> None:
    def round_trip() -> int:
        alice.add_many([f"document {number}".encode() for number in range(100)])
        alice.search("document", k=50)
        for document in alice.documents():
            alice.remove(document.hash)
        store.collect()
        store.verify()
        return len(list(Path("/proc/self/fd").iterdir()))

    assert round_trip() == round_trip()
