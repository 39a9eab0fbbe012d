"""benchmarks/embedding.py in short.

It imports sentence-transformers, which takes seven seconds: only the process that runs this test shall, and not each
that collects it.
"""

from __future__ import annotations

from pathlib import Path

from docstore import SentenceTransformerEmbedder
from tests.samples import pdf


def test_it_measures_both_and_every_stage(tmp_path: Path) -> None:
    from benchmarks.embedding import adding, embedding_alone, questions, rates, report, starts

    paths = [tmp_path / f"{number}.pdf" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(pdf([f"What document {number} says on its only page. " * 5]))
    embedder = SentenceTransformerEmbedder()
    run = adding(paths, tmp_path / "store", embedder)
    assert (run.documents, run.chunks) == (3, 3)
    assert len(run.texts) == 3
    assert all(0 < seconds < 2 * run.seconds for seconds in run.stages.values())
    rows, lowest = rates(run.texts, embedder)
    assert lowest >= 0.9999
    assert len(rows) == 2
    started = starts(rounds=1)
    assert len(started) == 4
    assert all(row.ours[0] < row.theirs[0] for row in started)
    asked = questions(run.texts * 20, embedder, 1)
    found = report(rows, lowest, [*started, asked], run, embedding_alone(run.texts, embedder))
    assert "3 PDFs, 3 chunks" in found
    assert f"{lowest:.6f}" in found
