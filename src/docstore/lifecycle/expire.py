"""Expire: takes away workspaces whose time is over, and deletes them for good when their grace period is.

An expired workspace keeps its row, so all that hangs on it, and its references, so its documents. Only its name
changes: the one it had is free, and nobody finds it under another. What decides and what acts are one statement under
the write lock, so a workspace that somebody used meanwhile stays.
"""

from __future__ import annotations

import time
from datetime import timedelta

from docstore import arguments, lifetimes, moments, refcount
from docstore.accesses import MERCY
from docstore.durable import storage_errors
from docstore.errors import WorkspaceExists, WorkspaceNotFound
from docstore.parts import Parts
from docstore.reports import ExpireReport

_BATCH = 64  # workspaces a transaction takes away
_HOLD_SECONDS = 0.01  # and how long it deletes at most, since writers wait for it
_BREATH_SECONDS = 0.01  # between transactions, for writers of other processes to get their turn


def expire(parts: Parts, grace: timedelta, dry_run: bool) -> ExpireReport:
    """See `DocStore.expire`."""
    moments.ago(grace)  # refuses what is no grace period
    arguments.switch("dry_run", dry_run)
    parts.accesses.flush()
    if dry_run:
        return parts.free_space(lambda: _preview(parts, grace))
    # Names that went, also in a try that a full disk cut short.
    expired: list[str] = []
    deleted: list[str] = []

    def act() -> None:
        with storage_errors("expiring workspaces"):
            _take_away(parts, expired)
            _delete(parts, moments.ago(grace), deleted)

    parts.free_space(act)
    return ExpireReport(tuple(sorted(expired)), tuple(sorted(deleted)))


def _take_away(parts: Parts, names: list[str]) -> None:
    while True:
        with parts.write() as db:
            expired = lifetimes.expire(db, MERCY, _BATCH)
        if not expired:
            return
        for id, name in expired:
            parts.forget(id)
            names.append(name)
        time.sleep(_BREATH_SECONDS)


def _delete(parts: Parts, before: str, names: list[str]) -> None:
    while True:
        gone: list[str] = []
        with parts.write() as db:
            end = time.monotonic() + _HOLD_SECONDS
            going = lifetimes.overdue(db, before, _BATCH)
            for id, name in going:
                parts.leave_room_to_collect(db)
                refcount.delete_workspace(db, id)
                gone.append(name)
                if parts.database.is_frugal or time.monotonic() > end:
                    break
        if not going:
            return
        names += gone
        time.sleep(_BREATH_SECONDS)


def _preview(parts: Parts, grace: timedelta) -> ExpireReport:
    with parts.database.read() as db:
        expired = lifetimes.due(db, MERCY)
        deleted = [name for _, name in lifetimes.overdue(db, moments.ago(grace), -1)]
    if not grace:  # what expires now is deleted in the same run
        deleted += expired
    return ExpireReport(tuple(sorted(expired)), tuple(sorted(deleted)))


def undelete(parts: Parts, name: str, wanted: str) -> int:
    """See `DocStore.undelete`. Returns the workspace's id."""
    with parts.write() as db:
        id = lifetimes.last_expired(db, name)
        if id is None:
            raise WorkspaceNotFound(
                f"No workspace {name!r} is expired: it never was, or its grace period was over and it was deleted. "
                "store.expired() lists those that can be brought back."
            )
        if refcount.workspace_id(db, wanted) is not None:
            raise WorkspaceExists(
                f"There is a workspace {wanted!r} by now. Bring the expired one back under another name: "
                "store.undelete(name, new_name=…), or `docstore undelete NAME --name NEW`."
            )
        lifetimes.bring_back(db, id, wanted)
    return id
