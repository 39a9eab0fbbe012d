"""Sketches: codes of one bit a dimension, scanned first where there are many rows; the best are then scored exactly.

RaBitQ (Gao and Long, SIGMOD 2024; https://arxiv.org/abs/2405.12497), as FAISS has it. A sketch is made of a vector
alone: every process turns vectors by the same rotation, exactly, and the centre is zero. Sketches made document by
document are therefore those of a joint build. They live in memory only, and are made of the codes: what can be
derived cannot be wrong, and no file has to keep them for ever.

FAISS scans 32 of them at a time, whose bits it interleaves (André, Kermarrec and Le Scouarnec, 'Cache locality is not
enough', VLDB 2015). So pieces begin and end at multiples of 32, and what is left of the rows has no sketch.
"""

from __future__ import annotations

import math
import threading
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from docstore.forking import in_child
from docstore.vectors import Codec, Vectors, decode, threads

FROM = 100_000
"""Rows from which a search is in two stages. Below, it is exact."""

_TOGETHER = 32  # rows that are scanned at a time
_AT_ONCE = 16_384 * 384  # components that one search sketches: some tenth of a second, and not the seconds all take
_PATIENCE = 4  # searches before: a process that asks once, or has no room to keep them, does without
_DIMENSIONS = 1536  # at most: what two stages find of more was not tried, and not every query of more fits
_FEWER = 8  # times the rows of the piece behind it: fewer pieces are faster to scan, larger ones slower to extend
_QUERY_BITS = 4  # of a query's dimension: 8 scan a third slower, and find no more
_BLOCK = 128  # dimensions that one step of the rotation mixes: one matrix for all would take three times as long at 384
_STEPS = np.float32(1 << 20)  # in 1, when vectors are turned

# FAISS adds up in 16 bits what it finds in tables of bytes, one for each four dimensions, and does not see whether that
# fits: a sum that does not comes out too small, and what is nearest of all is missed. The widest table spans 255.
_IN_A_TABLE = 4
_FIT_ALWAYS = 1024  # dimensions: 255 for each table is less than 2**16
_MOST_WIDTHS = 240  # sum of the tables' widths over the widest: 257 fit, less what rounding each entry may add


class Piece(NamedTuple):
    """Sketches of consecutive rows. Immutable."""

    index: Any
    """FAISS's index of them."""
    first: int
    last: int
    """One past the last row."""

    def best(self, rotated: Vectors, count: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """Estimated scores, falling, and rows, of those that are estimated best for a query of shape (1, dimension)."""
        with threads(1):
            estimates, rows = self.index.search(rotated, min(count, self.last - self.first))
        return estimates[0], rows[0] + self.first


class Sketcher:
    """Makes sketches of the rows of a segment, some with each search that asks. Safe for threads."""

    def __init__(self, dimension: int, codec: Codec) -> None:
        self._dimension = dimension
        self._codec: Codec = codec
        self._pieces: tuple[Piece, ...] = ()
        self._at_once = max(_AT_ONCE // dimension // _TOGETHER, 1) * _TOGETHER  # rows
        self._pause = _PATIENCE
        self._make_lock()
        in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._guard = threading.Lock()

    def nbytes(self, rows: int) -> int:
        """Memory the sketches take, in bytes, or will, in a segment of so many."""
        return rows * _bytes_each(self._dimension) if rows >= FROM and self._dimension <= _DIMENSIONS else 0

    def pieces(self, codes: npt.NDArray[np.uint8]) -> tuple[Piece, ...] | None:
        """Sketches of all rows but the last 31 at most, and perhaps of later ones. None while they are being made, and
        where few queries would fit.

        Args:
            codes: all rows of the segment, or the first, shape (n, bytes a code).
        """
        if self._dimension > _DIMENSIONS:
            return None
        if self._pause > 0:
            self._pause -= 1
            return None
        wanted = len(codes) // _TOGETHER * _TOGETHER
        if covered(self._pieces) < wanted and self._guard.acquire(blocking=False):
            try:
                self._extend(codes[:wanted])
            finally:
                self._guard.release()
        pieces = self._pieces
        return pieces if covered(pieces) >= wanted else None

    def _extend(self, codes: npt.NDArray[np.uint8]) -> None:
        first = covered(self._pieces)
        some = codes[first : first + self._at_once]
        if len(some) == 0:
            return  # another thread has made them since
        index = _empty(self._dimension)
        index.add(rotate(decode(some, self._dimension, self._codec)))
        pieces = [*self._pieces, Piece(index, first, first + len(some))]
        while len(pieces) > 1 and pieces[-2].last - pieces[-2].first < _FEWER * (pieces[-1].last - pieces[-1].first):
            pieces[-2:] = [_joined(*pieces[-2:])]
        self._pieces = tuple(pieces)


def covered(pieces: tuple[Piece, ...]) -> int:
    """How many rows have sketches: all before the last that has."""
    return pieces[-1].last if pieces else 0


def _joined(one: Piece, other: Piece) -> Piece:
    # FAISS adds only vectors to such an index. The codes of whole groups of 32 just follow one another.
    index = _empty(one.index.d)
    codes = np.concatenate([faiss.vector_to_array(piece.index.codes) for piece in (one, other)])
    index.codes.resize(len(codes))
    faiss.copy_array_to_AlignedTable(codes, index.codes)
    index.ntotal = index.ntotal2 = other.last - one.first
    return Piece(index, one.first, other.last)


@cache
def _bytes_each(dimension: int) -> int:
    return int(_empty(dimension).code_size)


def _empty(dimension: int) -> Any:
    index = faiss.IndexRaBitQFastScan(dimension, faiss.METRIC_INNER_PRODUCT)
    index.train(np.zeros((1, dimension), np.float32))  # sets the centre
    index.qb = _QUERY_BITS
    return index


def deviation(dimension: int) -> float:
    """Standard deviation of an estimated score of two unit vectors (theorem 3.2 of the paper, with 0.8 for <o, o'>)."""
    return 0.75 / math.sqrt(max(dimension - 1, 1))


def fit(rotated: Vectors) -> bool:
    """Whether FAISS's sums hold every estimate for a query of shape (1, dimension): of 3,000 random ones of 1,536
    dimensions all did, of 2,048 nine in ten, of 3,072 six. (The like of another engine:
    https://github.com/lance-format/lance/issues/8908.)"""
    dimension = rotated.shape[1]
    if dimension <= _FIT_ALWAYS:
        return True
    step = float(np.ptp(rotated)) / ((1 << _QUERY_BITS) - 1) or 1.0
    least = rotated[0].min()
    as_rounded = least + step * np.rint((rotated[0] - least) / step)  # by FAISS, for its tables
    widths = np.add.reduceat(np.abs(as_rounded), np.arange(0, dimension, _IN_A_TABLE))
    return float(widths.sum()) <= _MOST_WIDTHS * float(widths.max())


def rotate(vectors: Vectors) -> Vectors:
    """Unit vectors turned by the one rotation there is for their dimension, shape (n, dimension) float32.

    Estimates are good where no dimension stands out, whatever the embedder makes. Dimensions are shuffled, and blocks
    of them mixed, twice: what one dimension held is then in all. A block is mixed by a Hadamard matrix whose rows have
    random signs (Ailon and Chazelle, 'The fast Johnson-Lindenstrauss transform', SICOMP 2009).

    A vector comes out the same, bit for bit, whichever others are turned with it. A matrix product alone does not see
    to that: in what order it sums depends on its shape and on the processor. So vectors are rounded to whole steps
    first. Then every sum is exact: of a unit vector it is at most `_STEPS` times the root of `_BLOCK`, below 2**24.
    """
    for order, blocks, scale in _rotation(vectors.shape[1]):
        steps = np.rint(np.take(vectors, order, axis=1) * _STEPS)
        vectors = np.empty_like(steps)
        for block, signs in blocks:
            np.matmul(steps[:, block], signs, out=vectors[:, block])
        vectors *= scale
    return vectors


class _Round(NamedTuple):
    """Half of a rotation."""

    order: npt.NDArray[np.int64]
    blocks: list[tuple[slice, Vectors]]
    """Dimensions, and the matrix that mixes them."""
    scale: Vectors
    """Of each dimension then: what makes lengths those of before. Shape (dimension,)."""


@cache
def _rotation(dimension: int) -> tuple[_Round, _Round]:
    generator = np.random.default_rng(0)
    # A Hadamard matrix has a power of two of rows: 500 dimensions are blocks of 128, 128, 128, 64, 32, 16 and 4.
    sizes = [_BLOCK] * (dimension // _BLOCK)
    sizes += [size for size in (_BLOCK >> shift for shift in range(1, _BLOCK.bit_length())) if dimension & size]
    return _round(generator, sizes), _round(generator, sizes)


def _round(generator: np.random.Generator, sizes: list[int]) -> _Round:
    bounds = pairwise(accumulate(sizes, initial=0))
    blocks = [(slice(*bound), _signs(generator, size)) for bound, size in zip(bounds, sizes, strict=True)]
    scale = np.repeat(1 / np.sqrt(sizes), sizes) / _STEPS
    return _Round(generator.permutation(sum(sizes)), blocks, scale.astype(np.float32))


def _signs(generator: np.random.Generator, size: int) -> Vectors:
    hadamard = np.ones((1, 1), np.float32)
    while len(hadamard) < size:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    signs: Vectors = hadamard * generator.choice(np.array([-1, 1], np.float32), (size, 1))
    return signs
