"""Storage benchmark: a FAISS index per chat, one per user, or one shared docstore; bytes on disk, on real PDFs.

    python benchmarks/storage.py --docs FOLDER

`benchmarks/results/storage.md` has what the last committed run found.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

import docstore
from benchmarks import storage_report, storage_shared
from benchmarks.reports import RESULTS, ResultsOrNone, processor
from benchmarks.storage_private import PrivateWriter
from benchmarks.storage_report import Result
from benchmarks.storage_workload import HOW_TO_GET_PDFS, Settings, choose_documents, draw


def main(
    docs: Annotated[Path | None, typer.Option(help="Folder with real PDFs, searched recursively.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Documents to use, the first by sorted path.")] = 30,
    max_mb: Annotated[float, typer.Option(help="Skip PDFs larger than this.")] = 1.5,
    users: Annotated[int, typer.Option(min=1)] = 100,
    chats: Annotated[int, typer.Option(min=1, help="Chats of each user.")] = 50,
    per_chat: Annotated[int, typer.Option(min=1, help="Documents in each chat.")] = 5,
    zipf: Annotated[float, typer.Option(min=0, help="Exponent of the documents' popularity; 0 is uniform.")] = 1.0,
    seed: Annotated[int, typer.Option()] = 1,
    budget_mb: Annotated[int, typer.Option(min=1, help="Write each private layout up to this; extrapolate it.")] = 2000,
    quick: Annotated[bool, typer.Option(help="Few small documents and chats; the options above but --docs and --seed "
                                             "do not count, and nothing is written without --results.")] = False,
    results: ResultsOrNone = None,
) -> None:  # fmt: skip
    """Measures what the same documents take on disk as private FAISS indexes and as one shared docstore."""
    if docs is None or not docs.is_dir():
        raise _refusal("" if docs is None else f"{docs} is no folder. ")
    settings = Settings(docs, limit, max_mb, users, chats, per_chat, zipf, seed, budget_mb)
    result = run(Settings.quick(docs, seed) if quick else settings)
    storage_report.print_table(result)
    if results is not None or not quick:
        storage_report.write(result, results or RESULTS)


def run(settings: Settings) -> Result:
    """Fills the store, then writes both private layouts from what it computed, in a temporary folder."""
    begin, described = time.perf_counter(), machine()
    paths = choose_documents(settings)
    if len(paths) < settings.per_chat:
        raise _refusal(f"{settings.docs} has {len(paths)} PDFs of at most {settings.max_mb:g} MB; a chat needs "
                       f"{settings.per_chat}. Raise --max-mb or lower --per-chat. ")  # fmt: skip
    workload = draw(settings, paths)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="docstore-storage-") as temporary, console.status("starting") as status:
        folder = Path(temporary)
        shared = storage_shared.fill(folder / "store", workload, status.update)
        status.update("reading chunks, and the PDFs' metadata with PyPDFLoader")
        chunks = storage_shared.stored_chunks(folder / "store")
        if not chunks:
            raise _refusal(f"None of the {len(paths)} PDFs could be read: {shared.unreadable}. ")
        workload = workload.restricted(set(chunks))
        writer = PrivateWriter(workload, chunks)
        # A random sample: the first chats would be those of a few users only.
        order = np.random.default_rng(settings.seed)
        sampled = [[owners[each] for each in order.permutation(len(owners))]
                   for owners in (workload.chats, workload.users)]  # fmt: skip
        budget = settings.budget_mb * 1_000_000
        per_chat = writer.layout(sampled[0], folder / "per-chat", budget, status.update)
        per_user = writer.layout(sampled[1], folder / "per-user", budget, status.update)
    return Result(
        settings, described, len(workload.paths), sum(path.stat().st_size for path in workload.paths.values()),
        per_chat, per_user, shared, time.perf_counter() - begin,
    )  # fmt: skip


def _refusal(reason: str) -> typer.Exit:
    Console(stderr=True).print(reason + HOW_TO_GET_PDFS, markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(2)


def machine() -> dict[str, Any]:
    """What the numbers depend on beside the workload."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load_average_before": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "docstore": docstore.__version__,
        "faiss": version("faiss-cpu"),
        "langchain_community": version("langchain-community"),
        "torch": version("torch"),
    }


if __name__ == "__main__":
    typer.run(main)
