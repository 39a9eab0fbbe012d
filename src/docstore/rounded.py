"""Rounded vectors: codes of one byte a dimension, scanned first; what they cannot rule out is then scored exactly.

FAISS compares bytes in half of the time that halves take. A vector is first cut to a box, that is, taken for the point
of it that is nearest, which brings no two vectors further apart; then it is rounded, and how far that moves it is
measured. So two vectors are no nearer than their rounded ones are, less what rounding moved both. Nothing that is
passed over can be among the best, and a search finds what a scan of all rows finds. Like sketches they live in memory
only, and are made of the codes.

The box is the same in every dimension, around its own middle: where one stands out in all vectors, as some embedders
have it, the others are not rounded more coarsely. To move all vectors changes no distance; products it would change,
which is why distances are what is compared.
"""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from docstore.forking import in_child
from docstore.selections import Rows
from docstore.vectors import Codec, Vectors, decode, one_thread

_LANES = 16  # dimensions that FAISS compares at a time; where some are left over, it takes longer than for halves
_AT_ONCE = 8192  # rows that one search rounds: some ten milliseconds
_BLOCK = 256  # rows that are rounded at a time: they stay in the processor's cache
_LATER = 16  # one row of so many may have come later, and is scored exactly each time
_SAMPLE = 512  # rows that the box is made for
_INSIDE = 0.999  # of their components: with more, steps are larger; with fewer, more vectors are cut to the same point
_COST, _MOST = 4, 32  # a search in vain costs as much as some searches save; after how many losses to leave it


class Box(NamedTuple):
    """What bytes stand for: 128 for the middle of a dimension, and each other for some steps from there."""

    middle: Vectors
    """Shape (dimension,)."""
    step: float

    @classmethod
    def of(cls, vectors: Vectors) -> Box:
        """One for some vectors, shape (n, dimension), and others that are like them."""
        middle = vectors.mean(axis=0)
        half = float(np.quantile(np.abs(vectors - middle), _INSIDE))
        return cls(middle, max(half / 127, 1e-30))

    def round(self, vectors: Vectors) -> tuple[Vectors, Vectors]:
        """Bytes, as numbers, shape (n, dimension); and how far each vector was moved, squared, in steps."""
        # In place, and without NumPy's `clip`: for a single query that takes half of the time.
        inside = vectors - self.middle
        inside *= np.float32(1 / self.step)
        np.maximum(inside, -128, out=inside)
        np.minimum(inside, 127, out=inside)
        rounded = np.rint(inside)
        inside -= rounded
        rounded += 128
        return rounded, np.einsum("ij,ij->i", inside, inside)


class Rounded(NamedTuple):
    """The first rows of a segment, rounded. Immutable."""

    index: Any
    """FAISS's index of them, by distance."""
    rows: int
    box: Box
    moved: float
    """How far rounding moved any row, at most, squared, in steps."""
    longest: float
    """The greatest length of a row, squared."""

    def nearest(self, query: Vectors, count: int) -> tuple[Rows, float]:
        """The rows that are nearest when rounded, and what the inner product of no other row exceeds.

        Args:
            query: shape (1, dimension).
            count: how many rows.
        """
        count = min(count, self.rows)
        bytes_of_query, moved = self.box.round(query)
        with one_thread():
            distances, (rows,) = self.index.search(bytes_of_query, count)
        if count == self.rows:
            return rows, -math.inf
        # What float32 adds: to a component of up to 128 steps 2**-15, for each of two vectors; and as for a product, no
        # sum of so many terms is further from the true one, in whatever order.
        both_moved = math.sqrt(self.moved) + math.sqrt(moved[0]) + math.sqrt(query.shape[1]) * 2**-14
        inexact = 2 * query.shape[1] * float(np.finfo(np.float32).eps)
        steps = math.sqrt(distances[0, -1]) * (1 - inexact) - both_moved * (1 + inexact)
        least = max(steps, 0.0) * self.box.step
        # |x - q|^2 is |x|^2 + |q|^2 - 2 <x, q>.
        return rows, (self.longest + float(query[0] @ query[0]) - least**2) / 2 + inexact


class Rounder:
    """Rounds the rows of a segment, some with each search that asks. Safe for threads."""

    def __init__(self, dimension: int, codec: Codec) -> None:
        self._dimension = dimension
        self._codec: Codec = codec
        self._rounded: Rounded | None = None
        self._is_asked = False
        self._losses = 0
        self._make_lock()
        in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory the rounded rows take, in bytes."""
        return 0 if (rounded := self._rounded) is None else rounded.rows * self._dimension

    def of(self, codes: npt.NDArray[np.uint8]) -> Rounded | None:
        """Nearly all rows, or more, rounded. None while that is being done, and where it does not pay.

        Args:
            codes: all rows of the segment, or the first, shape (n, bytes a code).
        """
        if self._dimension % _LANES or self._losses >= _MOST:
            return None
        if not self._is_asked:  # the first search of a workspace has files to read, and somebody waits for it
            self._is_asked = True
            return None
        if self._lacks(codes) and self._guard.acquire(blocking=False):
            try:
                self._extend(codes)
            finally:
                self._guard.release()
        return None if self._lacks(codes) else self._rounded

    def _lacks(self, codes: npt.NDArray[np.uint8]) -> bool:
        rows = 0 if (rounded := self._rounded) is None else rounded.rows
        return _LATER * (len(codes) - rows) > rows

    def _extend(self, codes: npt.NDArray[np.uint8]) -> None:
        before = self._rounded
        first = 0 if before is None else before.rows
        last = min(first + _AT_ONCE, len(codes))
        if first >= last:
            return  # another thread has rounded them since
        box = Box.of(self._decoded(codes[:last][:: -(-last // _SAMPLE)])) if before is None else before.box
        index = faiss.IndexScalarQuantizer(self._dimension, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2)
        rounded = np.empty((last, self._dimension), np.uint8)
        moved = longest = 0.0
        if before is not None:
            rounded[:first] = faiss.vector_to_array(before.index.codes).reshape(first, -1)
            moved, longest = before.moved, before.longest
        for at in range(first, last, _BLOCK):
            vectors = self._decoded(codes[at : min(at + _BLOCK, last)])
            rounded[at : at + len(vectors)], some = box.round(vectors)
            moved = max(moved, float(some.max()))
            longest = max(longest, float(np.einsum("ij,ij->i", vectors, vectors).max()))
        faiss.copy_array_to_vector(rounded.ravel(), index.codes)
        index.ntotal = last
        self._rounded = Rounded(index, last, box, moved, longest)

    def _decoded(self, codes: npt.NDArray[np.uint8]) -> Vectors:
        return decode(codes, self._dimension, self._codec)

    def tell(self, certain: bool) -> None:
        """Notes whether a search could be certain. Where more than a fifth cannot, time is lost: then no more."""
        self._losses = max(self._losses + (-1 if certain else _COST), 0)
        if self._losses >= _MOST:
            self._rounded = None

    def drop(self) -> None:
        """Gives the memory back: the segment has grown so large that sketches do better."""
        self._rounded = None
