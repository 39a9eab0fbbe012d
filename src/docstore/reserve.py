"""Reserve: ballast that is thrown out when the disk is full, so that references can be dropped and garbage collected.

SQLite must write to delete, even on a disk without a free byte. Nothing is stored in the file; losing it costs nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

from docstore.durable import size_of, storage_errors
from docstore.errors import StorageError

RESERVE = "reserve"
"""The file's name in the store's folder."""

SIZE = 1 << 20
"""Bytes. Dooming or reaping a batch of documents writes some 100 pages of 4 KiB to SQLite's log."""

_AMPLE = 4 * SIZE  # free bytes: fewer may be what another process was just lent

_TO_COLLECT = SIZE // 2  # bytes: more than a transaction that collects takes on a full disk

_WAITS = (0.05, 0.1, 0.2, 0.4)  # seconds at most, before each further try

_T = TypeVar("_T")


class Reserve:
    """The reserve of one store."""

    def __init__(self, folder: Path, *, readonly: bool) -> None:
        self._path = folder / RESERVE
        self._readonly = readonly
        self._lent = threading.local()

    def fill(self) -> None:
        """Makes the file, unless it is there or the disk has no room for it: then the next opening tries again."""
        with contextlib.suppress(OSError):
            if self._readonly or self.size() == SIZE:
                return
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _allocate(fd, SIZE)
            except OSError:
                self._path.unlink(missing_ok=True)  # a part of it would be in others' way and too small for us
            finally:
                os.close(fd)

    def size(self) -> int:
        """Bytes it takes now."""
        return size_of(self._path)

    def require(self, growth: int) -> None:
        """Called before the store grows. It may fill the disk only while the reserve is whole: opening a store on a
        full disk may have used the reserve, and what is left then is for what frees space.

        Args:
            growth: bytes that the catalog grows by, once its log is moved into it. If they are many, there must be
                room for them now: the reserve might be too small.

        Raises:
            StorageError: there is too little room.
        """
        is_whole = self.size() == SIZE
        if self._readonly or (is_whole and growth <= SIZE // 2) or getattr(self._lent, "is_mine", False):
            return
        needed = 2 * growth if is_whole else max(2 * growth, _AMPLE)  # the log has the same pages until then
        if (free := self._free()) < needed:
            raise StorageError(
                f"The disk is full: of {self._path.parent} {free:,} bytes are free, which are kept for "
                f"what frees space. Remove documents and collect, or free space: {needed:,} bytes."
            )
        self.fill()

    def require_room_to_collect(self) -> None:
        """Called by what runs on the reserve, and frees no space by itself.

        Raises:
            StorageError: less of the reserve is left than a collection takes.
        """
        if self.size() < _TO_COLLECT and not self._fits(_TO_COLLECT):
            raise StorageError(
                f"The disk is full: fewer than {_TO_COLLECT:,} bytes are free in {self._path.parent}, which a "
                "collection needs. Nothing more was dropped. Collect first, with a shorter grace period if there is "
                "one, or free space."
            ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # so `lend` tries again: somebody may be collecting

    def is_short(self) -> bool:
        """Whether transactions that free space must still be small, to fit into what was lent."""
        return not self._fits(_AMPLE)

    def _free(self) -> int:
        with storage_errors("looking how full the disk is"):
            found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def _fits(self, size: int) -> bool:
        """Whether so many bytes can be allocated. What the file system says is free takes no account of quotas, nor of
        what only root may use."""
        try:
            fd = os.open(self._path.parent, os.O_TMPFILE | os.O_RDWR, 0o600)
        except (OSError, AttributeError):  # not every system, or file system, has files without a name
            return self._free() >= size
        try:
            _allocate(fd, size)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def lend(
        self, operation: Callable[[], _T], frugally: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> _T:
        """Runs what frees space, in this thread; where the disk is full, again with the reserve's space free.

        Args:
            frugally: a context in which SQLite's log is emptied after every transaction, so that the reserve need
                only be as large as one.
        """
        before, self._lent.is_mine = getattr(self._lent, "is_mine", False), True
        try:
            return self._lend(operation, frugally)
        finally:
            self._lent.is_mine = before

    def while_opening(self, operation: Callable[[], _T]) -> _T:
        """Runs what opens the catalog; where the disk is full, as `lend` does. But no reserve is made before that:
        the folder may be another program's, or a newer version's."""
        try:
            return operation()
        except StorageError as error:
            if self._readonly or not _is_full(error):
                raise
        return self.lend(operation)

    def _lend(self, operation: Callable[[], _T], frugally: Callable[[], AbstractContextManager[object]]) -> _T:
        self.fill()
        if self._readonly or self.size() == SIZE:
            try:
                return operation()
            except StorageError as error:
                if self._readonly or not _is_full(error):
                    raise
            with contextlib.suppress(OSError):
                self._path.unlink()
        # Where there is no room for the reserve, what is left of it must last for many such operations.
        try:
            waits = iter(_WAITS)
            while True:
                try:
                    with frugally():
                        return operation()
                except StorageError as error:
                    # Another process may have made the reserve anew, or has what it gave: it will not for long.
                    if not _is_full(error) or (wait := next(waits, None)) is None:
                        raise
                with contextlib.suppress(OSError):
                    self._path.unlink()
                time.sleep(wait * os.urandom(1)[0] / 256)  # `random` is slow to import
        finally:
            self.fill()


def _allocate(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    elif os.pwrite(fd, bytes(size), 0) < size:  # macOS has none
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_full(error: BaseException) -> bool:
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        # SQLite says IOERR where it could not extend its shared memory file.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return cause is not None and _is_full(cause)
