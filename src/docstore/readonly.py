"""What `readonly=True` opens: a catalog that is not ours to change.

One that somebody has open is read as SQLite's readers do, beside whoever writes, from a snapshot: that costs what is
read, however large the catalog. One that nobody has open, or that SQLite could not read without making a file beside
it, is read without locks: see frozen.py.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from docstore.filesystem import is_network
from docstore.frozen import FrozenCatalog, file_of
from docstore.pool import Pool, discard

# What SQLite says where it would have to write first, or lacks a file: what a crash left, or whoever closes it now.
_NOT_SHARED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class ReadOnlyCatalog:
    """Connections to a catalog of which no byte is changed, nor of its log. Safe for threads and after fork."""

    def __init__(self, path: Path, pool: Pool, timeout: float) -> None:
        self._path, self._pool = path, pool
        self.frozen = FrozenCatalog(path, timeout)

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection to the catalog as it is now.

        Raises:
            StoreClosed: after `close`.
            StoreLocked: it was read without locks, and changed meanwhile.
        """
        shared = self._shared()
        if shared is None:
            with self.frozen.connection() as frozen:
                yield frozen
            return
        try:
            yield shared
        except BaseException:
            discard(shared)
            raise
        self._pool.give_back(shared)

    def _shared(self) -> sqlite3.Connection | None:
        """None where it is to be read without locks."""
        try:
            connection = self._pool.take(self._connect)
        except _NotSharedError:
            return None
        try:
            connection.execute("PRAGMA schema_version").fetchone()  # reads the log, before anything depends on that
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            if code == sqlite3.SQLITE_BUSY:  # whoever begins a transaction waits for that
                return connection
            discard(connection)
            if code in _NOT_SHARED:
                return None
            raise
        except BaseException:
            discard(connection)
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        path = file_of(self._path)
        if not _is_shared(path):
            raise _NotSharedError
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("query_only = ON", "temp_store = MEMORY", "trusted_schema = OFF"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Closes what reads without locks. The pool is not ours."""
        self.frozen.close()


class _NotSharedError(Exception):
    pass


def _is_shared(path: Path) -> bool:
    """Whether somebody has the catalog open, or had when it crashed, and SQLite may read it as it reads beside others.

    Should they close it just now, SQLite makes log and shared memory anew. They would be ours: so not where we may make
    files and may not write the catalog, which would keep those from writing who may. Nor over a network, where shared
    memory is none.
    """
    if not all(os.path.exists(f"{path}{suffix}") for suffix in ("-wal", "-shm")):  # noqa: PTH110  (of text)
        return False
    return (os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK)) and not is_network(path.parent)
