"""Passages: the texts of chunks that were found, in blocks that stay in memory for the next search.

Opening a stored text and decompressing a frame of it takes longer than scanning ten thousand vectors, so blocks are
kept, and whoever has read a text next is spared both. A block is one frame of the stored file.
"""

from __future__ import annotations

from collections.abc import Sequence

from docstore import texts
from docstore.cas import ContentStore
from docstore.memory import Memory

Span = tuple[int, int]
"""First byte, and one past the last, of a piece of a text in UTF-8."""


def read(files: ContentStore, memory: Memory, scope: int, text: str, spans: Sequence[Span]) -> list[str]:
    """Pieces of a stored text.

    Args:
        scope: whose blocks these are: who shares one sees, by the time it takes, that another has read the text.
        text: its hash.

    Raises:
        FileNotFoundError: there is no such text.
        IntegrityError: it is damaged, or the spans are.
    """
    wanted = [texts.blocks_of(text, *span) for span in spans]
    numbers = sorted({number for some in wanted for number in some})
    blocks = {number: memory.get((scope, text, number)) for number in numbers}
    lacking = [number for number, block in blocks.items() if block is None]
    if lacking:
        with files.open(text, texts.SUFFIX) as file:
            for number, block in zip(lacking, texts.read_blocks(file, text, lacking), strict=True):
                blocks[number] = block
                memory.put((scope, text, number), block)
    return [texts.cut(text, [blocks[number] for number in some], *span) for some, span in zip(wanted, spans)]
