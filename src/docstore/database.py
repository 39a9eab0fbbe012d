"""The catalog's database: opening, migrating, transactions."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docstore import catalog_log, schema
from docstore.archive import ARCHIVE
from docstore.columns import COLUMN_TYPES
from docstore.durable import storage_errors, sync_directory
from docstore.errors import (
    IntegrityError,
    StorageError,
    StoreLocked,
    StoreVersionError,
    read_only,
)
from docstore.forking import in_child
from docstore.ownfiles import protect, release
from docstore.pool import Pool, inherited_files, require_own
from docstore.sqlite_errors import sqlite_errors

if TYPE_CHECKING:
    from docstore.readonly import ReadOnlyCatalog

CATALOG = "catalog.db"
_MINIMUM_SQLITE = (3, 37, 0)  # STRICT tables

Database = sqlite3.Connection
"""A connection in a transaction: what `read` and `write` give."""

_VACUUM_PAGES = 1000  # 4 MB a transaction
_COMPACT_SECONDS = 2.0  # that a collection waits for those who read and write at the same moment
_LOG_PAGES = 1000  # SQLite's own default: 4 MB
_MOST_UNMOVED = 1 << 18  # bytes: a quarter of the reserve, of which most transactions write less than a half

_UNREADABLE = "To read it, SQLite had to write first. Try again, or open it once without readonly=True."
_COLUMNS = tuple(map(itemgetter, range(32)))
_PRAGMAS = (
    "foreign_keys = ON",
    "synchronous = FULL",  # NORMAL may lose the last commits, and our next step may be an unlink
    "fullfsync = ON",  # macOS: see durable.sync_file
    "recursive_triggers = ON",  # else REPLACE would delete rows without the triggers that count them
    # Nothing of a deleted row stays in a page that is used; what is free, a collection gives back. ON would also write
    # every page that a deletion frees, on a full disk too.
    "secure_delete = FAST",
    "temp_store = MEMORY",  # there may be no folder to write to but the store's, and none is to hold documents' rows
    "trusted_schema = OFF",  # a catalog that was tampered with cannot make us call functions
)


class CatalogDatabase:
    """The catalog's file: `read()` and `write()` give transactions on it. Safe for threads and after fork."""

    def __init__(self, path: Path, *, readonly: bool, timeout: float) -> None:
        self.path = path
        self._readonly = readonly
        self._timeout = timeout
        self._frugal = 0  # operations that want it now
        self._require_room: Callable[[int], object] | None = None
        self._schema_version: int | None = None
        self._file: tuple[int, int] | None = None  # device and inode, once it is open
        self._inside: set[object] = set()  # one for each connection that is in use
        self._pool = Pool(path.parent)
        self._foreign: ReadOnlyCatalog | None = None
        if readonly:
            from docstore.readonly import ReadOnlyCatalog  # few stores are opened without writing

            self._foreign = ReadOnlyCatalog(path, self._pool, timeout)
        self._make_lock()
        in_child(self._make_lock)
        protect(self)
        try:
            if not readonly:
                self._create()
            with self._connection() as connection, self._waiting(connection):
                self._check_version(connection)
            self._file = self._file_now()
        except BaseException:
            self.close()
            raise

    @property
    def file(self) -> tuple[int, int] | None:
        """Device and inode of the file that it opened."""
        return self._file

    def require_usable(self) -> None:
        """Raises StoreClosed after `close`, and StorageError when another file is in its place by now."""
        with self._connection():
            self._require_same_file()

    def _make_lock(self) -> None:
        # SQLite lets waiters sleep and retry, which starves some. Threads of one process queue here instead.
        self._writing = threading.RLock()  # not that anybody takes it twice: see `write`
        self._counting = threading.Lock()
        # A child inherits the connections that its parent's threads use, and idle ones that were not closed in time.
        if (self._pool.leave_parent() or self._inside) and (file := self._file or self._file_now()):
            inherited_files.add(file)
        self._inside = set()

    def _create(self) -> None:
        if sqlite3.sqlite_version_info < _MINIMUM_SQLITE:
            raise StoreVersionError(f"docstore needs SQLite 3.37 or newer; Python has {sqlite3.sqlite_version}.")
        with storage_errors("opening the store"):
            new = not self.path.exists()
            if not new and not os.access(self.path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                # SQLite would open it all the same, and leave a log of ours that keeps its owner from writing.
                raise StorageError(f"{self.path} is not writable. Check permissions, or open with readonly=True.")
            # Looked for before the tables: documents that another process adds meanwhile come after its tables.
            has_documents = any(
                (self.path.parent / name).exists() for name in ("documents", "texts", "embeddings", ARCHIVE)
            )
        with self._connection() as connection, self._waiting(connection):
            if schema.is_foreign(connection):
                raise StoreVersionError(f"{self.path} is a database of another program. Choose another folder.")
            if has_documents and schema.is_empty(connection):
                # To a new catalog they would all be leftovers of a crash, which the next collection deletes.
                raise IntegrityError(f"{self.path} is empty, and there are documents beside it: it was lost. Restore "
                                     "it from a backup.")  # fmt: skip
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                # Only possible before the first table, and wanted so that collect can give pages back.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                # With our own waits: of two who create at once SQLite refuses one immediately, whatever the timeout.
                mode = self._patiently(connection.execute, "PRAGMA journal_mode = WAL", self._timeout).fetchone()[0]
                if mode != "wal":
                    raise StorageError(f"{self.path} cannot use write-ahead logging (it says {mode!r}): is it on a "
                                       "network file system? Put the store on a local disk.")  # fmt: skip
        if new:
            with storage_errors("creating the store"):
                sync_directory(self.path.parent)
        with self.read(tampered=True) as db:
            up_to_date = not schema.pending_migrations(db) or schema.unknown_migrations(db)
        if not up_to_date:  # else opening need not wait for writers
            with self.write(tampered=True) as db:
                schema.migrate(db)

    def _check_version(self, connection: sqlite3.Connection) -> None:
        if schema.is_foreign(connection):
            raise StoreVersionError(f"{self.path} is a database of another program. Choose another folder.")
        self._refuse_newer(connection)
        if pending := schema.pending_migrations(connection):
            raise StoreVersionError(f"{self.path.parent} lacks {pending[0]}, which a read-only store cannot add. "
                                    "Open it once without readonly=True, as `docstore verify` does.")  # fmt: skip

    def _refuse_newer(self, connection: sqlite3.Connection) -> None:
        if unknown := schema.unknown_migrations(connection):
            raise StoreVersionError(f"{self.path.parent} was written by a newer docstore (it knows {unknown[-1]}). "
                                    "Upgrade docstore to open it, and start again what had it open.")  # fmt: skip

    @contextlib.contextmanager
    def read(self, *, tampered: bool = False) -> Iterator[Database]:
        """A snapshot: everything read inside is of one moment.

        Args:
            tampered: go on where the schema was tampered with. For those who look for that.
        """
        with self._connection() as connection:
            if not (self._readonly and connection.in_transaction):  # one that is shared has begun
                connection.execute("BEGIN")
            try:
                self._begun(connection, self._timeout, tampered)
                yield connection
            finally:
                if connection.in_transaction:  # SQLite ends it itself where it cannot read
                    connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def write(self, *, tampered: bool = False, timeout: float | None = None) -> Iterator[Database]:
        """The catalog's write lock, and a transaction that is durable when the block has ended.

        `BEGIN IMMEDIATE`: the lock is taken before the first look, so what is checked inside stays true until the
        commit. Any exception rolls everything back, since it closes the connection.

        Args:
            tampered: as for `read`.
            timeout: seconds to wait for the lock, if not as long as the store's.
        """
        timeout = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout  # one, for this process's threads and for the other processes
        if self._readonly:
            raise read_only(self.path.parent)
        try:
            if not self._writing.acquire(timeout=timeout):
                raise StoreLocked(f"A thread of this process has held {self.path} for {timeout:.0f} s. Try again.")
            with self._connection() as connection:
                if self._frugal:
                    catalog_log.require_room(connection, self.path, deadline)
                self._patiently(connection.execute, "BEGIN IMMEDIATE", deadline - time.monotonic())
                self._begun(connection, timeout, tampered)
                if self._require_room is not None:
                    self._require_room(0)
                yield connection
                is_early = self._is_early(connection)
                if is_early:
                    connection.execute("PRAGMA wal_autocheckpoint = 1")
                connection.execute("COMMIT")
                if is_early:
                    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
                if self._frugal:
                    with contextlib.suppress(sqlite3.Error):  # it is committed, and must not seem to have failed
                        catalog_log.empty(connection)
        finally:
            # An interrupt, Ctrl-C for example, may have come after the lock was taken and before `acquire` returned. So
            # the lock itself says who holds it, and in the call that releases it: between two calls another may come.
            try:  # noqa: SIM105
                self._writing.release()
            except RuntimeError:  # somebody else, or nobody
                pass

    def _is_early(self, connection: sqlite3.Connection) -> bool:
        """Whether the log is to be moved into the file early: on a full disk the reserve must have room for what the
        file grows by then, or nothing can be deleted any more."""
        unmoved = catalog_log.unmoved(connection, self.path)
        if unmoved <= _MOST_UNMOVED:
            return False
        if self._require_room is not None:
            self._require_room(unmoved)
        return True

    def _file_now(self) -> tuple[int, int] | None:
        """Which file is there. None: there is none."""
        try:
            found = os.stat(self.path)  # noqa: PTH116  (of a Path: each search asks for it)
        except OSError as error:
            # Where it cannot be told, an operation of which a part is committed must not fail for it.
            return None if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) else self._file
        return found.st_dev, found.st_ino

    def _require_same_file(self) -> None:
        # A connection stays with its file, and all else goes by paths. In a folder that is another by now we would
        # collect, as referenced by nobody, what its own catalog references.
        if self._file is not None and self._file_now() != self._file:
            raise StorageError(f"{self.path} is another file than when this store was opened: the folder was moved, "
                               "deleted, or restored from a backup. Nothing more is changed. Close this store and open "
                               "it again.")  # fmt: skip

    def _begun(self, connection: sqlite3.Connection, timeout: float, tampered: bool) -> None:
        self._require_same_file()
        # SQLite's own number for the schema: what was checked once need not be checked again until somebody changes it.
        # This is also the first look at the file, which waits for a lock if anything has to.
        version = self._patiently(connection.execute, "PRAGMA schema_version", timeout).fetchone()[0]
        if version == self._schema_version:
            return
        # For `repair` too, which would take what a newer version made for damage.
        with contextlib.suppress(sqlite3.DatabaseError):  # damage is for `verify` to report
            self._refuse_newer(connection)
        if not tampered:
            if schema.is_tampered(connection):
                raise IntegrityError(f"The schema of {self.path} is not docstore's: it was damaged or changed. Run "
                                     "`docstore repair`, or restore a backup.")  # fmt: skip
            self._schema_version = version

    def _patiently(self, execute: Callable[[str], sqlite3.Cursor], statement: str, timeout: float) -> sqlite3.Cursor:
        """Executes a statement that takes a lock, trying again until the timeout.

        Our own short waits, not SQLite's: those grow to 100 ms, and whoever writes in many small transactions, as a
        collection does, would take the lock again before anybody else has woken.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return execute(statement)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(catalog_log.RETRY_SECONDS)

    def grow_only_after(self, require_room: Callable[[int], object]) -> None:
        """From now on asks for room in every transaction that writes, at its start, and at its end for the bytes that
        the file is to grow by. Not before: stores must open on a full disk."""
        self._require_room = require_room

    @property
    def is_frugal(self) -> bool:
        """Whether transactions must be small; see `frugal`."""
        return self._frugal > 0

    @contextlib.contextmanager
    def frugal(self) -> Iterator[None]:
        """While the disk is full: empties the log before, and after every transaction, as far as readers let us.

        Threads that write meanwhile only pay for it. The log otherwise keeps the size it once had, up to 4 MB.
        """
        with contextlib.suppress(StorageError), self._connection() as connection:
            catalog_log.empty(connection)
        with self._counting:
            self._frugal += 1
        try:
            yield
        finally:
            with self._counting:
                self._frugal -= 1

    @contextlib.contextmanager
    def _waiting(self, connection: sqlite3.Connection) -> Iterator[None]:
        """While a store is opened SQLite waits for locks by itself: any statement may meet one."""
        connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")
        yield
        connection.execute("PRAGMA busy_timeout = 0")

    def compact(self) -> None:
        """Gives the catalog's free pages and its write-ahead log back to the file system, as far as others let."""
        # Whoever reads or writes keeps us from it, mostly for a moment, and must not be made to wait; on a full disk
        # there is no room for the log that this takes. What is not done in time, the next collection does.
        deadline = time.monotonic() + _COMPACT_SECONDS
        with contextlib.suppress(StoreLocked, StorageError), self._connection() as connection:
            for _ in range(0, int(connection.execute("PRAGMA freelist_count").fetchone()[0]), _VACUUM_PAGES):
                # executescript, because the pragma frees one page for each step and execute() takes only one. A part
                # at a time, because writers wait meanwhile.
                part = f"PRAGMA incremental_vacuum({_VACUUM_PAGES})"
                self._patiently(connection.executescript, part, deadline - time.monotonic())
            while catalog_log.empty(connection) and time.monotonic() < deadline:
                time.sleep(catalog_log.RETRY_SECONDS)

    def close(self) -> None:
        """Closes all connections. Later use raises StoreClosed."""
        self._pool.close()
        if self._foreign is not None:
            self._foreign.close()
        release(self)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        use = object()
        try:  # first: an interrupt may come between any two calls
            self._inside.add(use)
            with sqlite_errors(self.path, unwritable=_UNREADABLE if self._readonly else None):
                if self._foreign is None:
                    with self._pool.connection(self._connect) as connection:
                        yield connection
                    return
                with self._foreign.connection() as foreign:
                    yield foreign
        finally:
            self._inside.discard(use)

    def _connect(self) -> sqlite3.Connection:
        self._require_same_file()  # SQLite would make an empty one in a folder that is being restored
        require_own(self.path, self._file_now())
        connection = sqlite3.connect(
            self.path,
            timeout=self._timeout,
            isolation_level=None,  # transactions are ours to begin: sqlite3's implicit ones are never IMMEDIATE
            check_same_thread=False,
        )
        try:
            for pragma in _PRAGMAS:  # some look at the file, and may have to wait
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA busy_timeout = 0")  # see `_patiently`
        except BaseException:
            connection.close()
            raise
        return connection


def records(db: Database, names: Sequence[str], sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """All rows of a query whose columns have these names."""
    return checked(names, db.execute(sql, arguments).fetchall())


def rows(db: Database, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    """All rows of a query, as dictionaries."""
    cursor = db.execute(sql, arguments)
    found = cursor.fetchall()  # first: with rows left, a cursor in a traceback that is kept would keep the log
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in checked(names, found)]


def checked(names: Sequence[str], values: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows that were read, of columns of these names, once each value was found to be of its column's type.

    SQLite refuses to write others (STRICT), and reads whatever a damaged page says.

    Raises:
        IntegrityError: a value is not.
    """
    for name, column in zip(names, _COLUMNS):
        types = COLUMN_TYPES.get(name)
        # Not zip(*values), which makes an iterator of each row: many make Python's collector go through all objects.
        if types is not None and not types.issuperset(map(type, map(column, values))):
            raise IntegrityError(f"The catalog holds a {name} that is of another type than all are: it is damaged. Run "
                                 "`docstore repair`, or restore a backup.")  # fmt: skip
    return values


def row(db: Database, sql: str, *arguments: Any) -> dict[str, Any] | None:
    """The first row of a query, or None."""
    found = rows(db, sql, *arguments)
    return found[0] if found else None
