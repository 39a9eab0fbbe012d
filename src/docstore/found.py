"""Found: what a search says of the chunks that it found, but for their texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import neg
from typing import NamedTuple

from docstore import passages
from docstore.segments import Spans, SpansFile
from docstore.views import Ranked

ReadSpans = Callable[[list[SpansFile]], list[Spans]]
"""Reads files of spans."""


class Found(NamedTuple):
    """What searches found, a sequence for each field: to make an object of each chunk would take as long as to look
    it all up."""

    scores: Sequence[float] = ()
    documents: Sequence[str] = ()
    names: Sequence[str] = ()
    numbers: Sequence[int] = ()
    """Of the chunks in their documents."""
    starts: Sequence[int] = ()
    ends: Sequence[int] = ()
    pages: Sequence[int | None] = ()
    places: Sequence[passages.Place] = ()
    """Where their texts are stored."""

    @classmethod
    def of(cls, ranked: Sequence[Ranked], read: ReadSpans) -> Found:
        """What hits say of rows that were ranked, but for their texts. Raises what `read` does."""
        if not ranked:
            return cls()
        ranks, keys, numbers, positions, _, parts = zip(*ranked)
        documents, texts = zip(*keys)
        spans = [part.snapshot.spans[position] for part, position in zip(parts, positions)]
        # Together, and not when each is asked for: what is packed then costs one statement of the archive.
        if unread := list(dict.fromkeys(each for each in spans if isinstance(each, SpansFile))):
            known = dict(zip(unread, read(unread), strict=True))
            for at, (part, position, each) in enumerate(zip(parts, positions, spans)):
                if isinstance(each, SpansFile):
                    spans[at] = part.snapshot.spans[position] = known[each]
        cells = [each.item(number) for each, number in zip(spans, numbers)]
        starts, ends, first_bytes, last_bytes, pages = zip(*cells)
        paged = [part.snapshot.paged[position] for part, position in zip(parts, positions)]
        return cls(
            scores=list(map(neg, ranks)),
            documents=documents,
            names=[part.names[position] or "" for part, position in zip(parts, positions)],
            numbers=numbers,
            starts=starts,
            ends=ends,
            pages=[page if has else None for page, has in zip(pages, paged)],
            places=list(zip(texts, first_bytes, last_bytes)),
        )
