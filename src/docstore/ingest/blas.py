"""NumPy's products, each by the thread that asks for it. OpenBLAS, which NumPy's wheels bring, shares each with threads
of its own, for which all who ask take turns. For a question, whose products are small, these take longer to meet than
to multiply, many times so where other work keeps the processors busy.

Not by threadpoolctl: there one thread sets the number, and what others ask for is ignored.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from docstore.forking import in_child


class Library(NamedTuple):
    """OpenBLAS's own functions."""

    threads: Callable[[], int]
    """Threads that share a product."""
    limit: Callable[[int], object]
    """Sets that, for all threads of the process."""


def library() -> Library | None:
    """What multiplies for NumPy, where it is OpenBLAS."""
    with suppress(Exception):  # a name of NumPy's own that another version may not have
        core: Any = np._core  # type: ignore[attr-defined]
        loaded = ctypes.CDLL(core._multiarray_umath.__file__)
        for name in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"):
            if hasattr(loaded, name.format("set")):
                return Library(getattr(loaded, name.format("get")), getattr(loaded, name.format("set")))
    return None


class _Single:
    """Who is in `alone`."""

    def __init__(self) -> None:
        self._library = library()
        self._users = 0
        self._before = 1
        self._guard = threading.Lock()
        in_child(self._leave_parent)

    def _leave_parent(self) -> None:
        self._guard = threading.Lock()
        if self._users:
            self._users = 1
            self._leave()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While any thread is in it, those of OpenBLAS have nothing to do."""
        if self._library is None:
            yield
            return
        with self._guard:
            self._users += 1
            if self._users == 1:
                self._before = self._library.threads()
                self._set(1)
        try:
            yield
        finally:
            with self._guard:
                self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._set(self._before)

    def _set(self, threads: int) -> None:
        assert self._library is not None
        if threads != self._library.threads():
            self._library.limit(threads)


alone = _Single().alone
