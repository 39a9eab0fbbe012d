"""The torture's short form: its long one is `python -m tests.torture`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import torture
from tests.torture_journal import Change, Journal


def test_the_store_survives_torture(tmp_path: Path) -> None:
    summary = torture(tmp_path / "torture", processes=3, threads=2, seconds=16, seed=5)
    assert summary.errors == []
    assert summary.kills >= 10 and summary.moments >= 100
    assert sum(summary.cut.values()) >= 3, summary
    assert {"add", "add_many", "link", "remove", "search", "collect"} <= set(summary.operations)


class TestJournal:
    """A journal that accepted any state would let the torture pass whatever the store does."""

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Journal:
        journal = Journal(tmp_path / "journal")
        journal.begin(Change("add", "w", {"a": ("name", 1)}))
        journal.end(done=True)
        return journal

    def test_what_was_acknowledged_must_be_there(self, journal: Journal) -> None:
        assert journal.contradiction("w", {"a": ("name", 1)}) is None
        assert journal.contradiction("w", {}) is not None
        assert journal.contradiction("w", {"a": ("name", 2)}) is not None
        assert journal.contradiction("w", {"a": ("name", 1), "b": ("x", 1)}) is not None

    def test_what_was_cut_short_is_whole_or_not_at_all(self, journal: Journal) -> None:
        journal.begin(Change("delete_workspace", "w", empties=True))
        again = Journal(journal.path)
        assert again.contradiction("w", {}) is None
        assert again.contradiction("w", {"a": ("name", 1)}) is None
        assert again.contradiction("w", {"a": ("name", 3)}) is not None
        again.settle("w", {})
        assert Journal(journal.path).contradiction("w", {"a": ("name", 1)}) is not None

    def test_add_many_may_be_there_in_part(self, journal: Journal) -> None:
        journal.begin(Change("add_many", "w", {"b": ("untitled", 2), "c": ("untitled", 2)}))
        assert journal.contradiction("w", {"a": ("name", 1), "c": ("untitled", 2)}) is None
        assert journal.contradiction("w", {"c": ("untitled", 2)}) is not None
        journal.end(done=True)
        assert journal.contradiction("w", {"a": ("name", 1), "c": ("untitled", 2)}) is not None
