"""The first answer of a new process: `python first_answer.py SIDE FOLDER`, which prints milliseconds of its parts.

Nothing is imported before the clock runs, but what Python itself needs.
"""

from __future__ import annotations

import json
import sys
import time

DIMENSION = 384  # as in `synthetic`, whose import would cost time


class NoEmbedder:
    """The vectors are stored, and the query is one: nothing is to be embedded."""

    fingerprint = "benchmarks.synthetic.ClusteredEmbedder/1"
    dimension = DIMENSION
    max_tokens = None

    def embed(self, texts: object, /) -> object:
        """Never called."""
        raise NotImplementedError


def docstore_answer(folder: str) -> tuple[float, float]:
    """When all was imported, and when the answer was there."""
    import numpy as np

    from docstore import DocStore

    imported = time.perf_counter()
    with DocStore(folder, embedder=NoEmbedder()) as store:  # type: ignore[arg-type]
        hits = store.workspace("one").search_vector(np.full(DIMENSION, DIMENSION**-0.5, np.float32), k=5)
        answered = time.perf_counter()
    assert len(hits) == 5 and all(hit.text for hit in hits)
    return imported, answered


def langchain_answer(folder: str) -> tuple[float, float]:
    """When all was imported, and when the answer was there."""
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.vectorstores import FAISS
    from langchain_core.embeddings import FakeEmbeddings

    imported = time.perf_counter()
    index = FAISS.load_local(folder, FakeEmbeddings(size=DIMENSION), allow_dangerous_deserialization=True)
    hits = index.similarity_search_by_vector([DIMENSION**-0.5] * DIMENSION, k=5)
    answered = time.perf_counter()
    assert len(hits) == 5 and all(hit.page_content for hit in hits)
    return imported, answered


if __name__ == "__main__":
    began = time.perf_counter()
    imported, answered = {"docstore": docstore_answer, "langchain": langchain_answer}[sys.argv[1]](sys.argv[2])
    print(json.dumps({"import": 1000 * (imported - began), "answer": 1000 * (answered - imported)}))
