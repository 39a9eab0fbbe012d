"""What structures that look at a part of all vectors would find, how fast, and what they cost to build.

    python benchmarks/sublinear.py --vectors FILE

FILE is what `recall.py embed` wrote; as many as a large workspace has are synthetic. `benchmarks/results/sublinear.md`
has what the last committed run found, and docs/benchmarks.md what follows from it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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

from benchmarks.comparison import digits, milliseconds
from benchmarks.recall import best_of, share_found, snapshot_of, split
from benchmarks.reports import RESULTS, Results, provenance
from benchmarks.synthetic import ClusteredEmbedder
from docstore import nearest

_K = 10
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
_BREADTHS = (16, 32, 64, 128)
_MOST_LISTS = 2000

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Search = Callable[[Vectors], Rows]
"""The rows of the `_K` best for one query of shape (1, dimension)."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One structure with one setting."""

    structure: str
    setting: str
    recall: float
    milliseconds: float
    """A query, the median."""
    microseconds: float
    """A vector, to build."""

    def __str__(self) -> str:
        return (f"| {self.structure} | {self.setting} | {self.recall:.4f} | {digits(self.milliseconds)} ms | "
                f"{digits(self.microseconds)} us |")  # fmt: skip


class _Trial:
    """Vectors that are stored, queries, and what these should find."""

    def __init__(self, vectors: Vectors) -> None:
        self.stored, self._queries = split(vectors)
        self._best = best_of(self.stored, self._queries, _K)

    def of(self, structure: str, setting: str, built: float, search: Search) -> Tried:
        """Asks every query twice: the first time, some structures are still being warmed up."""
        found: list[Rows] = []
        for query in self._queries:
            search(query[np.newaxis])
        times = [milliseconds(lambda: found.append(search(query[np.newaxis]))) for query in self._queries]  # noqa: B023
        return Tried(structure, setting, share_found(found, self._best), float(np.median(times)),
                     1000 * built / len(self.stored))  # fmt: skip


def _of_faiss(index: Any, query: Vectors) -> Rows:
    rows: Rows = index.search(query, _K)[1][0]
    return rows


def scans(trial: _Trial) -> Iterator[Tried]:
    """What docstore does, of which a vector's sketch is what it costs to build; and what a private index does."""
    snapshots: list[Any] = []
    built = milliseconds(lambda: snapshots.append(snapshot_of(trial.stored)))
    yield trial.of(
        "docstore", "as chosen", built, lambda query: nearest.nearest(snapshots[0], query, _K, None, None)[0][1][:_K]
    )
    flat = faiss.IndexFlatIP(trial.stored.shape[1])
    built = milliseconds(lambda: flat.add(trial.stored))
    yield trial.of("`IndexFlatIP`", "exact", built, partial(_of_faiss, flat))


def lists(trial: _Trial, known: int) -> Iterator[Tried]:
    """Inverted lists around as many centres as a thirtieth of the vectors, or `_MOST_LISTS`.

    Args:
        known: how many vectors, the first, the centres are made of. A store that keeps its centres, so that lists of
            documents can be joined, makes them of the documents that it has by then.
    """
    stored, dimension = trial.stored, trial.stored.shape[1]
    centres = min(max(len(stored) // 30, 1), _MOST_LISTS, known)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, centres, faiss.METRIC_INNER_PRODUCT)
    trained = milliseconds(lambda: index.train(stored[:known]))
    built = milliseconds(lambda: index.add(stored)) + (trained if known == len(stored) else 0)
    name = f"{centres:,} inverted lists" + ("" if known == len(stored) else f", centres of the first {known:,}")
    for share in _SHARES:
        index.nprobe = max(1, int(share * centres))
        yield trial.of(name, f"{share:.0%} of lists visited", built, partial(_of_faiss, index))


def graph(trial: _Trial) -> Iterator[Tried]:
    """A navigable small world graph (Malkov and Yashunin, 2016)."""
    index = faiss.IndexHNSWFlat(trial.stored.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    built = milliseconds(lambda: index.add(trial.stored))
    for breadth in _BREADTHS:
        index.hnsw.efSearch = breadth
        yield trial.of("HNSW, 32 links", f"efSearch {breadth}", built, partial(_of_faiss, index))


def tried(vectors: Vectors) -> list[Tried]:
    """All structures and settings; vectors spread over the whole are the queries."""
    trial = _Trial(vectors)
    every = len(trial.stored)
    return [*scans(trial), *lists(trial, every), *lists(trial, every // 10), *graph(trial)]


def report(found: dict[str, list[Tried]]) -> str:
    """The run, as Markdown: what was found, by what it was found among."""
    tables = "\n".join(
        f"""{among}

| structure | setting | recall@10 | a query | to build, a vector |
|---|---|---|---|---|
"""
        + "".join(f"{each}\n" for each in some)
        for among, some in found.items()
    )
    return f"""# Structures that look at a part of all vectors

On one thread; some of the vectors are the queries, asked one by one, for the second time. To build: for docstore
rounding to float16 and the sketches of two stages, which it uses from 100,000 vectors on (below, bytes that the first
searches make); for lists whose centres were made before, finding the nearest of these.

{tables}
{provenance()}
"""


def main(
    vectors: Annotated[Path, typer.Option(help="The .npy file that `recall.py embed` wrote.")],
    synthetic: Annotated[int, typer.Option(help="How many synthetic vectors to try as well.")] = 200_000,
    results: Results = RESULTS,
) -> None:
    """Measures recall, time of a query, and cost of building."""
    real = np.load(vectors)
    found = {f"{len(real):,} distinct chunks of real PDFs under the default pipeline:": tried(real)}
    if synthetic:
        made = ClusteredEmbedder().embed([f"chunk {number}" for number in range(synthetic)])
        found[f"{len(made):,} synthetic vectors in clusters (`benchmarks/synthetic.py`):"] = tried(made)
    print(report(found))
    (results / "sublinear.md").write_text(report(found))


if __name__ == "__main__":
    typer.run(main)
