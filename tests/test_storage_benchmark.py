"""benchmarks/storage.py in short: from PDFs to its three files, pieces packed as well as in files of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("langchain_community")

from benchmarks.storage import run
from benchmarks.storage_report import rows, write
from benchmarks.storage_shared import Chunks, stored_chunks
from benchmarks.storage_workload import Settings
from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.folders import packed
from tests.samples import pdf


def _pdfs(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number}.pdf" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(pdf([f"Page {page} of document {number}." for page in range(2)]))
    return paths


def test_a_run_whose_pieces_are_packed(tmp_path: Path) -> None:
    paths = _pdfs(tmp_path / "pdfs", 6)
    result = run(Settings(tmp_path / "pdfs", users=2, chats=2, per_chat=6, budget_mb=1))
    assert "small.sqlar" in result.shared.parts
    assert result.shared.packed_documents == sum(path.stat().st_size for path in paths) == result.document_bytes
    assert [row.documents for row in rows(result)] == [each * result.document_bytes for each in (4, 2, 1)]
    assert [row.embeddings for row in rows(result)] == [each * result.shared.stats.chunks for each in (4, 2, 1)]
    assert all(row.factor == 1 and row.index > 0 for row in rows(result))
    pytest.importorskip("matplotlib")
    write(result, tmp_path)
    assert json.loads((tmp_path / "storage.json").read_text())["measured"]["documents"] == 6
    assert "(c) docstore, shared" in (tmp_path / "storage.md").read_text()
    assert (tmp_path / "storage.png").read_bytes().startswith(b"\x89PNG")


def test_chunks_are_read_alike_from_files_and_from_the_archive(tmp_path: Path) -> None:
    paths = _pdfs(tmp_path / "pdfs", 6)

    def chunks(name: str, at_once: int) -> dict[str, Chunks]:
        with DocStore(tmp_path / name, embedder=HashEmbedder()) as store:
            for first in range(0, len(paths), at_once):
                store.workspace("alice").add_many(paths[first : first + at_once])
        return stored_chunks(tmp_path / name)

    singly, together = chunks("singly", 1), chunks("together", 6)
    assert not packed(tmp_path / "singly")
    assert packed(tmp_path / "together")
    assert singly.keys() == together.keys()
    for hash, one in singly.items():
        assert (one.texts, one.pages) == (together[hash].texts, together[hash].pages)
        assert (one.vectors == together[hash].vectors).all()
    assert {tuple(one.pages) for one in singly.values()} == {(1, 2)}
