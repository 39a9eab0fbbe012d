"""The pace of verifying: never faster than was asked for, and never longer."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from docstore import DocStore, Workspace
from docstore.lifecycle import pace
from tests.folders import files


class Sleeper:
    """A clock that goes only when somebody sleeps, or by `step` whenever it is looked at."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = self.slept = self.step = 0.0
        patch.setattr(pace, "time", self)

    def monotonic(self) -> float:
        """The time, in seconds."""
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds
        self.slept += seconds


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    return Sleeper(monkeypatch)


def test_no_more_bytes_are_read_than_the_rate_allows(
    store: DocStore, alice: Workspace, folder: Path, sleeper: Sleeper
) -> None:
    for number in range(20):
        alice.add(b"A document of %d thousand bytes. " % number * 30 * (number + 1))
    size = sum((folder / path).stat().st_size for path in files(folder))
    report = store.verify(bytes_per_second=1000)
    assert report.ok and report.bytes == size
    assert sleeper.slept == pytest.approx(size / 1000)
    sleeper.slept = 0
    assert store.verify().ok
    assert sleeper.slept == 0


def test_time_in_which_nothing_was_read_is_not_saved_up(sleeper: Sleeper) -> None:
    slow = pace.Pace(bytes_per_second=10)
    sleeper.now += 1000
    slow.spend(50)
    slow.spend(20)
    assert sleeper.slept == pytest.approx(7)


def test_no_document_is_begun_when_the_time_is_over(store: DocStore, alice: Workspace, sleeper: Sleeper) -> None:
    for number in range(20):
        alice.add(b"Document %d." % number)
    sleeper.step = 1  # a second a document
    reports = [store.verify(duration=timedelta(seconds=5)) for _ in range(3)]
    assert [(each.ok, each.remaining) for each in reports] == [(True, 17), (True, 14), (True, 11)]
    sleeper.step = 0
    assert store.verify(duration=timedelta(seconds=5)).remaining == 0


def test_real_seconds_are_meant(store: DocStore, alice: Workspace) -> None:
    alice.add(b"x" * 500)
    began = time.monotonic()
    report = store.verify(bytes_per_second=5000)
    assert time.monotonic() - began > report.bytes / 5000 * 0.99
