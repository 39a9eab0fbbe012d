"""Hits of the rows that a search ranked best.

What a hit says of a chunk stays in memory for the next that finds it: to look its place up, and to cut its text out of
a block, takes as long as to score some seventy others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import repeat
from operator import attrgetter, neg
from sys import getsizeof
from typing import NamedTuple

from docstore import passages, subindexes
from docstore.model import Hit
from docstore.parts import Parts
from docstore.segments import SpansFile
from docstore.views import Ranked

_CHUNK_BYTES = 320  # Python objects of a chunk beside its text, its key and the places they have in memory
_SHARE = 64  # of the memory, that one search's chunks may take: its view was used before them, and would go first

_SERIAL = attrgetter("segment.serial")


class _Chunk(NamedTuple):
    """A chunk in memory."""

    text: str
    start: int
    end: int
    page: int | None
    nbytes: int
    """Memory it takes, in bytes: of a text that grows when somebody asks for its UTF-8, what it took first."""


def hits_of(parts: Parts, scope: int, ranked: Sequence[Ranked]) -> list[Hit]:
    """The hits, in the same order.

    Raises:
        FileNotFoundError: a text, or the file of its chunks, is not there.
        IntegrityError: it is damaged.
    """
    if not ranked:
        return []
    ranks, keys, numbers, positions, rows, owners = zip(*ranked)
    # By the row of a segment, which belongs to one scope. Not by the chunk: a text that is stored again may be cut
    # otherwise, and its chunks of the same numbers be others.
    places = list(zip(map(_SERIAL, owners), rows))
    chunks: list[_Chunk | None] = parts.memory.get_all(places)
    if None in chunks:
        lacking = [at for at, chunk in enumerate(chunks) if chunk is None]
        read = list(_read(parts, scope, [ranked[at] for at in lacking]))
        fits = _SHARE * sum(chunk.nbytes for chunk in read) <= parts.memory.budget
        for at, chunk in zip(lacking, read):
            chunks[at] = chunk
            if fits:
                parts.memory.put(places[at], chunk)
    texts, starts, ends, pages, _ = zip(*chunks)
    documents, _ = zip(*keys)
    names = [part.names[position] or "" for part, position in zip(owners, positions)]
    return _made(texts, map(neg, ranks), documents, names, numbers, starts, ends, pages)


def _read(parts: Parts, scope: int, ranked: Sequence[Ranked]) -> Iterator[_Chunk]:
    _, keys, numbers, positions, _, owners = zip(*ranked)
    spans = [part.snapshot.spans[position] for part, position in zip(owners, positions)]
    # Together, and not when each is asked for: what is packed then costs one statement of the archive.
    if unread := list(dict.fromkeys(each for each in spans if isinstance(each, SpansFile))):
        known = dict(zip(unread, subindexes.read_spans(parts, unread), strict=True))
        for at, (part, position, each) in enumerate(zip(owners, positions, spans)):
            if isinstance(each, SpansFile):
                spans[at] = part.snapshot.spans[position] = known[each]
    cells = [each.item(number) for each, number in zip(spans, numbers)]
    places = [(text, first, last) for (_, text), (_, _, first, last, _) in zip(keys, cells)]
    texts = passages.read(parts.texts, parts.memory, scope, places)
    for part, position, place, (start, end, _, _, page) in zip(owners, positions, places, cells):
        text = texts[place]
        yield _Chunk(text, start, end, page if part.snapshot.paged[position] else None, getsizeof(text) + _CHUNK_BYTES)


_SETTERS = [getattr(Hit, each.name).__set__ for each in fields(Hit)]


def _made(texts: Sequence[str], *others: Iterable[object]) -> list[Hit]:
    """The same as calling `Hit` for each, in half the time: the constructor of what is frozen asks for every field by
    its name. Field by field, no function of Python is called for any of them."""
    hits: list[Hit] = list(map(object.__new__, repeat(Hit, len(texts))))
    for set_field, values in zip(_SETTERS, (texts, *others), strict=True):
        deque(map(set_field, hits, values), maxlen=0)
    return hits
