"""Selections: which documents of a segment take part in a search, where not all do.

As runs of rows, since documents lie one behind the other: a selection takes memory for what it holds, or for what it
lacks, whichever is less, and to use it costs nothing for the rest of the segment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


class Selection(NamedTuple):
    """Rows of some documents. Immutable; safe for threads."""

    firsts: Rows
    """First row of each run, ascending."""
    lasts: Rows
    """One past its last."""
    population: int
    """How many rows there are."""

    @classmethod
    def of(cls, ends: Rows, positions: Rows) -> Selection:
        """The rows of documents.

        Args:
            ends: one past the last row of each document of the segment.
            positions: of those selected, ascending, each once.
        """
        ended = np.flatnonzero(positions[1:] - positions[:-1] > 1)  # where another run comes next
        begins = np.concatenate((positions[:1], positions[ended + 1]))
        lasts = ends[np.concatenate((positions[ended], positions[-1:]))]
        firsts = np.where(begins > 0, ends[begins - 1], 0)
        return cls(firsts, lasts, int((lasts - firsts).sum()))

    @property
    def nbytes(self) -> int:
        """Memory it takes, in bytes."""
        return self.firsts.nbytes + self.lasts.nbytes

    @property
    def rows(self) -> Rows:
        """All of them, ascending."""
        counts = self.lasts - self.firsts
        before = np.cumsum(counts) - counts
        return np.repeat(self.firsts - before, counts) + np.arange(self.population)

    def bits(self, total: int) -> npt.NDArray[np.uint8]:
        """A bit for each of `total` rows, the lowest of a byte first: 1 for those that are selected."""
        changes = np.zeros(total + 1, np.int8)
        changes[self.firsts] = 1
        np.subtract.at(changes, self.lasts, 1)  # a run may begin where another ends
        return np.packbits(np.cumsum(changes[:-1], dtype=np.int8), bitorder="little")

    def has(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of some rows are among them."""
        if len(self.firsts) == 0:
            return np.zeros(len(rows), bool)
        # Before the first run, -1 is the last one, which ends behind them: so both bounds are asked for.
        runs = np.searchsorted(self.firsts, rows, side="right") - 1
        found: npt.NDArray[np.bool_] = (runs >= 0) & (rows < self.lasts[runs])
        return found
