"""Layout (c): all users and chats as workspaces of one DocStore, at full scale, and what it then holds."""

from __future__ import annotations

import io
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
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
    """On disk while the store was open: documents, texts, embeddings, small.sqlar, catalog, tmp, folders."""
    packed_documents: int
    """Bytes of documents in small.sqlar, where small pieces of all kinds are."""
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
        packed_documents=sum(len(data) for name, data in _packed(folder).items() if name.startswith("documents/")),
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
    rows = _query(
        folder / "catalog.db",
        """SELECT d.hash, t.hash, p.fingerprint FROM documents d JOIN texts t ON t.id = d.text_id
           JOIN subindexes s ON s.text_id = t.id JOIN pipelines p ON p.id = s.pipeline_id""",
    )
    packed = _packed(folder)

    def read(name: str) -> bytes:
        return (folder / name).read_bytes() if (folder / name).is_file() else packed[name]

    return {document: _chunks(read, text, pipeline) for document, text, pipeline in rows}


def _packed(folder: Path) -> dict[str, bytes]:
    """Pieces of documents that were added many at once, by the names that they would have as files."""
    archive = folder / "small.sqlar"
    # Without a piece it is made, but empty.
    has_pieces = archive.exists() and _query(archive, "SELECT count(*) FROM sqlite_master")[0][0]
    return dict(_query(archive, "SELECT name, data FROM sqlar")) if has_pieces else {}


def _query(database: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def _chunks(read: Callable[[str], bytes], text: str, pipeline: str) -> Chunks:
    subindex = f"embeddings/{pipeline}/{text[:2]}/{text}"
    spans = np.load(io.BytesIO(read(f"{subindex}/chunks.npy")), allow_pickle=False)
    characters = int(spans["end"].max()) + 1_000_000  # no chunk covers the white space at the end
    content = decompress(read(f"texts/{text[:2]}/{text}.zst"), text, characters).content
    index: Any = faiss.deserialize_index(np.frombuffer(read(f"{subindex}/index.faiss"), np.uint8))
    return Chunks(
        [content[span["start"] : span["end"]] for span in spans],
        [int(page) for page in spans["page"]],
        np.asarray(index.reconstruct_n(0, index.ntotal), np.float32),
    )
