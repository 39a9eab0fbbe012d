"""Accesses: when each workspace was last used, kept in memory and written now and then, since a search must not write.

A note of the same workspace is written at most once a minute, and when the store is closed. Where the catalog is locked
no search waits: a thread tries again until it is free. It also writes the notes of workspaces that nobody uses any
more, once there are many. So what is written is late, which `expire` allows for. A crash loses what is not written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from docstore import lifetimes, moments
from docstore.database import CatalogDatabase, Database
from docstore.errors import DocStoreError
from docstore.forking import around_fork, in_child

_EVERY = timedelta(minutes=1)
_RETRY = timedelta(seconds=1)  # after the catalog was locked; every search would try otherwise
_LATE_SECONDS = 0.05  # between two tries of the thread
_PATIENCE_SECONDS = 1.0
_SOME = 1000  # workspaces, before those are written, or forgotten, that nobody used lately
_TOGETHER = 256  # notes in one transaction: others wait for it, some milliseconds

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
        self._most_due = _SOME
        self._thinned: datetime | None = None
        self._late: dict[int, datetime] = {}  # whose note the thread is to write, and until when: then it is in vain
        self._begin_anew()
        in_child(self._begin_anew)
        around_fork(self._pause, self._resume)

    def _begin_anew(self) -> None:
        self._guard = threading.Lock()
        self._trying = threading.Lock()
        self._thread: threading.Thread | None = None
        self._late.clear()  # the parent's thread writes them

    def _pause(self) -> None:
        self._trying.acquire()  # or the child would inherit a connection in use: see `pool`

    def _resume(self) -> None:
        self._trying.release()

    def note(self, *workspaces: int) -> None:
        """The workspaces are used now: one, and what it includes."""
        if self._readonly:
            return
        now = moments.now()
        noted = dict.fromkeys(workspaces, now)
        self._noted.update(noted)
        self._thin(now)
        if due := {each: now for each in noted if self._is_due(each, now)}:
            written = self._write(due, timeout=0)
            self._postpone(due, now, _EVERY if written else _RETRY)
            if not written:
                self._write_later(due)

    def _thin(self, now: datetime) -> None:
        # Once a minute, since it goes through all; and with few, that nobody has used is no burden.
        if len(self._noted) > _SOME and (self._thinned is None or not self._thinned <= now < self._thinned + _EVERY):
            self._thinned = now
            if old := [each for each, moment in self._noted.copy().items() if moment < now - _EVERY]:
                self._write_later(old)

    def _write_later(self, noted: Iterable[int]) -> None:
        """A thread, and not whoever comes next: perhaps nobody does for long. And those of other workspaces would take
        longer for it."""
        with self._guard:
            self._late.update(dict.fromkeys(noted, moments.now() + MERCY))
            if self._thread is None:
                thread = threading.Thread(target=self._write_late, name="docstore accesses", daemon=True)
                with suppress(RuntimeError):  # there are as many as there may be: then the next search tries again
                    thread.start()
                    self._thread = thread

    def _write_late(self) -> None:
        is_over = False
        while not is_over:
            time.sleep(_LATE_SECONDS)
            with suppress(MemoryError):  # what was late still is
                is_over = self._write_some_late()

    def _write_some_late(self) -> bool:
        """Whether nothing is late any more: then no thread writes it."""
        now = moments.now()
        with self._guard:
            # Others may have written some, or deleted the workspace.
            self._late = {each: until for each, until in self._late.items() if until > now and each in self._noted}
            if not self._late:
                self._thread = None
                return True
            noted = {each: self._noted.get(each) for each in islice(self._late, _TOGETHER)}
        some = {each: moment for each, moment in noted.items() if moment is not None}
        with self._trying:
            if self._write(some, timeout=0):
                with self._guard:
                    for each in some:
                        self._late.pop(each, None)
        return False

    def _postpone(self, noted: Iterable[int], now: datetime, delay: timedelta) -> None:
        if len(self._due) > self._most_due:  # what is past says nothing
            self._due = {each: due for each, due in self._due.copy().items() if due > now}
            self._most_due = _SOME + 2 * len(self._due)
        self._due.update(dict.fromkeys(noted, now + delay))

    def created(self, workspace: int, moment: datetime) -> None:
        """The workspace was created at about this moment, which counts as an access that is written."""
        self._postpone([workspace], moment, _EVERY)

    def deleted(self, workspace: int) -> None:
        """The workspace is gone: there is nothing to write."""
        self._noted.pop(workspace, None)
        self._due.pop(workspace, None)

    def change(self, db: Database, workspace: int) -> datetime | None:
        """The workspace is changed in this transaction, which is an access too: where its note is due, it is written in
        the same commit. Returns what was written, for `changed`."""
        now = moments.now()
        if not self._is_due(workspace, now):
            return None
        lifetimes.note(db, {workspace: now})
        return now

    def changed(self, workspace: int, written: datetime | None) -> None:
        """The transaction of `change` is committed."""
        if written is not None:
            self._postpone([workspace], written, _EVERY)
            self._forget(workspace, written)
        else:
            now = self._noted[workspace] = moments.now()
            self._thin(now)

    def _is_due(self, workspace: int, now: datetime) -> bool:
        due = self._due.get(workspace)
        return due is None or not due - _EVERY <= now < due  # before that, the clock has gone back since

    def flush(self) -> None:
        """Writes what is noted, with some patience."""
        noted, until = iter(self._noted.copy().items()), time.monotonic() + _PATIENCE_SECONDS
        while some := dict(islice(noted, _TOGETHER)):
            if not self._write(some, max(0, until - time.monotonic())):
                return

    def close(self) -> None:
        """Writes what is noted. What cannot be written now is lost."""
        self.flush()
        self._noted.clear()

    def _write(self, noted: dict[int, datetime], timeout: float) -> bool:
        # Whoever searches must not fail for a note, nor the thread that writes the late ones end.
        with suppress(DocStoreError, MemoryError):
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
