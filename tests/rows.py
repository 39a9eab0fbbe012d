"""Rows of documents that no store holds, for tests of segments."""

from __future__ import annotations

import numpy as np

from docstore.segments import Addition, Entry
from docstore.vectors import SPAN, Codec, Vectors, empty_index


def rows_of(name: str, vectors: Vectors, codec: Codec = "float16", text: str = "text") -> Addition:
    """A document called `name`, with its vectors as they are stored and spans that are nowhere."""
    codes = empty_index(vectors.shape[1], codec).sa_encode(vectors)
    return Addition([Entry((name, text), len(codes), np.zeros(len(codes), SPAN), False)], lambda: [codes])
