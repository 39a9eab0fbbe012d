"""The responsiveness benchmark, small: it runs, measures both cases and reports them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.responsiveness import report, run
from tests.folders import problems


def test_a_small_run(tmp_path: Path) -> None:
    result = run(tmp_path / "store", documents=200, baseline_seconds=0.3)
    assert result.collected == 200
    assert min(len(result.alone.milliseconds), len(result.beside.milliseconds)) >= 1
    assert 0 < result.alone.percentile(50) <= result.alone.percentile(100)
    assert "| beside the collection |" in report(result)
    assert problems(tmp_path / "store") == []
