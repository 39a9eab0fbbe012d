"""benchmarks/scale.py in short: it counts what it stores, and its report has what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale import Store, comparisons, curve, plot, report


def test_a_curve_and_a_comparison(tmp_path: Path) -> None:
    large, small = Store(tmp_path / "large"), Store(tmp_path / "small")
    points = list(curve(large, [100, 200], 10))
    assert [point.documents for point in points] == [100, 200]
    assert all(value > 0 for point in points for value in point.values.values())
    small.grow(100)
    rows = list(comparisons(large, small, small, 10))
    assert rows[-1].what == "collect 10, 200 documents"
    assert str(rows[0]) in report(points, rows)
    large.close()
    small.close()
    pytest.importorskip("matplotlib")
    plot(points, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")
