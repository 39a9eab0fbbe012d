"""Times as the catalog spells them: UTC, ISO 8601 with milliseconds, which compare as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from docstore.errors import IntegrityError, InvalidArgument

NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
"""The present, in SQL. SQLite asks the same clock of the system as `now`, and cuts it off as `spelled` does, so the two
compare. Statements use it whose time no test has to move, and triggers, which have no other."""

_LAST = "9999-12-31T23:59:59.999Z"


def now() -> datetime:
    """The present. Whatever compares times with it calls it through this module, so that tests can move it."""
    return datetime.now(UTC)


def ago(grace: timedelta) -> str:
    """The moment a grace period before now, as the catalog spells it. Without grace, a moment after any that it may
    hold: a clock that was ahead once must not keep anything.

    Raises:
        InvalidArgument: it is no duration, or negative.
    """
    if not isinstance(grace, timedelta):
        raise InvalidArgument(f"grace is a {type(grace).__name__}; it must be a datetime.timedelta")
    if grace < timedelta(0):
        raise InvalidArgument(f"grace is {grace}; it cannot be negative")
    if not grace:
        return _LAST
    try:
        return spelled(now() - grace)
    except OverflowError:  # before the year 1: nothing is that old
        return ""


def spelled(moment: datetime) -> str:
    """A moment as the catalog spells it."""
    # Not strftime: it takes ten times as long.
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def parsed(stored: str) -> datetime:
    """A moment that the catalog holds.

    Raises:
        IntegrityError: it is none.
    """
    try:
        return datetime.fromisoformat(stored)
    except ValueError as error:
        raise IntegrityError(f"The catalog holds {stored!r:.60} for a time: it is damaged. Run `docstore repair`, or "
                             "restore a backup.") from error  # fmt: skip
