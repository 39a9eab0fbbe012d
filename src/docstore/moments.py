"""Times as the catalog spells them: UTC, ISO 8601 with milliseconds, which compare as text."""

from __future__ import annotations

from datetime import UTC, datetime

from docstore.errors import IntegrityError

NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
"""The present, in SQL."""


def spelled(moment: datetime) -> str:
    """A moment as the catalog spells it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def parsed(stored: str) -> datetime:
    """A moment that the catalog holds.

    Raises:
        IntegrityError: it is none.
    """
    try:
        return datetime.fromisoformat(stored)
    except ValueError as error:
        raise IntegrityError(f"The catalog holds {stored!r:.60} for a time: it is damaged. Run `docstore verify`, or "
                             "restore a backup.") from error  # fmt: skip
