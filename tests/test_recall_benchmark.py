"""benchmarks/recall.py and sublinear.py in short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.recall import certain, recalls, report
from benchmarks.reports import processor
from benchmarks.sublinear import main, tried
from benchmarks.sublinear import report as sublinear_report
from tests.rows import two_stages_from, unit


def test_more_candidates_find_more(monkeypatch: pytest.MonkeyPatch) -> None:
    two_stages_from(0, monkeypatch)
    vectors = np.random.default_rng(0).standard_normal((3000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = recalls(vectors)
    assert found["20 rows"] < found["200 rows"] < found["as chosen"] <= found["every row"]
    assert found["as chosen"] > 0.99
    assert f"| as chosen | {found['as chosen']:.4f} |" in report(found, 0, 2500)


def test_rounded_vectors_are_certain_but_of_what_is_equal() -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((3000, 64)))
    assert certain(vectors) > 450
    assert certain(np.repeat(vectors[:10], 300, axis=0)) == 0


def test_structures_find_more_the_more_they_look_at() -> None:
    vectors = np.random.default_rng(0).standard_normal((2000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = tried(vectors)
    assert found[0].recall > 0.99 and found[1].recall == 1
    for settings in (found[2:7], found[7:12], found[12:]):
        assert [each.recall for each in settings] == sorted(each.recall for each in settings)
    assert found[-1].recall > found[12].recall
    assert all(min(each.milliseconds, each.microseconds) > 0 for each in found)
    assert all(str(each) in sublinear_report({"Vectors:": found}) for each in found)


def test_a_folder_for_results_is_made(tmp_path: Path) -> None:
    """Before the run: one of hours ended without a file where there was none."""
    app = typer.Typer()
    app.command()(main)
    arguments = ["--vectors", str(tmp_path / "none.npy"), "--results", str(tmp_path / "new" / "results")]
    arguments += ["--synthetic", "0"]
    assert CliRunner().invoke(app, arguments).exit_code != 0
    assert (tmp_path / "new" / "results").is_dir()
    np.save(tmp_path / "none.npy", unit(np.random.default_rng(0).standard_normal((200, 32))))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert processor() in (tmp_path / "new" / "results" / "sublinear.md").read_text()
