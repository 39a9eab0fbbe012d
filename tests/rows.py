"""Rows of documents that no store holds, segments of them, and what a search of these gives: for tests of searching."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import nearest, sketches
from docstore.segments import Addition, Entry, Segment, Snapshot
from docstore.vectors import SPAN, Codec, Vectors, empty_index

DIMENSION = 384
CODECS = pytest.mark.parametrize("codec", ["float16", "float32"])

FEW, MOST = {"_FEW": 2.0}, {"_FEW": 0.0}
"""Copies of any selection are scanned; what is not selected is always passed over."""


def rows_of(name: str, vectors: Vectors, codec: Codec = "float16", text: str = "text") -> Addition:
    """A document called `name`, with its vectors as they are stored and spans that are nowhere."""
    codes = empty_index(vectors.shape[1], codec).sa_encode(vectors)
    return Addition([Entry((name, text), len(codes), np.zeros(len(codes), SPAN), False)], lambda: [codes])


def segment_of(vectors: Vectors, codec: Codec = "float16", each: int = 50) -> Segment:
    """A segment of documents of `each` rows."""
    segment = Segment(0, vectors.shape[1], codec, len(vectors))
    for first in range(0, len(vectors), each):
        segment.append(rows_of(f"{first:08}", vectors[first : first + each], codec))
    return segment


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    scaled: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def clustered(count: int) -> Vectors:
    """Vectors on 500 subjects, as of a corpus; the first of more are the same."""
    generator = np.random.default_rng(0)
    subjects = generator.standard_normal((500, DIMENSION))
    subject = generator.integers(0, 500, 25_000)[:count]
    return unit(subjects[subject] + 0.9 * generator.standard_normal((count, DIMENSION)))


def two_stages_from(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of so many rows are in two stages: from the first one on, and for many of the best of them too."""
    monkeypatch.setattr(sketches, "FROM", rows)
    monkeypatch.setattr(sketches, "_PATIENCE", 0)
    monkeypatch.setattr(nearest, "_FEWEST", 1)


def sketched(snapshot: Snapshot) -> Snapshot:
    while snapshot.sketcher.pieces(snapshot.codes) is None:
        pass
    return snapshot


def one_by_one(snapshot: Snapshot, queries: Vectors, k: int, alive: Any = None) -> list[tuple[list[float], set[int]]]:
    return [plain(nearest._each(snapshot, query[np.newaxis], k, alive)[0]) for query in queries]


def plain(best: nearest.Best) -> tuple[list[float], set[int]]:
    return best[0].tolist(), set(best[1].tolist())
