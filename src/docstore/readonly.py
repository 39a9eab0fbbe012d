"""What `readonly=True` opens: a catalog that is not ours to change.

One that somebody has open is read as SQLite's readers do, beside whoever writes, from a snapshot: that costs what is
read, however large the catalog. One that nobody has open, or that SQLite could not read without making a file beside
it, is read without locks: see frozen.py.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from docstore.catalog_log import RETRY_SECONDS
from docstore.durable import descriptor
from docstore.errors import IntegrityError
from docstore.filesystem import is_network
from docstore.frozen import FrozenCatalog, file_of
from docstore.pool import Pool, discard, inherited_files

_MAGIC = b"\x37\x7f\x06"  # that a log begins with, https://sqlite.org/fileformat2.html#the_write_ahead_log
_SPURIOUS_SECONDS = 0.05  # for which SQLite may say that it had to write first, while somebody commits
_SPURIOUS = (sqlite3.SQLITE_READONLY_CANTINIT, sqlite3.SQLITE_READONLY_RECOVERY)
# What SQLite says where it would have to write first, or lacks a file: after a crash, or when the last one closes.
_NOT_SHARED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL)
# Of the shared memory: there is no room for it on a full disk, or something else is in its place.
_NO_MEMORY = (sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP,
              sqlite3.SQLITE_IOERR_SHMLOCK)  # fmt: skip


class ReadOnlyCatalog:
    """Connections to a catalog of which no byte is changed, nor of its log. Safe for threads and after fork."""

    def __init__(self, path: Path, pool: Pool, timeout: float) -> None:
        self._path, self._pool, self._timeout = path, pool, timeout
        self._networks: dict[int, bool] = {}  # by device: who asks the system reads a list of all that is mounted
        self.frozen = FrozenCatalog(path, timeout)

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection to the catalog as it is now. Of one that is shared it is in a transaction, which ends with the
        block.

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
            if shared.in_transaction:
                shared.execute("ROLLBACK")
        except BaseException:
            discard(shared)
            raise
        self._pool.give_back(shared)

    def _shared(self) -> sqlite3.Connection | None:
        """None where it is to be read without locks."""
        began = time.monotonic()
        while True:
            try:
                return self._begun(self._pool.take(self._connect))
            except _NotSharedError:
                return None
            except sqlite3.OperationalError as error:
                code, waited = error.sqlite_errorcode, time.monotonic() - began
                is_busy = code & 0xFF == sqlite3.SQLITE_BUSY and waited < self._timeout
                if not is_busy and (code not in _SPURIOUS or waited > _SPURIOUS_SECONDS):
                    if code & 0xFF in _NOT_SHARED or code in _NO_MEMORY:
                        return None
                    raise
            time.sleep(RETRY_SECONDS)

    def _begun(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """With the snapshot that the caller reads: from here on, nothing of log or memory can be lacking."""
        try:
            connection.execute("BEGIN")
            connection.execute("PRAGMA schema_version").fetchone()
        except BaseException:
            discard(connection)  # whoever closes the store meanwhile may take the log away: nothing here keeps it
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        path = file_of(self._path)
        if not self._is_shared(path):
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
        self.frozen.forget()  # a copy, perhaps, of what it was when it could not be shared
        return connection

    def _is_shared(self, path: Path) -> bool:
        """Whether somebody has the catalog open, or had when it crashed, and SQLite may read it as beside others.

        Should they close it just now, SQLite makes log and shared memory anew. They would be ours: so not where we may
        make files and may not write the catalog, which would keep those from writing who may. Nor over a network, where
        shared memory is none.
        """
        try:
            catalog, *beside = (os.lstat(f"{path}{suffix}") for suffix in ("", "-wal", "-shm"))
            # As SQLite makes them: it would wait for a pipe, and write into whatever else has the name.
            if not all(stat.S_ISREG(each.st_mode) and each.st_nlink == 1 for each in beside):
                return False
            with open(descriptor(f"{path}-wal"), "rb", buffering=0) as log:
                begins = log.read(len(_MAGIC))
        except (OSError, IntegrityError):
            return False
        if (catalog.st_dev, catalog.st_ino) in inherited_files:  # whose locks SQLite takes for ours
            return False
        # What has another beginning it would read again for ten seconds; the log of an empty catalog it deletes.
        if begins not in (b"", _MAGIC) or not catalog.st_size:
            return False
        if catalog.st_dev not in self._networks:
            self._networks[catalog.st_dev] = is_network(path.parent)
        return (_may_write(path) or not _may_write(path.parent)) and not self._networks[catalog.st_dev]

    def close(self) -> None:
        """Closes what reads without locks. The pool is not ours."""
        self.frozen.close()


class _NotSharedError(Exception):
    pass


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
