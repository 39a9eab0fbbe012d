"""`python -m examples.llamaindex_retriever`: a workspace as a retriever of LlamaIndex, under a query engine.

A retriever is a workspace and a number, so make one for each request: what searches need stays with the store.
"""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from docstore import DocStore, Workspace
from examples.embedder import installed_embedder


class WorkspaceRetriever(BaseRetriever):
    """What a workspace references and includes, for query and chat engines."""

    def __init__(self, workspace: Workspace, k: int = 5, where: dict[str, Any] | None = None) -> None:
        """
        Args:
            workspace: whose documents.
            k: how many chunks.
            where: metadata that a document must have.
        """
        super().__init__()
        self._workspace, self._k, self._where = workspace, k, where

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query = "\n".join(query_bundle.embedding_strs)  # the question, or what a transformation makes of it, as HyDE
        return [
            NodeWithScore(
                score=hit.score,
                node=TextNode(
                    id_=f"{hit.document}/{hit.chunk}",
                    text=hit.text,
                    metadata={"file_name": hit.name} | ({"page": hit.page} if hit.page else {}),
                ),
            )
            for hit in self._workspace.search(query, k=self._k, where=self._where)
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)  # or nobody else is served meanwhile


def main() -> None:
    """Runs it."""
    with tempfile.TemporaryDirectory() as folder, DocStore(folder, embedder=installed_embedder()) as store:
        alice = store.workspace("user:alice")
        alice.add(b"The key of the store room hangs behind the kitchen door.", name="keys.txt")
        alice.add(b"Five days of leave may be carried over.", name="leave.txt")
        # Where your language model goes; this one repeats what it was asked, sources included.
        engine = RetrieverQueryEngine.from_args(WorkspaceRetriever(alice, k=1), llm=MockLLM())
        print(engine.query("How many days of leave may I carry over?"))


if __name__ == "__main__":
    main()
