"""LanceDB: one table, filtered by a scalar index before the vectors are searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lancedb.index import BTree, IvfPq

from benchmarks.peers.references import References

if TYPE_CHECKING:
    from benchmarks.peers.workload import Document, Workload


class LanceDB:
    """Mode `ivf_pq` searches by the index, `exact` without."""

    def __init__(self, folder: Path, mode: str) -> None:
        self._references = References(folder)
        self._db = lancedb.connect(str(folder / "lancedb"))
        self._exact = mode == "exact"
        self._opened: Any = None

    def build(self, workload: Workload) -> int:
        """As in `Engine`."""
        schema = pa.schema({"document": pa.int32(), "vector": pa.list_(pa.float32(), workload.vectors.shape[1]),
                            "text": pa.string()})  # fmt: skip

        batches = (_batch(group, schema) for group in workload.groups())
        table = self._db.create_table("chunks", batches, schema=schema)
        table.create_index("document", config=BTree())
        table.create_index("vector", config=IvfPq(distance_type="dot"))
        self._references.fill(workload.references())
        return len(workload.workspaces)

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """As in `Engine`."""
        query = self._table.search(vector).distance_type("dot")
        query = query.bypass_vector_index() if self._exact else query.refine_factor(10)
        own = ", ".join(map(str, self._references.documents(workspace)))
        found = query.where(f"document IN ({own})").limit(k).select(["text", "_distance"]).to_arrow()
        return list(found["text"].to_pylist())

    @property
    def _table(self) -> Any:
        self._opened = self._opened or self._db.open_table("chunks")
        return self._opened

    def attach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._references.add(workspace, document.number)

    def detach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._references.remove(workspace, document.number)

    def store(self, workspace: int, document: Document) -> None:
        """As in `Engine`. What is not indexed yet is scanned."""
        self._table.add(_batch([document], self._table.schema))
        self.attach(workspace, document)

    def close(self) -> None:
        """As in `Engine`."""
        self._references.close()


def _batch(documents: Sequence[Document], schema: Any) -> Any:
    numbers = [document.number for document in documents for _ in document.chunks]
    vectors = np.concatenate([document.vectors for document in documents])
    texts = [text for document in documents for text in document.texts]
    lists = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    return pa.record_batch([pa.array(numbers, pa.int32()), lists, pa.array(texts)], schema)
