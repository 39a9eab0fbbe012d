"""`name in store` and `hash in workspace`: asked without a list of all, and without making anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from docstore import DocStore, StoreClosed, Workspace, WorkspaceNotFound
from docstore.names import EXPIRED
from tests.clock import HOUR, Clock, expire_now
from tests.folders import query

ABSENT = "0" * 64


def test_a_workspace_is_in_the_store_until_it_is_deleted(folder: Path, store: DocStore, alice: Workspace) -> None:
    assert "alice" in store
    assert "bob" not in store
    assert store.workspaces() == ["alice"], "to ask makes none"
    store.delete_workspace("alice")
    assert "alice" not in store


def test_an_expired_workspace_is_not_in_the_store(folder: Path, store: DocStore, clock: Clock) -> None:
    store.workspace("bob", ttl=HOUR)
    clock.advance(3 * HOUR)
    expire_now(store)
    assert "bob" not in store
    ((name,),) = query(folder, "SELECT name FROM workspaces")
    assert name.startswith(EXPIRED) and name not in store
    store.undelete("bob")
    assert "bob" in store


@pytest.mark.parametrize("name", ["", " ", "a\0b", "\ud800", "x" * 1001, 3, None, b"alice", ["alice"]])
def test_what_can_name_no_workspace_names_none(store: DocStore, alice: Workspace, name: object) -> None:
    assert name not in store


def test_a_document_is_in_the_workspaces_that_reference_it(store: DocStore, alice: Workspace) -> None:
    note = alice.add(b"A note.")
    bob = store.workspace("bob")
    assert note.hash in alice and note in alice
    assert note.hash not in bob and ABSENT not in alice
    bob.include(alice)
    assert bob.document(note.hash) == note
    assert note.hash not in bob, "its searches cover it, and it is not bob's"
    alice.remove(note.hash)
    assert note not in alice


@pytest.mark.parametrize("hash", ["", "0" * 63, "Z" * 64, 3, None, b"0" * 64])
def test_what_is_no_hash_is_in_no_workspace(alice: Workspace, hash: object) -> None:
    assert hash not in alice


def test_a_workspace_that_is_gone_has_no_answer(store: DocStore, alice: Workspace) -> None:
    store.delete_workspace("alice")
    for document in (ABSENT, None):
        with pytest.raises(WorkspaceNotFound):
            assert document in alice


def test_a_closed_store_has_no_answer(folder: Path) -> None:
    with DocStore(folder) as store:
        alice = store.workspace("alice")
    with pytest.raises(StoreClosed):
        assert "alice" in store
    with pytest.raises(StoreClosed):
        assert ABSENT in alice
