"""Scale benchmark: what operations on a few documents cost in stores of ever more documents.

    python benchmarks/scale.py measure --folder FOLDER --largest 1000000

Each operation touches as much in every store: a workspace of 100 documents, one document, 1,000 that are collected; on
one thread. What `benchmarks/results/scale.md` has, and the plot beside it, is what the last committed run found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":  # one thread, as is said: NumPy's and FAISS's libraries ask for it as they are loaded
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import typer

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.comparison import Row, digits, in_turns, milliseconds, table
from benchmarks.reports import RESULTS, Results, provenance
from docstore import DocStore
from docstore.testing import HashEmbedder

_EACH = 100  # documents of a workspace
_COLLECTED = 1_000
_TIMES = 50  # each operation is timed

app = typer.Typer(pretty_exceptions_enable=False)


def document(number: int) -> bytes:
    """A text of one chunk."""
    return f"Document {number}: {number % 97} {number % 89} and {number % 83}.".encode()


def fill(store: DocStore, first: int, last: int) -> None:
    """Adds documents, 100 to a workspace."""
    for number in range(first // _EACH, last // _EACH):
        some = range(number * _EACH, (number + 1) * _EACH)
        store.workspace(f"user {number}").add_many([document(each) for each in some])


class Store:
    """A store of some documents, and the operations on it."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self._store = DocStore(folder, embedder=HashEmbedder(16))
        self.documents = 0
        self._extra = 1 << 40  # numbers of documents that come and go

    def grow(self, documents: int) -> float:
        """Adds documents until there are so many. Returns how many came in each second."""
        began, before = time.perf_counter(), self.documents
        fill(self._store, before, documents)
        self.documents = documents
        return (documents - before) / (time.perf_counter() - began)

    def operations(self) -> dict[str, Callable[[int], object]]:
        """By name, what is timed; the argument tells one call from the next."""
        store = self._store
        hashes = [each.hash for each in store.workspace("user 0").documents()]
        user = store.workspace("user 0")
        spare = store.workspace("spare").add(b"A document that comes and goes.").hash
        query = HashEmbedder(16).embed(["document 17"])[0]

        def attach_and_detach(_: int) -> None:
            user.link(spare)
            user.search_vector(query)
            user.remove(spare)
            user.search_vector(query)

        return {
            "stats": lambda _: store.stats(),
            "refcount": lambda call: store.refcount(hashes[call % len(hashes)]),
            "documents of a workspace": lambda _: user.documents(),
            "search": lambda _: user.search_vector(query),
            "attach, search, detach, search": attach_and_detach,
        }

    def collect(self, documents: int) -> float:
        """Milliseconds that it takes to collect some documents, which are added before."""
        doomed = self._store.workspace("doomed")
        doomed.add_many([document(self._extra + each) for each in range(documents)])
        self._extra += documents
        self._store.delete_workspace("doomed")
        took = milliseconds(self._store.collect)
        assert self._store.stats().documents in (self.documents, self.documents + 1)  # and the spare one
        return took

    def bytes_each(self) -> float:
        """Bytes in files and catalog for each document."""
        return self._store.stats().physical_bytes / self.documents

    def close(self) -> None:
        """Closes the store."""
        self._store.close()


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured in a store of one size: medians of milliseconds, and others as they are named."""

    documents: int
    values: dict[str, float]


def curve(store: Store, sizes: list[int], collected: int) -> Iterator[Point]:
    """Grows a store, and measures at each size."""
    for size in sizes:
        values = {"added a second": store.grow(size)}
        for name, operation in store.operations().items():
            operation(0)
            values[name] = float(np.median([milliseconds(lambda op=operation, n=n: op(n)) for n in range(_TIMES)]))  # type: ignore[misc]
        values[f"collect {collected:,}"] = store.collect(collected)
        values["bytes a document"] = store.bytes_each()
        values["memory of a process that searched once, MB"] = resident(store.folder)
        yield Point(size, values)


def resident(folder: Path) -> float:
    """Megabytes of a process that opened the store and searched a workspace."""
    command = [sys.executable, __file__, "resident", str(folder)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@app.command("resident")
def print_resident(folder: Path) -> None:
    """The process that `resident` measures."""
    with DocStore(folder, embedder=HashEmbedder(16)) as store:
        store.workspace("user 0").search("document 17")
        status = Path("/proc/self/status").read_text()
    print(next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS")))


def comparisons(large: Store, small: Store, middle: Store, collected: int) -> Iterator[Row]:
    """The same in a large store and a small one, in turns."""
    others = small.operations()
    for name, operation in large.operations().items():
        times = in_turns(operation, others[name], range(_TIMES))
        yield Row(f"{name}, {large.documents:,} documents", "ms", *times, f"{small.documents:,}")
    pairs = [(large.collect(collected), middle.collect(collected)) for _ in range(5)]
    yield Row(f"collect {collected:,}, {large.documents:,} documents", "ms", [each[0] for each in pairs],
              [each[1] for each in pairs], f"{middle.documents:,}")  # fmt: skip


def report(points: list[Point], rows: list[Row]) -> str:
    """The run, as Markdown."""
    names = list(points[0].values)
    heads = " | ".join(f"{each.documents:,}" for each in points)
    lines = "\n".join(f"| {name} | " + " | ".join(digits(each.values[name]) for each in points) + " |"
                      for name in names)  # fmt: skip
    return f"""# What operations cost as the store grows

Documents of one chunk, 16 dimensions, {_EACH} to a workspace. Operations are in milliseconds, medians of {_TIMES},
on one thread.

| documents in the store | {heads} |
|---|{"---|" * len(points)}
{lines}

The largest store beside a small one, in turns; the small one's size is in place of the peer:

{table(rows)}

{provenance()}

![plot](scale.png)
"""


def plot(points: list[Point], path: Path) -> None:
    """Each measure over the size of the store."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    names = list(points[0].values)
    for axes, name in zip(figure.subplots(3, 3).flat, names):
        axes.plot([each.documents for each in points], [each.values[name] for each in points], marker="o")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
    figure.supxlabel("documents in the store; milliseconds, unless the title says otherwise")
    figure.savefig(path, dpi=110)


@app.command()
def measure(
    folder: Annotated[Path, typer.Option(help="Where the stores are made. What it holds is overwritten.")],
    largest: Annotated[int, typer.Option(help="Documents of the largest store, a power of ten.")] = 100_000,
    collected: Annotated[int, typer.Option(help="Documents that are collected at each size.")] = _COLLECTED,
    results: Results = RESULTS,
) -> None:
    """Measures operations in stores of 100 documents up to the largest."""
    sizes = [size for size in (10**power for power in range(2, 8)) if size <= largest]
    stores = large, small, middle = [Store(folder / name) for name in ("large", "small", "middle")]
    points = list(curve(large, sizes, collected))
    small.grow(max(largest // 1000, _EACH))
    middle.grow(max(largest // 100, _EACH))
    rows = list(comparisons(large, small, middle, collected))
    text = report(points, rows)
    print(text)
    (results / "scale.md").write_text(text)
    plot(points, results / "scale.png")
    for store in stores:
        store.close()
        shutil.rmtree(store.folder)


if __name__ == "__main__":
    app()
