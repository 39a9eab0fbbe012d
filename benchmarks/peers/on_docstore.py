"""docstore itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from benchmarks.synthetic import ClusteredEmbedder
from docstore import DocStore

if TYPE_CHECKING:
    from benchmarks.peers.workload import Document, Workload


class _Known(ClusteredEmbedder):
    """Looks vectors up instead of computing them: the peers are given theirs too."""

    def __init__(self, workload: Workload) -> None:
        self._vectors = workload.vectors
        self._rows = {hash(text): row for group in workload.groups() for document in group
                      for row, text in zip(document.chunks, document.texts, strict=True)}  # fmt: skip

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        return self._vectors[[self._rows[hash(text)] for text in texts]]


class _Ready(ClusteredEmbedder):
    """Gives the vectors of one document that it was handed."""

    document: Document

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        positions = {text: position for position, text in enumerate(self.document.texts)}
        return self.document.vectors[[positions[text] for text in texts]]


class Docstore:
    """Workspaces of one store."""

    def __init__(self, folder: Path, _mode: str) -> None:
        self._folder = folder
        self._ready = _Ready()
        self._store = DocStore(folder, embedder=self._ready)

    def build(self, workload: Workload) -> int:
        """Adds all documents once, then links each workspace's own."""
        contents = [document.content for group in workload.groups() for document in group]
        with DocStore(self._folder, embedder=_Known(workload)) as store:
            stored = store.workspace("all").add_many(contents).added
            for workspace, documents in enumerate(workload.workspaces.tolist()):
                store.workspace(str(workspace)).link_many(stored[document] for document in documents)
        return len(workload.workspaces)

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """As in `Engine`."""
        return [hit.text for hit in self._store.workspace(str(workspace)).search_vector(vector, k=k)]

    def attach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._store.workspace(str(workspace)).link(blake3(document.content).hexdigest())

    def detach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._store.workspace(str(workspace)).remove(blake3(document.content).hexdigest())

    def store(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._ready.document = document
        self._store.workspace(str(workspace)).add(document.content)

    def close(self) -> None:
        """As in `Engine`."""
        self._store.close()
