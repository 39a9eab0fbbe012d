"""Search benchmark: what sharing costs and saves in time and memory, beside a private FAISS index over the same chunks.

    python benchmarks/search.py measure --folder FOLDER

Every row is a ratio of two medians that were measured in turns, in one process, on one thread.
`benchmarks/results/search.md` has what the last committed run found.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import faiss
import numpy as np
import numpy.typing as npt
import typer

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.synthetic import CHUNKS, DIMENSION, ClusteredEmbedder, documents, queries
from docstore import DocStore, Workspace

_RESULTS = Path(__file__).parent / "results"
_SIZES = (500, 5_000, 20_000, 50_000)
_QUERIES = 100
_ROUNDS = 5
_K = 5


app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: milliseconds, or megabytes, of each repetition."""

    what: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    peer: str

    def __str__(self) -> str:
        ratio = float(np.median(self.ours) / np.median(self.theirs))
        return f"| {self.what} | {_spread(self.ours)} {self.unit} | {self.peer}: {_spread(self.theirs)} | {ratio:.2f} |"


def _spread(values: Sequence[float]) -> str:
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.3g} ({low:.3g} to {high:.3g})"


def _milliseconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - began)


def _in_turns(
    ours: Callable[[npt.NDArray[np.float32]], object], theirs: Callable[[npt.NDArray[np.float32]], object]
) -> tuple[list[float], list[float]]:
    """Both, query by query, so that what else the machine does falls on both; the first round is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for round in range(_ROUNDS + 1):
        for query in queries(_QUERIES):
            pair = _milliseconds(partial(ours, query)), _milliseconds(partial(theirs, query))
            if round:
                for kept, value in zip(times, pair, strict=True):
                    kept.append(value)
    return times


def _private(workspace: Workspace) -> tuple[Any, list[str]]:
    """What an application keeps in memory today: a flat index, and the texts of its chunks."""
    vectors, texts = [], []
    embedder = ClusteredEmbedder()
    for each in workspace.documents():
        hits = workspace.search_vector(queries(1)[0], k=each.chunks, documents=[each.hash])
        some = [hit.text for hit in sorted(hits, key=lambda hit: hit.chunk)]
        texts += some
        vectors.append(embedder.embed(some))
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(np.concatenate(vectors))
    return index, texts


def warm(store: DocStore, chunks: int) -> Row:
    """One search of a warm workspace, texts included on both sides."""
    workspace = store.workspace(f"warm {chunks}")
    workspace.add_many(list(documents(chunks // CHUNKS)))
    index, texts = _private(workspace)

    def private(query: npt.NDArray[np.float32]) -> list[tuple[str, float]]:
        scores, rows = index.search(query[np.newaxis], _K)
        return [(texts[row], score) for row, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True)]

    ours, theirs = _in_turns(lambda query: workspace.search_vector(query, k=_K), private)
    return Row(f"warm search, {chunks:,} chunks", "ms", ours, theirs, "`IndexFlatIP` and a list of texts")


def changed(store: DocStore, folder: Path, chunks: int) -> Row:
    """A document added to a workspace and removed again, each seen by the next search, and durable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.vectorstores import FAISS
        from langchain_core.embeddings import FakeEmbeddings

    workspace = store.workspace(f"warm {chunks}")
    index, texts = _private(workspace)
    vectors = index.reconstruct_n(0, index.ntotal)
    private = FAISS.from_embeddings(list(zip(texts, vectors.tolist())), FakeEmbeddings(size=DIMENSION))
    extra = store.workspace("others").add(next(documents(1, first=10**6)))
    of_extra = store.workspace("others").search_vector(queries(1)[0], k=extra.chunks, documents=[extra.hash])
    new_texts = [hit.text for hit in of_extra]
    new_vectors = ClusteredEmbedder().embed(new_texts)
    query = queries(1)[0]

    def ours() -> None:
        workspace.link(extra.hash)
        workspace.search_vector(query, k=_K)
        workspace.remove(extra.hash)
        workspace.search_vector(query, k=_K)

    def theirs() -> None:
        ids = private.add_embeddings(list(zip(new_texts, new_vectors.tolist())))
        private.save_local(str(folder / "private"))
        private.similarity_search_by_vector(query.tolist(), k=_K)
        private.delete(ids)
        private.save_local(str(folder / "private"))
        private.similarity_search_by_vector(query.tolist(), k=_K)

    ours()
    theirs()
    times = [(_milliseconds(ours), _milliseconds(theirs)) for _ in range(_ROUNDS)]
    return Row(f"attach, search, detach, search, {chunks:,} chunks", "ms", [each[0] for each in times],
               [each[1] for each in times], "LangChain FAISS, saved each time (not fsynced)")  # fmt: skip


def hot(folder: Path, documents_each: int, workspaces: int) -> Row:
    """Memory of many hot workspaces of the same documents. Each also has one of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    with DocStore(folder, embedder=ClusteredEmbedder(), cache_bytes=8 << 30) as store:
        all_of_them = [store.workspace(f"hot {number}") for number in range(workspaces)]
        for number, workspace in enumerate(all_of_them):
            workspace.add_many(list(documents(documents_each)))
            workspace.add(next(documents(1, first=2 * 10**6 + number)))
        index, texts = _private(all_of_them[0])
        one = index.ntotal * DIMENSION * 4 + sum(sys.getsizeof(text) for text in texts)
    # In a process of its own: what adding has freed would be used again, and not be counted.
    command = [sys.executable, __file__, "resident", str(folder), str(workspaces)]
    ours = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return Row(f"memory of {workspaces} hot workspaces of the same {documents_each:,} documents and one each", "MB",
               [ours / 1e6], [workspaces * one / 1e6], "private indexes and lists of texts")  # fmt: skip


@app.command()
def resident(folder: Path, workspaces: int) -> None:
    """The process that `hot` measures: prints by how many bytes searching all workspaces makes it grow."""
    with DocStore(folder, embedder=ClusteredEmbedder(), cache_bytes=8 << 30) as store:
        faiss.IndexFlatIP(DIMENSION).search(queries(1), 1)
        before = _resident()
        for _ in range(2):
            for number in range(workspaces):
                for query in queries(10):
                    store.workspace(f"hot {number}").search_vector(query, k=_K)
        print(_resident() - before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def report(rows: list[Row]) -> str:
    """The run, as Markdown."""
    lines = "\n".join(map(str, rows))
    return f"""# Searching what is shared

Medians, with quartiles in brackets; ours beside the peer in turns, in one process, on one thread. {DIMENSION}
dimensions, documents of {CHUNKS} chunks, k = {_K}, vectors in clusters (`benchmarks/synthetic.py`); hits with their
texts on both sides. Memory of the peer: one measured, times their number.

| what | docstore | peer | ratio |
|---|---|---|---|
{lines}

Command: `python {shlex.join(sys.argv)}`, {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, FAISS
{faiss.__version__}, {platform.system()}, {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f} at the end).
"""


@app.command()
def measure(
    folder: Annotated[Path, typer.Option(help="Where the stores are made. What it holds is overwritten.")],
    quick: Annotated[bool, typer.Option(help="Small sizes; writes nothing without --results.")] = False,
    results: Annotated[Path | None, typer.Option(help="Folder for search.md; by default benchmarks/results.")] = None,
) -> None:
    """Measures searches of workspaces that share, beside private indexes."""
    faiss.omp_set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = _SIZES[:2] if quick else _SIZES
    shutil.rmtree(folder / "store", ignore_errors=True)
    with DocStore(folder / "store", embedder=ClusteredEmbedder()) as store:
        rows = [warm(store, chunks) for chunks in sizes]
        rows.append(changed(store, folder, sizes[-1]))
    rows.append(hot(folder / "hot", 20 if quick else 1000, 5 if quick else 100))
    print(report(rows))
    if results is not None or not quick:
        ((results or _RESULTS) / "search.md").write_text(report(rows))


if __name__ == "__main__":
    app()
