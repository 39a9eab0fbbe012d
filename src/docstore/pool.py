"""Connections to one SQLite file, taken and given back: safe for threads and after fork.

Pooled, not tied to threads: a server's short-lived threads would leak one descriptor each. A connection is never
carried across `fork`. SQLite notes once for a process what it has locked of a file: in a child that inherits a
connection the file seems locked already, and is not, so the last other process deletes the write-ahead log under it.
Therefore the idle ones are closed before a fork, by the parent. Those that its other threads use meanwhile, the child
keeps open but untouched, since closing one would change what they are writing; it may not use that file.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from docstore.errors import StorageError, StoreClosed
from docstore.forking import around_fork, in_child

_MOST_IDLE = 16  # each keeps descriptors and a cache, and two hundred threads may once have searched at the same time

# A child of fork must not close these: see the module's first lines.
_inherited: list[sqlite3.Connection] = []

inherited_files: set[tuple[int, int]] = set()
"""Device and inode of catalogs that threads of our parents were using while we were forked."""


def require_own(path: Path, file: tuple[int, int] | None) -> None:
    """Raises StorageError where a thread of a parent was using the catalog, by device and inode, that we are to use."""
    if file in inherited_files:
        raise StorageError(f"{path} was in use by a thread of the process that forked this one, whose locks SQLite "
                           "takes for this one's. Start such processes with `spawn`, or fork while no thread uses "
                           "the store.")  # fmt: skip


def discard(connection: sqlite3.Connection) -> None:
    """Closes a connection, and undoes its transaction. To close it alone does not end that as long as there is a cursor
    with rows left: in a traceback, for example, which a notebook keeps, and everybody would be locked out as long."""
    try:
        connection.rollback()
    except sqlite3.Error:
        pass
    finally:
        connection.close()  # whatever comes between, Ctrl-C once more for example


class Pool:
    """The connections of one open store to one file."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: the store's, for the error that using it after `close` gives.
        """
        self._folder = folder
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        self._make_lock()
        in_child(self._make_lock)
        around_fork(self._pause, self._resume)

    def _make_lock(self) -> None:
        self._guard = threading.RLock()  # a signal's handler may close the store: in the thread that holds it

    def _pause(self) -> None:
        # Held until the fork is over: no other thread may give a connection back between this and the fork.
        self._guard.acquire()
        self._close_idle()

    def _resume(self) -> None:
        self._guard.release()

    def _close_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(sqlite3.Error):
                self._idle.pop().close()

    def take(self, connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        """A connection that nobody else uses, an idle one or one that `connect` makes.

        Raises:
            StoreClosed: there are none any more.
        """
        with self._guard:
            self.require_open()
            connection = self._idle.pop() if self._idle else None
        return connection or connect()

    def require_open(self) -> None:
        """Raises StoreClosed when `close` was called."""
        if self._closed:
            raise StoreClosed(f"The store {self._folder} was closed. Open it again.")

    def give_back(self, connection: sqlite3.Connection) -> None:
        """For the next to use."""
        with self._guard:
            if not self._closed and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    @contextlib.contextmanager
    def connection(self, connect: Callable[[], sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
        """A connection for the block; see `take`."""
        connection = self.take(connect)
        try:
            yield connection
        except BaseException:
            discard(connection)  # whatever state an error left it in, the next user gets a fresh one
            raise
        self.give_back(connection)

    def abandon(self, connection: sqlite3.Connection) -> None:
        """Keeps a connection open that was the parent's before fork, and that nobody here may use."""
        _inherited.append(connection)

    def leave_parent(self) -> bool:
        """In a child: whether the parent left idle connections to it, which it then keeps open but untouched. A store
        that a thread opened, or a signal's handler used, while others were paused for the fork may have some."""
        inherited, self._idle = self._idle, []
        _inherited.extend(inherited)
        return bool(inherited)

    def forget(self) -> None:
        """Closes what is idle: its file is another one by now."""
        with self._guard:
            self._close_idle()

    def close(self) -> None:
        """Closes all connections, those in use when they are given back. Later use raises StoreClosed."""
        with self._guard:
            self._closed = True
            self._close_idle()
