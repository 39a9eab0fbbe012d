"""Workspaces of document sets: the same documents are the same workspace, whoever asks, in whatever order."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from docstore import (
    DocStore,
    EmbeddingError,
    InvalidArgument,
    LinkForbidden,
    StoreReadOnly,
    UnreadableDocument,
    Workspace,
    sets,
)
from docstore.scratch import Scratch
from docstore.testing import HashEmbedder
from tests.folders import files, hash_of, problems
from tests.packing import change

PAGES = [f"Page {number} of the manual tells of {number} ships.".encode() for number in range(6)]
BROKEN = b"%PDF-1.7 nothing follows"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for number, data in enumerate(PAGES):
        (tmp_path / f"page-{number}.txt").write_bytes(data)
    return sorted(tmp_path.glob("page-*.txt"))


def test_the_same_set_in_any_order_is_the_same_workspace(
    store: DocStore, embedder: HashEmbedder, paths: list[Path]
) -> None:
    first = store.workspace_for(paths)
    cost = embedder.embedded
    assert [each.name for each in first.documents()] == [path.name for path in paths]
    for again in (reversed(paths), [*paths, paths[0]], PAGES, [io.BytesIO(data) for data in PAGES]):
        assert store.workspace_for(again).name == first.name
    assert store.workspaces() == [first.name] and first.name.startswith("set:")
    assert embedder.embedded == cost
    assert store.workspace_for(paths[1:]).name != first.name
    assert embedder.embedded == cost


class _Stops(HashEmbedder):
    """Asks somebody else, before it embeds what is marked, to do something."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] = lambda: None

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        if any("marked" in text for text in texts):
            self.meanwhile()
        return super().embed(texts)


def test_no_new_version_comes_into_a_set_that_is_being_filled(folder: Path) -> None:
    """Nor when that is never done: the references of its first documents are pinned as they are made."""
    members, later = [PAGES[0], b"what is marked"], b"The manual of the next year."
    embedder = _Stops()
    with DocStore(folder, embedder=embedder) as store:
        alice = store.workspace("alice")
        alice.add(PAGES[0])
        embedder.meanwhile = lambda: store.replace(hash_of(PAGES[0]), later)
        held = {each.hash for each in store.workspace_for(members).documents()}
        assert held == set(map(hash_of, members))
        assert [each.hash for each in alice.documents()] == [hash_of(later)]


def test_a_stream_that_can_be_read_once_is_copied(store: DocStore, folder: Path) -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

    name = store.workspace_for(PAGES).name
    assert store.workspace_for(Stream(data) for data in PAGES).name == name
    assert {each.hash for each in store.workspace_for([Stream(b"new"), Stream(BROKEN[:3])]).documents()} == {
        hash_of(b"new"), hash_of(BROKEN[:3]),
    }  # fmt: skip
    assert files(folder, "tmp") == []


def test_two_with_the_same_files_share_the_view_and_nothing_private(store: DocStore, paths: list[Path]) -> None:
    names = {}
    for user in ("alice", "bob"):
        own = store.workspace(user)
        own.add(f"The private note of {user} on ships.".encode())
        own.include(store.workspace_for(paths))
        names[user] = {hit.text for hit in own.search("private note on ships", k=100)}
    assert len(names["alice"]) == len(names["bob"]) == len(PAGES) + 1
    assert names["alice"] & names["bob"] == {data.decode() for data in PAGES}
    views = [store._parts.views.get(store.workspace(user)._id) for user in names]
    assert views[0] is not None and views[1] is not None and views[0].shared[0] is views[1].shared[0]


def test_a_set_that_lost_documents_is_completed(store: DocStore, paths: list[Path]) -> None:
    workspace = store.workspace_for(paths)
    workspace.remove(hash_of(PAGES[2]))
    store.collect()
    assert store.workspace_for(paths).name == workspace.name
    assert {each.hash for each in workspace.documents()} == {hash_of(data) for data in PAGES}


@pytest.mark.parametrize("broken", [BROKEN, b""])
def test_what_cannot_be_filled_is_not_left_behind(store: DocStore, folder: Path, broken: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        store.workspace_for([*PAGES, broken])
    assert store.workspaces() == []
    store.collect()
    assert files(folder, "documents") == [] and problems(folder) == []


def test_what_somebody_uses_is_left(store: DocStore, alice: Workspace, embedder: HashEmbedder) -> None:
    def fail(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        alice.include(store.workspace(next(each for each in store.workspaces() if each.startswith("set:"))))
        raise RuntimeError("out of memory")

    embedder.embed = fail  # type: ignore[method-assign]
    with pytest.raises(EmbeddingError):
        store.workspace_for([b"something new"])
    assert len(alice.includes()) == 1


def test_all_who_ask_at_once_get_the_same(store: DocStore, embedder: HashEmbedder) -> None:
    alone = len(PAGES)
    start = threading.Barrier(8)

    def ask(turn: int) -> str:
        start.wait(10)
        return store.workspace_for(PAGES[turn % 3 :] + PAGES[: turn % 3]).name

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert embedder.embedded == alone
    assert len(store.workspace_for(PAGES)) == alone


def test_a_failure_of_one_does_not_take_it_from_another(store: DocStore, embedder: HashEmbedder) -> None:
    """Somebody else makes the workspace, fails, and takes it away while we fill it: we make it again."""
    deleted: list[str] = []
    embed = embedder.embed

    def and_delete(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if not deleted:
            deleted.extend(store.workspaces())
            store.delete_workspace(deleted[0])
        return embed(texts)

    embedder.embed = and_delete  # type: ignore[method-assign]
    workspace = store.workspace_for(PAGES)
    assert len(workspace) == len(PAGES) and deleted == [workspace.name]


def test_a_set_that_is_deleted_and_made_again_is_another(store: DocStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the workspace and filling it: the documents must not go to one that we have no handle of."""
    made_again: list[str] = []

    class Late(Scratch):
        def __enter__(self) -> Scratch:
            if not made_again and store.workspaces():
                made_again.extend(store.workspaces())
                store.delete_workspace(made_again[0])
                store.workspace(made_again[0])
            return super().__enter__()

    monkeypatch.setattr(sets, "Scratch", Late)
    workspace = store.workspace_for(PAGES)
    assert len(workspace) == len(PAGES) and made_again == [workspace.name]


def test_what_makes_no_set_is_refused(store: DocStore, paths: list[Path]) -> None:
    for wrong in ([], "page-1.txt", b"bytes", paths[0], 7, [7]):
        with pytest.raises(InvalidArgument):
            store.workspace_for(wrong)  # type: ignore[arg-type]
    assert store.workspaces() == []


def test_where_bytes_are_demanded_there_are_no_shared_sets(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=True) as store:
        with pytest.raises(LinkForbidden):
            store.workspace_for(PAGES)
        assert store.workspaces() == []


def test_a_readonly_store_gives_a_set_that_is_there_and_makes_none(
    store: DocStore, folder: Path, paths: list[Path]
) -> None:
    name = store.workspace_for(paths).name
    other = store.workspace_for(paths[:2])
    other.remove(hash_of(PAGES[0]))
    store.close()
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as reader:
        assert reader.workspace_for(paths).name == name
        with pytest.raises(StoreReadOnly):
            reader.workspace_for(paths[:2])
        with pytest.raises(LookupError):
            reader.workspace_for(paths[:3])


def test_many_links_at_once(store: DocStore, embedder: HashEmbedder) -> None:
    alice, bob, carol = (store.workspace(name) for name in ("alice", "bob", "carol"))
    alice.add(PAGES[0], name="zero.txt", metadata={"private": True})
    alice.add_many(PAGES[1:])
    cost = embedder.embedded
    unknown = hash_of(b"what nobody has")
    report = bob.link_many([*(each.hash for each in alice.documents()), unknown])
    assert (len(report.added), len(report.reused)) == (0, len(PAGES))
    assert [(each.name, type(each.error).__name__) for each in report.failed] == [(unknown, "DocumentNotFound")]
    assert {each.hash for each in bob.documents()} == {each.hash for each in alice.documents()}
    carol.link_many(alice.documents())
    named = {each.hash: (each.name, each.metadata) for each in carol.documents()}
    assert named[hash_of(PAGES[0])] == ("zero.txt", {})
    carol.link_many(bob.documents())  # what is there keeps its name
    assert {each.hash: (each.name, each.metadata) for each in carol.documents()} == named
    assert embedder.embedded == cost
    assert carol.link_many([]).reused == ()


def test_a_link_to_what_is_lost_in_the_archive_is_refused(store: DocStore, folder: Path) -> None:
    """The sizes of all pieces are looked up at once; what is not there must still not be referenced."""
    store.workspace("alice").add_many(PAGES)
    lost = hash_of(PAGES[3])
    change(folder, "DELETE FROM sqlar WHERE name LIKE ?", f"documents/%/{lost}%")
    report = store.workspace("bob").link_many([hash_of(data) for data in PAGES])
    assert [each.name for each in report.failed] == [lost]
    assert len(store.workspace("bob")) == len(PAGES) - 1


def test_what_is_no_list_of_hashes_changes_nothing(store: DocStore, folder: Path) -> None:
    alice, bob = store.workspace("alice"), store.workspace("bob")
    document = alice.add(PAGES[0])
    for wrong in (document.hash, document, 7, [document.hash, "abcd"], [7]):
        with pytest.raises(InvalidArgument):
            bob.link_many(wrong)  # type: ignore[arg-type]
    assert len(bob) == 0
    store.close()
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=True) as demanding, pytest.raises(LinkForbidden):
        demanding.workspace("bob").link_many([document.hash])
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as reader, pytest.raises(StoreReadOnly):
        reader.workspace("bob").link_many([document.hash])


def test_a_set_keeps_its_documents_when_they_are_replaced(store: DocStore, alice: Workspace) -> None:
    """Its name says which they are."""
    old, new = b"The door is green.", b"The door is red."
    alice.include(store.workspace_for([old]))
    done = store.replace(hash_of(old), new)
    assert done.moved == ()
    assert alice.search("door")[0].text == "The door is green."
    assert store.workspace_for([old]).name == store.workspace_for([old]).name != store.workspace_for([new]).name
