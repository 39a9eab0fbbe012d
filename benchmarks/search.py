"""Search benchmark: what sharing costs and saves in time and memory, beside a private FAISS index over the same chunks.

    python benchmarks/search.py measure --folder FOLDER

Every row is a ratio of two medians that were measured in turns, in one process, on one thread.
`benchmarks/results/search.md` has what the last committed run found.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
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

from benchmarks.comparison import ROUNDS, Row, in_turns, table
from benchmarks.reports import RESULTS, ResultsOrNone, provenance
from benchmarks.storage_disk import total, walk
from benchmarks.synthetic import CHUNKS, DIMENSION, ClusteredEmbedder, document, documents, queries
from docstore import DocStore, Hit, Workspace
from docstore.ingest.chunk import Chunker

_SIZES = (500, 5_000, 20_000, 50_000, 250_000, 1_000_000)
_CHANGED = 50_000  # chunks of the workspace that changes
_TOGETHER = 64
_PROCESSES = 7
_K = 5

Vectors = npt.NDArray[np.float32]

app = typer.Typer(pretty_exceptions_enable=False)


class Private:
    """What an application keeps in memory today: a flat index, and the texts of its chunks."""

    def __init__(self) -> None:
        self.index = faiss.IndexFlatIP(DIMENSION)
        self.texts: list[str] = []

    def grow(self, chunks: int) -> None:
        """Adds the documents that a workspace of so many chunks has and this does not have yet."""
        for number in range(len(self.texts) // CHUNKS, chunks // CHUNKS):
            some = _chunks(number)
            self.texts += some
            self.index.add(ClusteredEmbedder().embed(some))

    def answer(self, scores: Vectors, rows: npt.NDArray[np.int64]) -> list[list[tuple[str, float]]]:
        """What was found, with its texts."""
        return [[(self.texts[row], score) for row, score in zip(*each, strict=True)]
                for each in zip(rows.tolist(), scores.tolist(), strict=True)]  # fmt: skip


def _chunks(number: int) -> list[str]:
    text = document(number).decode()
    return [text[span["start"] : span["end"]] for span in Chunker(1000, 200).spans(text)]


def warm(workspace: Workspace, private: Private) -> Iterator[Row]:
    """Searches of a warm workspace, texts included on both sides: one query, and many in one pass."""
    chunks = len(private.texts)
    _search_often(workspace)

    def ours(query: Vectors) -> list[Hit]:
        return workspace.search_vector(query, k=_K)

    def theirs(query: Vectors) -> object:
        return private.answer(*private.index.search(query[np.newaxis], _K))

    def ours_together(vectors: Vectors) -> list[list[Hit]]:
        return workspace.search_vectors(vectors, k=_K)

    def theirs_together(vectors: Vectors) -> object:
        return private.answer(*private.index.search(vectors, _K))

    peer = "`IndexFlatIP` and a list of texts"
    few = 100 if chunks < 100_000 else 30
    first = chunks * 1000  # of those that no workspace was asked: what was found once is known to all
    new = queries(few * (ROUNDS + 1), first)
    new_together = queries(_TOGETHER * (ROUNDS + 1), first + len(new)).reshape(-1, _TOGETHER, DIMENSION)
    at_once = f"{_TOGETHER} queries in one pass"
    for what, times in (
        (f"warm search, {chunks:,} chunks", _once_each(ours, theirs, new)),
        (f"warm search, {chunks:,} chunks, asked before", in_turns(ours, theirs, queries(few))),
        (f"{at_once}, {chunks:,} chunks", _once_each(ours_together, theirs_together, new_together)),
        (f"{at_once}, {chunks:,} chunks, asked before", in_turns(ours_together, theirs_together, [queries(_TOGETHER)])),
    ):
        yield Row(what, "ms", *times, peer)


def _once_each(
    ours: Callable[[Vectors], object], theirs: Callable[[Vectors], object], new: Vectors
) -> tuple[list[float], list[float]]:
    """As `in_turns`, with queries of its own for each round."""
    our, their, cases = iter(new), iter(new), range(len(new) // (ROUNDS + 1))
    return in_turns(lambda _: ours(next(our)), lambda _: theirs(next(their)), cases)


def filtered(workspace: Workspace, private: Private, every: int = 10) -> Iterator[Row]:
    """Searches of one document of several, by their hashes and by metadata; beside a private index of just those."""
    numbers = range(0, len(private.texts) // CHUNKS, every)
    hashes = [workspace.add(document(number), metadata={"some": True}).hash for number in numbers]
    own = Private()
    for first in range(0, len(private.texts), every * CHUNKS):
        own.texts += private.texts[first : first + CHUNKS]
        own.index.add(private.index.reconstruct_n(first, CHUNKS))

    def theirs(query: Vectors) -> object:
        return own.answer(*own.index.search(query[np.newaxis], _K))

    what = f"warm search of {len(own.texts):,} chunks out of {len(private.texts):,}"
    for number, (filter, searched) in enumerate((
        ("`documents=`", lambda query: workspace.search_vector(query, k=_K, documents=hashes)),
        ("`where=`", lambda query: workspace.search_vector(query, k=_K, where={"some": True})),
    )):  # fmt: skip
        times = _once_each(searched, theirs, queries(100 * (ROUNDS + 1), first=(1 + number) * 10_000))
        yield Row(f"{what}, {filter}", "ms", *times, "`IndexFlatIP` of these alone and a list of texts")


def _search_often(workspace: Workspace) -> None:
    """Of a large workspace each makes 16,384 sketches; of a smaller one, each after the 60th rounds 8,192 rows."""
    for query in queries(100):
        workspace.search_vector(query, k=_K)


def recall(workspace: Workspace, private: Private, k: int = 10) -> float:
    """The share of the k best that a search finds, of those that every score computed in float32 gives."""
    some = queries(200)
    _, rows = private.index.search(some, k)
    found = 0
    for query, best in zip(some, rows.tolist(), strict=True):
        found += len({private.texts[row] for row in best} & {hit.text for hit in workspace.search_vector(query, k=k)})
    return found / (k * len(some))


def changed(store: DocStore, workspace: Workspace, private: Private, folder: Path) -> Row:
    """A document added to a workspace and removed again, each seen by the next search, and durable."""
    langchain = _langchain(private)
    extra = store.workspace("others").add(document(10**6))
    new_texts = _chunks(10**6)
    new_vectors = ClusteredEmbedder().embed(new_texts)
    query = queries(1)[0]

    def ours(_: int) -> None:
        workspace.link(extra.hash)
        workspace.search_vector(query, k=_K)
        workspace.remove(extra.hash)
        workspace.search_vector(query, k=_K)

    def theirs(_: int) -> None:
        ids = langchain.add_embeddings(list(zip(new_texts, new_vectors.tolist())))
        langchain.save_local(str(folder / "private"))
        langchain.similarity_search_by_vector(query.tolist(), k=_K)
        langchain.delete(ids)
        langchain.save_local(str(folder / "private"))
        langchain.similarity_search_by_vector(query.tolist(), k=_K)

    what = f"attach, search, detach, search, {len(private.texts):,} chunks"
    # What the peer did not fsync reaches the disk between the rounds: our commits need not wait for it.
    times = in_turns(ours, theirs, [0], between=os.sync)
    return Row(what, "ms", *times, "LangChain FAISS, saved each time (not fsynced)")


def _langchain(private: Private) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.vectorstores import FAISS
        from langchain_core.embeddings import FakeEmbeddings
    vectors = private.index.reconstruct_n(0, private.index.ntotal)
    return FAISS.from_embeddings(list(zip(private.texts, vectors.tolist())), FakeEmbeddings(size=DIMENSION))


def first(store: Path, private: Private, folder: Path, what: str) -> Iterator[Row]:
    """The first answer of a new process: the store's workspace 'one', and the same chunks as LangChain saves them."""
    _langchain(private).save_local(str(folder / "first"))
    program = str(Path(__file__).parent / "first_answer.py")

    def times(side: str, where: Path) -> dict[str, float]:
        command = [sys.executable, program, side, str(where)]
        parts: dict[str, float] = json.loads(
            subprocess.run(command, capture_output=True, check=True, env=environment).stdout
        )
        return parts

    # Modules are compiled once, as pip does when it installs them, not by every process.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    pairs = [(times("docstore", store), times("langchain", folder / "first")) for _ in range(_PROCESSES)]
    for imports, parts in (("excluded", ("answer",)), ("included", ("import", "answer"))):
        ours, theirs = ([sum(pair[side][part] for part in parts) for pair in pairs] for side in (0, 1))
        yield Row(f"first answer of a new process, {what}, imports {imports}", "ms", ours, theirs, "LangChain FAISS")


def hot(folder: Path, documents_each: int, workspaces: int) -> Row:
    """Memory of many hot workspaces of the same documents. Each also has one of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    with DocStore(folder, embedder=ClusteredEmbedder(), cache_bytes=8 << 30) as store:
        all_of_them = [store.workspace(f"hot {number}") for number in range(workspaces)]
        for number, workspace in enumerate(all_of_them):
            workspace.add_many(list(documents(documents_each)))
            workspace.add(next(documents(1, first=2 * 10**6 + number)))

    def grows(*command: object) -> float:
        # A process of its own: what was freed here would be used again, and not be counted.
        run = [sys.executable, __file__, *map(str, command)]
        return float(subprocess.run(run, capture_output=True, text=True, check=True).stdout) / 1e6

    ours, one = grows("resident", folder, workspaces), grows("resident-private", documents_each + 1)
    return Row(f"memory of {workspaces} hot workspaces of the same {documents_each:,} documents and one each", "MB",
               [ours], [workspaces * one], f"~ {workspaces} times a private index with its list of texts")  # fmt: skip


@app.command()
def resident_private(documents: int) -> None:
    """The other process that `hot` measures: prints by how many bytes a private index makes it grow."""
    private = Private()
    private.grow(CHUNKS)  # what making vectors takes is no matter of the index
    before = _resident()
    private.grow(CHUNKS * (1 + documents))
    print(_resident() - before)


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


def report(rows: list[Row], recalls: dict[int, float]) -> str:
    """The run, as Markdown."""
    lines = "\n".join(f"| {chunks:,} | {found:.4f} |" for chunks, found in recalls.items())
    return f"""# Searching what is shared

Medians, with quartiles in brackets; ours beside the peer in turns, in one process, on one thread. {DIMENSION}
dimensions, documents of {CHUNKS} chunks, k = {_K}, vectors in clusters (`benchmarks/synthetic.py`); hits with their
texts on both sides. Warm searches are for what was not asked before, but where that is said: then what they find is in
memory, ready to be given. Caches of 8 GiB (`cache_bytes`; 1 is the default). Memory: by what searching all workspaces,
or building one private index, makes a process grow; `~` is that one, times their number.

{table(rows)}

Share of the 10 best chunks that are found, of those that every score computed in float32 gives (200 queries):

| chunks | recall@10 |
|---|---|
{lines}

{provenance()}
"""


@app.command()
def measure(
    folder: Annotated[Path, typer.Option(help="Where the stores are made. What it holds is overwritten.")],
    quick: Annotated[bool, typer.Option(help="Small sizes; writes nothing without --results.")] = False,
    results: ResultsOrNone = None,
) -> None:
    """Measures searches of workspaces that share, beside private indexes."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "store", ignore_errors=True)
    rows: list[Row] = []
    recalls: dict[int, float] = {}
    private = Private()
    changing, in_first, in_store = (500, 20, 40) if quick else (_CHANGED, 1000, 10_000)
    with DocStore(folder / "store", embedder=ClusteredEmbedder(), cache_bytes=8 << 30) as store:
        for chunks in _SIZES[:2] if quick else _SIZES:
            workspace = store.workspace(f"warm {chunks}")
            workspace.add_many(list(documents(chunks // CHUNKS)))
            private.grow(chunks)
            rows += warm(workspace, private)
            recalls[chunks] = recall(workspace, private)
            if chunks == changing:
                rows.append(changed(store, workspace, private, folder))
                rows += filtered(workspace, private)
    rows.append(hot(folder / "hot", 20 if quick else 1000, 5 if quick else 100))
    rows += first_answers(folder, in_first, in_store)
    print(report(rows, recalls))
    if results is not None or not quick:
        ((results or RESULTS) / "search.md").write_text(report(rows, recalls))


def first_answers(folder: Path, in_first: int, in_store: int) -> Iterator[Row]:
    """A workspace of some documents, in a store of more."""
    shutil.rmtree(folder / "cold", ignore_errors=True)
    with DocStore(folder / "cold", embedder=ClusteredEmbedder()) as store:
        store.workspace("all").add_many(documents(in_store))
        store.workspace("one").add_many(documents(in_first))
    private = Private()
    private.grow(CHUNKS * in_first)
    contents = list(documents(in_store))
    raw = sum(2 * len(each) + CHUNKS * DIMENSION * 4 for each in contents)  # each document is its own text
    used = total(walk(folder / "cold", lambda _: "all"))
    for kind, size in (("in files", used.apparent), ("allocated", used.allocated)):
        yield Row(f"bytes on disk {kind}, {in_store:,} documents", "MB", [size / 1e6], [raw / 1e6],
                  "documents, texts and float32 vectors")  # fmt: skip
    yield from first(folder / "cold", private, folder, f"{in_first:,} documents in a store of {in_store:,}")


if __name__ == "__main__":
    app()
