"""Accesses: when each workspace was last used, kept in memory and written now and then, since a search must not write.

A note of the same workspace is written at most once a minute, and when the store is closed. Where the catalog is locked
it is not waited for: what is written is late then, which `expire` allows for. A crash loses what is not written.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from docstore import lifetimes, moments
from docstore.database import CatalogDatabase
from docstore.errors import DocStoreError

_EVERY = timedelta(minutes=1)
_RETRY = timedelta(seconds=1)  # after the catalog was locked; every search would try otherwise
_PATIENCE_SECONDS = 1.0

MERCY = _EVERY + timedelta(seconds=30)
"""How late the written accesses of a workspace in use may be, a lock that is taken meanwhile included."""


class Accesses:
    """The accesses of one open store. Safe for threads; a race between two costs a note, which is soon made again."""

    def __init__(self, database: CatalogDatabase, *, readonly: bool) -> None:
        self._database = database
        self._readonly = readonly
        self._noted: dict[int, datetime] = {}
        self._due: dict[int, datetime] = {}  # when each workspace's note is to be written
        self._blocked: datetime | None = None  # until when nobody tries

    def note(self, workspace: int) -> None:
        """The workspace is used now."""
        if self._readonly:
            return
        now = moments.now()
        self._noted[workspace] = now
        due = self._due.get(workspace)
        if (due is None or due <= now) and (self._blocked is None or self._blocked <= now):
            self.write()

    def write(self, timeout: float = 0) -> None:
        """Writes what is noted, unless the catalog stays locked. Whoever searches must not fail for a note."""
        noted = dict(self._noted)
        if not noted:
            return
        now = moments.now()
        self._blocked = now + _RETRY
        with suppress(DocStoreError):
            with self._database.write(timeout=timeout) as db:
                lifetimes.note(db, noted)
            self._blocked = None
            self._forget(noted, now)

    def _forget(self, written: dict[int, datetime], now: datetime) -> None:
        for workspace, moment in written.items():
            self._due[workspace] = now + _EVERY
            if self._noted.get(workspace) == moment:
                self._noted.pop(workspace, None)
        for workspace, due in list(self._due.items()):
            if due <= now:
                self._due.pop(workspace, None)

    def flush(self) -> None:
        """Writes what is noted, with some patience."""
        self.write(_PATIENCE_SECONDS)
