"""What takes many documents: what is one of them and not many, and none of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from docstore import DocStore, InvalidArgument, StoreClosed, Workspace, WorkspaceNotFound
from tests.folders import hash_of

NOTE = b"A note."


def test_only_what_is_read_by_a_method_is_an_open_file(store: DocStore, alice: Workspace) -> None:
    class Remote:
        error: type[Exception] = OSError

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a line"])

        @property
        def read(self) -> object:
            raise self.error

    class Batch(NamedTuple):
        read: bytes
        unread: bytes

    batch = Batch(NOTE, b"Another.")
    assert len(alice.add_many(batch).added) == 2
    assert len(store.workspace_for(batch)) == 2
    hashes: Any = Batch._make(map(hash_of, batch))
    assert (alice.link_many(hashes).failed, alice.remove_many(hashes)) == ((), 2)
    for use in (alice.add_many, alice.link_many, alice.remove_many, store.workspace_for):
        with pytest.raises(InvalidArgument, match="takes"):
            use(Remote())  # type: ignore[arg-type]
    Remote.error = MemoryError
    with pytest.raises(MemoryError):
        alice.add_many(Remote())


def test_none_are_refused_where_some_would_be(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    asked = []
    store.delete_workspace("alice")
    for use in (alice.add_many, alice.link_many, alice.remove_many):
        with pytest.raises(WorkspaceNotFound):
            use([])
    with pytest.raises(WorkspaceNotFound):
        alice.add_many(asked.append(each) or each for each in [b""])  # type: ignore[func-returns-value]
    assert asked == []
    store.close()
    for use in (bob.add_many, bob.link_many, bob.remove_many):
        with pytest.raises(StoreClosed):
            use([])
