"""What runs in processes of its own, one for each step: `python -m benchmarks.peers.child STEP ENTRY FOLDER RESULT`.

Everything in them, servers they start included, runs on one core. A cold start imports nothing but what it needs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import milliseconds
from benchmarks.peers.engine import ENTRIES, Engine, Entry

_CHANGES = 10
"""Documents attached and detached, and new ones stored, each in another workspace."""


def build(entry: Entry, folder: Path) -> dict[str, Any]:
    """Fills the engine's folder."""
    from benchmarks.peers.workload import Workload

    workload = Workload(folder / "workload")
    entry.load()
    began = time.perf_counter()
    engine = entry.open(folder)
    try:
        written = engine.build(workload)
    finally:
        engine.close()
    return {"seconds": time.perf_counter() - began, "written": written}


def warm(entry: Entry, folder: Path) -> dict[str, Any]:
    """Searches whose workspaces were searched before, for other queries; then changes of workspaces."""
    from benchmarks.peers.workload import RECALL_K, K, Workload

    workload = Workload(folder / "workload")
    engine = entry.open(folder)
    try:
        recalls = [len(set(engine.search(workspace, vector, RECALL_K)) & workload.truth(workspace, query)) / RECALL_K
                   for workspace, vectors in enumerate(workload.recall_queries)
                   for query, vector in enumerate(vectors)]  # fmt: skip
        searches = [milliseconds(lambda: engine.search(workspace, vector, K))  # noqa: B023
                    for workspace, vectors in enumerate(workload.queries) for vector in vectors]  # fmt: skip
        missed: list[str] = []
        changes = [_change(engine, workload, workspace, missed)
                   for workspace in range(min(_CHANGES, len(workload.queries)))]  # fmt: skip
        new = workload.new_documents(len(changes), after=ENTRIES.index(entry) * len(changes))
        stored = [_store(engine, workspace, document, missed) for workspace, document in enumerate(new)]
        threads = len(list(Path("/proc/self/task").iterdir()))
    finally:
        engine.close()
    if missed and entry.exact:
        raise RuntimeError(f"a search after {missed[0]} a document does not find it")
    return {"recall": float(np.mean(recalls)), "searches": searches, "attach": [each[0] for each in changes],
            "detach": [each[1] for each in changes], "store": [each[0] for each in stored],
            "alone": [each[1] for each in stored], "missed": len(missed), "threads": threads}  # fmt: skip


def _change(engine: Engine, workload: Any, workspace: int, missed: list[str]) -> tuple[float, float]:
    document = workload.stranger(workspace)
    found: list[str] = []

    def then_search(change: Callable[[int, Any], None]) -> None:
        change(workspace, document)
        found[:] = engine.search(workspace, document.vectors[0], 5)

    attach = milliseconds(lambda: then_search(engine.attach))
    if document.texts[0] not in found:
        missed.append("attaching")
    detach = milliseconds(lambda: then_search(engine.detach))
    if document.texts[0] in found:
        raise RuntimeError("a search after detaching a document finds it")
    return attach, detach


def _store(engine: Engine, workspace: int, document: Any, missed: list[str]) -> tuple[float, float]:
    """With the search, and without it."""
    found: list[str] = []
    alone = milliseconds(lambda: engine.store(workspace, document))
    search = milliseconds(lambda: found.extend(engine.search(workspace, document.vectors[0], 5)))
    if document.texts[0] not in found:
        missed.append("storing")
    engine.detach(workspace, document)  # others search the same workspaces, and know what must be found there
    return alone + search, alone


def cold(entry: Entry, folder: Path) -> dict[str, Any]:
    """The first answer of a process."""
    with np.load(folder / "workload" / "workload.npz") as stored:
        vector = stored["queries"][0, 0]
    engine = entry.open(folder)
    try:
        found = engine.search(0, vector, 5)
        answered = time.monotonic()  # one clock for all processes: the parent knows when this one was started
    finally:
        engine.close()
    if len(found) != 5:
        raise RuntimeError(f"the first search found {len(found)} chunks instead of 5")
    return {"answered": answered}


def main(step: str, name: str, folder: str, result: str) -> None:
    """Runs one step, and writes what it found."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    entry = next(each for each in ENTRIES if each.name == name)
    found = {"build": build, "warm": warm, "cold": cold}[step](entry, Path(folder))
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
