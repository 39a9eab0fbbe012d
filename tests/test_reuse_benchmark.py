"""benchmarks/reuse.py in short: what it reports was measured, and chunks stay where they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from benchmarks.reuse import FORMS, as_pdf, edits, manuals, measured, pages_of, report

PAGES = ["\n".join(f"Page {page} says in line {line} that {page * line} is a number." for line in range(30))
         for page in range(40)]  # fmt: skip


def test_the_rows_of_a_run(tmp_path: Path) -> None:
    rows = list(measured(tmp_path, "manual", PAGES, 1))
    assert [(row.form, row.kind) for row in rows] == [
        (form, kind) for form in FORMS for kind in ("edited", "inserted", "removed")
    ]
    for row in rows:
        assert row.chunks > 40
        assert 0.85 < min(row.reused) <= 1
        assert str(row) in report(rows)


def test_a_manual_is_made_anew_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "manual.pdf").write_bytes(as_pdf(PAGES))
    assert [page.split() for page in pages_of(tmp_path / "manual.pdf")] == [page.split() for page in PAGES]


def test_manuals_lie_at_whatever_depth(tmp_path: Path) -> None:
    """As for the other benchmarks, which `make bench-full` gives the same folder."""
    with pytest.raises(typer.BadParameter, match="40 pages"):
        manuals(tmp_path, 6)
    for name, pages in (("long", PAGES), ("short", PAGES[:39])):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.pdf").write_bytes(as_pdf(pages))
    assert list(manuals(tmp_path, 6)) == ["long"]


def test_edits_change_one_page() -> None:
    for kind, version in edits(PAGES, 3):
        assert len(version) - len(PAGES) == {"edited": 0, "inserted": 1, "removed": -1}[kind]
        assert len(set(version) - set(PAGES)) == (kind != "removed")
