"""DuckDB: tables, joined, and sorted by its array function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from benchmarks.peers.workload import Document, Workload

_SCHEMA = """
    CREATE TABLE refs (workspace INTEGER, document INTEGER, PRIMARY KEY (workspace, document));
    CREATE TABLE chunks (id INTEGER, document INTEGER, vector FLOAT[{}], text VARCHAR);
"""
_SEARCH = """
    WITH nearest AS (
        SELECT id, array_inner_product(vector, $1::FLOAT[{}]) AS score FROM refs JOIN chunks USING (document)
        WHERE workspace = $2 ORDER BY score DESC LIMIT $3
    )
    SELECT text FROM nearest JOIN chunks USING (id) ORDER BY score DESC
"""


class DuckDB:
    """One database file."""

    def __init__(self, folder: Path, _mode: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = duckdb.connect(str(folder / "chunks.duckdb"), config={"threads": 1})

    def build(self, workload: Workload) -> int:
        """As in `Engine`."""
        self._db.execute(_SCHEMA.format(workload.vectors.shape[1]))
        for group in workload.groups():
            self._insert(group)
        workspaces, documents = zip(*workload.references(), strict=True)
        references = pa.table({"workspace": workspaces, "document": documents})
        self._db.register("rows", references).execute("INSERT INTO refs FROM rows")
        self._db.execute("CHECKPOINT")
        return len(workload.workspaces)

    def _insert(self, documents: Sequence[Document]) -> None:
        vectors = np.concatenate([document.vectors for document in documents])
        rows = pa.table({
            "id": [chunk for document in documents for chunk in document.chunks],
            "document": [document.number for document in documents for _ in document.chunks],
            "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1]),
            "text": [text for document in documents for text in document.texts],
        })  # fmt: skip
        self._db.register("rows", rows).execute("INSERT INTO chunks FROM rows")

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """As in `Engine`."""
        return [row[0] for row in self._db.execute(_SEARCH.format(len(vector)), [vector, workspace, k]).fetchall()]

    def attach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._db.execute("INSERT INTO refs VALUES (?, ?)", [workspace, document.number])

    def detach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._db.execute("DELETE FROM refs WHERE workspace = ? AND document = ?", [workspace, document.number])

    def store(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._db.begin()
        self._insert([document])
        self.attach(workspace, document)
        self._db.commit()

    def close(self) -> None:
        """As in `Engine`."""
        self._db.close()
