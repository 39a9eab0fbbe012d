"""Accesses: when each workspace was last used, kept in memory and written now and then, since a search must not write.

A note of the same workspace is written at most once a minute, and when the store is closed. Where the catalog is locked
it is not waited for: what is written is late then, which `expire` allows for. A crash loses what is not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from docstore import lifetimes, moments
from docstore.database import CatalogDatabase, Database
from docstore.errors import DocStoreError

_EVERY = timedelta(minutes=1)
_RETRY = timedelta(seconds=1)  # after the catalog was locked; every search would try otherwise
_PATIENCE_SECONDS = 1.0
_SOME_DUE = 1000  # workspaces, before those are forgotten that nobody used lately

MERCY = _EVERY + timedelta(seconds=30)
"""How late the written accesses of a workspace in use may be, a lock that is taken meanwhile included."""


class Accesses:
    """The accesses of one open store. Safe for threads; a race between two costs a note, which is soon made again.

    A workspace's note is written by its own users, with those of what it includes: what others do must not show in the
    time they take.
    """

    def __init__(self, database: CatalogDatabase, *, readonly: bool) -> None:
        self._database = database
        self._readonly = readonly
        self._noted: dict[int, datetime] = {}
        self._due: dict[int, datetime] = {}  # when each workspace's next note is written at once
        self._most_due = _SOME_DUE

    def note(self, *workspaces: int) -> None:
        """The workspaces are used now: one, and what it includes."""
        if self._readonly:
            return
        now = moments.now()
        noted = dict.fromkeys(workspaces, now)
        self._noted.update(noted)
        if due := {each: now for each in noted if self._is_due(each, now)}:
            written = self._write(due, timeout=0)
            self._postpone(due, now, _EVERY if written else _RETRY)

    def _postpone(self, noted: Iterable[int], now: datetime, delay: timedelta) -> None:
        if len(self._due) > self._most_due:  # what is past says nothing
            self._due = {each: due for each, due in self._due.copy().items() if due > now}
            self._most_due = _SOME_DUE + 2 * len(self._due)
        self._due.update(dict.fromkeys(noted, now + delay))

    def created(self, workspace: int, moment: datetime) -> None:
        """The workspace was created at about this moment, which counts as an access that is written."""
        self._due[workspace] = moment + _EVERY

    def deleted(self, workspace: int) -> None:
        """The workspace is gone: there is nothing to write."""
        self._noted.pop(workspace, None)
        self._due.pop(workspace, None)

    @contextmanager
    def change(self, workspace: int, *, grows: bool = False) -> Iterator[Database]:
        """A write transaction for a change of the workspace, which is an access too: where its note is due, it is
        written in the same commit.

        Args:
            workspace: 0 where no workspace is changed by its own users: nobody's access is noted.
        """
        with self._database.write(grows=grows) as db:
            now = moments.now()
            is_due = workspace != 0 and self._is_due(workspace, now)
            if is_due:
                lifetimes.note(db, {workspace: now})
            yield db
        if is_due:
            self._postpone([workspace], now, _EVERY)
            self._forget(workspace, now)
        elif workspace != 0:
            self._noted[workspace] = now

    def _is_due(self, workspace: int, now: datetime) -> bool:
        due = self._due.get(workspace)
        return due is None or due <= now

    def flush(self) -> None:
        """Writes what is noted, with some patience."""
        if noted := dict(self._noted):
            self._write(noted, _PATIENCE_SECONDS)

    def _write(self, noted: dict[int, datetime], timeout: float) -> bool:
        # Whoever searches must not fail for a note.
        with suppress(DocStoreError):
            with self._database.write(timeout=timeout) as db:
                lifetimes.note(db, noted)
            for workspace, moment in noted.items():
                self._forget(workspace, moment)
            return True
        return False

    def _forget(self, workspace: int, written: datetime) -> None:
        moment = self._noted.get(workspace)
        if moment is not None and moment <= written:
            self._noted.pop(workspace, None)
