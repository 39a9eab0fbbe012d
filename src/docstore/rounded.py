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

from docstore import sketches
from docstore.forking import in_child
from docstore.selections import Rows
from docstore.vectors import Codec, Vectors, decode, scan

FROM = 10_000
"""Rows from which rounded ones are scanned first: with fewer, that saves no more than scoring what it finds costs."""

_LANES = 16  # dimensions that FAISS compares at a time; where some are left over, it takes longer than for halves
_DIMENSIONS = (2**31 - 1) // 255**2  # of more, FAISS's sum over a row might not be a number of 32 bits
_AT_ONCE = 3 << 20  # bytes that one search makes: some ten milliseconds
_BLOCK = 256  # rows that are rounded at a time: they stay in the processor's cache
_LATER = 16  # one row of so many may have come later, and is scored exactly each time
_SAMPLE = 512  # rows that the box is made for
_INSIDE = 0.999  # of their components: with more, steps are larger; with fewer, more vectors are cut to the same point
_COST, _MOST = 4, 32  # a search in vain costs as much as some searches save; after how many losses to pause
_PAUSE = 1000  # searches
_PATIENCE = 60  # searches before any row is rounded: about as many as save what that takes, so never twice the least


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
        inside = vectors - self.middle
        inside *= np.float32(1 / self.step)
        np.clip(inside, -128, 127, out=inside)
        rounded = np.rint(inside)
        inside -= rounded
        rounded += 128
        return rounded, np.vecdot(inside, inside)


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

    def nearest(self, queries: Vectors, count: int) -> tuple[Rows, list[float]]:
        """For each query the rows that are nearest when rounded, shape (m, count), and what the inner product of no
        other row exceeds.

        Args:
            queries: shape (m, dimension).
            count: how many rows; of fewer, all.
        """
        count, dimension = min(count, self.rows), queries.shape[1]
        bytes_of_queries, moved = self.box.round(queries)
        distances, rows = scan(self.index, bytes_of_queries, count)
        if count == self.rows:
            return rows, [-math.inf] * len(queries)
        # What float32 adds: to a component of up to 128 steps 2**-15, for each of two vectors; and as for a product, no
        # sum of so many terms is further from the true one, in whatever order.
        unseen = math.sqrt(self.moved) + math.sqrt(dimension) * 2**-14
        inexact = 2 * dimension * float(np.finfo(np.float32).eps)
        bounds = []
        for query, farthest, moved_query in zip(queries, distances[:, -1].tolist(), moved.tolist(), strict=True):
            steps = math.sqrt(farthest) * (1 - inexact) - (unseen + math.sqrt(moved_query)) * (1 + inexact)
            least = max(steps, 0.0) * self.box.step
            # |x - q|^2 is |x|^2 + |q|^2 - 2 <x, q>.
            bounds.append((self.longest + float(query @ query) - least**2) / 2 + inexact)
        return rows, bounds


class _Making:
    """Rows that are being rounded, some with each search, so that none waits for all."""

    def __init__(self, box: Box, rows: int, before: Rounded | None) -> None:
        self._bytes = np.empty((rows, len(box.middle)), np.uint8)
        self._box = box
        self._done = 0
        self._moved = self._longest = 0.0
        if before is not None:
            self._done, self._moved, self._longest = before.rows, before.moved, before.longest
            self._bytes[: before.rows] = faiss.vector_to_array(before.index.codes).reshape(before.rows, -1)

    def go_on(self, codes: npt.NDArray[np.uint8], codec: Codec) -> Rounded | None:
        """Rounds some more. Gives them when that is all, or all that these codes have."""
        rows, dimension = self._bytes.shape
        last = min(self._done + max(_AT_ONCE // dimension, 1), rows, len(codes))
        for first in range(self._done, last, _BLOCK):
            vectors = decode(codes[first : min(first + _BLOCK, last)], dimension, codec)
            self._bytes[first : first + len(vectors)], moved = self._box.round(vectors)
            self._moved = max(self._moved, float(moved.max()))
            self._longest = max(self._longest, float(np.vecdot(vectors, vectors).max()))
        self._done = max(last, self._done)
        return self._rounded() if self._done >= min(rows, len(codes)) else None

    def _rounded(self) -> Rounded:
        index = faiss.IndexScalarQuantizer(self._bytes.shape[1], faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2)
        faiss.copy_array_to_vector(self._bytes[: self._done].ravel(), index.codes)
        index.ntotal = self._done
        return Rounded(index, self._done, self._box, self._moved, self._longest)


class Rounder:
    """Rounds the rows of a segment. Safe for threads."""

    def __init__(self, dimension: int, codec: Codec) -> None:
        self._dimension = dimension
        self._codec: Codec = codec
        self._can = dimension % _LANES == 0 and dimension <= _DIMENSIONS
        self._rounded: Rounded | None = None
        self._making: _Making | None = None
        self._is_dropped = False
        self._losses, self._pause = 0, _PATIENCE
        self._make_lock()
        in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._guard = threading.Lock()

    def nbytes(self, rows: int) -> int:
        """Memory the rounded rows take, in bytes, or will, in a segment of so many."""
        if not self._can or self._is_dropped:
            return 0
        made = 0 if self._rounded is None else self._rounded.rows
        return (rows if FROM <= rows < sketches.FROM else made) * self._dimension

    def of(self, codes: npt.NDArray[np.uint8]) -> Rounded | None:
        """Nearly all rows, or more, rounded. None while that is being done, and where it does not pay.

        Args:
            codes: all rows of the segment, or the first, shape (n, bytes a code).
        """
        if not self._can or self._is_dropped:
            return None
        if self._pause > 0:
            self._pause -= 1
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
        before, making = self._rounded, self._making
        if self._is_dropped or not self._lacks(codes):
            return  # by another thread; or it has rounded them
        if making is None:
            some = codes[:: -(-len(codes) // _SAMPLE)]  # of all: the first may be alike, and the others not
            box = Box.of(decode(some, self._dimension, self._codec)) if before is None else before.box
            making = self._making = _Making(box, len(codes), before)
        if (rounded := making.go_on(codes, self._codec)) is not None:
            self._rounded, self._making = rounded, None

    def tell(self, certain: bool) -> None:
        """Notes whether a search could be certain. Where many cannot, that loses time: then it is left for a while,
        and not for ever, since a few queries that are asked again and again may be all."""
        self._losses = max(self._losses + (-1 if certain else _COST), 0)
        if self._losses >= _MOST:
            self._losses, self._pause = 0, _PAUSE

    def drop(self) -> None:
        """Gives the memory back: the segment has grown so large that sketches do better."""
        if not self._is_dropped:
            self._is_dropped = True
            with self._guard:  # who is rounding more would else put it back
                self._rounded = self._making = None
