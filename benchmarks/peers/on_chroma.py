"""Chroma: one collection, filtered by metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import chromadb
import numpy as np
import numpy.typing as npt

from benchmarks.peers.references import References

if TYPE_CHECKING:
    from benchmarks.peers.workload import Document, Workload


class Chroma:
    """A persistent client in this process."""

    def __init__(self, folder: Path, _mode: str) -> None:
        self._references = References(folder)
        settings = chromadb.config.Settings(anonymized_telemetry=False)
        self._client = chromadb.PersistentClient(str(folder / "chroma"), settings)
        self._chunks = self._client.get_or_create_collection(
            "chunks", configuration={"hnsw": {"space": "ip"}}, embedding_function=None
        )

    def build(self, workload: Workload) -> int:
        """As in `Engine`."""
        for group in workload.groups():
            self._add(group)
        self._references.fill(workload.references())
        return len(workload.workspaces)

    def _add(self, documents: Sequence[Document]) -> None:
        self._chunks.add(
            ids=[str(chunk) for document in documents for chunk in document.chunks],
            embeddings=np.concatenate([document.vectors for document in documents]),
            documents=[text for document in documents for text in document.texts],
            metadatas=[{"document": document.number} for document in documents for _ in document.chunks],
        )

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """As in `Engine`."""
        where = {"document": {"$in": self._references.documents(workspace)}}
        found = self._chunks.query(query_embeddings=vector[np.newaxis], n_results=k, where=where, include=["documents"])
        return list(found["documents"][0])

    def attach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._references.add(workspace, document.number)

    def detach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._references.remove(workspace, document.number)

    def store(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._add([document])
        self.attach(workspace, document)

    def close(self) -> None:
        """As in `Engine`."""
        self._references.close()
        self._client.close()
