"""LangChain's FAISS store: an index and a copy of the texts for every workspace."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.vectorstores import FAISS
    from langchain_core.embeddings import FakeEmbeddings

if TYPE_CHECKING:
    from benchmarks.peers.workload import Document, Workload

_EMBEDDING = FakeEmbeddings(size=1)  # demanded, and never called: vectors are given


class LangChain:
    """One folder for each workspace."""

    def __init__(self, folder: Path, _mode: str) -> None:
        self._folder = folder
        self._loaded: dict[int, Any] = {}

    def build(self, workload: Workload) -> int:
        """Writes the workspaces that are searched; all would take as much again for each."""
        for workspace in range(len(workload.queries)):
            documents = [workload.document(number) for number in workload.workspaces[workspace].tolist()]
            texts = [text for document in documents for text in document.texts]
            vectors = np.concatenate([document.vectors for document in documents])
            ids = [str(chunk) for document in documents for chunk in document.chunks]
            FAISS.from_embeddings(list(zip(texts, vectors, strict=True)), _EMBEDDING, ids=ids).save_local(
                str(self._folder / str(workspace))
            )
        return len(workload.queries)

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """As in `Engine`."""
        found = self._index(workspace).similarity_search_by_vector(vector.tolist(), k=k)
        return [each.page_content for each in found]

    def attach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        ids = [str(chunk) for chunk in document.chunks]
        self._index(workspace).add_embeddings(list(zip(document.texts, document.vectors, strict=True)), ids=ids)
        self._index(workspace).save_local(str(self._folder / str(workspace)))

    def detach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._index(workspace).delete([str(chunk) for chunk in document.chunks])
        self._index(workspace).save_local(str(self._folder / str(workspace)))

    def store(self, workspace: int, document: Document) -> None:
        """As in `Engine`: whoever else has a document, each workspace has a copy."""
        self.attach(workspace, document)

    def close(self) -> None:
        """As in `Engine`."""

    def _index(self, workspace: int) -> Any:
        if workspace not in self._loaded:
            self._loaded[workspace] = FAISS.load_local(
                str(self._folder / str(workspace)), _EMBEDDING, allow_dangerous_deserialization=True
            )
        return self._loaded[workspace]
