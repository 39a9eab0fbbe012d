"""The command line: `python -m benchmarks.peers measure --folder FOLDER`."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.peers.engine import ENTRIES
from benchmarks.peers.measure import measure as measure_all
from benchmarks.peers.report import report
from benchmarks.peers.workload import Size, prepare
from benchmarks.reports import RESULTS, ResultsOrNone

app = typer.Typer(pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """docstore and its peers on the same workload, in one run."""


@app.command()
def measure(
    folder: Annotated[Path, typer.Option(help="Where the engines store. What it holds is overwritten.")],
    quick: Annotated[bool, typer.Option(help="A small workload; writes nothing without --results.")] = False,
    results: ResultsOrNone = None,
) -> None:
    """Measures every engine that is installed."""
    began = time.monotonic()
    size = Size.quick() if quick else Size()
    folder = folder.absolute()
    shutil.rmtree(folder / "workload", ignore_errors=True)
    prepare(folder / "workload", size)
    found = list(measure_all(ENTRIES, folder, size, lambda what: typer.echo(what, err=True)))
    text = report(found, size, time.monotonic() - began)
    typer.echo(text)
    if results is not None or not quick:
        ((results or RESULTS) / "peers.md").write_text(text)


if __name__ == "__main__":
    app()
