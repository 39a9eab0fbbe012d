"""Passages: the texts of chunks that were found, in blocks that stay in memory for the next search.

Opening a stored text and decompressing a frame of it takes longer than scanning ten thousand vectors, so blocks are
kept, and whoever has read a text next is spared both. A block is one frame of the stored file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain, islice, starmap
from typing import NamedTuple

from docstore import texts
from docstore.cas import ContentStore
from docstore.memory import Memory

_TOGETHER = 16  # texts that are opened in one go
_OBJECTS_BYTES = 650  # Python objects of a block, its key and the places they have in memory

Place = tuple[str, int, int]
"""Hash of a text; first byte, and one past the last, of a piece of it in UTF-8."""


class _Kept(NamedTuple):
    """A block in memory."""

    block: memoryview

    @property
    def nbytes(self) -> int:
        """Memory it takes, in bytes: of most short texts, more for its objects and its place than for itself."""
        return self.block.nbytes + _OBJECTS_BYTES


def read(files: ContentStore, memory: Memory, scope: int, places: Iterable[Place]) -> dict[Place, str]:
    """Pieces of stored texts. Each text is opened once at most.

    Args:
        scope: whose blocks these are: who shares one sees, by the time it takes, that another has read the text.

    Raises:
        FileNotFoundError: there is no such text.
        IntegrityError: it is damaged, or the places are.
    """
    by_text: dict[str, list[Place]] = defaultdict(list)
    for place in dict.fromkeys(places):
        by_text[place[0]].append(place)
    pieces: dict[Place, str] = {}
    remaining = iter(by_text.items())
    while some := dict(islice(remaining, _TOGETHER)):  # not all: many texts may hold more than memory may keep
        numbers = {text: set(chain(*starmap(texts.blocks_of, wanted))) for text, wanted in some.items()}
        blocks = _blocks(files, memory, scope, numbers)
        for text, wanted in some.items():
            own = blocks[text]
            for place in wanted:
                pieces[place] = texts.cut(text, own, place[1], place[2])
    return pieces


def _blocks(
    files: ContentStore, memory: Memory, scope: int, wanted: Mapping[str, set[int]]
) -> dict[str, dict[int, memoryview]]:
    """Blocks of texts, by text and number."""
    blocks: dict[str, dict[int, memoryview]] = defaultdict(dict)
    lacking: dict[str, list[int]] = defaultdict(list)
    for text, some in wanted.items():
        for number in sorted(some):
            kept: _Kept | None = memory.get((scope, text, number))
            if kept is None:
                lacking[text].append(number)
            else:
                blocks[text][number] = kept.block
    if not lacking:
        return blocks
    with files.open_all(lacking, texts.SUFFIX) as opened:
        for text, numbers in lacking.items():
            for number, block in texts.read_blocks(opened[text], text, numbers).items():
                blocks[text][number] = block
                memory.put((scope, text, number), _Kept(block))
    return blocks
