"""Qdrant's engine in this process: one shard, filtered by an indexed payload field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    MatchAny,
    PayloadSchemaType,
    Point,
    Query,
    SearchParams,
    SearchRequest,
    UpdateOperation,
)

from benchmarks.peers.references import References

if TYPE_CHECKING:
    from benchmarks.peers.workload import Document, Workload


class Qdrant:
    """Mode `graph` lets its planner choose, `exact` scans what the filter leaves."""

    def __init__(self, folder: Path, mode: str) -> None:
        self._references = References(folder)
        self._params = SearchParams(exact=mode == "exact")
        self._path = folder / "shard"
        self._shard: Any = EdgeShard.load(str(self._path)) if self._path.exists() else None

    def build(self, workload: Workload) -> int:
        """As in `Engine`."""
        self._path.mkdir()
        vectors = EdgeVectorParams(size=workload.vectors.shape[1], distance=Distance.Dot)
        self._shard = EdgeShard.create(str(self._path), EdgeConfig(vectors=vectors, max_search_threads=1))
        self._shard.update(UpdateOperation.create_field_index("document", PayloadSchemaType.Integer))
        for group in workload.groups():
            self._upsert(group)
        self._shard.optimize()
        self._shard.flush()
        self._references.fill(workload.references())
        return len(workload.workspaces)

    def _upsert(self, documents: Sequence[Document]) -> None:
        points = [
            Point(chunk, vector.tolist(), {"document": document.number, "text": text})
            for document in documents
            for chunk, vector, text in zip(document.chunks, document.vectors, document.texts, strict=True)
        ]
        self._shard.update(UpdateOperation.upsert_points(points))

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """As in `Engine`."""
        own = Filter(must=[FieldCondition("document", match=MatchAny(self._references.documents(workspace)))])
        request = SearchRequest(
            Query.Nearest(vector.tolist()), k, filter=own, params=self._params, with_payload=["text"]
        )
        return [point.payload["text"] for point in self._shard.search(request)]

    def attach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._references.add(workspace, document.number)

    def detach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._references.remove(workspace, document.number)

    def store(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._upsert([document])
        self._shard.flush()
        self.attach(workspace, document)

    def close(self) -> None:
        """As in `Engine`."""
        self._references.close()
        self._shard.close()
