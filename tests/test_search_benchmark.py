"""benchmarks/search.py in short: its documents are what it says, and what it reports was measured."""

from __future__ import annotations

from pathlib import Path

from benchmarks.comparison import Row, digits
from benchmarks.search import Private, filtered, hot, recall, report, warm
from benchmarks.synthetic import CHUNKS, DIMENSION, ClusteredEmbedder, documents, queries
from docstore import DocStore


def test_the_rows_of_a_run(folder: Path, tmp_path: Path) -> None:
    private = Private()
    private.grow(2 * CHUNKS)
    with DocStore(folder, embedder=ClusteredEmbedder()) as store:
        workspace = store.workspace("two")
        workspace.add_many(documents(2))
        assert {document.chunks for document in workspace.documents()} == {CHUNKS}
        rows = [*warm(workspace, private), hot(tmp_path / "hot", 2, 3), *filtered(workspace, private, every=2)]
        found = recall(workspace, private)
    assert all(min(*row.ours, *row.theirs) > 0 for row in rows[:4])
    assert ["asked before" in row.what for row in rows[:4]] == [False, True, False, True]
    assert len(rows[0].ours) == len(rows[1].ours) and len(rows[2].ours) == len(rows[3].ours)
    assert rows[4].theirs[0] > 0.5  # three times three documents of 50 vectors and texts of some 700 bytes: 1 MB
    assert rows[4].ours[0] >= 0  # so little may fit into memory that the process has already
    assert [row.what.rpartition(", ")[2] for row in rows[5:]] == ["`documents=`", "`where=`"]
    assert found > 0.999  # the chunks are the same, and so are the vectors but for float16
    for row in rows:
        assert str(row) in report(rows, {100: found})


def test_a_row_is_a_ratio_of_medians() -> None:
    assert str(Row("what", "ms", [1.0, 2.0, 9.0], [4.0, 4.0, 4.0], "peer")).endswith("| 0.50 |")


def test_numbers_are_written_out() -> None:
    assert [digits(each) for each in (0.12345, 1.4, 999.6, 1374.9, 11_400_000)] == [
        "0.123", "1.4", "1,000", "1,370", "11,400,000",
    ]  # fmt: skip


def test_vectors_are_the_same_in_every_process() -> None:
    texts = [document.decode()[:100] for document in documents(3)]
    vectors = ClusteredEmbedder().embed(texts)
    assert vectors.shape == (3, DIMENSION)
    assert (ClusteredEmbedder().embed(texts[::-1]) == vectors[::-1]).all()
    assert round(float(queries(1)[0] @ queries(1)[0]), 5) == 1
