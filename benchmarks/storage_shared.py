"""Layout (c): all users and chats as workspaces of one DocStore, at full scale, and what it then holds."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from benchmarks.storage_disk import Usage, walk
from benchmarks.storage_workload import Workload
from docstore import DocStore
from docstore.reports import StorageStats
from docstore.texts import decompress


@dataclass(frozen=True, slots=True)
class SharedLayout:
    """What filling the store gave, all of it measured."""

    workspaces: int
    parts: dict[str, Usage]
    """On disk while the store was open: documents, texts, embeddings, catalog, tmp, folders."""
    closed: dict[str, Usage]
    """The same after closing it: SQLite has then emptied its write-ahead log."""
    stats: StorageStats
    """Taken together with `parts`."""
    embedding_seconds: float
    """Calls of `add_many` that had something to extract and embed; loading the model is in the first."""
    embedding_calls: int
    referencing_seconds: float
    """Calls that found everything there already."""
    referencing_calls: int
    unreadable: dict[str, str]
    """Documents that no layout holds, and why."""


def fill(folder: Path, workload: Workload, progress: Callable[[str], None]) -> SharedLayout:
    """Adds every chat's and every user's documents to its own workspace, as an application would: by path."""
    seconds, calls = {True: 0.0, False: 0.0}, {True: 0, False: 0}
    unreadable: dict[str, str] = {}
    owners = workload.chats + workload.users
    with DocStore(folder) as store:
        for position, owner in enumerate(owners, 1):
            begin = time.perf_counter()
            report = store.workspace(owner.name).add_many([workload.paths[hash] for hash in owner.documents])
            embedded = bool(report.added)
            seconds[embedded] += time.perf_counter() - begin
            calls[embedded] += 1
            unreadable |= {failure.name: str(failure.error) for failure in report.failed}
            progress(f"docstore: {position:,} of {len(owners):,} workspaces")
        stats, parts = store.stats(), walk(folder, _part)
    return SharedLayout(
        workspaces=len(owners), parts=parts, closed=walk(folder, _part), stats=stats,
        embedding_seconds=seconds[True], embedding_calls=calls[True],
        referencing_seconds=seconds[False], referencing_calls=calls[False], unreadable=unreadable,
    )  # fmt: skip


def _part(path: Path) -> str:
    return "catalog" if path.name.startswith("catalog.db") else path.parts[0]


@dataclass(frozen=True, slots=True)
class Chunks:
    """One document's chunks as the store cut and embedded them."""

    texts: list[str]
    pages: list[int]
    """From 1."""
    vectors: npt.NDArray[np.float32]


def stored_chunks(folder: Path) -> dict[str, Chunks]:
    """The chunks of every document, by its hash, read from the files and the catalog as any program may read them."""
    # Not by searching: that gives no vectors, and embedding again would double the time for the same numbers.
    catalog = sqlite3.connect(f"{(folder / 'catalog.db').absolute().as_uri()}?mode=ro", uri=True)
    try:
        found = catalog.execute(
            """SELECT d.hash, t.hash, p.fingerprint FROM documents d JOIN texts t ON t.id = d.text_id
               JOIN subindexes s ON s.text_id = t.id JOIN pipelines p ON p.id = s.pipeline_id"""
        ).fetchall()
    finally:
        catalog.close()
    return {document: _chunks(folder, text, pipeline) for document, text, pipeline in found}


def _chunks(folder: Path, text: str, pipeline: str) -> Chunks:
    subindex = folder / "embeddings" / pipeline / text[:2] / text
    spans = np.load(subindex / "chunks.npy", allow_pickle=False)
    characters = int(spans["end"].max()) + 1_000_000  # no chunk covers the white space at the end
    content = decompress((folder / "texts" / text[:2] / f"{text}.zst").read_bytes(), text, characters).content
    index: Any = faiss.read_index(str(subindex / "index.faiss"))
    return Chunks(
        [content[span["start"] : span["end"]] for span in spans],
        [int(page) for page in spans["page"]],
        np.asarray(index.reconstruct_n(0, index.ntotal), np.float32),
    )
