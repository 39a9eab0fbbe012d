"""Archive: small pieces of many documents as rows of one SQLite file; a file for each would cost more than it holds.

The file is a SQLite Archive (https://sqlite.org/sqlar.html): a piece's name is the path that its loose file would have,
and its data is never deflated. `sqlite3 small.sqlar -Ax`, in the store's folder, unpacks it into files that serve as
well.

Only the holder of the catalog's write lock changes it, in transactions that are over before the catalog's own commits:
`writing` gives one. The journal is a rollback journal: what is appended is written once, a reader needs no file beside
it, and waits for a commit at most. TRUNCATE with FULL syncs the emptied journal, so a commit stays after a power cut;
with DELETE its directory would have to be synced. `auto_vacuum` and `secure_delete` leave nothing of what was deleted.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docstore import sqlar
from docstore.durable import size_of, storage_errors, sync_directory
from docstore.errors import IntegrityError
from docstore.forking import in_child
from docstore.ownfiles import protect, release
from docstore.pool import Pool, discard
from docstore.sqlite_errors import sqlite_errors

ARCHIVE = "small.sqlar"
"""The file's name in the store's folder."""

JOURNAL = f"{ARCHIVE}-journal"
"""SQLite's own file beside it, empty while nothing is written."""

_TOGETHER_SECONDS = 0.005  # of reading in one transaction, for which a commit may have to wait
_FILE = 0o100644  # the mode that unpacking gives a piece
_LOCKED = "Another process writes to it, or was stopped while it read it. Try again, or raise `timeout`."
_UNWRITABLE = "It, or the -journal beside it, is not writable: another user may have made it. Check permissions."
_HOT = "A crash interrupted a change of it, which reading must undo first. Open the store once without readonly=True."

_PUT = """INSERT INTO sqlar VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE
          SET mode = excluded.mode, mtime = excluded.mtime, sz = excluded.sz, data = excluded.data"""


class _Connection(sqlite3.Connection):
    """One that knows which file it opened, since another may have been put in its place."""

    inode = 0
    is_checked = False
    """Whether its schema was looked at."""


@dataclass(slots=True, eq=False, repr=False)
class _Reading:
    """A thread's looks at the archive in one transaction."""

    connection: _Connection | None = None
    until: float = 0.0
    """When, at the next look, the transaction ends."""
    sizes: dict[str, int | None] = field(default_factory=dict)
    """What `look_ahead` found."""


class Archive:
    """The archive of one store. Safe for threads and after fork."""

    def __init__(self, folder: Path, *, readonly: bool, timeout: float) -> None:
        self.path = folder / ARCHIVE
        self._readonly = readonly
        self._timeout = timeout
        self._pool = Pool(folder)
        self._writer: _Connection | None = None
        self._waiting: list[tuple[str, int, int, int, bytes]] = []
        """Pieces that are put in the transaction, when anybody asks or it ends."""
        self._local = threading.local()
        self._owner: int | None = None
        """The thread in whose transaction we are."""
        self._turn: object = None
        """Of `writing`: only the last one ends what is there."""
        self._is_new = False
        """Whether the transaction makes the file."""
        self._changes = 0
        """Of the writer's connection, when its transaction began."""
        self.deleted_bytes = 0
        """Of pieces, in the transaction so far."""
        in_child(self._leave_parent)
        protect(self)

    def _leave_parent(self) -> None:
        self._pool.leave_parent()
        if self._writer is not None:
            self._pool.abandon(self._writer)
        self._writer = self._owner = None
        self._waiting = []

    # -- reading --------------------------------------------------------------------------------------------------

    def size(self, name: str) -> int | None:
        """The bytes of a piece, or None when there is none of this name."""
        reading: _Reading | None = getattr(self._local, "reading", None)
        if reading is not None and name in reading.sizes:
            return reading.sizes[name]
        found = self._rows("SELECT length(data) FROM sqlar WHERE name = ?", name)
        return int(found[0][0] or 0) if found else None

    def look_ahead(self, names: Sequence[str]) -> None:
        """Looks up the sizes of many pieces in one statement, a third of the time of as many. While this thread's
        `reading` lasts, `size` gives what was found: for those who hold the catalog's write lock, so it stays true."""
        found = self._rows(
            f"SELECT name, length(data) FROM sqlar WHERE name IN ({', '.join('?' * len(names))})", *names
        )
        self._local.reading.sizes = dict.fromkeys(names) | {name: int(size or 0) for name, size in found}

    def read(self, name: str, most: int) -> bytes | None:
        """A piece, or None when there is none of this name. Raises what `read_all` does."""
        return self.read_all([name], most).get(name)

    def read_all(self, names: Sequence[str], most: int) -> dict[str, bytes]:
        """Those of some pieces that are there, by name, in one statement. All are in memory at once, so ask for few.
        Raises IntegrityError where one has more bytes than `most`, or is none."""
        marks = ", ".join("?" * len(names))
        # No more is read than was published, however large it has become.
        query = f"SELECT name, CASE WHEN length(data) <= ? THEN data END FROM sqlar WHERE name IN ({marks})"
        found = dict(self._rows(query, most, *names))
        if odd := [name for name, data in found.items() if not isinstance(data, bytes)]:
            raise IntegrityError(f"{odd[0]} in {self.path} does not hold the bytes that were published there: it was "
                                 f"changed or damaged. {sqlar.ADVICE}")  # fmt: skip
        return found

    def names(self, root: str) -> list[str]:
        """The names below a root, such as `documents/ab`, in order."""
        found = self._rows("SELECT name FROM sqlar WHERE name > ? AND name < ? ORDER BY name", f"{root}/", f"{root}0")
        return [str(name) for (name,) in found]

    def below(self, root: str) -> list[str]:
        """What a directory would hold where these names were paths: the parts after `root`, each once."""
        found, after = [], f"{root}/"
        query = "SELECT name FROM sqlar WHERE name > ? AND name < ? ORDER BY name LIMIT 1"
        while row := self._rows(query, after, f"{root}0"):
            part = str(row[0][0])[len(root) + 1 :].partition("/")[0]
            found.append(part)
            after = f"{root}/{part}0"  # the character after a slash: past all that lies below
        return found

    def strangers(self) -> list[str]:
        """Names that docstore never gives a piece. Reads all names."""
        odd = self._rows("SELECT name FROM sqlar WHERE typeof(name) <> 'text' OR name = ''")
        found = [repr(name) for (name,) in odd]
        last = ""
        while some := self._rows("SELECT name FROM sqlar WHERE name > ? AND name < x'' ORDER BY name LIMIT 4096", last):
            found += [name for (name,) in some if sqlar.OURS.match(name) is None]
            last = some[-1][0]
        return found

    def overhead(self) -> int:
        """Bytes that it takes beyond those of its pieces."""
        used = sum(size_of(self.path.with_name(name)) for name in (ARCHIVE, JOURNAL))
        held = self._rows("SELECT bytes FROM held") if used else []
        return used - (int(held[0][0]) if held else 0)

    def problems(self) -> list[str]:
        """What is wrong with the file as a whole. Reads it to its end; who commits to it waits meanwhile."""
        # Twice, since a call that failed looks like damage, and may have been the moment's fault.
        return self._damage() and self._damage()

    def _damage(self) -> list[str]:
        try:
            found = [str(detail) for (detail,) in self._rows("PRAGMA integrity_check") if detail != "ok"]
            entries = self._rows(sqlar.ENTRIES)
            if not found and entries and not sqlar.is_ours(entries, sqlar.EXPECTED):
                found = ["its schema is not the one that docstore makes"]
            if not found and self._rows(sqlar.HELD_IS_WRONG):
                found = ["what it says that it holds is not what it holds"]
        except IntegrityError as error:
            found = [str(error)]
        return found

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """What this thread reads inside, it reads in transactions of many looks, each of which then takes a quarter of
        the time: the file need not be locked, and its journal looked for, each time."""
        reading = self._local.reading = _Reading()
        try:
            yield
        finally:
            self._local.reading = None
            with self._errors():
                self._end(reading)

    def let_writers(self) -> None:
        """Ends the transaction of this thread's `reading` if its time is over; the next look begins another. For who
        also reads elsewhere, which may take long: a commit waits meanwhile, with the catalog's write lock."""
        reading: _Reading | None = getattr(self._local, "reading", None)
        if reading is not None and time.monotonic() > reading.until:
            with self._errors():
                self._end(reading)

    def _end(self, reading: _Reading) -> None:
        connection, reading.connection = reading.connection, None
        if connection is not None:
            connection.execute("COMMIT")
            self._pool.give_back(connection)

    def _rows(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._errors(), storage_errors("reading the archive"):
            if self._owner == threading.get_ident():
                self._put_waiting()
            if self._writer is not None and self._owner == threading.get_ident():
                return self._writer.execute(sql, arguments).fetchall()
            reading: _Reading | None = getattr(self._local, "reading", None)
            connection = (reading and reading.connection) or self._reader()
            if connection is None:
                return []
            try:
                if reading is not None and reading.connection is None:
                    connection.execute("BEGIN")
                    reading.connection, reading.until = connection, time.monotonic() + _TOGETHER_SECONDS
                found = connection.execute(sql, arguments).fetchall()
            except BaseException:
                if reading is not None:
                    reading.connection = None
                discard(connection)
                raise
            if reading is None:
                self._pool.give_back(connection)
            self.let_writers()
            return found

    def _reader(self) -> _Connection | None:
        """A connection, if there is anything to read."""
        if self._inode() is None:
            return None
        connection = self._taken()
        try:
            if self._is_made(connection):
                return connection
        except BaseException:
            connection.close()
            raise
        self._pool.give_back(connection)
        return None

    def _is_made(self, connection: _Connection) -> bool:
        """Whether there are tables: a crash may have left the file without when it was made."""
        if not connection.is_checked:
            if sqlar.is_empty(connection):
                return False
            sqlar.require(connection, sqlar.EXPECTED[:1], self.path)
            connection.is_checked = True
        return True

    def _inode(self) -> int | None:
        """Which file it is. None while there is nothing in it."""
        try:
            found = os.stat(self.path)  # noqa: PTH116  (of a Path: each piece that is read asks for it)
        except FileNotFoundError:
            return None
        return found.st_ino if found.st_size else None

    # -- writing --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Changes inside are durable when the block has ended, and undone when it fails.

        Under the catalog's write lock, whose transaction must commit after: a row is never there without its piece.
        """
        # Whoever was interrupted while entering leaves when the traceback goes. The catalog's lock says they are out.
        turn = self._turn = object()
        self._waiting = []
        self._owner, self._is_new, self.deleted_bytes = threading.get_ident(), False, 0
        try:
            yield
            self.commit()
        finally:
            # At once: between calls an interrupt may come, Ctrl-C for example, and a transaction that nobody ends any
            # more would lock everybody out.
            if self._turn is turn:
                writer, self._writer, self._owner, self._waiting = self._writer, None, None, []
                if writer is not None:
                    discard(writer)

    def put(self, name: str, data: bytes) -> None:
        """Stores a piece, in the place of one that has its name."""
        assert self._owner == threading.get_ident()
        self._waiting.append((name, _FILE, int(time.time()), len(data), data))

    def _put_waiting(self) -> None:
        # Many in one call, which takes half of the time of as many calls.
        if self._waiting:
            self._begun().executemany(_PUT, self._waiting)
            self._waiting.clear()

    def delete(self, name: str) -> None:
        """Deletes a piece, if it is there."""
        assert self._owner == threading.get_ident()
        if not self._waiting and self._writer is None and self._inode() is None:
            return
        with self._errors():
            self._put_waiting()
            gone = self._begun().execute("DELETE FROM sqlar WHERE name = ? RETURNING length(data)", (name,)).fetchall()
            self.deleted_bytes += sum(int(size or 0) for (size,) in gone)

    def tidy(self) -> None:
        """Removes what a crash may leave: a journal that does not count yet, and pages that a commit freed and did not
        cut off yet. Both hold old bytes, and perhaps no change ever comes that would clear them."""
        used = size_of(self.path)
        pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        if used and (size_of(self.path.with_name(JOURNAL)) or self._rows(pages) not in ([], [(used,)])):
            with self._errors(), storage_errors("tidying the archive"):
                writer = self._begun()
                writer.execute("UPDATE held SET pieces = pieces")
                # By its name: to open the file and close it would drop the locks that SQLite holds on it.
                os.truncate(self.path, min(used, writer.execute(pages).fetchone()[0]))

    def commit(self) -> None:
        """After this returns, every change survives a power cut. The rows may be committed."""
        if self._writer is None and not self._waiting:
            return
        with self._errors():
            self._put_waiting()
            writer = self._begun()
            # A commit waits for all readers, for one that was stopped as long as it may: so not where there is nothing
            # to commit, as when what was to be deleted is a file.
            is_changed = self._is_new or writer.total_changes != self._changes
            writer.execute("COMMIT" if is_changed else "ROLLBACK")
        self._writer = None  # until then `writing` closes it
        if self._is_new:
            with storage_errors("making the archive"):
                sync_directory(self.path.parent)
        self._pool.give_back(writer)

    def _begun(self) -> sqlite3.Connection:
        """The connection of the transaction, which begins with its first change."""
        assert self._owner == threading.get_ident()
        if self._writer is None:
            writer = self._taken()
            try:
                if sqlar.is_empty(writer):
                    # Each commit gives back the pages of what it deleted. Possible only before the first table; and it
                    # writes, so it is nothing for readers to do.
                    writer.execute("PRAGMA auto_vacuum = FULL")
                writer.execute("BEGIN IMMEDIATE")
                if sqlar.is_empty(writer):
                    for statement in sqlar.SCHEMA:
                        writer.execute(statement)
                    self._is_new = True
                else:
                    sqlar.require(writer, sqlar.EXPECTED, self.path)
            except BaseException:
                discard(writer)
                raise
            self._writer, self._changes = writer, writer.total_changes
        return self._writer

    # -- connections ----------------------------------------------------------------------------------------------

    def _taken(self) -> _Connection:
        """A connection to the file that is there now: another may have been put in its place, or it was removed."""
        now = self._inode()
        taken = self._pool.take(self._connect)
        assert isinstance(taken, _Connection)
        if taken.inode == now:
            return taken
        taken.close()
        self._pool.forget()
        return self._connect()

    def _connect(self) -> _Connection:
        mode = "ro" if self._readonly else "rw" if self._owner != threading.get_ident() else "rwc"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,  # transactions are ours to begin
            check_same_thread=False,
            factory=_Connection,
        )
        try:
            for pragma in sqlar.PRAGMAS if not self._readonly else sqlar.PRAGMAS_OF_READERS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.inode = self.path.stat().st_ino
        except BaseException:
            connection.close()
            raise
        return connection

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return sqlite_errors(self.path, "archive", sqlar.ADVICE, _HOT if self._readonly else _UNWRITABLE, _LOCKED)

    def close(self) -> None:
        """Closes all connections. Later use raises StoreClosed."""
        self._pool.close()
        release(self)
