"""SQLite's errors in our words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from docstore.errors import DocStoreError, IntegrityError, QuotaExceeded, StorageError, StoreLocked

# SQLite's primary result codes (https://sqlite.org/rescode.html): which of our errors each one is.
_TRANSLATION: dict[int, tuple[type[DocStoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreLocked, "Another process holds its write lock. Try again, or raise `timeout`."),
    sqlite3.SQLITE_LOCKED: (StoreLocked, "Another process holds its write lock. Try again, or raise `timeout`."),
    sqlite3.SQLITE_FULL: (StorageError, "The disk is full. Nothing was changed; free space, then try again."),
    sqlite3.SQLITE_IOERR: (StorageError, "The disk failed or is full. Nothing was changed; check it, then try again."),
    sqlite3.SQLITE_CANTOPEN: (
        StorageError,
        "It cannot be opened. Check that its folder exists, is permitted, and has room, and that this process may open "
        "more files (`ulimit -n`); or open with readonly=True.",
    ),
    sqlite3.SQLITE_READONLY: (
        StorageError,
        "It, or the -wal or -shm beside it, is not writable: another user may have made them. Check their permissions "
        "and their folder's, or open with readonly=True.",
    ),
    sqlite3.SQLITE_PERM: (StorageError, "Access is not permitted. Check permissions."),
    sqlite3.SQLITE_CORRUPT: (IntegrityError, "It is damaged. Restore it from a backup; the documents are not in it."),
    sqlite3.SQLITE_NOTADB: (IntegrityError, "It is no SQLite database. Restore it from a backup."),
    sqlite3.SQLITE_CONSTRAINT: (
        IntegrityError,
        "It contradicts itself. Run `docstore repair`; please report it if that does not help.",
    ),
}

# No table of that name, text that is no UTF-8: our statements are right for a catalog that is as we made it.
_UNEXPECTED = (IntegrityError, "It is damaged or was changed by others: run `docstore verify`, or restore a backup. "
                               "Please report it if it is not.")  # fmt: skip


class sqlite_errors:  # noqa: N801  (used as a function is; as a generator each piece that is read would pay for it)
    """A context that turns SQLite's errors into ours, naming the file."""

    __slots__ = ("_damaged", "_locked", "_path", "_unwritable", "_what")

    def __init__(
        self, path: Path, what: str = "catalog", damaged: str | None = None, unwritable: str | None = None,
        locked: str | None = None,
    ) -> None:  # fmt: skip
        """
        Args:
            damaged: what to do about a file that is, instead of what one does about a catalog.
            locked: who may hold a lock, likewise.
            unwritable: what to do where SQLite would have to write, instead of checking permissions.
        """
        self._path, self._what, self._damaged, self._unwritable = path, what, damaged, unwritable
        self._locked = locked

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise self._translated(error) from error
        if isinstance(error, UnicodeDecodeError):  # in a message of SQLite's that quotes damaged bytes
            advice = self._damaged or _UNEXPECTED[1]
            raise IntegrityError(f"The {self._what} {self._path} cannot be read ({error}). {advice}") from error

    def _translated(self, error: sqlite3.Error) -> DocStoreError:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_CONSTRAINT and str(error).startswith("quota: "):  # see m009_limits
            reason = str(error).removeprefix("quota: ")
            raise QuotaExceeded(f"Nothing was changed: {reason}. Remove documents, or raise the limit.") from error
        kind, advice = _TRANSLATION.get(code, _UNEXPECTED)
        if kind is IntegrityError:
            advice = self._damaged or advice
        elif kind is StoreLocked:
            advice = self._locked or advice
        elif code == sqlite3.SQLITE_READONLY:
            advice = self._unwritable or advice
        return kind(f"The {self._what} {self._path} refused: {error}. {advice}")
