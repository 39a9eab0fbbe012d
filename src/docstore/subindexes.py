"""Sub-indexes of a workspace's references, read from where they are stored: codes and spans, checked before use.

The hashes are those of the reference's row, and the check is on the bytes that are decoded (invariant 10). Packed ones
are read several in one statement of the archive: of small ones the statement takes longer than their bytes do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from docstore.cas import Checked
from docstore.covered import CoveredRow
from docstore.errors import REPAIR, IntegrityError
from docstore.parts import Parts
from docstore.segments import Addition, Codes, Entry, Spans, SpansFile
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


def additions_of(parts: Parts, references: Sequence[CoveredRow]) -> list[Addition]:
    """What appends the rows of some references to a segment. They have vectors.

    Raises, when it is appended:
        FileNotFoundError: there is no such index.
        IntegrityError: it is damaged.
    """
    return [Addition(list(map(_entry, some)), partial(_codes, parts, some)) for some in _together(references)]


def _entry(reference: CoveredRow) -> Entry:
    spans = spans_file(reference)
    return Entry((reference.document, reference.text), spans.chunks, spans, reference.pages is not None)


def _together(references: Sequence[CoveredRow]) -> Iterator[Sequence[CoveredRow]]:
    first = size = 0
    for number, each in enumerate(references):
        assert each.index_size is not None
        size += each.index_size
        if number > first and (size > _CODES_TOGETHER or number - first == _INDEXES_TOGETHER):
            yield references[first:number]
            first, size = number, each.index_size
    if references:
        yield references[first:]


def _codes(parts: Parts, references: Sequence[CoveredRow]) -> list[Codes]:
    pipeline = parts.pipeline
    wanted: list[Checked] = []
    for each in references:
        assert each.index_hash is not None and each.index_size is not None
        wanted.append((each.text, each.index_hash, each.index_size))
    read = parts.embeddings(pipeline.fingerprint).read_all_checked(INDEX_SUFFIX, wanted)
    every = [decode_index(data, pipeline.dimension, pipeline.codec) for data in read]
    for each, codes in zip(references, every, strict=True):
        _require_count(each.text, "vectors", len(codes), each.chunks)
    return every


def _require_count(text: str, what: str, count: int, expected: int | None) -> None:
    if count != expected:
        raise IntegrityError(f"The index of text {text} has {count} {what} and a row that says {expected}. {REPAIR}")
