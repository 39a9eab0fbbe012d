"""Documents and vectors for benchmarks of searching: real text layout, vectors in clusters, no model to wait for.

A chunk's vector is a centre and noise, both chosen by the hash of its text, so every process computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from blake3 import blake3

DIMENSION = 384  # of all-MiniLM-L6-v2
CHUNKS = 50
"""Chunks of every document, at the default chunk size."""

_CENTRES = np.random.default_rng(0).standard_normal((500, DIMENSION)).astype(np.float32)
_NOISE = 0.9  # cosines of chunks of one centre are about 0.55, as of chunks on one subject
_WORDS = [f"{start}{middle}{end}" for start in "bdfgklmnprst" for middle in "aeiou" for end in ("na", "rel", "sk", "t")]


class ClusteredEmbedder:
    """An embedder that costs as much as drawing random numbers."""

    fingerprint = "benchmarks.synthetic.ClusteredEmbedder/1"
    dimension = DIMENSION
    max_tokens: int | None = None

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Unit vectors, shape (len(texts), 384), float32."""
        vectors = np.empty((len(texts), DIMENSION), np.float32)
        for number, text in enumerate(texts):
            seed = int.from_bytes(blake3(text.encode()).digest(8), "little")
            noise = np.random.default_rng(seed).standard_normal(DIMENSION, np.float32)
            vectors[number] = _CENTRES[seed % len(_CENTRES)] + _NOISE * noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def document(number: int) -> bytes:
    """A text that is cut into `CHUNKS` chunks: paragraphs of some 700 characters."""
    generator = np.random.default_rng(number)
    paragraphs = (" ".join(_WORDS[word] for word in generator.integers(0, len(_WORDS), 160)) for _ in range(CHUNKS))
    return "\n\n".join(paragraph[:700] for paragraph in paragraphs).encode()


def documents(count: int, first: int = 0) -> Iterator[bytes]:
    """`count` documents, from number `first` on."""
    return map(document, range(first, first + count))


def queries(count: int, first: int = 0) -> npt.NDArray[np.float32]:
    """Query vectors, from number `first` on, each near one of the centres. Shape (count, 384)."""
    return ClusteredEmbedder().embed([f"query {number}" for number in range(first, first + count)])
