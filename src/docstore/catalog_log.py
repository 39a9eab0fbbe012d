"""The catalog's write-ahead log: emptying it, and the room that takes on a full disk."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from docstore.durable import storage_errors
from docstore.errors import StoreLocked

_PAGE = 4096  # bytes
_MOST_WRITTEN = 1 << 19  # bytes, half of the reserve: most transactions write less

RETRY_SECONDS = 0.002
"""Between two attempts at what others who use the catalog keep us from."""


def empty(connection: sqlite3.Connection) -> bool:
    """Moves all of the log into the file, and makes it empty. Whether somebody who reads or writes kept us from it:
    connections do not wait."""
    ((is_busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return bool(is_busy)


def unmoved(connection: sqlite3.Connection, path: Path) -> int:
    """Bytes that the file grows by when the log is moved into it."""
    pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    try:
        return pages * _PAGE - os.stat(path).st_size  # noqa: PTH116  (of a Path: each commit asks for it)
    except OSError:
        return 0  # for a look that fails no change may fail


def require_room(connection: sqlite3.Connection, path: Path, deadline: float) -> None:
    """Empties the log on a full disk, before one more transaction. While somebody reads what was, it cannot be moved,
    and each transaction makes it grow into the room for that: in the end nothing could be deleted any more.

    Raises:
        StoreLocked: somebody does until the deadline, and the room would not do for both.
    """
    while empty(connection) and _is_short(connection, path):
        if time.monotonic() > deadline:
            raise StoreLocked("The disk is full, and somebody who reads or writes keeps the catalog's log from being "
                              "emptied: a search, an export, a backup, or a process that was stopped. Try again when "
                              "that has ended, or free some space.")  # fmt: skip
        time.sleep(RETRY_SECONDS)


def _is_short(connection: sqlite3.Connection, path: Path) -> bool:
    with storage_errors("looking how full the disk is"):
        found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize < unmoved(connection, path) + _MOST_WRITTEN
