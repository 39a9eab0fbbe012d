"""Embedding benchmark: vectors of real text beside `SentenceTransformer.encode`, and where adding PDFs spends its time.

    python benchmarks/embedding.py measure --docs FOLDER --folder FOLDER

`benchmarks/results/embedding.md` has what the last committed run found.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import torch
import typer
from sentence_transformers import SentenceTransformer

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.comparison import Row, milliseconds, table
from benchmarks.reports import RESULTS, Results, provenance
from docstore import DocStore, SentenceTransformerEmbedder
from docstore.ingest import pipeline, prepare, publish, source
from docstore.ingest.embed import _default_folder
from docstore.ingest.minilm_few import LAYERS

_ROUNDS = 5
_ENCODED = 256  # chunks that both sides embed in a round
_ROWS = 1024  # of a product, which then is as fast as any
_STARTED = {"a question": "What is attention?", "a chunk": "words of a chunk " * 60}
_OURS = (
    "import sys; from docstore import SentenceTransformerEmbedder; SentenceTransformerEmbedder().embed(sys.argv[2:])"
)
_THEIRS = """
import sys
from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[1]).encode(sys.argv[2:], show_progress_bar=False)
"""
# Not getrusage: what that tells includes the process that this one was forked from.
_PEAK = "\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
_PDFS = 100

_STAGES: dict[str, tuple[Any, str]] = {
    "reading and hashing": (source, "read"),
    "copying": (prepare.Preparation, "_copy"),
    "extracting, in worker processes, and staging texts": (prepare.Preparation, "_prepare"),
    "chunking, which counts tokens": (pipeline.Pipeline, "_cut"),
    "embedding": (pipeline.Pipeline, "embed"),
    "syncing, and publishing under the lock": (publish.Publisher, "publish"),
}
"""What is timed, and where. Copying is a part of what is timed after it."""

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Adding:
    """One run of `add_many` over real PDFs."""

    documents: int
    chunks: int
    seconds: float
    stages: dict[str, float]
    """Seconds that threads spent in each; those of two threads add up."""
    texts: list[str]
    """The chunks, as embedded."""


@contextmanager
def stopwatches(stages: dict[str, tuple[Any, str]]) -> Iterator[dict[str, float]]:
    """Seconds spent in some functions, by name."""
    spent = dict.fromkeys(stages, 0.0)
    guard = threading.Lock()

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **keywords)
            finally:
                with guard:
                    spent[name] += time.perf_counter() - began

        return call

    patches = [patch.object(place, each, timed(name, getattr(place, each))) for name, (place, each) in stages.items()]
    for each in patches:
        each.start()
    try:
        yield spent
    finally:
        for each in patches:
            each.stop()


def adding(paths: list[Path], folder: Path, embedder: SentenceTransformerEmbedder) -> Adding:
    """Adds PDFs to a new store."""
    texts: list[str] = []
    original = pipeline.Pipeline.embed

    def noting(self: pipeline.Pipeline, some: list[str]) -> Any:
        texts.extend(some)
        return original(self, some)

    shutil.rmtree(folder, ignore_errors=True)
    with DocStore(folder, embedder=embedder) as store, patch.object(pipeline.Pipeline, "embed", noting):
        with stopwatches(_STAGES) as spent:
            began = time.perf_counter()
            report = store.workspace("alice").add_many(paths)
            seconds = time.perf_counter() - began
        stats = store.stats()
    shutil.rmtree(folder)
    spent["extracting, in worker processes, and staging texts"] -= spent["copying"]
    return Adding(len(report.added), stats.chunks, seconds, spent, texts)


def embedding_alone(texts: list[str], embedder: SentenceTransformerEmbedder) -> float:
    """Seconds for the vectors of the same chunks in the same calls, and nothing else."""
    began = time.perf_counter()
    for first in range(0, len(texts), pipeline.EMBED_AT_ONCE):
        embedder.embed(texts[first : first + pipeline.EMBED_AT_ONCE])
    return time.perf_counter() - began


def rates(texts: list[str], embedder: SentenceTransformerEmbedder) -> tuple[list[Row], float]:
    """Chunks a second of ours, of the peer, and of what float32 allows; and the lowest cosine between the two vectors
    of a chunk."""
    plain = SentenceTransformer(str(_default_folder()), device="cpu")
    tokens = sum(min(embedder.count_tokens(text), embedder.max_tokens or 0) for text in texts)
    ours: list[float] = []
    theirs: list[float] = []
    limit: list[float] = []
    lowest = 1.0
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        vectors = embedder.embed(texts)
        between = time.perf_counter()
        exact = plain.encode(texts, show_progress_bar=False)
        ended = time.perf_counter()
        ours.append(len(texts) / (between - began))
        theirs.append(len(texts) / (ended - between))
        limit.append(len(texts) / products(tokens))
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        lowest = min(lowest, float((vectors.astype(np.float64) * exact).sum(axis=1).min()))
    what = f"embedding {len(texts)} chunks of real text"
    peers = {
        "SentenceTransformer.encode, float32, its defaults": theirs,
        "nothing but the products with the model's weights, in float32": limit,
    }
    return [Row(what, "chunks/s", ours, rate, peer) for peer, rate in peers.items()], lowest


def products(tokens: int) -> float:
    """Seconds for as many rows times all matrices of the default model, on as many threads as PyTorch has, each for
    itself: no embedding of the same precision takes less. Attention's own products, and all that is added, normalised
    and pooled, are left out."""
    threads = torch.get_num_threads()
    width = 384
    shapes = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    weights = [torch.randn(shape) for _ in range(LAYERS) for shape in shapes]
    given = {rows: torch.randn(_ROWS, rows) for rows, _ in shapes}

    def some(rows: int) -> None:
        torch.set_num_threads(1)
        for first in range(0, rows, _ROWS):
            for weight in weights:
                torch.mm(given[len(weight)][: rows - first], weight)

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(some, [tokens // threads] * threads))
        seconds = time.perf_counter() - began
    torch.set_num_threads(threads)
    return seconds


def starts(rounds: int) -> list[Row]:
    """From starting a process to its first vector, of both: seconds, and the peak of its memory."""
    rows = []
    for name, text in _STARTED.items():
        runs = [[_start(program, text) for program in (_OURS, _THEIRS)] for _ in range(rounds)]
        for at, (what, unit) in enumerate((("to the vector of", "s"), ("its memory at most, with", "MB"))):
            ours, theirs = ([run[side][at] for run in runs] for side in (0, 1))
            rows.append(Row(f"a new process, {what} {name}", unit, ours, theirs, "SentenceTransformer.encode"))
    return rows


def _start(program: str, text: str) -> tuple[float, float]:
    command = [sys.executable, "-c", program + _PEAK, str(_default_folder()), text]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, int(done.stdout) / 1000


def questions(chunks: list[str], embedder: SentenceTransformerEmbedder, rounds: int) -> Row:
    """How long a question takes while another thread embeds chunks, of both."""
    plain = SentenceTransformer(str(_default_folder()), device="cpu")
    ours = _beside(lambda: embedder.embed(chunks), lambda: embedder.embed([_STARTED["a question"]]), rounds)
    theirs = _beside(
        lambda: plain.encode(chunks, show_progress_bar=False),
        lambda: plain.encode([_STARTED["a question"]], show_progress_bar=False),
        rounds,
    )
    return Row("a question, while another thread embeds", "ms", ours, theirs, "SentenceTransformer.encode")


def _beside(work: Callable[[], object], ask: Callable[[], object], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(0.05)  # until it embeds
        while worker.is_alive():
            times.append(milliseconds(ask))
        worker.join()
    return times


def report(rows: list[Row], lowest: float, started: list[Row], run: Adding, alone: float) -> str:
    """The run, as Markdown."""
    lines = "\n".join(
        f"| {name} | {run.stages.get(name, 0.0):.1f} s | {run.stages.get(name, 0.0) / run.seconds:.0%} |"
        for name in _STAGES
    )
    return f"""# Embedding

Medians, with quartiles in brackets, in turns in one run; higher is better. PyTorch {version("torch")},
{torch.get_num_threads()} threads on both sides. The lowest cosine between the two vectors of a chunk: {lowest:.6f}.

{table(rows)}

Of new processes, imports and weights included, and of one that embeds {_ENCODED} chunks at once; lower is better:

{table(started)}

# Where the time goes

{run.documents} PDFs, {run.chunks:,} chunks, added by one call of `add_many` in {run.seconds:.1f} s. Embedding the same
chunks, and nothing else, took {alone:.1f} s beside it: adding takes {run.seconds / alone:.2f} times as long. Stages
run beside each other, so their shares may add up to more than all.

| stage | seconds of a thread | of the whole |
|---|---|---|
{lines}

{provenance()}
"""


@app.command()
def measure(
    docs: Annotated[Path, typer.Option(help="A folder of PDFs.")],
    folder: Annotated[Path, typer.Option(help="A folder for the store.")],
    most: Annotated[int, typer.Option(help="PDFs to add.")] = _PDFS,
    results: Results = RESULTS,
) -> None:
    """Embeds chunks of PDFs with both, and adds the PDFs to a new store."""
    embedder = SentenceTransformerEmbedder()
    embedder.embed(["loads the model"])
    paths = sorted(docs.rglob("*.pdf"), key=lambda path: (path.stat().st_size, path))[:most]
    run = adding(paths, folder / "store", embedder)
    alone = embedding_alone(run.texts, embedder)
    rows, lowest = rates(random.Random(0).sample(run.texts, min(_ENCODED, len(run.texts))), embedder)
    asked = questions(run.texts[:_ENCODED], embedder, 1)
    found = report(rows, lowest, [*starts(_ROUNDS), asked], run, alone)
    print(found)
    (results / "embedding.md").write_text(found)


@app.callback()
def main() -> None:
    """Embedding benchmark."""


if __name__ == "__main__":
    app()
