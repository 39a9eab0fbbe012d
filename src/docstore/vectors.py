"""Sub-index files, and scanning their codes as one index that answers as a joint build would.

A sub-index is two files: `index.faiss`, which any FAISS opens, and `chunks.npy`, which says where in the text each
vector's chunk lies. Merging concatenates codes. Both codecs encode every vector on its own (no training, no
centroids), and FAISS scores every code on its own, so codes put together and an index built over all chunks hold the
same codes and give the same scores, bit for bit.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, Literal

import faiss
import numpy as np
import numpy.typing as npt

from docstore.errors import REPAIR, IntegrityError

# GNU's OpenMP keeps a thread's helpers for its next call. A child of fork has the note of them and not the threads, and
# would wait for them for ever. Alone it asks for none; threads that the child starts have helpers of their own.
os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))

Codec = Literal["float16", "float32"]
Vectors = npt.NDArray[np.float32]

INDEX_SUFFIX = "/index.faiss"
SPANS_SUFFIX = "/chunks.npy"

SPAN = np.dtype([("start", "<u4"), ("end", "<u4"), ("first_byte", "<u4"), ("last_byte", "<u4"), ("page", "<u4")])
"""One chunk: offsets in characters and in UTF-8 bytes, ends exclusive; page from 1."""

_SIGN_AND_VALUE = np.uint32(0x8FFFE000).view(np.int32)  # of a half's bits, shifted to where those of a single are
_BIASES = np.float32(2.0 ** (127 - 15))  # between the exponents of single and half
_SUBNORMAL = np.float32(2.0**-140)

_BYTES: Final = {"float16": 2, "float32": 4}  # a dimension of a code takes

# Where the queries have 128,000 components together, FAISS 1.15 multiplies matrices, and the last bit of a score then
# depends on the rest of the batch, which exactness (invariant 7) must not allow. Below that results are small, too.
_COMPONENTS_AT_ONCE = 64_000

# For so many results FAISS 1.15 allocates within its threads, where a failure ends the process: two places of 12 bytes
# for each, and what it returns. With no more than that to spare 2 of 110 searches still ended it.
_MANY_KEPT, _BYTES_KEPT = 100, 64

_COPIED = 3 << 19  # bytes of codes that are copied before they are scanned: 2,048 of 384 halves


def empty_index(dimension: int, codec: Codec) -> Any:
    """A FAISS index without vectors: inner product, codes of 2 or 4 bytes a dimension."""
    if codec == "float16":
        return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    return faiss.IndexFlatIP(dimension)


def encode(vectors: Vectors, codec: Codec) -> npt.NDArray[np.uint8]:
    """The codes of normalised vectors of shape (n, dimension); shape (n, bytes a code)."""
    codes: npt.NDArray[np.uint8] = empty_index(vectors.shape[1], codec).sa_encode(vectors)
    return codes


def encode_index(codes: npt.NDArray[np.uint8], dimension: int, codec: Codec) -> bytes:
    """The bytes of `index.faiss` for some codes, shape (n, bytes a code)."""
    return _index_header(len(codes), dimension, codec) + codes.tobytes()


def decode_index(data: bytes, dimension: int, codec: Codec) -> npt.NDArray[np.uint8]:
    """The codes in an `index.faiss`, a read-only array of shape (n, bytes a code).

    FAISS's own reader is never called: it trusts what it reads, and the file may be anybody's.

    Raises:
        IntegrityError: it is no index of this dimension and codec as `encode_index` writes them.
    """
    header = len(_index_header(0, dimension, codec))
    size = dimension * _BYTES[codec]
    count, rest = divmod(len(data) - header, size)
    if rest or count < 0 or data[:header] != _index_header(count, dimension, codec):
        raise IntegrityError(f"A stored index is no {codec} index of {dimension} dimensions. {REPAIR}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(count, size)


@lru_cache(maxsize=1024)  # a view reads a thousand indexes of few sizes
def _index_header(count: int, dimension: int, codec: Codec) -> bytes:
    """What stands before the codes, as `faiss.write_index` of FAISS 1.15 writes it (faiss/impl/index_write.cpp).

    Written here and not by FAISS: a file of today must be read for ever, whatever FAISS writes by then.
    """
    kind = b"IxSQ" if codec == "float16" else b"IxFI"
    trained, inner_product, reserved = 1, 0, 1 << 20
    common = struct.pack("<4siqqqBi", kind, dimension, count, reserved, reserved, trained, inner_product)
    if codec == "float32":
        return common + struct.pack("<Q", count * dimension)
    half, no_range, no_training = int(faiss.ScalarQuantizer.QT_fp16), 0, 0
    size = dimension * _BYTES[codec]
    return common + struct.pack("<iifQQQQ", half, no_range, 0.0, dimension, size, no_training, count * size)


def encode_spans(spans: npt.NDArray[np.void]) -> bytes:
    """The bytes of `chunks.npy` for an array of `SPAN`, shape (n,)."""
    return _spans_header(len(spans)) + spans.astype(SPAN, copy=False).tobytes()


def decode_spans(data: bytes) -> npt.NDArray[np.void]:
    """The array of `SPAN`, read-only, shape (n,), of a `chunks.npy`.

    Raises:
        IntegrityError: it is none as `encode_spans` writes them.
    """
    # The header's length grows with the digits of the count, in steps of 64 bytes: the file says which it is.
    header = 10 + int.from_bytes(data[8:10], "little")
    count, rest = divmod(len(data) - header, SPAN.itemsize)
    if rest or count < 0 or data[:header] != _spans_header(count):
        raise IntegrityError(f"Stored chunk spans are not as docstore writes them. {REPAIR}")
    return np.frombuffer(data, SPAN, offset=header)


@lru_cache(maxsize=1024)  # NumPy takes longer to make one than it takes to read the spans
def _spans_header(count: int) -> bytes:
    buffer = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(SPAN)
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": (count,)})
    return buffer.getvalue()


def subindex_size(chunks: int, dimension: int, codec: Codec) -> int:
    """Bytes of the index and the spans of so many chunks."""
    each = code_size(dimension, codec) + SPAN.itemsize
    return header_size(dimension, codec) + len(_spans_header(chunks)) + chunks * each


def code_size(dimension: int, codec: Codec) -> int:
    """Bytes of a code."""
    return dimension * _BYTES[codec]


def header_size(dimension: int, codec: Codec) -> int:
    """Bytes before the codes of an index."""
    return len(_index_header(0, dimension, codec))


def index_in(buffer: npt.NDArray[np.uint8], count: int, dimension: int, codec: Codec) -> Any:
    """A FAISS index on the first `count` codes in a buffer, which it does not copy: the buffer must outlive it.

    The header is written before the codes, where `header_size` has left room, and read by FAISS at once. An index made
    before of fewer codes in the same buffer stays valid. `MaybeOwnedVector.create_view` would say it more directly;
    FAISS 1.15 cannot be given its third argument from Python.
    """
    header = _index_header(count, dimension, codec)
    buffer[: len(header)] = np.frombuffer(header, np.uint8)
    size = len(header) + count * code_size(dimension, codec)
    return faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(buffer), size))  # type: ignore[attr-defined]


def decode(codes: npt.NDArray[np.uint8], dimension: int, codec: Codec) -> Vectors:
    """The vectors of some codes, shape (n, dimension) float32: as FAISS decodes finite numbers, bit for bit.

    Of float16 in a quarter of FAISS's time: the bits of a half are those of a single after a shift, but for the sign,
    which spreads, and the bias of the exponent, which a product with a power of two makes up for. Where the processor
    takes subnormal numbers for zero (some libraries set it so) the product would lose small components.
    """
    codes = np.ascontiguousarray(codes)
    if codec == "float32" or _SUBNORMAL * np.float32(1) == 0:
        decoded: Vectors = empty_index(dimension, codec).sa_decode(codes)
        return decoded
    bits = codes.view("<i2").astype(np.int32)  # 16 times the sign, and 15 bits
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _SIGN_AND_VALUE, out=bits)
    vectors = bits.view(np.float32)
    return np.multiply(vectors, _BIASES, out=vectors)


def scan(
    index: Any, queries: Vectors, k: int, selected: npt.NDArray[np.uint8] | None = None
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """FAISS's search: scores and rows, each of shape (queries, k); there are k rows or more.

    On no more threads than there are queries: with fewer queries, from some 8,000 rows on, `IndexFlat` splits the rows
    between threads, with another kernel, whose scores differ in the last bit. And to wake a second thread takes several
    times what a query does.

    Args:
        selected: a bit for each row, the lowest of a byte first: whether it takes part. None for all. FAISS asks for
            each row, which takes as long as to score it, and scores what takes part as ever.
    """
    selector = None if selected is None else faiss.IDSelectorBitmap(selected)  # type: ignore[call-arg, arg-type]
    parameters = None if selector is None else faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    at_once, parts = max(_COMPONENTS_AT_ONCE // queries.shape[1], 1), []
    for first in range(0, len(queries), at_once):
        some = queries[first : first + at_once]
        if k >= _MANY_KEPT:
            np.empty(len(some) * k * _BYTES_KEPT, np.uint8)  # where there is no room, it must be told here
        with threads(len(some)):
            parts.append(index.search(some, k, params=parameters))
    if len(parts) == 1:
        only: tuple[Vectors, npt.NDArray[np.int64]] = parts[0]
        return only
    return np.concatenate([scores for scores, _ in parts]), np.concatenate([rows for _, rows in parts])


def scan_some(
    codes: npt.NDArray[np.uint8], some: npt.NDArray[np.int64], dimension: int, codec: Codec, queries: Vectors, k: int
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """As `scan`, of some rows. They are copied, a block at a time, into memory that stays in the processor's cache."""
    if len(some) == 0:
        return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    header, size = header_size(dimension, codec), codes.shape[1]
    at_once = max(_COPIED // size, 1)
    buffer = np.empty(header + min(len(some), at_once) * size, np.uint8)
    index, parts = None, []
    with threads(1):
        for first in range(0, len(some), at_once):
            rows = some[first : first + at_once]
            # Not as `raise`, the default: NumPy then copies all of it once more, and these rows are known to exist.
            np.take(codes, rows, axis=0, out=buffer[header : header + len(rows) * size].reshape(-1, size), mode="clip")
            if index is None or index.ntotal != len(rows):
                index = index_in(buffer, len(rows), dimension, codec)
            scores, positions = scan(index, queries, min(k, len(rows)))
            parts.append((scores, rows[positions]))
    if len(parts) == 1:
        return parts[0]
    scores, found = (np.concatenate(each, axis=1) for each in zip(*parts))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(found, best, axis=1)


def scan_each(
    codes: npt.NDArray[np.uint8],
    some: npt.NDArray[np.int64],
    of: npt.NDArray[np.int64],
    dimension: int,
    codec: Codec,
    queries: Vectors,
    k: int,
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """As `scan_some`, but of some rows of its own for each query, and in one call. Where a query has fewer than k, the
    last that it is given are -1.

    To FAISS they are inverted lists, one for each query. It scores a code of a list as it does one of a flat index,
    with the same kernel and on its own.

    Args:
        of: for each row of `some` the number of the query.
    """
    index = _inverted(dimension, codec, len(queries))
    # Before each code the number of its list: FAISS then takes all in one call, and each list by itself in 64.
    number, size = index.coarse_code_size(), codes.shape[1]
    listed = np.empty((len(some), number + size), np.uint8)
    listed[:, :number] = of.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :number]
    np.take(codes, some, axis=0, out=listed[:, number:], mode="clip")  # see `scan_some`
    index.add_sa_codes(listed, some)
    own = np.arange(len(queries), dtype=np.int64)[:, np.newaxis]
    with threads(1):
        found: tuple[Vectors, npt.NDArray[np.int64]] = index.search_preassigned(
            queries, k, own, np.zeros(own.shape, np.float32)
        )
    return found


@lru_cache(maxsize=8)
def _anywhere(dimension: int) -> Any:
    """What would say which list a vector goes to, and is never asked."""
    return faiss.IndexFlatIP(dimension)


def _inverted(dimension: int, codec: Codec, lists: int) -> Any:
    anywhere = _anywhere(dimension)
    index: Any
    if codec == "float16":
        half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFScalarQuantizer(anywhere, dimension, lists, half, product, False)
    else:
        index = faiss.IndexIVFFlat(anywhere, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    return index


@contextmanager
def threads(most: int) -> Iterator[None]:
    """FAISS on no more OpenMP threads than so many. The setting is the calling thread's own."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(most, before))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
