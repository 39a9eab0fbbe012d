"""What users need for their own tests: an embedder that is deterministic, instant and needs no model."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from blake3 import blake3


class HashEmbedder:
    """Hashes words into buckets, so texts that share words are near. The hashing trick: Weinberger et al., 2009.

    Meets `Embedder`. `embedded` counts the texts it was asked for, so that a test can show what was not embedded
    twice.

    >>> a, b, c = HashEmbedder().embed(["a red fox", "the red fox", "tax law"])
    >>> float(a @ b) > float(a @ c)
    True
    """

    def __init__(self, dimension: int = 64, max_tokens: int | None = None) -> None:
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.embedded = 0

    @property
    def fingerprint(self) -> str:
        """Names the function; equal dimensions give equal vectors."""
        return f"docstore.testing.HashEmbedder/{self.dimension}"

    def count_tokens(self, text: str) -> int:
        """Words of the text."""
        return len(_words(text))

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension), float32."""
        self.embedded += len(texts)
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for word in _words(text) or [""]:
                digest = blake3(word.lower().encode()).digest(length=8)
                bucket, sign = int.from_bytes(digest[:7], "little") % self.dimension, 1 - 2 * (digest[7] & 1)
                vectors[row, bucket] += sign
            if not vectors[row].any():  # words that cancel out
                vectors[row, 0] = 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / lengths, np.float32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)
