"""Sub-indexes of a workspace's references, read from where they are stored: codes and spans, checked before use.

The hashes are those of the reference's row, and the check is on the bytes that are decoded (invariant 10). Packed ones
are read several in one statement of the archive: of small ones the statement takes longer than their bytes do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

from docstore.cas import Checked
from docstore.covered import CoveredRow
from docstore.errors import IntegrityError
from docstore.parts import Parts
from docstore.segments import Codes, Spans, SpansFile
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX, decode_index, decode_spans

_CODES_TOGETHER = 5 << 16  # bytes of indexes in one statement: they stay in the processor's cache until they are copied
_INDEXES_TOGETHER = 64
_SPANS_TOGETHER = 16  # files that are in memory at once


def spans_file(reference: CoveredRow) -> SpansFile:
    """The file that says where the chunks of a reference's text lie. The reference has vectors."""
    assert reference.spans_hash is not None and reference.spans_size is not None and reference.chunks is not None
    return SpansFile(reference.text, reference.spans_hash, reference.spans_size, reference.chunks)


def read_spans(parts: Parts, wanted: list[SpansFile]) -> list[Spans]:
    """Where the chunks of some texts lie, once the files were found to be what was published."""
    files = parts.embeddings(parts.pipeline.fingerprint)
    read: list[Spans] = []
    for first in range(0, len(wanted), _SPANS_TOGETHER):
        some = wanted[first : first + _SPANS_TOGETHER]
        pieces = files.read_all_checked(SPANS_SUFFIX, [(each.text, each.hash, each.size) for each in some])
        for each, data in zip(some, pieces, strict=True):
            spans = decode_spans(data)
            _require_count(each.text, "spans", len(spans), each.chunks)
            read.append(spans)
    return read


def codes_of(parts: Parts, references: Sequence[CoveredRow]) -> list[Callable[[], Codes]]:
    """What reads each reference's codes when it is called; to be called in this order, each once. They have vectors.

    Raises, when called:
        FileNotFoundError: there is no such index.
        IntegrityError: it is damaged.
    """
    ahead = _Ahead(parts, references)
    return [partial(ahead.codes, number) for number in range(len(references))]


class _Ahead:
    """Indexes that are read some at a time, when the first of them is asked for."""

    def __init__(self, parts: Parts, references: Sequence[CoveredRow]) -> None:
        self._parts = parts
        self._references = references
        self._read: dict[int, bytes] = {}

    def codes(self, number: int) -> Codes:
        if number not in self._read:
            self._read_from(number)
        reference, pipeline = self._references[number], self._parts.pipeline
        codes = decode_index(self._read.pop(number), pipeline.dimension, pipeline.codec)
        _require_count(reference.text, "vectors", len(codes), reference.chunks)
        return codes

    def _read_from(self, number: int) -> None:
        wanted: list[Checked] = []
        size = 0
        for each in islice(self._references, number, number + _INDEXES_TOGETHER):
            assert each.index_hash is not None and each.index_size is not None
            size += each.index_size
            if wanted and size > _CODES_TOGETHER:
                break
            wanted.append((each.text, each.index_hash, each.index_size))
        files = self._parts.embeddings(self._parts.pipeline.fingerprint)
        # In place of what is left of those before: another thread was ahead with it.
        self._read = dict(enumerate(files.read_all_checked(INDEX_SUFFIX, wanted), number))


def _require_count(text: str, what: str, count: int, expected: int | None) -> None:
    if count != expected:
        raise IntegrityError(f"The index of text {text} has {count} {what} and a row that says {expected}. Run "
                             "`docstore verify`.")  # fmt: skip
