"""Memory: what searches keep for the next one, within a budget of bytes; what was unused longest goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from docstore.forking import in_child


class Weighed(Protocol):
    """What knows how many bytes it takes."""

    @property
    def nbytes(self) -> int:
        """Memory it takes, in bytes."""


class _Share:
    def __init__(self, part: Weighed) -> None:
        self.part = part  # kept, so that no other gets its id
        self.users = 0
        self.counted = 0


class Memory:
    """Values by key. One that is larger than the whole budget is not kept, and displaces none. Safe for threads.

    What a value lists as `shared` is counted once, however many values share it, and goes with the last of them. What
    such a part has `outgrown` and older values still keep is counted too, and is no reason not to keep a new value.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        """Bytes that all values may take together."""
        self._used = 0
        self._values: OrderedDict[Hashable, Weighed] = OrderedDict()
        self._shares: dict[int, _Share] = {}
        self._outgrown: dict[int, _Share] = {}  # those of them that had when they were weighed
        self._is_counted = True
        self._make_lock()
        in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._guard = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """The value, or None."""
        with self._guard:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def get_all(self, keys: Sequence[Hashable]) -> list[Any]:
        """As `get` for each."""
        with self._guard:
            values = list(map(self._values.get, keys))
            kept = [key for key, value in zip(keys, values) if value is not None] if None in values else keys
            deque(map(self._values.move_to_end, kept), maxlen=0)
            return values

    def put(self, key: Hashable, value: Weighed) -> bool:
        """Keeps a value in place of any other under this key. Returns whether it was small enough."""
        parts: tuple[Weighed, ...] = getattr(value, "shared", ())
        with self._changing():
            self._forget(key)
            if value.nbytes + sum(part.nbytes for part in parts) > self.budget:
                return False  # not put and taken out again: all others would have gone before it
            self._values[key] = value
            self._used += value.nbytes
            for part in parts:
                self._hold(part)
            if self._used > self.budget:  # what has outgrown something may have been rid of it since
                deque(map(self._weigh, list(self._outgrown.values())), maxlen=0)
            while self._used > self.budget and len(self._values) > 1:  # what a search still goes through is not ours
                self._forget(next(iter(self._values)))
            return True

    def drop(self, key: Hashable) -> None:
        """Forgets a value that will not be asked for again."""
        with self._changing():
            self._forget(key)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change. What is counted may be wrong after one that an interrupt cut short, Ctrl-C for example: the next
        counts anew."""
        with self._guard:
            if not self._is_counted:
                self._count()
            self._is_counted = False
            yield
            self._is_counted = True

    def _count(self) -> None:
        self._shares, self._outgrown, self._used = {}, {}, sum(value.nbytes for value in self._values.values())
        for value in self._values.values():
            for part in getattr(value, "shared", ()):
                self._hold(part)

    def _forget(self, key: Hashable) -> None:
        if (value := self._values.pop(key, None)) is None:
            return
        self._used -= value.nbytes
        parts = getattr(value, "shared", ())
        del value  # what only this one kept of a part is then no longer counted
        for part in parts:
            share = self._shares[id(part)]
            share.users -= 1
            if share.users == 0:
                self._used -= self._shares.pop(id(part)).counted
                self._outgrown.pop(id(part), None)
            else:
                self._weigh(share)

    def _hold(self, part: Weighed) -> None:
        share = self._shares.setdefault(id(part), _Share(part))
        share.users += 1
        self._weigh(share)

    def _weigh(self, share: _Share) -> None:
        outgrown = getattr(share.part, "outgrown", 0)
        if outgrown:
            self._outgrown[id(share.part)] = share
        else:
            self._outgrown.pop(id(share.part), None)
        grown = share.part.nbytes + outgrown - share.counted
        share.counted += grown
        self._used += grown
