"""Coarser scans on real embeddings: how many candidates of two stages find how many of the best, and how many searches
are certain by rounded vectors.

    python benchmarks/recall.py embed --docs FOLDER --vectors FILE
    python benchmarks/recall.py measure --vectors FILE

Real documents give no 100,000 chunks in reasonable time, so the two stages are tried on as many as there are, with the
numbers of candidates that larger workspaces would have had, and fewer. `benchmarks/results/recall.md` has what the last
committed run found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import typer

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.reports import RESULTS, Results, provenance
from docstore import nearest, sketches
from docstore.ingest.chunk import Chunker
from docstore.ingest.embed import SentenceTransformerEmbedder
from docstore.ingest.extraction import Unreadable
from docstore.ingest.extractor import Extractor
from docstore.ingest.limits import Limits
from docstore.segments import Addition, Entry, Segment, Snapshot
from docstore.vectors import SPAN, empty_index

_QUERIES = 500
_K = 10
_CANDIDATES = (20, 50, 100, 200, 400)

Vectors = npt.NDArray[np.float32]

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def embed(
    docs: Annotated[Path, typer.Option(help="A folder of PDFs.")],
    vectors: Annotated[Path, typer.Option(help="The .npy file to write.")],
    most: Annotated[int, typer.Option(help="Chunks at most.")] = 30_000,  # what sublinear.py takes
) -> None:
    """Embeds the chunks of real documents under the default pipeline, each distinct text once."""
    embedder = SentenceTransformerEmbedder()
    chunker = Chunker(1000, 200, embedder.max_tokens, embedder.count_tokens)
    extractor, seen = Extractor(Limits()), dict[str, None]()
    for path in sorted(docs.rglob("*.pdf")):
        try:
            text = extractor.extract(path).text
        except Unreadable:
            continue
        seen.update((text[span["start"] : span["end"]], None) for span in chunker.spans(text))
        if len(seen) >= most:
            break
    extractor.close()
    np.save(vectors, embedder.embed(list(islice(seen, most))))


def snapshot_of(vectors: Vectors) -> Snapshot:
    """A workspace of one document, with its sketches made."""
    codes = empty_index(vectors.shape[1], "float16").sa_encode(vectors)
    segment = Segment(0, vectors.shape[1], "float16", len(codes))
    spans = np.zeros(len(codes), SPAN)
    segment.append(Addition([Entry(("document", "text"), len(codes), spans, False)], lambda: [codes]))
    snapshot = segment.snapshot()
    while snapshot.sketcher.pieces(snapshot.codes) is None:
        pass
    return snapshot


def recalls(vectors: Vectors) -> dict[str, float]:
    """By what is scored exactly, the share of the 10 best that is found."""
    stored, queries = split(vectors)
    snapshot = snapshot_of(stored)
    best = best_of(stored, queries, _K)

    def two_stages(candidates: int | None, query: Vectors) -> list[nearest.Best]:
        return nearest.nearest(snapshot, query, _K, None, candidates)

    def like_large(query: Vectors) -> list[nearest.Best]:
        with patch.object(nearest, "candidates_for", lambda rows, k: rows // 350):
            return two_stages(None, query)

    ways: dict[str, Callable[[Vectors], list[nearest.Best]]] = {
        **{f"{each} rows": partial(two_stages, each) for each in _CANDIDATES},
        "a 350th of the rows, and more where scores lie close, as of 140,000 and more": like_large,
        "as chosen": partial(two_stages, None),
        "every row": lambda query: nearest._each(snapshot, query, _K, None),
    }
    found = {}
    for way, search in ways.items():
        rows = [search(query[np.newaxis])[0][1][:_K] for query in queries]
        found[way] = share_found(rows, best)
    return found


def best_of(stored: Vectors, queries: Vectors, k: int) -> npt.NDArray[np.int64]:
    """The rows of the k best for each query, shape (m, k), by every score in float32."""
    return np.argsort(-(queries @ stored.T), axis=1, kind="stable")[:, :k]


def share_found(found: Iterable[npt.NDArray[np.int64]], best: npt.NDArray[np.int64]) -> float:
    """How many of the best rows are among those that were found."""
    right = [len(set(some.tolist()) & set(rows)) for some, rows in zip(found, best.tolist(), strict=True)]
    return sum(right) / best.size


def certain(vectors: Vectors) -> int:
    """For how many queries rounded vectors rule out all but a few rows, so that these need no scan of all."""
    stored, queries = split(vectors)
    snapshot = snapshot_of(stored)
    while (rounded := snapshot.rounder.of(snapshot.codes)) is None:
        pass
    found = 0
    for query, rows, bound in zip(queries, *rounded.nearest(queries, nearest._NEAR), strict=True):
        best = nearest._certain_best(snapshot, rounded.rows, query[np.newaxis], _K, None, rows, bound)
        if best is not None:
            found += 1
            ((scores, every),) = nearest._each(snapshot, query[np.newaxis], _K, None)
            assert (best[0].tolist(), {*best[1].tolist()}) == (scores.tolist(), {*every.tolist()})
    return found


def split(vectors: Vectors) -> tuple[Vectors, Vectors]:
    """What is stored and what is asked: chunks that spread over the whole."""
    asked = np.zeros(len(vectors), bool)
    asked[np.linspace(0, len(vectors) - 1, min(_QUERIES, len(vectors) // 2)).astype(int)] = True
    return vectors[~asked], vectors[asked]


def report(found: dict[str, float], sure: int, chunks: int) -> str:
    """The run, as Markdown."""
    lines = "\n".join(f"| {way} | {share:.4f} |" for way, share in found.items())
    return f"""# Recall of two stages on real embeddings

{chunks:,} distinct chunks of real PDFs under the default pipeline, and {_QUERIES} others as queries; the share of the
10 best that is found, of those that every score computed in float32 gives. `as chosen` is what a search does when it is
not told how many candidates to score: {nearest.candidates_for(chunks, _K)} at least, more where scores lie close, and
every row where that would be many. What `every row` lacks is lost by rounding to float16.

| scored exactly | recall@10 |
|---|---|
{lines}

Rounded vectors, which a search of 10,000 to 100,000 chunks scans first, ruled out all but {nearest._NEAR} rows for
{sure} of the {_QUERIES} queries; what these then found is what a scan of all found, to the last bit.

{provenance()}
"""


@app.command()
def measure(
    vectors: Annotated[Path, typer.Option(help="The .npy file that `embed` wrote.")],
    results: Results = RESULTS,
) -> None:
    """Measures recall by number of candidates."""
    loaded = np.load(vectors)
    sketches.FROM = 0  # all of them in two stages
    found = report(recalls(loaded), certain(loaded), len(loaded) - _QUERIES)
    print(found)
    (results / "recall.md").write_text(found)


if __name__ == "__main__":
    app()
