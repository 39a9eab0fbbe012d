"""Passages: the texts of chunks that were found, in blocks that stay in memory for the next search.

Opening a stored text and decompressing a frame of it takes longer than scanning ten thousand vectors, so blocks are
kept, and whoever has read a text next is spared both. A block is one frame of the stored file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain, islice

from docstore import texts
from docstore.cas import ContentStore
from docstore.memory import Memory

_TOGETHER = 16  # texts that are opened in one go

Place = tuple[str, int, int]
"""Hash of a text; first byte, and one past the last, of a piece of it in UTF-8."""


def read(files: ContentStore, memory: Memory, scope: int, places: Iterable[Place]) -> dict[Place, str]:
    """Pieces of stored texts. Each text is opened once at most.

    Args:
        scope: whose blocks these are: who shares one sees, by the time it takes, that another has read the text.

    Raises:
        FileNotFoundError: there is no such text.
        IntegrityError: it is damaged, or the places are.
    """
    by_text: dict[str, dict[Place, range]] = defaultdict(dict)
    for place in dict.fromkeys(places):
        by_text[place[0]][place] = texts.blocks_of(*place)
    pieces: dict[Place, str] = {}
    remaining = iter(by_text.items())
    while some := dict(islice(remaining, _TOGETHER)):  # not all: many texts may hold more than memory may keep
        blocks = _blocks(files, memory, scope, {text: set(chain(*wanted.values())) for text, wanted in some.items()})
        for text, wanted in some.items():
            for place, numbers in wanted.items():
                # Most lie in one block; to go through a list of it would take as long as to cut.
                some_blocks = (
                    (blocks[text, numbers[0]],) if len(numbers) == 1 else [blocks[text, number] for number in numbers]
                )
                pieces[place] = texts.cut(text, some_blocks, place[1], place[2])
    return pieces


def _blocks(
    files: ContentStore, memory: Memory, scope: int, wanted: Mapping[str, set[int]]
) -> dict[tuple[str, int], memoryview]:
    """Blocks of texts, by text and number."""
    blocks = {
        (text, number): memory.get((scope, text, number)) for text, some in wanted.items() for number in sorted(some)
    }
    lacking: dict[str, list[int]] = defaultdict(list)
    for (text, number), block in blocks.items():
        if block is None:
            lacking[text].append(number)
    if not lacking:
        return blocks
    with files.open_all(lacking, texts.SUFFIX) as opened:
        for text, numbers in lacking.items():
            for number, block in zip(numbers, texts.read_blocks(opened[text], text, numbers), strict=True):
                blocks[text, number] = block
                memory.put((scope, text, number), block)
    return blocks
