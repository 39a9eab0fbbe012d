"""A clock that tests move: the library's times, without waiting; and what tests of expiry share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docstore import DocStore, accesses, moments

NOTE = b"The store room key hangs behind the door."
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATE = accesses.MERCY + timedelta(seconds=1)


class Clock:
    """The real time, and as much later as was told."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta(0)
        patch.setattr(moments, "now", self.now)

    def now(self) -> datetime:
        """The present, as the library sees it."""
        return datetime.now(UTC) + self.ahead

    def advance(self, time: timedelta) -> None:
        """Some time goes by."""
        self.ahead += time


def expire_now(store: DocStore, **arguments: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Checks the preview on the way."""
    preview = store.expire(dry_run=True, **arguments)
    report = store.expire(**arguments)
    assert preview == report
    return report.expired, report.deleted
