"""What structures that look at a part of all vectors would find of real embeddings, and what they cost to build.

    python benchmarks/sublinear.py --vectors FILE

FILE is what `recall.py embed` wrote. `benchmarks/results/sublinear.md` has what the last committed run found, and
docs/benchmarks.md what follows from it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

if __name__ == "__main__":  # one thread, as is said: NumPy's and FAISS's libraries ask for it as they are loaded
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import faiss
import numpy as np
import numpy.typing as npt
import typer

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.reports import RESULTS, Results, provenance

_QUERIES = 500
_K = 10
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
_BREADTHS = (16, 32, 64, 128)

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tried:
    """One structure with one setting."""

    structure: str
    setting: str
    recall: float
    microseconds: float
    """A vector, to build."""


def _recall(index: Any, queries: Vectors, best: npt.NDArray[np.int64]) -> float:
    _, found = index.search(queries, _K)
    return float(np.mean([len(set(one) & set(other)) / _K for one, other in zip(found.tolist(), best.tolist())]))


def lists(stored: Vectors, queries: Vectors, best: npt.NDArray[np.int64]) -> Iterator[Tried]:
    """Inverted lists around as many centres as a thirtieth of the vectors."""
    centres = max(len(stored) // 30, 1)
    began = time.perf_counter()
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(stored.shape[1]), stored.shape[1], centres, faiss.METRIC_INNER_PRODUCT)
    index.train(stored)
    index.add(stored)
    took = 1e6 * (time.perf_counter() - began) / len(stored)
    for share in _SHARES:
        index.nprobe = max(1, int(share * centres))
        yield Tried(
            f"inverted lists, {centres:,}", f"{share:.0%} of lists visited", _recall(index, queries, best), took
        )


def graph(stored: Vectors, queries: Vectors, best: npt.NDArray[np.int64]) -> Iterator[Tried]:
    """A navigable small world graph (Malkov and Yashunin, 2016)."""
    index = faiss.IndexHNSWFlat(stored.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    began = time.perf_counter()
    index.add(stored)
    took = 1e6 * (time.perf_counter() - began) / len(stored)
    for breadth in _BREADTHS:
        index.hnsw.efSearch = breadth
        yield Tried("HNSW, 32 links", f"efSearch {breadth}", _recall(index, queries, best), took)


def tried(vectors: Vectors) -> list[Tried]:
    """All structures and settings; chunks spread over the whole are the queries."""
    asked = np.zeros(len(vectors), bool)
    asked[np.linspace(0, len(vectors) - 1, min(_QUERIES, len(vectors) // 2)).astype(int)] = True
    stored, queries = vectors[~asked], vectors[asked]
    best = np.argsort(-(queries @ stored.T), axis=1, kind="stable")[:, :_K]
    return [*lists(stored, queries, best), *graph(stored, queries, best)]


def report(found: list[Tried], vectors: int) -> str:
    """The run, as Markdown."""
    lines = "\n".join(
        f"| {each.structure} | {each.setting} | {each.recall:.4f} | {each.microseconds:,.0f} us |" for each in found
    )
    return f"""# Structures that look at a part of all vectors

{vectors:,} distinct chunks of real PDFs under the default pipeline, some of them as queries, on one thread.

| structure | setting | recall@10 | to build, a vector |
|---|---|---|---|
{lines}

{provenance()}
"""


def main(
    vectors: Annotated[Path, typer.Option(help="The .npy file that `recall.py embed` wrote.")],
    results: Results = RESULTS,
) -> None:
    """Measures recall and cost of building."""
    loaded = np.load(vectors)
    text = report(tried(loaded), len(loaded))
    print(text)
    (results / "sublinear.md").write_text(text)


if __name__ == "__main__":
    typer.run(main)
