"""Rolling back: whom it names. What it moves otherwise is in `test_replace`."""

from __future__ import annotations

from docstore import DocStore, Workspace
from tests.clock import HOUR, Clock, expire_now
from tests.folders import hash_of

OLD, NEW = b"The door is green.", b"The door is red."
A, B = map(hash_of, (OLD, NEW))


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
