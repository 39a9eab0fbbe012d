"""benchmarks/ingest.py in short: its documents are what it says, and what it reports was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("disk_objectstore")

from benchmarks.ingest import ReadyVectors, linked, many, report, small_documents, stored
from docstore import DocStore


def test_the_rows_of_a_run(tmp_path: Path) -> None:
    rows = [*many(tmp_path, 6, 1), *stored(tmp_path, 100_000, 2), linked(tmp_path, 2)]
    assert len(rows) == 8
    for row in rows:
        assert min(*row.ours, *row.theirs) > 0
        assert str(row) in report(rows)


def test_documents_have_the_chunks_that_are_said(folder: Path) -> None:
    with DocStore(folder, embedder=ReadyVectors()) as store:
        added = store.workspace("alice").add_many(small_documents(6)).added
    assert [document.chunks for document in added] == [1, 2, 3, 1, 2, 3]
