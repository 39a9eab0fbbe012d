"""Reading a catalog without a lock, and without SQLite's shared memory: where it is not shared, see readonly.py.

A catalog without a log is opened in place as immutable: SQLite then takes no lock and makes no file. One with pages in
its log, which SQLite cannot read without writing to its index of them, is copied with its log to a temporary folder
elsewhere, and opened there. What was opened serves until the file or the log changes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from docstore.durable import descriptor, storage_errors
from docstore.errors import IntegrityError, StorageError, StoreLocked
from docstore.forking import in_child

_HEADER = 32  # bytes of the log that change whenever it is begun anew: the salts are in them
_TICK_NS = 20_000_000  # clocks of file systems may stand still for this long
_WHOLE_NS = 1_000_000_000
_COARSE_TICK_NS = 2 * _WHOLE_NS + _TICK_NS  # and where they count seconds, or every second one
_PAUSE_SECONDS = 0.005

# Of the process we were forked from: closing a connection here would take the parent's temporary files from it.
_inherited: list[_Image] = []


@dataclass(frozen=True, slots=True)
class _State:
    """What changes when the catalog does."""

    file: tuple[int, int, int]
    """Inode, size and time of the catalog's file."""
    log: tuple[int, int, int, bytes] | None
    """The same of the write-ahead log, and its first bytes; without its time where it is empty, since it is emptied
    again and again. None where there is none."""

    @classmethod
    def of(cls, path: Path) -> _State:
        # Never the file itself: closing any descriptor of it would drop the locks that SQLite holds on it in this
        # process (POSIX advisory locks). The log has no locks.
        log = None
        with contextlib.suppress(FileNotFoundError), _opened(Path(f"{path}-wal")) as wal:
            found = os.fstat(wal.fileno())
            log = (found.st_ino, found.st_size, found.st_mtime_ns if found.st_size else 0, wal.read(_HEADER))
        found = path.stat()
        return cls((found.st_ino, found.st_size, found.st_mtime_ns), log)

    @property
    def is_settled(self) -> bool:
        """Whether a later change would show: what changed within a tick of the clock may change unseen."""
        newest = max(self.file[2], self.log[2] if self.log is not None else 0)
        return time.time_ns() - newest > (_TICK_NS if newest % _WHOLE_NS else _COARSE_TICK_NS)

    @property
    def has_pages_in_log(self) -> bool:
        """Whether the file alone does not say all."""
        return self.log is not None and bool(self.log[3])


@dataclass(eq=False, slots=True)
class _Image:
    """An openable state of the catalog."""

    state: _State
    uri: str
    copied_to: Path | None
    settled: bool
    idle: list[sqlite3.Connection] = field(default_factory=list)
    users: int = 0

    def close(self) -> None:
        while self.idle:
            self.idle.pop().close()
        if self.copied_to is not None:
            shutil.rmtree(self.copied_to, ignore_errors=True)


class FrozenCatalog:
    """Connections to a catalog that is not ours to change. Safe for threads and after fork."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path, self._timeout = path, timeout
        self._guard = threading.Lock()
        self._image: _Image | None = None
        in_child(self._leave_parent)
        self._cleanup = weakref.finalize(self, lambda: None)

    def _leave_parent(self) -> None:
        self._guard = threading.Lock()
        self._cleanup.detach()
        if self._image is not None:
            _inherited.append(self._image)
        self._image = None

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection to the catalog as it is now.

        Raises:
            StoreLocked: it was changed under the hands of the block that used it.
        """
        with self._guard:
            image = self._current()
            connection = image.idle.pop() if image.idle else None
            image.users += 1
        try:
            connection = connection or _connect(image.uri)
            yield connection
        except StorageError:
            raise  # it says better what happened
        except Exception as error:
            if self._was_overwritten(image):
                raise self._changed() from error
            raise
        else:
            if self._was_overwritten(image):
                raise self._changed()
        finally:
            with self._guard:
                image.users -= 1
                if connection is not None:
                    image.idle.append(connection)
                if image is not self._image and not image.users:
                    image.close()

    def _was_overwritten(self, image: _Image) -> bool:
        # Pages of an immutable file must not change while they are read. A growing log alone changes none.
        if image.copied_to is not None:
            return False
        try:
            return _State.of(file_of(self._path)).file != image.state.file
        except OSError:  # it is not even there any more
            return True

    def _changed(self) -> StoreLocked:
        return StoreLocked(f"{self._path} was changed while it was read without locks (readonly=True). Try again.")

    def _current(self) -> _Image:
        with storage_errors("reading the catalog"):
            path = file_of(self._path)
            state = _State.of(path)
            if self._image is None or not self._image.settled or self._image.state != state:
                self.close()
                self._image = self._open(path)
                self._cleanup = weakref.finalize(self, self._image.close)
        return self._image

    def _open(self, path: Path) -> _Image:
        deadline = time.monotonic() + self._timeout
        while True:
            settled = (state := _State.of(path)).is_settled
            if not state.has_pages_in_log:
                return _Image(state, f"{path.as_uri()}?immutable=1", None, settled)
            if (folder := _copy(path, state)) is not None:
                return _Image(state, (folder / path.name).as_uri(), folder, settled)
            if time.monotonic() > deadline:
                raise self._changed()
            time.sleep(_PAUSE_SECONDS)

    def forget(self) -> None:
        """Closes what was opened: it is not what the next will read."""
        with self._guard:
            self.close()

    def close(self) -> None:
        """Closes what nobody uses; the rest closes when it is no longer used."""
        image, self._image = self._image, None
        self._cleanup.detach()
        if image is not None and not image.users:
            image.close()


def _opened(log: Path) -> BinaryIO:
    try:
        return open(descriptor(log), "rb")
    except IntegrityError as error:
        raise IntegrityError(f"{log} is no file: something else stands in its place. Remove it.") from error


def file_of(catalog: Path) -> Path:
    """The file itself, where a symbolic link leads to it now: SQLite has the log beside that."""
    # Only of a link: to resolve all folders above takes longer than what SQLite is then asked.
    return Path(os.path.realpath(catalog)) if os.path.islink(catalog) else catalog  # noqa: PTH114  (each read)


def _copy(path: Path, state: _State) -> Path | None:
    """A copy of file and log in a new temporary folder, or None when the log was begun anew meanwhile.

    File first, log after: whatever a checkpoint moves from the log to the file in between is still in the log, unless
    the log was begun anew, which changes its first bytes.
    """
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as immutable:
        # It is as long as it is, not as its first page says: who moves the log into it writes that page first, and may
        # have been killed before the last. Those that it lacks are in the log.
        immutable.execute("PRAGMA writable_schema = ON")
        data = immutable.serialize()
    try:
        log = Path(f"{path}-wal").read_bytes()
    except FileNotFoundError:  # the last who had it open has closed it
        return None
    now = _State.of(path)
    if now.log is None or state.log is None or now.log[3] != state.log[3]:
        return None
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="docstore-"))
        (folder / path.name).write_bytes(data)
        (folder / f"{path.name}-wal").write_bytes(log)
    except BaseException as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, OSError):  # an interrupt, or no memory
            raise
        raise StorageError(
            f"Copying the catalog to a temporary folder failed: {error}. It is in use by others, and readonly=True "
            "writes nothing beside it. Set TMPDIR to a folder with space."
        ) from error
    return folder


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    for pragma in ("query_only = ON", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
