"""Rolling back where versions were collected, and whom it names. What it moves otherwise is in `test_replace`."""

from __future__ import annotations

import pytest

from docstore import DocStore, DocumentNotFound, InvalidArgument, Workspace
from tests.clock import DAY, HOUR, Clock, expire_now
from tests.folders import hash_of

OLD, NEW, LATER = b"The door is green.", b"The door is red.", b"The door is blue."
A, B, C = map(hash_of, (OLD, NEW, LATER))


def held(workspace: Workspace) -> list[str]:
    return [each.hash for each in workspace.documents()]


def undone(store: DocStore) -> list[tuple[str, bool]]:
    """The replacements of the line, and whether they were rolled back."""
    return [(each.hash, each.rolled_back_at is not None) for each in store.history(A) if each.replaces]


def collected_and_added_again(store: DocStore, one: Workspace, other: Workspace) -> None:
    """The old version, of which one was moved to the new."""
    one.add(OLD)
    store.replace(A, NEW)
    store.collect()
    other.add(OLD)


def test_a_later_version_that_was_collected_is_not_in_the_way(
    store: DocStore, alice: Workspace, bob: Workspace
) -> None:
    store.workspace_for([OLD])
    alice.add(OLD)
    bob.add(OLD)
    store.replace(A, NEW)
    alice.pin(B)
    store.replace(B, LATER)
    with pytest.raises(InvalidArgument, match=f"itself replaced since, by {C}"):
        store.rollback(B)
    bob.remove(C)
    store.collect()
    alice.unpin(B)
    with pytest.raises(DocumentNotFound, match=f"has no document {C}"):
        store.rollback(C)
    back = store.rollback(B)
    assert (back.old, back.moved, back.stayed) == (A, ("alice",), ("bob",))
    assert held(alice) == [A]
    assert store.verify().ok


def test_nobody_is_told_to_roll_back_what_cannot_be(store: DocStore, alice: Workspace) -> None:
    """The first version is gone, so to roll the third one back first would be in vain; so is what brought the third,
    once the second is gone."""
    alice.add(OLD)
    store.replace(A, NEW)
    store.collect()
    store.replace(B, LATER)
    with pytest.raises(DocumentNotFound, match=f"{A}, which {B} replaced, was collected"):
        store.rollback(B)
    store.collect()
    with pytest.raises(DocumentNotFound, match=f"has no document {B}"):
        store.rollback(B)


def test_bytes_that_are_added_again_do_not_bring_the_way_back(
    store: DocStore, alice: Workspace, bob: Workspace
) -> None:
    collected_and_added_again(store, alice, bob)
    with pytest.raises(DocumentNotFound, match=f"added it again, replace {B} by that file"):
        store.rollback(B)
    assert undone(store) == [(B, False)]
    store.replace(B, OLD)
    assert held(alice) == held(bob) == [A]


def test_those_whose_way_back_is_gone_do_not_go_as_done_with_others(
    store: DocStore, alice: Workspace, bob: Workspace
) -> None:
    collected_and_added_again(store, alice, bob)
    store.replace(A, NEW)
    assert store.rollback(B).moved == ("bob",)
    assert undone(store) == [(B, False), (B, True)]
    with pytest.raises(DocumentNotFound, match="was collected"):
        store.rollback(B)
    assert (held(alice), held(bob)) == ([B], [A])


def test_a_clock_that_was_set_back_does_not_take_the_way_back(store: DocStore, alice: Workspace, clock: Clock) -> None:
    clock.advance(DAY)  # of what is added; when it is replaced is SQLite's to say
    alice.add(OLD)
    store.replace(A, NEW)
    assert store.rollback(B).moved == ("alice",)


def test_what_moved_nobody_is_rolled_back(store: DocStore, alice: Workspace) -> None:
    alice.add(OLD)
    alice.pin(A)
    store.replace(A, NEW)
    back = store.rollback(B)
    assert (back.moved, back.stayed) == ((), ())
    assert undone(store) == [(B, True)]


def test_of_two_workspaces_shown_by_one_name_each_counts(store: DocStore, clock: Clock) -> None:
    def chat() -> Workspace:
        made = store.workspace("chat")
        made.link(A)
        made.expire_after(HOUR, sliding=False)
        return made

    store.workspace("Zoe").add(OLD)
    chat()
    clock.advance(HOUR)
    expire_now(store)
    second = chat()
    assert store.replace(A, NEW).moved == ("Zoe", "chat", "chat (expired)")
    second.pin(B)
    clock.advance(HOUR)
    expire_now(store)
    back = store.rollback(B)
    assert (back.moved, back.stayed) == (("Zoe", "chat (expired)"), ("chat (expired)",))
