"""Passages: the texts of chunks that were found, in blocks that stay in memory for the next search.

Opening a stored text and decompressing a frame of it takes longer than scanning ten thousand vectors, so blocks are
kept, and whoever has read a text next is spared both. A block is one frame of the stored file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

from docstore import texts
from docstore.cas import ContentStore
from docstore.memory import Memory

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
    for place in places:
        by_text[place[0]][place] = texts.blocks_of(*place)
    pieces: dict[Place, str] = {}
    for text, wanted in by_text.items():  # one after the other: many texts may hold more than memory may keep
        blocks = _blocks(files, memory, scope, text, set(chain.from_iterable(wanted.values())))
        for place, numbers in wanted.items():
            pieces[place] = texts.cut(text, [blocks[number] for number in numbers], place[1], place[2])
    return pieces


def _blocks(files: ContentStore, memory: Memory, scope: int, text: str, numbers: set[int]) -> dict[int, memoryview]:
    blocks = {number: memory.get((scope, text, number)) for number in numbers}
    lacking = sorted(number for number, block in blocks.items() if block is None)
    if lacking:
        with files.open(text, texts.SUFFIX) as file:
            for number, block in zip(lacking, texts.read_blocks(file, text, lacking), strict=True):
                blocks[number] = block
                memory.put((scope, text, number), block)
    return blocks
