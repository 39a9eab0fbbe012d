"""NumPy's products, each by the thread that asks for it. OpenBLAS, which NumPy's wheels bring, shares each with threads
of its own, for which all who ask take turns. For a question, whose products are small, these take longer to meet than
to multiply, many times so where other work keeps the processors busy.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np  # noqa: F401  (loads what is looked for)
from threadpoolctl import ThreadpoolController

from docstore.forking import around_fork, in_child


def library() -> Any:
    """What multiplies for NumPy and for nobody else; None where that is no OpenBLAS. FAISS's own is left alone."""
    found = ThreadpoolController().select(internal_api="openblas").lib_controllers
    return next((each for each in found if "numpy" in "/".join(Path(each.filepath).parts[-3:-1])), None)


class _User:
    """One that is in `alone`: gone when its frame is, also where an interrupt kept it from leaving."""


class _Single:
    """Who is in `alone`."""

    def __init__(self) -> None:
        self._library = library()
        self._users: weakref.WeakSet[_User] = weakref.WeakSet()
        self._owed: int | None = None  # the number to give back. Whoever asks next does it where leaving could not
        self._guard = threading.RLock()
        in_child(self._leave_parent)
        around_fork(self._pause, self._resume)  # threadpoolctl has a lock, which a child would find taken

    def _pause(self) -> None:
        self._guard.acquire()

    def _resume(self) -> None:
        self._guard.release()

    def _leave_parent(self) -> None:
        self._guard = threading.RLock()
        self._users = weakref.WeakSet()
        self._leave()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While any thread is in it, those of OpenBLAS have nothing to do."""
        if self._library is None:
            yield
            return
        user = _User()
        try:
            with self._guard:
                if not self._users and self._library.num_threads != 1:
                    self._owed = self._library.num_threads
                    self._set(1)
                    if self._library.num_threads != 1:  # another thread of the user's has a number of its own
                        self._owed = None
                self._users.add(user)
            yield
        finally:
            with self._guard:
                self._users.discard(user)
                self._leave()

    def _leave(self) -> None:
        if not self._users and self._owed is not None and self._library.num_threads == 1:
            self._set(self._owed)
            if self._library.num_threads != 1:
                self._owed = None

    def _set(self, threads: int) -> None:
        try:
            self._library.set_num_threads(threads)
        finally:
            # Whoever sets it has it until then: another thread may be the last to leave, which would be ignored.
            self._library.clear_controlling_thread()


alone = _Single().alone
