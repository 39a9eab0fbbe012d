"""Dropping many references at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from docstore import DocStore, InvalidArgument, Workspace, WorkspaceNotFound, refcount, workspace_references
from tests.folders import hash_of

NOTES = [f"Note {number} is about subject {number % 7}.".encode() for number in range(20)]
HASHES = [hash_of(note) for note in NOTES]


@pytest.fixture(autouse=True)
def _filled(alice: Workspace, bob: Workspace) -> None:
    alice.add_many(NOTES)
    bob.link_many(alice.documents())


def test_drops_those_it_has_and_says_how_many(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    unknown = hash_of(b"what nobody has")
    assert alice.search("Note 3", k=1)[0].document == HASHES[3]
    assert alice.remove_many([HASHES[3], unknown, HASHES[3], HASHES[5]]) == 2
    assert {each.hash for each in alice.documents()} == {*HASHES} - {HASHES[3], HASHES[5]}
    assert not {each.document for each in alice.search("Note 3", k=20)} & {HASHES[3], HASHES[5]}
    assert len(bob) == len(NOTES)
    assert [store.refcount(HASHES[number]) for number in (3, 4, 5)] == [1, 2, 1]
    assert alice.remove_many([HASHES[3]]) == 0
    assert alice.remove_many(iter(alice.documents())) == len(NOTES) - 2
    assert alice.remove_many([]) == len(alice) == 0
    assert store.collect().documents == 0
    assert bob.remove_many(HASHES) == store.collect().documents == len(NOTES)
    assert store.verify().ok


def test_what_is_no_list_of_documents_changes_nothing(alice: Workspace) -> None:
    (document, *_) = alice.documents()
    for wrong in (document.hash, document, 7, [document.hash, "abcd"], [document, None]):
        with pytest.raises(InvalidArgument):
            alice.remove_many(wrong)  # type: ignore[arg-type]
    assert len(alice) == len(NOTES)


def test_of_a_deleted_workspace_nothing_is_dropped(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    store.delete_workspace("alice")
    for some in ([], HASHES):
        with pytest.raises(WorkspaceNotFound):
            alice.remove_many(some)
    assert len(bob) == len(NOTES)


def test_what_is_interrupted_is_done_in_part_and_finished_by_another_call(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others get their turn between its commits, and on a full disk each fits into the reserve."""
    monkeypatch.setattr(workspace_references, "_AT_ONCE", 8)
    drop, calls = refcount.unrefer, []

    def interrupted(db: Any, workspace: int, hashes: Sequence[str]) -> int:
        calls.append(len(hashes))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return drop(db, workspace, hashes)

    with monkeypatch.context() as patch:
        patch.setattr(refcount, "unrefer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            alice.remove_many(HASHES)
    assert calls == [8, 8]
    assert {each.hash for each in alice.documents()} == {*HASHES[8:]}
    assert alice.remove_many(HASHES) == 12
    assert len(alice) == 0
    assert store.verify().ok
