"""What is known of a workspace: when it was made and used, and when it expires. See `lifetimes`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from docstore import lifetimes
from docstore.database import Database, rows
from docstore.moments import parsed
from docstore.names import name_before


@dataclass(frozen=True, slots=True)
class WorkspaceInfo:
    """When a workspace was made and used, and when it expires."""

    name: str
    """For an expired one, the name it had."""
    documents: int
    created_at: datetime
    accessed_at: datetime
    """The last search or change that is written down: one that others made may be a minute later."""
    ttl: timedelta | None
    """None: it lives until it is deleted."""
    sliding: bool
    """Whether `ttl` counts from the last access, or else from when it was set."""
    expires_at: datetime | None
    """From when on `DocStore.expire` takes it away; of a sliding one, some minute later."""
    expired_at: datetime | None
    """Since when it is expired; None while it is not."""


_INFO = "SELECT name, refs, created_at, accessed_at, ttl, sliding, expires_at, expired_at FROM workspaces"


def info(db: Database, workspace: int) -> WorkspaceInfo:
    """What is known of a workspace.

    Raises:
        WorkspaceNotFound: it was deleted, or is expired.
    """
    found = rows(db, f"{_INFO} WHERE id = ? AND expired_at IS NULL", workspace)
    if not found:
        raise lifetimes.gone(db, workspace)
    return _info(found[0])


def living(db: Database) -> list[WorkspaceInfo]:
    """What is known of those that are not expired, by name."""
    return [_info(each) for each in rows(db, lifetimes.of_living(_INFO))]


def expired(db: Database) -> list[WorkspaceInfo]:
    """What is known of the expired ones, the first first."""
    return [_info(each) for each in rows(db, f"{_INFO} WHERE expired_at IS NOT NULL ORDER BY expired_at, id")]


def _info(found: dict[str, Any]) -> WorkspaceInfo:
    name, expired_at, expires_at, ttl = (found[each] for each in ("name", "expired_at", "expires_at", "ttl"))
    return WorkspaceInfo(
        name=name if expired_at is None else name_before(name),
        documents=max(0, found["refs"]),  # a damaged count must not look like one
        created_at=parsed(found["created_at"]),
        accessed_at=parsed(found["accessed_at"] or found["created_at"]),
        ttl=None if ttl is None else timedelta(seconds=ttl),
        sliding=bool(found["sliding"]),
        expires_at=None if expires_at is None else parsed(expires_at),
        expired_at=None if expired_at is None else parsed(expired_at),
    )
