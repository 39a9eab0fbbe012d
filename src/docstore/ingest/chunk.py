"""Chunks: spans of the text, on natural boundaries, never longer than the embedder reads.

`semantic-text-splitter` finds the boundaries: it fills each chunk with the largest units (paragraphs, sentences,
words) that fit. What 'fits' means is ours: a chunk's size is its length in characters or its tokens scaled to the
same capacity, whichever is larger, so one pass respects both limits. Chunks do not cross pages, so a hit's page is
exact, and together they cover every character.

Filling from the front, an edit would move every later boundary, to the end of the page. A text without pages, or a very
long page, is therefore first cut into sections, at lines that their own words choose: behind an edit the same lines are
chosen as before, and from there on all chunks are those of before, with vectors that are stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from docstore.errors import InvalidArgument
from docstore.ingest.extraction import PAGE_BREAK
from docstore.ingest.offsets import byte_offsets, page_numbers
from docstore.texts import LONGEST_CHUNK
from docstore.vectors import SPAN

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter

REVISION = 1
"""Grows when chunks of before must not stand beside new ones. Part of the pipeline's fingerprint.

Other boundaries alone are no reason: each sub-index has its own, and users would have to embed everything again."""

_LEAST_TOKENS = 8  # special tokens and one character, whatever the tokenizer
_WINDOW = 50  # chunk sizes handed to the splitter at once: on text without sentences its time grows with the square

_REACH = 2  # chunk sizes between two cuts at least; twice that on average. What it costs: benchmarks/reuse.py

_LINE = re.compile(r"(?<=\n)[^\S\n]*+[^\s][^\n]*")
# Page breaks belong to the page that follows, those at the end to the last page: nothing is left uncovered.
_PAGE = re.compile(f"{PAGE_BREAK}*[^{PAGE_BREAK}]+(?:{PAGE_BREAK}+\\Z)?")


class Chunker:
    """Cuts texts into chunks of at most `size` characters and `max_tokens` tokens that overlap by `overlap`."""

    def __init__(
        self, size: int, overlap: int, max_tokens: int | None = None, count_tokens: Callable[[str], int] | None = None
    ) -> None:
        """
        Args:
            size: characters a chunk has at most.
            overlap: characters that neighbours share at most; less than `size`.
            max_tokens: tokens the embedder reads of a text, special tokens included. None: no limit.
            count_tokens: tokens of a text as the embedder counts them, special tokens included.

        Raises:
            InvalidArgument: sizes that make no sense.
        """
        if overlap >= size:
            raise InvalidArgument(f"chunk_overlap is {overlap}; it must be less than chunk_size, which is {size}")
        if max_tokens is not None and max_tokens < _LEAST_TOKENS:
            raise InvalidArgument(f"max_tokens is {max_tokens}; an embedder must read at least {_LEAST_TOKENS}")
        # A longer one could be stored, and would be taken for damage when it is read.
        self._size = min(size, LONGEST_CHUNK)
        # Without a tokenizer there is still a safe bound: no tokenizer makes more than one token of a byte.
        count_tokens = count_tokens or (lambda text: len(text.encode()) + 2)
        # No method: what the splitter's compiled code holds Python's collector does not see, and what held the splitter
        # in turn would stay for good, with the embedder and its model.
        self._measure = partial(_measure, self._size, max_tokens, count_tokens)
        self._overlap = min(overlap, self._size - 1)

    @cached_property
    def _splitter(self) -> TextSplitter:
        from semantic_text_splitter import TextSplitter  # takes a while, and who only searches cuts nothing

        return TextSplitter.from_callback(self._measure, self._size, self._overlap, trim=False)

    def spans(self, content: str) -> npt.NDArray[np.void]:
        """The chunks of a text that is not empty, in its order: an array of `SPAN`, shape (n,)."""
        bounds = np.array(list(self._bounds(content)), dtype=np.int64)
        spans = np.empty(len(bounds), SPAN)
        spans["start"], spans["end"] = bounds[:, 0], bounds[:, 1]
        offsets = byte_offsets(content, bounds.ravel()).reshape(-1, 2)
        spans["first_byte"], spans["last_byte"] = offsets[:, 0], offsets[:, 1]
        spans["page"] = page_numbers(content, bounds[:, 0])
        return spans

    def _bounds(self, content: str) -> Iterator[tuple[int, int]]:
        for first, end in self._sections(content):
            if self._measure(content[first:end]) <= self._size:  # as the splitter would find, with many more measures
                yield first, end
                continue
            start = first
            while start < end:
                window = self._window(content, start, min(end, start + _WINDOW * self._size))
                # The last chunk of a window that is not the page's last was cut short by it: go on from its start,
                # which is where the splitter put its overlap.
                complete = window if window[-1][1] == end else window[:-1]
                for chunk in complete:
                    yield from self._fitting(content, *chunk)
                start = end if complete is window else window[-1][0]

    def _sections(self, content: str) -> Iterator[tuple[int, int]]:
        """What chunks do not cross: pages, and in long ones sections."""
        for page in _PAGE.finditer(content):
            start, end = page.span()
            cuts = _cuts(content, start, end, _REACH * self._size)
            yield from pairwise([start, *cuts, end])

    def _fitting(self, content: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The chunk, cut again if it is too long: the splitter's last chunk of a text can be (seen in 0.33.1)."""
        if end - start == 1 or self._measure(content[start:end]) <= self._size:
            yield start, end
            return
        parts = self._window(content, start, end)
        if len(parts) == 1:
            middle = (start + end) // 2
            parts = [(start, middle), (middle, end)]
        for part in parts:
            yield from self._fitting(content, *part)

    def _window(self, content: str, start: int, end: int) -> list[tuple[int, int]]:
        found = self._splitter.chunk_indices(content[start:end])
        return [(start + offset, start + offset + len(chunk)) for offset, chunk in found]


def _measure(size: int, max_tokens: int | None, count_tokens: Callable[[str], int], text: str) -> int:
    """A text's size, of which chunks have at most `size`."""
    if max_tokens is None or len(text) > size:
        return len(text)
    return max(len(text), math.ceil(count_tokens(text) * size / max_tokens))


def _cuts(content: str, start: int, end: int, reach: int) -> list[int]:
    """Where a long page is cut into sections: at each line that is the least of all that begin within `reach`
    characters before or after it, and further than that from both ends. How a line ranks depends on its words alone,
    so an edit can neither make nor undo a cut beyond that reach.
    """
    cuts = []
    # Rank, start, and whether it is the least of the lines before it; ranks rise.
    rising: list[tuple[bytes, int, bool]] = []
    if end - start > 2 * reach:
        for line in _LINE.finditer(content, start, end):
            rank, at = _rank(content, line), line.start()
            while rising and rising[-1][0] > rank:
                _, before, is_least = rising.pop()
                if is_least and at - before > reach:
                    cuts.append(before)
            rising.append((rank, at, at - (rising[-1][1] if rising else start) > reach))
    cuts += [at for _, at, is_least in rising if is_least and end - at > reach]
    return sorted(cuts)


def _rank(content: str, line: re.Match[str]) -> bytes:
    """A line that follows a blank one is less than any other; the rest is chance."""
    follows_blank = content[max(line.start() - 2, 0) : line.start()] == "\n\n"
    return (b"\0" if follows_blank else b"\1") + blake3(line[0].strip().encode()).digest(length=8)
