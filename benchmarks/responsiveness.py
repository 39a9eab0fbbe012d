"""Responsiveness benchmark: how long an add takes while another process collects 100,000 documents, and without that.

    python benchmarks/responsiveness.py measure --folder FOLDER

`benchmarks/results/responsiveness.md` has what the last committed run found.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import typer

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.reports import RESULTS, Results, provenance
from docstore import DocStore
from docstore.testing import HashEmbedder

_PERCENTILES = (50, 95, 99, 100)

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Latencies:
    """What adds took, in milliseconds, and when each began on the clock that all processes share."""

    milliseconds: tuple[float, ...]
    began: tuple[float, ...]

    def between(self, first: float, last: float) -> Latencies:
        """The adds that began in a span of time."""
        inside = [(took, began) for took, began in zip(self.milliseconds, self.began) if first <= began < last]
        return Latencies(tuple(took for took, _ in inside), tuple(began for _, began in inside))

    def percentile(self, percent: float) -> float:
        """The time within which that share of all adds was done. 100 gives the slowest."""
        return float(np.percentile(self.milliseconds, percent))

    def row(self, name: str) -> str:
        """A line of the report's table."""
        numbers = " | ".join(f"{self.percentile(each):.1f}" if self.began else "" for each in _PERCENTILES)
        return f"| {name} | {len(self.milliseconds):,} | {numbers} |"


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    documents: int
    build_seconds: float
    delete_seconds: float
    collect_seconds: float
    collected: int
    alone: Latencies
    beside: Latencies
    phases: dict[str, Latencies]
    """Those beside the collection, by what it was doing when they began."""
    load_before: float


def run(folder: Path, documents: int, baseline_seconds: float) -> Result:
    """Builds a store of unreferenced documents, then collects them beside a writer. Leaves the store in `folder`."""
    load = os.getloadavg()[0]
    with DocStore(folder, embedder=HashEmbedder()) as store:
        began = time.perf_counter()
        report = store.workspace("old").add_many(_notes(documents))
        built = time.perf_counter()
        assert len(report.added) == documents, report.failed[:3]
        store.delete_workspace("old")
        deleted = time.perf_counter()
        with _writer(folder) as stop:
            time.sleep(baseline_seconds)
            alone = stop()
        with _writer(folder) as stop:
            moments = [time.monotonic()]
            collected = store.collect(progress=lambda _: moments.append(time.monotonic())).documents
            moments.append(time.monotonic())
            beside = stop()
        assert collected == documents
        warm_ups = 2
        assert store.stats().documents == warm_ups + len(alone.milliseconds) + len(beside.milliseconds)
    start, first, last, end = moments[0], moments[1], moments[-2], moments[-1]
    phases = {"marking": beside.between(start, first), "deleting": beside.between(first, last),
              "settling and compacting": beside.between(last, end)}  # fmt: skip
    return Result(documents, built - began, deleted - built, end - start, collected, alone, beside, phases, load)


def _notes(count: int) -> Iterator[bytes]:
    return (b"Old note number %d, which nobody needs any more." % number for number in range(count))


@contextmanager
def _writer(folder: Path) -> Iterator[Callable[[], Latencies]]:
    """A process that adds new documents, one after the other; calling what this yields ends it."""
    process = subprocess.Popen(
        [sys.executable, __file__, "write", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield lambda: Latencies(*zip(*json.loads(process.communicate()[0])))
    finally:
        process.kill()
        process.wait()


@app.command()
def write(folder: Path) -> None:
    """The writer's process: adds until its standard input ends, then prints what each add took."""
    adds: list[tuple[float, float]] = []
    with DocStore(folder, embedder=HashEmbedder()) as store:
        workspace = store.workspace("new")
        # Once unmeasured: the worker process that extracts starts, which is no matter of the collection.
        workspace.add(f"Warm-up of process {os.getpid()}.".encode())
        print("ready", flush=True)
        while not _ended(sys.stdin):
            note = f"New note {len(adds)} of process {os.getpid()}.".encode()
            began = time.monotonic()
            workspace.add(note)
            adds.append((1000 * (time.monotonic() - began), began))
    print(json.dumps(adds))


def _ended(stream: IO[str]) -> bool:
    return bool(select.select([stream], [], [], 0)[0])


def report(result: Result) -> str:
    """The run, as Markdown."""
    ratios = " | ".join(
        f"{result.beside.percentile(percent) / result.alone.percentile(percent):.1f}x" for percent in _PERCENTILES
    )
    phases = "\n".join(each.row(f"… while it was {name}") for name, each in result.phases.items())
    return f"""# Adding beside a collection

One process collects {result.documents:,} unreferenced documents of one line each, while another adds new ones, each as
soon as the one before is there (`HashEmbedder`: vectors cost nothing, so what is left is hashing, extraction, and the
disk). Milliseconds from the call of `add` to its return, its commit durable:

| an `add` | adds | p50 | p95 | p99 | slowest |
|---|---|---|---|---|---|
{result.alone.row("alone")}
{result.beside.row("beside the collection")}
{phases}
| ratio of the first two | | {ratios} |

- The collection took {result.collect_seconds:.1f} s, {result.collected / result.collect_seconds:,.0f} documents a
  second, with the writer beside it.
- Building the store took {result.build_seconds:.0f} s ({result.documents / result.build_seconds:,.0f} documents a
  second, `add_many`), deleting its workspace {result.delete_seconds:.1f} s.
- The writer waits for each add before it starts the next. An application that adds on a schedule would see the
  slowest adds delay those behind them too.

{provenance(f"load {result.load_before:.1f} before")}
"""


@app.command()
def measure(
    documents: Annotated[int, typer.Option(min=1, help="Documents to collect.")] = 100_000,
    folder: Annotated[Path, typer.Option(help="Folder for the store; emptied. On a real disk.")] = Path(
        "demo/responsiveness"
    ),
    baseline: Annotated[float, typer.Option(help="Seconds of adding without a collection.")] = 20.0,
    results: Results = RESULTS,
) -> None:
    """Measures the latency of adds with and without a collection beside them."""
    shutil.rmtree(folder, ignore_errors=True)
    text = report(run(folder, documents, baseline))
    shutil.rmtree(folder)
    (results / "responsiveness.md").write_text(text)
    print(text)


if __name__ == "__main__":
    app()
