"""The default model in NumPy, for a few words: a question has its vector half a second after its process began, where
importing PyTorch alone takes two seconds, and 200 MB. Of longer texts PyTorch computes twice as many
in a second (`minilm`).

In float32, one text at a time. Threads need not wait for one another, nor a forked child for what its parent had.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from docstore.ingest import blas, weights

Floats = npt.NDArray[np.float32]

MAX_TOKENS = 256
LAYERS, HEADS, EPSILON = 6, 12, 1e-12  # which the weights do not say
PROBES = ("", "What is attention?", "Vectors of one fingerprint mix; so these must be the model's own. " * 40)
EXPECTED = np.array([
    [-0.118838, 0.048299, -0.002548, -0.011011, 0.051951, 0.010292, 0.115433, 0.000701],
    [0.064768, 0.019973, -0.072213, 0.032637, 0.069767, 0.046594, 0.117960, 0.021460],
    [-0.068980, -0.047896, 0.015368, -0.077028, 0.064009, 0.039537, 0.014291, -0.058865],
], np.float32)  # fmt: skip
"""The first numbers of their vectors, as sentence-transformers 6.2 gives them in float32."""
_TOLERANCE = 1e-4  # of one of them; between processors they differ by less than 1e-6
# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: off by 1.5e-7 at most.
_ERF_SCALE, _ERF = 0.3275911, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


def are_expected(vectors: Floats) -> bool:
    """Whether these are the vectors of the first probes."""
    expected = EXPECTED[: len(vectors)]
    return float(np.abs(vectors[:, : expected.shape[1]] - expected).max()) <= _TOLERANCE


def load(folder: Path) -> FewMiniLM | None:
    """The model; None if its vectors are not what they must be, by some version of a library.

    Args:
        folder: the model's files, whose weights were checked.
    """
    model = FewMiniLM(weights.load(folder / "model.safetensors"), folder)
    return model if are_expected(model.embed(PROBES[:2])) else None  # the last takes as long as ten questions


class FewMiniLM:
    """all-MiniLM-L6-v2. Safe for threads."""

    def __init__(self, weights: dict[str, Floats], folder: Path) -> None:
        """
        Args:
            weights: as their file names them.
            folder: where the tokenizer is.
        """
        self.weights = weights
        self._words = weights["embeddings.word_embeddings.weight"]
        # All tokens are of the first type: a text is one segment.
        self._places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _Norm(weights, "embeddings.LayerNorm")
        self._layers = [_Layer(weights, f"encoder.layer.{number}.") for number in range(LAYERS)]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Normalised vectors, shape (len(texts), dimension)."""
        vectors = np.empty((len(texts), self._words.shape[1]), np.float32)
        # What is near 0 underflows, as it should, whatever the caller would have raised.
        with blas.alone(), np.errstate(all="ignore"):
            for row, text in enumerate(texts):  # not as one batch, for which the tokenizer starts threads
                vectors[row] = self._vector(self.tokenizer.encode(text).ids)
        return vectors

    def _vector(self, ids: list[int]) -> Floats:
        hidden = self._norm(self._words[ids] + self._places[: len(ids)])
        for layer in self._layers:
            hidden = layer(hidden)
        mean: Floats = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)


class _Layer:
    def __init__(self, weights: dict[str, Floats], prefix: str) -> None:
        self._attended = [_Linear(weights, f"{prefix}attention.self.{name}") for name in ("query", "key", "value")]
        self._out = _Linear(weights, f"{prefix}attention.output.dense")
        self._middle_norm = _Norm(weights, f"{prefix}attention.output.LayerNorm")
        self._up = _Linear(weights, f"{prefix}intermediate.dense")
        self._down = _Linear(weights, f"{prefix}output.dense")
        self._end_norm = _Norm(weights, f"{prefix}output.LayerNorm")

    def __call__(self, hidden: Floats) -> Floats:
        mixed = _attention(*(linear(hidden) for linear in self._attended))
        hidden = self._middle_norm(hidden + self._out(mixed))
        return self._end_norm(hidden + self._down(_gelu(self._up(hidden))))


class _Norm:
    def __init__(self, weights: dict[str, Floats], name: str) -> None:
        self._weight, self._bias = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def __call__(self, rows: Floats) -> Floats:
        rows = rows - rows.mean(axis=1, keepdims=True)
        deviation = np.sqrt(np.square(rows).mean(axis=1, keepdims=True) + np.float32(EPSILON))
        found: Floats = rows / deviation * self._weight + self._bias
        return found


class _Linear:
    def __init__(self, weights: dict[str, Floats], name: str) -> None:
        self._weight, self._bias = weights[f"{name}.weight"].T, weights[f"{name}.bias"]

    def __call__(self, rows: Floats) -> Floats:
        found: Floats = rows @ self._weight
        found += self._bias
        return found


def _attention(query: Floats, key: Floats, value: Floats) -> Floats:
    length, width = query.shape
    query, key, value = (each.reshape(length, HEADS, -1).transpose(1, 0, 2) for each in (query, key, value))
    scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(width // HEADS))
    scores = np.exp(scores - scores.max(axis=2, keepdims=True))
    scores /= scores.sum(axis=2, keepdims=True)
    mixed: Floats = (scores @ value).transpose(1, 0, 2).reshape(length, width)
    return mixed


def _gelu(rows: Floats) -> Floats:
    """The exact one, rows * (1 + erf(rows / sqrt(2))) / 2."""
    scaled = np.abs(rows) * np.float32(np.sqrt(0.5))
    place = 1 / (1 + np.float32(_ERF_SCALE) * scaled)
    rest = np.zeros_like(rows)
    for factor in _ERF:
        rest += np.float32(factor)
        rest *= place
    rest *= np.exp(-scaled * scaled)
    erf = np.copysign(1 - rest, rows)
    found: Floats = rows * (1 + erf) * np.float32(0.5)
    return found
