"""`python -m examples.langchain_retriever`: a workspace as a retriever of LangChain, under one of its models.

A retriever is a workspace and a number, so make one for each request: what searches need stays with the store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.retrievers import BaseRetriever

from docstore import DocStore, Workspace


class WorkspaceRetriever(BaseRetriever):
    """What a workspace references and includes, for chains and agents; `batch` and `ainvoke` run in threads."""

    workspace: Workspace
    k: int = 5
    where: dict[str, Any] | None = None
    """Metadata that a document must have."""
    model: Embeddings | None = None
    """Embeds the queries; without one, they are embedded as documents are, which is another way for many models."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        if self.model is None:
            hits = self.workspace.search(query, k=self.k, where=self.where)
        else:
            hits = self.workspace.search_vector(self.model.embed_query(query), k=self.k, where=self.where)
        return [
            Document(
                id=f"{hit.document}/{hit.chunk}",
                page_content=hit.text,
                metadata={"source": hit.name, "score": hit.score} | ({"page": hit.page} if hit.page else {}),
            )
            for hit in hits
        ]


class LangChainEmbedder:
    """Any embedding model of LangChain's, for docstore."""

    max_tokens = None  # LangChain does not say; what a model reads no further than, say here

    def __init__(self, model: Embeddings, fingerprint: str) -> None:
        """
        Args:
            model: the model.
            fingerprint: names it and its revision: under another, documents are embedded anew.
        """
        self._model = model
        self.fingerprint = fingerprint
        self.dimension = len(model.embed_query("How long is a vector?"))

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Vectors of the texts, shape (len(texts), dimension)."""
        return np.array(self._model.embed_documents(list(texts)), np.float32)


def main() -> None:
    """Runs it."""
    # Where your model goes, such as `OpenAIEmbeddings(model="text-embedding-3-small")`; this one knows no meaning.
    model = DeterministicFakeEmbedding(size=64)
    embedder = LangChainEmbedder(model, "fake/64")
    with tempfile.TemporaryDirectory() as folder, DocStore(folder, embedder=embedder) as store:
        alice = store.workspace("user:alice")
        alice.add(b"The key of the store room hangs behind the kitchen door.", name="keys.txt")
        alice.add(b"Five days of leave may be carried over.", name="leave.txt", metadata={"year": 2026})
        retriever = WorkspaceRetriever(workspace=alice, k=1, where={"year": 2026}, model=model)
        (found,) = retriever.invoke("How many days of leave may I carry over?")
        print(f"{found.page_content} (from {found.metadata['source']})")


if __name__ == "__main__":
    main()
