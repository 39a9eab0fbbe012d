"""Views: the merged, searchable form of a workspace's sub-indexes.

A view is a snapshot: the references of one version of one workspace, and the codes and spans of their texts, in the
order of the references. It never changes; when the workspace does, another view takes its place and takes over the
codes of the texts they have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from docstore.refcount import ReferenceRow
from docstore.vectors import SPAN, Codec, MergedIndex

_VIEW_BYTES = 4_000  # Python objects of a view without documents
_REFERENCE_BYTES = 2_000  # and of each document; a guess where metadata is large

Codes = npt.NDArray[np.uint8]
Spans = npt.NDArray[np.void]


class Chunk(NamedTuple):
    """A row of a view: whose it is, its number in the document, and where it lies in the text, as in `SPAN`."""

    reference: ReferenceRow
    number: int
    start: int
    end: int
    first_byte: int
    last_byte: int
    page: int


class View:
    """The references of one version of a workspace, merged. Row i of everything is chunk i. Immutable."""

    def __init__(
        self,
        version: int,
        references: Sequence[ReferenceRow],
        subindexes: Sequence[tuple[Codes, Spans]],
        dimension: int,
        codec: Codec,
    ) -> None:
        self.version = version
        self.references = references
        self.index = MergedIndex([codes for codes, _ in subindexes], dimension, codec)
        self.spans: Spans = np.concatenate([np.empty(0, SPAN), *(spans for _, spans in subindexes)])
        self._ends = np.cumsum([len(spans) for _, spans in subindexes], dtype=np.int64)
        self._position_of_text = {each.text: position for position, each in enumerate(references)}

    @property
    def nbytes(self) -> int:
        """Memory it takes, in bytes: codes and spans, and an estimate for the rest."""
        return self.index.nbytes + int(self.spans.nbytes) + _VIEW_BYTES + _REFERENCE_BYTES * len(self.references)

    def _range(self, position: int) -> tuple[int, int]:
        return int(self._ends[position - 1]) if position else 0, int(self._ends[position])

    def chunks(self, rows: npt.NDArray[np.int64]) -> list[Chunk]:
        """What some rows are."""
        positions = np.searchsorted(self._ends, rows, side="right").tolist()
        return [
            Chunk(self.references[position], row - self._range(position)[0], *span)
            for position, row, span in zip(positions, rows.tolist(), self.spans[rows].tolist(), strict=True)
        ]

    def mask(self, keep: Callable[[ReferenceRow], bool]) -> npt.NDArray[np.bool_]:
        """Which rows belong to references that `keep` accepts. Shape (number of chunks,)."""
        lengths = np.diff(self._ends, prepend=0)
        return np.repeat(np.fromiter(map(keep, self.references), bool, len(self.references)), lengths)

    def subindex(self, text: str) -> tuple[Codes, Spans] | None:
        """The codes and spans of a text, if the view has it. Views of its memory, not copies."""
        position = self._position_of_text.get(text)
        if position is None:
            return None
        first, last = self._range(position)
        return self.index.codes(first, last), self.spans[first:last]
