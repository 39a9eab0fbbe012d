"""How long workspaces live: their times in the catalog.

Plain functions on a transaction. What expires and when is decided by the column `expires_at`, which SQLite derives.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from docstore import arguments, moments
from docstore.database import Database, checked, row
from docstore.errors import InvalidArgument, WorkspaceNotFound
from docstore.moments import spelled
from docstore.names import BEYOND_EXPIRED, EXPIRED, name_before

_SECOND = timedelta(seconds=1)
_LONGEST = timedelta(days=36_500)


class Lifetime(NamedTuple):
    """How long a workspace lives."""

    ttl: timedelta | None = None
    """None: until it is deleted."""
    sliding: bool = True
    """Whether every access begins it anew."""

    @classmethod
    def of(cls, ttl: timedelta | None, sliding: bool) -> Lifetime:
        """What a caller passed, checked.

        Raises:
            InvalidArgument: it is no duration from a second to a hundred years.
        """
        sliding = arguments.switch("sliding", sliding)
        if not (ttl is None or isinstance(ttl, timedelta)):
            raise InvalidArgument(f"ttl is {ttl!r:.80}; it must be a datetime.timedelta, or None for a workspace that "
                                  "never expires")  # fmt: skip
        if ttl is not None and not _SECOND <= ttl <= _LONGEST:
            raise InvalidArgument(f"ttl is {ttl}; it must be from one second to {_LONGEST.days:,} days")
        return cls(ttl, sliding)

    @property
    def seconds(self) -> int | None:
        """As the catalog counts them: a fraction makes it a second longer."""
        return None if self.ttl is None else -(-self.ttl // _SECOND)


def note(db: Database, accesses: Mapping[int, datetime]) -> None:
    """Writes when workspaces were last used. Of several processes, the latest counts."""
    noted = [(workspace, spelled(moment)) for workspace, moment in accesses.items()]
    db.executemany(
        """UPDATE workspaces SET accessed_at = ?
           WHERE id = ? AND expired_at IS NULL AND coalesce(accessed_at, '') < ?""",
        [(at, workspace, at) for workspace, at in noted],
    )


def begin(db: Database, workspace: int, lifetime: Lifetime) -> None:
    """Begins a lifetime now."""
    now = spelled(moments.now())
    db.execute(
        "UPDATE workspaces SET ttl = ?, sliding = ?, lives_from = ?, accessed_at = ? WHERE id = ?",
        (lifetime.seconds, lifetime.sliding, now, now, workspace),
    )


def gone(db: Database, workspace: int) -> WorkspaceNotFound:
    """Why a handle's workspace is not there."""
    found = row(db, "SELECT name, expired_at FROM workspaces WHERE id = ?", workspace)
    if found is None or found["expired_at"] is None:
        return WorkspaceNotFound("This workspace was deleted. Get it again with store.workspace(name).")
    name, since = name_before(found["name"]), found["expired_at"]
    return WorkspaceNotFound(f"The workspace {name!r} expired at {since}. store.undelete({name!r}) brings it back, "
                             "until a later store.expire() deletes it.")  # fmt: skip


def of_living(select: str) -> str:
    """A query of the workspaces that are not expired, by name, its columns in `select`. From both sides of those that
    are, whose names all begin alike, as a CHECK has it: they may be many more, and are not gone through."""
    return f"""{select} WHERE name < '{EXPIRED}' UNION ALL {select} WHERE name >= '{BEYOND_EXPIRED}' ORDER BY name"""


# -- expiring -----------------------------------------------------------------------------------------------------

# The index is searched for what is over; whether notes of uses may come late, which MERCY allows for, a row says.
_DUE = """SELECT id FROM workspaces WHERE ttl IS NOT NULL AND expired_at IS NULL AND expires_at <= :now
          AND (NOT sliding OR expires_at <= :merciful) ORDER BY expires_at"""


def expire(db: Database, mercy: timedelta, limit: int) -> list[tuple[int, str]]:
    """Lets workspaces whose time is over leave, a part at a time. Returns their ids and the names they had.

    One statement: no access that was written before can be missed, and what is written after finds them gone.
    """
    found = db.execute(
        f"""UPDATE workspaces SET name = :sentinel || id || char(31) || name, expired_at = :now
            WHERE id IN ({_DUE} LIMIT :limit) RETURNING id, name""",
        {**_moments(mercy), "sentinel": EXPIRED, "limit": limit},
    )
    return [(id, name_before(name)) for id, name in checked(("id", "name"), found.fetchall())]


def due(db: Database, mercy: timedelta) -> list[str]:
    """Names of the workspaces that `expire` would let leave."""
    found = db.execute(f"SELECT name FROM workspaces WHERE id IN ({_DUE})", _moments(mercy))
    return [name for (name,) in checked(("name",), found.fetchall())]


def _moments(mercy: timedelta) -> dict[str, str]:
    now = moments.now()
    return {"now": spelled(now), "merciful": spelled(now - mercy)}


def overdue(db: Database, before: str, limit: int) -> list[tuple[int, str]]:
    """Ids and former names of workspaces that are expired since before a time, the first first."""
    found = db.execute(
        """SELECT id, name FROM workspaces WHERE expired_at IS NOT NULL AND expired_at <= ?
           ORDER BY expired_at, id LIMIT ?""",
        (before, limit),
    )
    return [(id, name_before(name)) for id, name in checked(("id", "name"), found.fetchall())]


def last_expired(db: Database, name: str) -> int | None:
    """The id of the workspace of this name that expired last, or None."""
    found = row(
        db,
        """SELECT id FROM workspaces WHERE expired_at IS NOT NULL AND name = ? || id || char(31) || ?
           ORDER BY expired_at DESC, id DESC LIMIT 1""",
        EXPIRED, name,
    )  # fmt: skip
    return None if found is None else int(found["id"])


def bring_back(db: Database, workspace: int, name: str) -> None:
    """An expired workspace lives again, under this name, and its time begins anew."""
    now = spelled(moments.now())
    db.execute(
        "UPDATE workspaces SET name = ?, expired_at = NULL, lives_from = ?, accessed_at = ? WHERE id = ?",
        (name, now, now, workspace),
    )
