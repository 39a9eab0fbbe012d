"""The default model, run by ourselves where it runs on the processor. Nothing but PyTorch is imported for it, which
with transformers and sentence-transformers takes four times as long; and texts lie one after the other instead of being
padded to the longest.

Processors that multiply bfloat16 are more than twice as fast with it. Only the products with weights are rounded then,
and not those of the first layer's attention, on which most depends; attention, what passes from layer to layer, and
what normalises and pools it, is float32. So the vectors are those of float32 up to a cosine of 0.9999. Every process
that loads the model tries it: that float32 gives what sentence-transformers gives, and bfloat16 what float32 does.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from docstore.errors import EmbeddingError
from docstore.forking import in_child
from docstore.ingest.minilm_few import EPSILON, HEADS, LAYERS, PROBES, FewMiniLM, are_expected

AGREEMENT = 0.9999
"""Cosine to their float32 vectors that the vectors of the probes must have."""

_PASSES = 16  # of a thread in one call, so that none waits long for the last


def multiplies_bfloat16() -> bool:
    """Whether this processor does, and this PyTorch can tell. Emulated, bfloat16 is slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return False
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def is_chosen(device: str | None) -> bool:
    """Whether the model runs on the processor: it is asked for, or there is nothing that is faster."""
    if device is not None:
        return device == "cpu"
    return hasattr(torch, "accelerator") and not torch.accelerator.is_available()


def load(few: FewMiniLM) -> MiniLM | None:
    """The model in what this processor is faster with; None if its vectors are not what they must be, by some version
    of a library: then sentence-transformers computes them.

    Args:
        few: the same for a few words, which keeps its weights: here they are not read again, nor copied where they are
            multiplied as they are.

    Raises:
        EmbeddingError: no thread can be started, which sentence-transformers needs too.
    """
    exact = MiniLM(few, torch.float32)
    vectors = exact.embed(PROBES, len(PROBES))
    if not are_expected(vectors):
        return None
    if multiplies_bfloat16():
        fast = MiniLM(few, torch.bfloat16)
        if float(np.sum(vectors * fast.embed(PROBES, len(PROBES)), axis=1).min()) >= AGREEMENT:
            return fast
    return exact


def _workers() -> ThreadPoolExecutor:
    """As many threads as PyTorch would use in a product, each with its own products.

    So they need not meet after each, which on a busy machine costs more than the product; and a forked child can have
    others, where PyTorch's own would make it wait for ever.

    Raises:
        EmbeddingError: so many cannot be started.
    """
    count = torch.get_num_threads()
    started = threading.Barrier(count + 1)

    def alone() -> None:
        torch.set_num_threads(1)
        with suppress(threading.BrokenBarrierError):  # which would be printed
            started.wait()

    pool = ThreadPoolExecutor(count, "docstore-embed", initializer=alone)
    try:
        for _ in range(count):
            pool.submit(int)
        started.wait()
    except RuntimeError as error:  # there are as many as there may be
        started.abort()  # those that were started must not wait for the others
        pool.shutdown()
        raise EmbeddingError(
            f"The default model needs {count} threads, which cannot be started ({error}). Allow this user or container "
            "more (`ulimit -u`, `pids.max`), or have it need fewer: torch.set_num_threads(1)."
        ) from error
    finally:
        torch.set_num_threads(count)  # of this thread, and of those to come, which the last call decides
    return pool


class MiniLM:
    """all-MiniLM-L6-v2."""

    def __init__(self, few: FewMiniLM, dtype: torch.dtype) -> None:
        """
        Args:
            few: whose weights and tokenizer these are too.
            dtype: what is multiplied.
        """
        self.dtype = dtype
        weights = {name: torch.from_numpy(each) for name, each in few.weights.items()}
        self._words = weights["embeddings.word_embeddings.weight"]
        # All tokens are of the first type: a text is one segment.
        self._places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _Norm(weights, "embeddings.LayerNorm")
        # In the first layer float32 decides who attends to whom: equal tokens are rounded equally there, and in a text
        # that repeats few, as a table of contents does, errors would add up instead of cancelling out.
        types = [(torch.float32, dtype)] + (LAYERS - 1) * [(dtype, dtype)]
        self._layers = [_Layer(weights, f"encoder.layer.{number}.", *each) for number, each in enumerate(types)]
        self._tokenizer = few.tokenizer
        self._leave_parent()
        in_child(self._leave_parent)

    def _leave_parent(self) -> None:
        self._workers: ThreadPoolExecutor | None = None

    def embed(self, texts: Sequence[str], batch_size: int) -> npt.NDArray[np.float32]:
        """Normalised vectors, shape (len(texts), dimension), with `batch_size` texts at most in one forward pass.

        Not safe for threads.
        """
        if self._workers is None:
            self._workers = _workers()
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(texts)), key=lambda row: -len(tokens[row]))
        size = max(1, min(batch_size, len(texts) // (_PASSES * torch.get_num_threads())))
        batches = [order[first : first + size] for first in range(0, len(order), size)]
        vectors = np.empty((len(texts), self._words.shape[1]), np.float32)
        found = self._workers.map(self._forward, [[tokens[row] for row in rows] for rows in batches])
        for rows, some in zip(batches, found, strict=True):
            vectors[rows] = some.numpy()
        return vectors

    @torch.inference_mode()
    def _forward(self, texts: list[list[int]]) -> Tensor:
        """Vectors of tokenised texts, those of one length beside each other."""
        shapes = [(len(list(group)), length) for length, group in groupby(map(len, texts))]
        ids = torch.tensor(list(chain.from_iterable(texts)))
        places = torch.cat([torch.arange(len(text)) for text in texts])
        hidden = self._norm(self._words[ids] + self._places[places])
        for layer in self._layers:
            hidden = layer(hidden, shapes)
        means = [part.view(*shape, -1).mean(1) for part, shape in zip(_split(hidden, shapes), shapes, strict=True)]
        return functional.normalize(torch.cat(means))


class _Layer:
    def __init__(self, weights: dict[str, Tensor], prefix: str, attention: torch.dtype, dtype: torch.dtype) -> None:
        parts = [f"{prefix}attention.self.{name}" for name in ("query", "key", "value")]
        self._attended = _Linear(weights, *parts, dtype=attention)
        self._out = _Linear(weights, f"{prefix}attention.output.dense", dtype=attention)
        self._middle_norm = _Norm(weights, f"{prefix}attention.output.LayerNorm")
        self._up = _Linear(weights, f"{prefix}intermediate.dense", dtype=dtype)
        self._down = _Linear(weights, f"{prefix}output.dense", dtype=dtype)
        self._end_norm = _Norm(weights, f"{prefix}output.LayerNorm")

    def __call__(self, hidden: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        attended = self._attended(hidden)
        mixed = [_attention(part, *shape) for part, shape in zip(_split(attended, shapes), shapes, strict=True)]
        hidden = self._middle_norm(hidden + self._out(torch.cat(mixed)))
        return self._end_norm(hidden + self._down(functional.gelu(self._up(hidden))))


class _Norm:
    def __init__(self, weights: dict[str, Tensor], name: str) -> None:
        self._weight, self._bias = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def __call__(self, hidden: Tensor) -> Tensor:
        return functional.layer_norm(hidden, self._weight.shape, self._weight, self._bias, EPSILON)


class _Linear:
    """One or more linear layers over the same input."""

    def __init__(self, weights: dict[str, Tensor], *names: str, dtype: torch.dtype) -> None:
        self._weight = _joined([weights[f"{name}.weight"] for name in names]).to(dtype)
        self._bias = _joined([weights[f"{name}.bias"] for name in names]).to(dtype)

    def __call__(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden.to(self._weight.dtype), self._weight, self._bias)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _attention(attended: Tensor, texts: int, length: int) -> Tensor:
    query, key, value = attended.float().view(texts, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(texts * length, -1)


def _split(rows: Tensor, shapes: list[tuple[int, int]]) -> Sequence[Tensor]:
    return torch.split(rows, [texts * length for texts, length in shapes])
