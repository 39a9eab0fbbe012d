"""Whether threads of a process are using a catalog: a child that is forked meanwhile may not, so a fork waits a while.

SQLite notes once for a process what it has locked of a file. In a child that inherits a connection in use the file
seems locked already, and is not, so the last other process deletes the write-ahead log under it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from docstore.errors import StorageError
from docstore.forking import around_fork

_FORK_SECONDS = 0.05  # searches are over by then; an add that embeds holds no connection meanwhile
_RETRY_SECONDS = 0.0005

File = tuple[int, int]
"""Device and inode."""

inherited_files: set[File] = set()
"""Catalogs that threads of our parents were using while we were forked."""


def require_own(path: Path, file: File | None) -> None:
    """Raises StorageError where a thread of a parent was using the catalog that we are to use."""
    if file in inherited_files:
        raise StorageError(f"{path} was in use by a thread of the process that forked this one, whose locks SQLite "
                           "takes for this one's. Start such processes with `spawn`, or fork while no thread uses "
                           "the store.")  # fmt: skip


class Uses:
    """The uses of one store's catalog, in this process."""

    def __init__(self) -> None:
        self._now: set[object] = set()
        self._gate = threading.Event()
        self._gate.set()
        around_fork(self._pause, self._resume)

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """A use, for the block."""
        if not self._gate.is_set():
            # Not longer: who forks may be waiting for us, where this is a use within a use.
            self._gate.wait(_FORK_SECONDS)
        use = object()
        try:  # first: an interrupt may come between any two calls
            self._now.add(use)
            yield
        finally:
            self._now.discard(use)

    def _pause(self) -> None:
        deadline = time.monotonic() + _FORK_SECONDS
        try:
            self._gate.clear()  # or there might always be another one
            while self._now and time.monotonic() < deadline:
                time.sleep(_RETRY_SECONDS)
        except BaseException:  # Ctrl-C: nobody resumes us then
            self._gate.set()
            raise

    def _resume(self) -> None:
        self._gate.set()

    def leave_parent(self) -> bool:
        """In a child: forgets what its parent's threads were using, and whether that was anything."""
        was_used = bool(self._now)
        self._now = set()
        self._gate = threading.Event()
        self._gate.set()
        return was_used
