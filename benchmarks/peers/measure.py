"""Runs the steps of every engine, one after another, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.peers.engine import Entry
from benchmarks.peers.workload import Size
from benchmarks.storage_disk import total, walk

_ROOT = Path(__file__).parent.parent.parent
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "LANCE_CPU_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Built:
    """What an engine has stored."""

    bytes: int
    """Allocated on the disk, folders included: some engines reserve more than they use."""
    seconds: float
    written: int
    """Workspaces, of those there are."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found for one entry. Times are milliseconds of each repetition."""

    entry: Entry
    built: Built
    recall: float
    searches: Sequence[float]
    attach: Sequence[float]
    detach: Sequence[float]
    store: Sequence[float]
    alone: Sequence[float]
    """The same without the search that follows."""
    missed: int
    """Documents attached or stored that the search after it did not find: engines that are not exact may."""
    cold: Sequence[float]
    threads: int
    """Of the process that searched, at its end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An entry that could not be measured."""

    entry: Entry
    reason: str


class _StepFailed(Exception):
    pass


def measure(
    entries: Sequence[Entry], folder: Path, size: Size, progress: Callable[[str], None]
) -> Iterator[Measured | Failed]:
    """Measures entries on the workload in a folder, and deletes what each engine stored when it is done with it."""
    built: dict[str, Built] = {}
    for position, entry in enumerate(entries):
        try:
            if entry.store not in built:
                progress(f"{entry.name}: storing")
                built[entry.store] = _build(entry, folder)
            progress(f"{entry.name}: searching")
            found = _step("warm", entry, folder)
            cold = [_cold(entry, folder) for _ in range(size.cold_starts)]
            yield Measured(entry, built[entry.store], cold=cold, **found)
        except _StepFailed as error:
            yield Failed(entry, str(error))
        if entry.store not in {each.store for each in entries[position + 1 :]}:
            shutil.rmtree(folder / entry.store, ignore_errors=True)


def _build(entry: Entry, folder: Path) -> Built:
    shutil.rmtree(folder / entry.store, ignore_errors=True)
    found = _step("build", entry, folder)
    os.sync()  # some file systems allocate blocks only when they write back
    return Built(total(walk(folder / entry.store, str)).allocated, **found)


def _cold(entry: Entry, folder: Path) -> float:
    began = time.monotonic()
    return 1000 * float(_step("cold", entry, folder)["answered"] - began)


def _step(step: str, entry: Entry, folder: Path) -> dict[str, Any]:
    with TemporaryDirectory() as results:
        result = Path(results) / "result.json"
        command = [sys.executable, "-m", "benchmarks.peers.child", step, entry.name, str(folder), str(result)]
        environment = {**os.environ, **_ONE_THREAD}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as pip does when it installs them
        done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
            raise _StepFailed(f"{step}: {lines[-1]}")
        return dict(json.loads(result.read_text()))
