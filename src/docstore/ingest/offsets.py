"""Where chunks lie in a text: their offsets in bytes, which is how stored texts are read, and their pages."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from docstore.ingest.extraction import PAGE_BREAK

_AT_ONCE = 1 << 18  # characters whose bytes are counted


def byte_offsets(content: str, characters: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Offsets in UTF-8 of offsets in characters, both shape (n,) int64.

    A part of the text at a time: what NumPy needs for it takes thirty times as much memory as the part.
    """
    if content.isascii():
        return characters
    offsets = np.empty_like(characters)
    order = np.argsort(characters, kind="stable")
    rising = characters[order]
    before = done = 0
    for first in range(0, len(content) + 1, _AT_ONCE):
        points = np.frombuffer(content[first : first + _AT_ONCE].encode("utf-32-le"), dtype="<u4")
        widths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
        ends = np.concatenate([np.full(1, before, np.int64), before + np.cumsum(widths)])
        last = int(np.searchsorted(rising, first + len(points), side="right"))
        offsets[order[done:last]] = ends[rising[done:last] - first]
        before, done = int(ends[-1]), last
    assert done == len(offsets), "an offset is beyond the text"
    return offsets


def page_numbers(content: str, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Pages, from 1, of the first visible character at or after each offset. Shape (n,) int64."""
    if PAGE_BREAK not in content:
        return np.ones(len(starts), np.int64)
    breaks = np.array([match.start() for match in re.finditer(PAGE_BREAK, content)], dtype=np.int64)
    visible, first, reach = re.compile(r"\S"), np.empty(len(starts), np.int64), (0, -1)
    for number, start in enumerate(map(int, starts)):
        # What one search passed over is all white space, so the next need not look there: overlapping chunks of a long
        # gap would else take the square of its length.
        if not reach[0] <= start <= reach[1]:
            match = visible.search(content, start)
            reach = (start, match.start() if match else len(content))
        first[number] = reach[1] if reach[1] < len(content) else start
    return np.searchsorted(breaks, first) + 1
