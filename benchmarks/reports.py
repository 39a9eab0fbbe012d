"""Reports of runs: the folder that they go to, and the command and the machine that they are of."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import faiss
import numpy as np
import typer

from docstore.ingest.extractor import CONCURRENCY

RESULTS = Path(__file__).parent / "results"


def _made(folder: Path | None) -> Path | None:
    """Called before a run: one of hours shall not end with a folder that is not there."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


Results = Annotated[Path, typer.Option(help="Folder for what was found.", callback=_made)]
"""The option of a benchmark that always writes."""

ResultsOrNone = Annotated[
    Path | None, typer.Option(help="Folder for what was found; by default benchmarks/results.", callback=_made)
]
"""The option of a benchmark that writes nothing with --quick, unless it is given."""


def provenance(*more: str) -> str:
    """The command, what else is to be said of the run, and the machine it ran on."""
    command, day = shlex.join(["python", *sys.orig_argv[1:]]), f"{datetime.now(UTC):%Y-%m-%d}"
    # What FAISS says it was made for names the widest instructions that this processor has: they decide most ratios.
    made_for = faiss.get_compile_options().split()[-1]
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, FAISS {faiss.__version__} for {made_for}"
    # `taskset`, which the command does not show, may have left one of them.
    cores = f"{CONCURRENCY} of {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f} at the end)"
    return f"Command: `{command}`, {', '.join([day, versions, *more, platform.system(), processor(), cores])}."


def processor() -> str:
    """Its name, where the operating system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
