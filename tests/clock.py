"""A clock that tests move: the library's times, without waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from docstore import moments


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
