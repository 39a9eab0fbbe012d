"""Replacing a document for all who reference it: all move or none, pinned ones stay, and the way back."""

from __future__ import annotations

import errno
import itertools
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from docstore import (
    DocStore,
    DocumentNotFound,
    InvalidArgument,
    StorageError,
    StoreReadOnly,
    UnreadableDocument,
    Workspace,
    WorkspaceNotFound,
    durable,
    versions,
)
from docstore.database import CatalogDatabase
from docstore.testing import HashEmbedder
from tests.folders import execute, hash_of, lie, problems, query
from tests.samples import pdf

OLD, NEW, LATER = b"The door is green.", b"The door is red.", b"The door is blue."
A, B, C = map(hash_of, (OLD, NEW, LATER))

State = dict[str, dict[str, tuple[str | None, dict[str, Any], Any, bool]]]


def state(store: DocStore) -> State:
    """Everything that references say."""
    return {
        name: {
            each.hash: (each.name, dict(each.metadata), each.added_at, each.reused)
            for each in store.workspace(name).documents()
        }
        for name in store.workspaces()
    }


def carried(before: State, *names: str) -> State:
    """The state in which some workspaces have the new document as they had the old one."""
    return {
        name: {B if hash == A and name in names else hash: each for hash, each in held.items()}
        for name, held in before.items()
    }


def test_every_reference_moves_with_what_it_says(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    alice.add(OLD, name="door.txt", metadata={"year": 2024})
    bob.link(A, name="theirs.txt")
    store.workspace("carol").add(LATER)
    before = state(store)
    done = store.replace(A, NEW)
    assert (done.old, done.new, done.moved, done.stayed) == (A, B, ("alice", "bob"), ())
    assert (done.chunks, done.embedded, done.reused) == (1, 1, 0.0)
    assert state(store) == carried(before, "alice", "bob")
    assert [store.refcount(each) for each in (A, B)] == [0, 2]
    assert alice.search("door")[0].text == NEW.decode()
    assert store.verify().ok


def test_pinned_references_stay(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    alice.add(OLD)
    bob.link(A)
    bob.pin(A)
    bob.pin(A)
    assert (alice.pinned(), bob.pinned()) == ([], [A])
    done = store.replace(A, NEW)
    assert (done.moved, done.stayed) == (("alice",), ("bob",))
    assert bob.search("door")[0].text == OLD.decode()
    bob.unpin(A)
    bob.unpin(A)
    assert store.replace(A, NEW).moved == ("bob",)
    assert [each.hash for each in store.history(A)] == [A, B]
    assert store.rollback(B).moved == ("alice", "bob")


def test_a_pin_goes_with_its_reference(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(OLD)
    alice.pin(A)
    alice.remove(A)
    alice.add(OLD)
    assert alice.pinned() == []
    alice.pin(A)
    store.delete_workspace("alice")
    assert query(folder, "SELECT count(*) FROM pins") == [(0,)]
    with pytest.raises(WorkspaceNotFound):
        alice.pin(A)
    with pytest.raises(DocumentNotFound, match="has no document"):
        store.workspace("alice").unpin(A)


def test_a_workspace_with_both_keeps_the_new_one_and_rollback_gives_the_old_one_back(
    store: DocStore, alice: Workspace, bob: Workspace
) -> None:
    alice.add(OLD, name="old.txt", metadata={"a": 1})
    alice.add(NEW, name="new.txt", metadata={"b": 2})
    alice.pin(B)  # what it keeps is not what it was given
    bob.add(OLD)
    before = state(store)
    assert store.replace(A, NEW).moved == ("alice", "bob")
    assert state(store)["alice"] == {B: before["alice"][B]}
    back = store.rollback(B)
    assert (back.old, back.new, back.moved, back.stayed) == (A, B, ("alice", "bob"), ())
    assert state(store) == before


def test_rollback_leaves_a_reference_that_was_made_anew(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    alice.add(OLD)
    bob.add(OLD)
    store.replace(A, NEW)
    alice.remove(B)
    alice.add(NEW, name="my own")
    back = store.rollback(B)
    assert (back.moved, back.stayed) == (("bob",), ())
    assert [(each.hash, each.name) for each in alice.documents()] == [(B, "my own")]


def test_rollback_leaves_a_reference_that_another_replacement_made(
    store: DocStore, alice: Workspace, bob: Workspace
) -> None:
    alice.add(OLD)
    store.replace(A, NEW)
    alice.remove(B)
    alice.add(LATER, name="mine")
    store.replace(C, NEW)
    bob.add(OLD)
    store.replace(A, NEW)
    assert store.rollback(B).moved == ("bob",)
    assert [(each.hash, each.name) for each in alice.documents()] == [(B, "mine")]
    assert store.rollback(B).moved == ("alice",)
    assert [(each.hash, each.name) for each in alice.documents()] == [(C, "mine")]


def test_there_and_back_and_there_again_is_rolled_back_one_at_a_time(
    store: DocStore, alice: Workspace, bob: Workspace
) -> None:
    alice.add(OLD)
    bob.add(OLD)
    store.replace(A, NEW)
    bob.pin(B)
    store.replace(B, OLD)
    store.replace(A, NEW)
    bob.unpin(B)
    moved = [store.rollback(hash).moved for hash in (B, A, B)]
    assert moved == [("alice",), ("alice",), ("alice", "bob")]
    assert [each.hash for each in alice.documents() + bob.documents()] == [A, A]


def test_rollback_leaves_what_changed_since(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    names = ["alice", "bob", "carol", "dave", "erin"]
    for name in names:
        store.workspace(name).add(OLD)
    store.replace(A, NEW)
    store.workspace("newcomer").link(B)
    bob.pin(B)
    store.workspace("carol").remove(B)
    store.delete_workspace("dave")
    alice.add(NEW, name="renamed.txt")
    store.workspace("erin").link(A, name="again.txt")
    back = store.rollback(B)
    assert (back.moved, back.stayed) == (("alice", "erin"), ("bob", "carol"))
    held = {name: {hash: each[0] for hash, each in some.items()} for name, some in state(store).items()}
    assert held == {
        "alice": {A: "renamed.txt"}, "bob": {B: "untitled"}, "carol": {}, "erin": {A: "again.txt"}, "newcomer": {B: B},
    }  # fmt: skip
    with pytest.raises(InvalidArgument, match="nothing to roll back"):
        store.rollback(B)


def test_the_new_version_may_be_stored_already(store: DocStore, alice: Workspace, embedder: HashEmbedder) -> None:
    alice.add(OLD)
    store.workspace("carol").add(NEW)
    before = embedder.embedded
    done = store.replace(A, NEW)
    assert (done.embedded, done.reused, embedder.embedded) == (0, 1.0, before)
    assert store.refcount(B) == 2


def test_what_nobody_references_is_replaced_all_the_same(store: DocStore, alice: Workspace) -> None:
    alice.add(OLD)
    alice.remove(A)
    done = store.replace(A, NEW)
    assert (done.moved, done.stayed) == ((), ())
    assert store.replace(A, NEW).moved == ()
    assert [each.hash for each in store.history(B)] == [A, B]
    assert alice.link(B).hash == B
    assert store.collect().documents == 1


def test_refusals_change_nothing(store: DocStore, alice: Workspace, folder: Path, embedder: HashEmbedder) -> None:
    alice.add(OLD)
    before, embedded = state(store), embedder.embedded
    with pytest.raises(InvalidArgument, match="the very bytes"):
        store.replace(A, OLD)
    with pytest.raises(DocumentNotFound, match="nothing can take its place"):
        store.replace(C, NEW)
    assert embedder.embedded == embedded
    with pytest.raises(UnreadableDocument):
        store.replace(A, b"")
    with pytest.raises(UnreadableDocument):
        store.replace(A, b"%PDF-1.7 nothing follows")
    with pytest.raises(InvalidArgument, match="no document hash"):
        store.replace("nonsense", NEW)
    with pytest.raises(InvalidArgument, match="nothing to roll back"):
        store.rollback(A)
    with pytest.raises(DocumentNotFound):
        store.history(B)
    assert state(store) == before
    assert query(folder, "SELECT count(*) FROM replacements") == [(0,)]
    assert store.stats().documents == 1
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as second:
        for change in (
            lambda: second.replace(A, NEW),
            lambda: second.rollback(A),
            lambda: second.workspace("alice").pin(A),
        ):
            with pytest.raises(StoreReadOnly):
                change()
        assert [each.hash for each in second.history(A)] == [A]
        assert second.workspace("alice").pinned() == []


def test_the_history_is_the_same_whichever_version_is_asked_for(store: DocStore, alice: Workspace) -> None:
    alice.add(OLD)
    store.replace(A, NEW)
    store.replace(B, LATER)
    for hash in (A, B, C):
        versions = store.history(hash)
        assert [(each.hash, each.replaces, each.references) for each in versions] == [
            (A, None, 0), (B, A, 0), (C, B, 1)]  # fmt: skip
        assert all(each.stored and each.rolled_back_at is None for each in versions)
    assert [each.replaced_at is None for each in store.history(C)] == [True, False, False]
    with pytest.raises(InvalidArgument, match=f"itself replaced since, by {C}"):
        store.rollback(B)
    store.rollback(C)
    store.rollback(B)
    assert [each.rolled_back_at is None for each in store.history(A)] == [True, False, False]
    assert [each.hash for each in alice.documents()] == [A]


def test_a_circle_ends(store: DocStore, alice: Workspace) -> None:
    alice.add(OLD)
    store.replace(A, NEW)
    store.replace(B, OLD)
    assert [each.hash for each in store.history(B)] == [A, B, A]
    assert store.rollback(A).moved == ("alice",)
    assert store.rollback(B).moved == ("alice",)
    assert [each.hash for each in alice.documents()] == [A]


def test_collected_versions_stay_in_the_history_of_what_is_stored(
    store: DocStore, alice: Workspace, folder: Path
) -> None:
    alice.add(OLD)
    store.replace(A, NEW)
    store.replace(B, LATER)
    assert store.collect().documents == 2
    assert [(each.hash, each.stored) for each in store.history(A)] == [(A, False), (B, False), (C, True)]
    assert query(folder, "SELECT count(*) FROM moved") == [(0,)]
    with pytest.raises(DocumentNotFound, match="was collected"):
        store.rollback(C)
    store.replace(C, OLD)
    alice.remove(A)
    store.collect()
    assert query(folder, "SELECT count(*) FROM replacements") == [(0,)]
    with pytest.raises(DocumentNotFound):
        store.history(C)


def test_a_history_may_be_longer_than_sqlite_takes_parameters(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's SQLite takes eight times as many as its default."""
    alice.add(OLD)
    line = [*(hash_of(b"%d" % number) for number in range(40_000)), A]
    values = ", ".join(f"('{old}', '{new}', '2026-01-01T00:00:00.000Z')" for old, new in itertools.pairwise(line))
    execute(folder, f"INSERT INTO replacements (old_hash, new_hash, replaced_at) VALUES {values}")
    connect = CatalogDatabase._connect

    def limited(database: CatalogDatabase) -> sqlite3.Connection:
        connection = connect(database)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
        return connection

    monkeypatch.setattr(CatalogDatabase, "_connect", limited)
    with DocStore(folder, embedder=HashEmbedder()) as other:
        assert [each.hash for each in other.history(A)] == line


def test_the_old_version_is_there_for_the_grace_period(store: DocStore, alice: Workspace) -> None:
    alice.add(OLD)
    store.replace(A, NEW)
    store.collect(timedelta(hours=1))
    assert store.rollback(B).moved == ("alice",)
    assert store.verify().ok


def test_only_the_page_that_changed_is_embedded(store: DocStore, alice: Workspace, embedder: HashEmbedder) -> None:
    pages = [f"Page {number} tells of {number * number} ships." for number in range(10)]
    old = alice.add(pdf(pages))
    before = embedder.embedded
    done = store.replace(old.hash, pdf([*pages[:4], "This page is new.", *pages[5:]]))
    assert (done.chunks, done.embedded, done.reused) == (10, 1, 0.9)
    assert embedder.embedded == before + 1


def test_a_version_that_cannot_be_published_moves_nobody(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    alice.add(OLD)
    before = state(store)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_directory", full)
        with pytest.raises(StorageError, match="No space left"):
            store.replace(A, NEW)
    assert state(store) == before
    assert store.verify().ok
    assert store.replace(A, NEW).moved == ("alice",)


def test_progress_is_told(store: DocStore, alice: Workspace) -> None:
    alice.add(OLD)
    told: list[tuple[int, int]] = []
    store.replace(A, NEW, progress=lambda progress: told.append((progress.done, progress.chunks)))
    assert told[-1] == (1, 1)


def test_references_tell_no_more_of_others_than_before(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=True) as store:
        for name in ("alice", "bob"):
            store.workspace(name).add(OLD)
        store.workspace("carol").add(NEW)
        before = state(store)
        assert store.replace(A, NEW).moved == ("alice", "bob")
        assert state(store) == carried(before, "alice", "bob")
        assert not any(each[3] for held in state(store).values() for each in held.values())
        store.rollback(B)
        assert state(store) == before
    assert problems(folder) == []


def test_what_replaced_what_cannot_be_rewritten(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(OLD)
    store.replace(A, NEW)
    with pytest.raises(Exception, match="does not change"):
        execute(folder, "UPDATE replacements SET new_hash = old_hash")


def test_verify_finds_and_repair_ends_pins_of_nothing(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(OLD)
    store.replace(A, NEW)
    lie(folder, "INSERT INTO pins VALUES (7, 7)")
    lie(folder, "INSERT INTO moved VALUES (9, 1, 0, '', '', '', 0)")
    lie(folder, "INSERT INTO chunks VALUES (7, 7, 0, 1)")
    assert {each.path for each in store.verify().problems} == {"pins", "chunks"}
    assert store.repair().ok
    assert store.verify().ok
    assert store.rollback(B).moved == ("alice",)


@pytest.mark.parametrize("table", ["pins", "replacements", "moved", "chunks", "copies"])
def test_every_column_is_in_an_index_that_shows_damage(store: DocStore, folder: Path, table: str) -> None:
    columns = {row[1] for row in query(folder, f"PRAGMA table_info({table})")}
    indexed = {
        row[2]
        for index in query(folder, f"PRAGMA index_list({table})")
        if index[3] == "c"
        for row in query(folder, f"PRAGMA index_xinfo({index[1]})")
    }
    assert columns - indexed <= {"id"}


def test_replacing_looks_rows_up(store: DocStore, alice: Workspace, folder: Path) -> None:
    from docstore.replacements import _CARRY, _DROP, _MOVED, _REFERENCING

    alice.add(OLD)
    ids = {"from": 1, "to": 2, "id": 1, "had_new": 1}
    connection = sqlite3.connect(folder / "catalog.db")
    for sql in (_CARRY, _DROP, _MOVED.replace("?", ":id"), _REFERENCING.replace("?", ":from")):
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", ids)]
        assert not [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step], plan
    connection.close()


def test_a_long_line_is_not_followed_for_each_that_goes(store: DocStore, alice: Workspace, folder: Path) -> None:
    """Of many that one document replaced, each is its neighbour."""
    alice.add(OLD)
    one = "INSERT INTO replacements (old_hash, new_hash, replaced_at) VALUES ('%s', '%s', '2026-01-01T00:00:00.000Z')"
    steps = []
    for count in (10, 400):
        others = [hash_of(b"%d" % number) for number in range(count)]
        for other in others:
            execute(folder, one % (other, A))
        connection = sqlite3.connect(folder / "catalog.db", isolation_level=None)
        connection.execute("BEGIN")
        taken = 0

        def note() -> int:
            nonlocal taken
            taken += 1
            return 0

        connection.set_progress_handler(note, 10)
        versions.forget(connection, others[-1])
        steps.append(taken)
        connection.rollback()
        connection.close()
    assert steps[1] <= 2 * steps[0]
