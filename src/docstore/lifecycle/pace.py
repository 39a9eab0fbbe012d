"""Pace: keeps a long reading of the store slow enough for others, and ends it in time."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import BinaryIO, cast


class Pace:
    """At most so many bytes a second, for at most so long. Without limits it does nothing."""

    def __init__(self, bytes_per_second: float | None = None, duration: timedelta | None = None) -> None:
        self._rate = bytes_per_second
        self._end = None if duration is None else time.monotonic() + duration.total_seconds()
        self._due = time.monotonic()

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._end is not None and time.monotonic() >= self._end

    def reading(self, file: BinaryIO) -> BinaryIO:
        """The file, read no faster than the pace allows."""
        return file if self._rate is None else cast(BinaryIO, _Paced(file, self))

    def spend(self, count: int) -> None:
        """Waits until so many more bytes may have been read. Time in which nothing was read is not saved up."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._due = max(self._due, now) + count / self._rate
        time.sleep(self._due - now)


class _Paced:
    """What `durable.hash_stream` needs of a file."""

    def __init__(self, file: BinaryIO, pace: Pace) -> None:
        self._file, self._pace = file, pace

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._pace.spend(len(data))
        return data
