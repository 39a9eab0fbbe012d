"""The answer a private index would give: one FAISS index over the same chunks, built without the library's merging."""

from __future__ import annotations

from collections.abc import Mapping

import faiss
import numpy as np
import numpy.typing as npt

from docstore.ingest.chunk import Chunker
from docstore.testing import HashEmbedder

Ranked = list[tuple[str, int]]
"""(document hash, chunk number), best first."""


def chunks_of(text: str, size: int = 1000, overlap: int = 200) -> list[str]:
    """The chunks the default pipeline cuts a text into."""
    return [text[span["start"] : span["end"]] for span in Chunker(size, overlap).spans(text)]


def private_index(
    texts: Mapping[str, str], queries: list[str], k: int, codec: str = "float16", size: int = 1000, overlap: int = 200
) -> list[tuple[Ranked, npt.NDArray[np.float32]]]:
    """Ranking and scores, for each query, of one index over the texts of all documents (by hash).

    Every score is asked for, then sorted; equal scores by document hash and chunk number, as the store promises.
    """
    embedder = HashEmbedder()
    rows = [(hash, number) for hash in sorted(texts) for number, _ in enumerate(chunks_of(texts[hash], size, overlap))]
    if not rows:
        return [([], np.empty(0, np.float32)) for _ in queries]
    chunks = [chunk for hash in sorted(texts) for chunk in chunks_of(texts[hash], size, overlap)]
    index = (
        faiss.IndexScalarQuantizer(64, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        if codec == "float16"
        else faiss.IndexFlatIP(64)
    )
    index.add(embedder.embed(chunks))
    answers = []
    for query in queries:
        scores, found = index.search(embedder.embed([query]), len(rows))
        order = np.lexsort((found[0], -scores[0]))[:k]
        answers.append(([rows[found[0][each]] for each in order], scores[0][order]))
    return answers
