"""Passages: the texts of chunks that were found, in blocks that stay in memory for the next search.

Opening a stored text and decompressing a frame of it takes longer than scanning ten thousand vectors, so blocks are
kept, and whoever has read a text next is spared both. A block is one frame of the stored file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

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
    wanted = {place: texts.blocks_of(*place) for place in places}
    keys = {(text, number) for (text, _, _), numbers in wanted.items() for number in numbers}
    blocks = {key: memory.get((scope, *key)) for key in keys}
    lacking: dict[str, list[int]] = defaultdict(list)
    for text, number in sorted(key for key, block in blocks.items() if block is None):
        lacking[text].append(number)
    for text, numbers in lacking.items():
        with files.open(text, texts.SUFFIX) as file:
            for number, block in zip(numbers, texts.read_blocks(file, text, numbers), strict=True):
                blocks[text, number] = block
                memory.put((scope, text, number), block)
    return {
        (text, first, last): texts.cut(text, [blocks[text, number] for number in numbers], first, last)
        for (text, first, last), numbers in wanted.items()
    }
