"""benchmarks/disk.py in short: what it counts is what was stored."""

from __future__ import annotations

from pathlib import Path

from benchmarks.disk import report, stored
from tests.samples import pdf


def test_the_bytes_of_a_store(tmp_path: Path) -> None:
    path = tmp_path / "one.pdf"
    path.write_bytes(pdf(["What a manual says.", "And what it goes on to say."]))
    found = stored([path], tmp_path / "disk")
    assert (found.documents, found.document_bytes) == (1, path.stat().st_size)
    assert found.once == path.stat().st_size + found.text_bytes + 4 * 384 * found.chunks
    assert found.text_bytes > 0 < found.chunks
    assert found.parts["catalog.db"].apparent == (tmp_path / "disk" / "catalog.db").stat().st_size
    assert report([found]).count("| 1 of ") == 1
