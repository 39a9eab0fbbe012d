"""Segments: codes and spans of many documents in one piece of memory, for all views that cover most of them.

Rows are appended and never change, so a snapshot of the first n of them stays valid while others are appended: a view
that gains a document costs that document, and workspaces that hold the same documents hold them in memory once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from docstore.forking import in_child
from docstore.vectors import SPAN, Codec, Vectors, code_size, header_size, index_in, scan

Codes = npt.NDArray[np.uint8]
Spans = npt.NDArray[np.void]
Rows = npt.NDArray[np.int64]

_SPARE = 8  # more than asked for: equal scores at the k-th place then show, instead of being cut by accident


Key = tuple[str, str]
"""What names a document's rows: its hash, and that of its text, since it may be stored again with another."""


class Addition(NamedTuple):
    """A document's rows."""

    key: Key
    codes: Codes
    """Shape (n, bytes a code)."""
    spans: Spans
    """Shape (n,)."""
    paged: bool
    """Whether the document is of a type that has pages."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows that a segment had at one moment. Immutable; safe for threads."""

    index: Any
    """A FAISS index on the segment's own memory."""
    codes: Codes
    """Shape (n, bytes a code). Keeps the memory alive that the index points to."""
    spans: Spans
    """Shape (n,)."""
    keys: list[Key]
    """Of each document; the segment appends to it, so only the first `len(ends)` are of this moment."""
    positions: dict[Key, int]
    """Where in `keys`, and the same holds."""
    paged: list[bool]
    """Which have pages, and the same holds."""
    ends: Rows
    """One past each document's last row, shape (documents,)."""

    def documents_of(self, rows: Rows) -> Rows:
        """The positions of the documents that some rows belong to."""
        return np.searchsorted(self.ends, rows, side="right")

    def addition(self, key: Key) -> Addition | None:
        """A document's rows: views of its memory, not copies."""
        position = self.positions.get(key)
        if position is None or position >= len(self.ends):
            return None
        rows = slice(int(self.ends[position - 1]) if position else 0, int(self.ends[position]))
        return Addition(key, self.codes[rows], self.spans[rows], self.paged[position])

    def nearest(
        self, queries: Vectors, k: int, alive: npt.NDArray[np.bool_] | None, allowed: npt.NDArray[np.bool_] | None
    ) -> list[tuple[Vectors, Rows]]:
        """The k best rows for each query, by falling inner product, and all others that score as the k-th.

        Args:
            queries: shape (m, dimension), normalised.
            alive: which documents take part, shape (documents,); None for all. Few are not: what is found is looked
                through, which costs less than to have FAISS ask for each row.
            allowed: which documents take part, when few do.
        """
        if allowed is not None:
            mask = np.repeat(allowed, np.diff(self.ends, prepend=0))
            return self._nearest(queries, k, int(np.count_nonzero(mask)), None, mask)
        if alive is None:
            return self._nearest(queries, k, len(self.codes), None, None)
        return self._nearest(queries, k, self.rows_of(alive), alive, None)

    def rows_of(self, documents: npt.NDArray[np.bool_]) -> int:
        """How many rows some documents have."""
        return int(np.diff(self.ends, prepend=0)[documents].sum())

    def _nearest(
        self,
        queries: Vectors,
        k: int,
        population: int,
        alive: npt.NDArray[np.bool_] | None,
        mask: npt.NDArray[np.bool_] | None,
    ) -> list[tuple[Vectors, Rows]]:
        if population == 0:
            return [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in queries]
        # As many more as are not alive, where these are spread evenly; where they are not, `_settle` goes on.
        reachable = len(self.codes) if mask is None else population
        k = min(k, population)
        reach = min((k + _SPARE) * reachable // population, reachable)
        return [
            self._settle(queries[number : number + 1], k, alive, mask, reachable, scores, rows)
            for number, (scores, rows) in enumerate(zip(*scan(self.index, queries, reach, mask), strict=True))
        ]

    def _settle(
        self,
        query: Vectors,
        k: int,
        alive: npt.NDArray[np.bool_] | None,
        mask: npt.NDArray[np.bool_] | None,
        reachable: int,
        scores: Vectors,
        rows: Rows,
    ) -> tuple[Vectors, Rows]:
        """Goes on from what a scan gave, until nothing that was not fetched can be among the k best."""
        while True:
            kept = slice(None) if alive is None else alive[self.documents_of(rows)]
            found, numbers = scores[kept], rows[kept]
            # FAISS may return any of equal scores, so go on until the last one is worse than the k-th.
            if len(scores) == reachable or (len(found) >= k and scores[-1] < found[k - 1]):
                best = found >= found[k - 1]
                return found[best], numbers[best]
            more, where = scan(self.index, query, min(2 * len(scores), reachable), mask)
            scores, rows = more[0], where[0]


class Segment:
    """Rows that grow. Safe for threads."""

    def __init__(self, scope: int, dimension: int, codec: Codec, rows: int) -> None:
        """
        Args:
            scope: whose it is: only views of the same scope share it.
            rows: how many there will be at first; an eighth more have room, untouched and so unpaid for.
        """
        self.scope = scope
        self._dimension = dimension
        self._codec: Codec = codec
        self._used = 0
        self._keys: list[Key] = []
        self._positions: dict[Key, int] = {}
        self._paged: list[bool] = []
        self._names: dict[str, str] = {}
        self._ends: list[int] = []
        self._allocate(rows)
        self._snapshot: Snapshot | None = None
        self._make_lock()
        in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory it takes, in bytes."""
        return self._used * (code_size(self._dimension, self._codec) + SPAN.itemsize) + 500 * len(self._keys)

    def has(self, key: Key) -> bool:
        """Whether a snapshot from now on has the rows of a document."""
        return key in self._positions

    def intern(self, name: str | None) -> str | None:
        """The same name, once for all the workspaces that call a document so."""
        return None if name is None else self._names.setdefault(name, name)

    def append(self, key: Key, codes: Codes, spans: Spans, paged: bool) -> None:
        """Appends a document's rows, unless it has them."""
        with self._guard:
            if key in self._positions:
                return
            last = self._used + len(codes)
            if last > len(self._spans):
                self._grow(last)
            self._codes[self._used : last] = codes
            self._spans[self._used : last] = spans
            # The key last: whoever finds it finds its rows.
            self._used = last
            self._ends.append(last)
            self._paged.append(paged)
            self._keys.append(key)
            self._positions[key] = len(self._keys) - 1
            self._snapshot = None

    def snapshot(self) -> Snapshot:
        """All rows of now."""
        with self._guard:
            if self._snapshot is None:
                index = index_in(self._buffer, self._used, self._dimension, self._codec)
                self._snapshot = Snapshot(
                    index, self._codes[: self._used], self._spans[: self._used], self._keys, self._positions,
                    self._paged, np.array(self._ends, np.int64),
                )  # fmt: skip
            return self._snapshot

    def _allocate(self, rows: int) -> None:
        capacity = rows + rows // 8 + 64
        header, size = header_size(self._dimension, self._codec), code_size(self._dimension, self._codec)
        self._buffer = np.empty(header + capacity * size, np.uint8)
        self._codes: Codes = self._buffer[header:].reshape(capacity, size)
        self._spans: Spans = np.empty(capacity, SPAN)

    def _grow(self, rows: int) -> None:
        # Snapshots keep the old memory until the views that use them are gone.
        codes, spans = self._codes, self._spans
        self._allocate(rows)
        self._codes[: self._used] = codes[: self._used]
        self._spans[: self._used] = spans[: self._used]
