"""Reserve: ballast that is thrown out when the disk is full, so that references can be dropped and garbage collected.

SQLite must write to delete, even on a disk without a free byte. Nothing is stored in the file; losing it costs nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from docstore.errors import StorageError

RESERVE = "reserve"
"""The file's name in the store's folder."""

SIZE = 1 << 20
"""Bytes. Dooming or reaping a batch of documents writes some 100 pages of 4 KiB to SQLite's log."""

_T = TypeVar("_T")


class Reserve:
    """The reserve of one store."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RESERVE

    def fill(self) -> None:
        """Makes the file, unless it is there or the disk has no room for it: then the next opening tries again."""
        with contextlib.suppress(OSError):
            if self.size() == SIZE:
                return
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(fd, 0, SIZE)
            except OSError:
                self._path.unlink(missing_ok=True)  # a part of it would be in others' way and too small for us
            finally:
                os.close(fd)

    def size(self) -> int:
        """Bytes it takes now."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def lend(self, operation: Callable[[], _T]) -> _T:
        """Runs what frees space; where the disk is full, a second time with the reserve's space free."""
        try:
            return operation()
        except StorageError as error:
            if not _is_full(error) or not self.size():
                raise
        with contextlib.suppress(OSError):
            self._path.unlink()
        try:
            return operation()
        finally:
            self.fill()


def _is_full(error: BaseException) -> bool:
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        # SQLite says IOERR where it could not extend its shared memory file.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return cause is not None and _is_full(cause)
