"""What a text lacks is built: its chunks and their vectors, with chunks of many documents in the embedder's batches.

Without any lock, by whoever claimed the embedding; see `add`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from docstore import contents
from docstore.errors import DocStoreError, EmbeddingError
from docstore.ingest.digests import Find
from docstore.ingest.grouping import groups
from docstore.ingest.incoming import Incoming
from docstore.parts import Parts
from docstore.scratch import Scratch

_BATCH_CHARACTERS = 250_000  # some 300 chunks: full batches for the embedder, and seconds, not minutes, to a commit

_HARMLESS = "text"


def batches(items: list[Incoming], parts: Parts) -> Iterator[list[Incoming]]:
    """Documents whose texts together fill the embedder's batches, and whose work a crash may cost. What is stored is
    read for each batch as it comes: all together might be more than memory bears."""
    return groups(_with_texts(items, parts), lambda item: len(item.text.content) if item.text else 0, _BATCH_CHARACTERS)


def _with_texts(items: list[Incoming], parts: Parts) -> Iterator[Incoming]:
    for item in items:
        if item.text is None:
            load_text(item, parts)
        yield item


def build(
    items: list[Incoming], parts: Parts, scratch: Scratch, progress: Callable[[Incoming, int], None], find: Find
) -> None:
    """Stages sub-indexes. What fails gets its outcome; a document that then has neither has lost its text meanwhile."""
    items = [item for item in items if item.outcome is None and item.text is not None]
    if items:
        _build(items, parts, scratch, progress, find)


def _build(
    items: list[Incoming], parts: Parts, scratch: Scratch, progress: Callable[[Incoming, int], None], find: Find
) -> None:
    try:
        _build_together(items, parts, scratch, progress, find)
    except EmbeddingError as error:
        # Only the documents that the embedder cannot take should fail for it: halves of halves find those in a few
        # calls. But of an embedder that is down nothing is asked for each document, which may take its timeout.
        if len(items) == 1 or not parts.pipeline.answers(_HARMLESS):
            for item in items:
                item.outcome = error
            return
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            _build(half, parts, scratch, progress, find)


def _build_together(
    items: list[Incoming], parts: Parts, scratch: Scratch, progress: Callable[[Incoming, int], None], find: Find
) -> None:
    contents_of = [item.text.content for item in items if item.text is not None]
    built = parts.pipeline.build(contents_of, scratch, lambda chunks: progress(items[0], chunks), find)
    for item, subindex in zip(items, built, strict=True):
        item.subindex = subindex


def load_text(item: Incoming, parts: Parts) -> None:
    """The stored text of a document that is there, for vectors that are not."""
    with parts.database.read() as db:
        text = contents.find_text(db, item.text_hash)
    if text is None or not parts.text_is_intact(text):
        return  # collected since we looked: the next round looks again
    try:
        item.text = parts.read_text(text)
    except DocStoreError as error:
        item.outcome = error
