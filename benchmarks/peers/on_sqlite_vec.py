"""sqlite-vec: tables in SQLite, joined, and sorted by its distance function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import apsw  # Python's own sqlite3 is often built without extensions
import numpy as np
import numpy.typing as npt
import sqlite_vec

if TYPE_CHECKING:
    from benchmarks.peers.workload import Document, Workload

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS refs (workspace INTEGER, document INTEGER, PRIMARY KEY (workspace, document))
        WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS chunks (id INTEGER PRIMARY KEY, text TEXT);
    CREATE TABLE IF NOT EXISTS vectors (document INTEGER, id INTEGER, vector BLOB, PRIMARY KEY (document, id))
        WITHOUT ROWID;
"""
_SEARCH = """
    WITH nearest AS (
        SELECT id, vec_distance_cosine(vector, ?) AS distance FROM refs JOIN vectors USING (document)
        WHERE workspace = ? ORDER BY distance LIMIT ?
    )
    SELECT text FROM nearest JOIN chunks USING (id) ORDER BY distance
"""


class SqliteVec:
    """One database file."""

    def __init__(self, folder: Path, _mode: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = apsw.Connection(str(folder / "chunks.db"))
        self._db.enable_load_extension(True)
        self._db.load_extension(sqlite_vec.loadable_path())
        list(self._db.execute(_SCHEMA))

    def build(self, workload: Workload) -> int:
        """As in `Engine`."""
        for group in workload.groups():
            with self._db:
                for document in group:
                    self._insert(document)
        with self._db:
            self._db.executemany("INSERT INTO refs VALUES (?, ?)", workload.references())
        return len(workload.workspaces)

    def _insert(self, document: Document) -> None:
        self._db.executemany("INSERT INTO chunks VALUES (?, ?)", zip(document.chunks, document.texts, strict=True))
        self._db.executemany("INSERT INTO vectors VALUES (?, ?, ?)", (
            (document.number, chunk, vector.tobytes())
            for chunk, vector in zip(document.chunks, document.vectors, strict=True)
        ))  # fmt: skip

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """As in `Engine`."""
        return [row[0] for row in self._db.execute(_SEARCH, (vector.tobytes(), workspace, k))]

    def attach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._db.execute("INSERT INTO refs VALUES (?, ?)", (workspace, document.number))

    def detach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._db.execute("DELETE FROM refs WHERE workspace = ? AND document = ?", (workspace, document.number))

    def store(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        with self._db:
            self._insert(document)
            self.attach(workspace, document)

    def close(self) -> None:
        """As in `Engine`."""
        self._db.close()
