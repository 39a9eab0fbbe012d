"""Segments: codes and spans of many documents in one piece of memory, for all views that cover most of them.

Rows are appended and never change, so a snapshot of the first n of them stays valid while others are appended: a view
that gains a document costs that document, and workspaces that hold the same documents hold them in memory once.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from docstore.forking import in_child
from docstore.rounded import Rounder
from docstore.selections import Rows, Selection
from docstore.sketches import Sketcher
from docstore.vectors import SPAN, Codec, code_size, header_size, index_in

Codes = npt.NDArray[np.uint8]
Spans = npt.NDArray[np.void]

_FROM_HEAP = 1 << 17  # bytes, below which memory is taken from what the process has already
_COPIED = 32 << 20  # bytes that a segment which is full may have and still grow
_NAMES = 4  # that a segment remembers for each document: most workspaces call it the same
_NAME_BYTES = 200

_SERIALS = count()

Key = tuple[str, str]
"""What names a document's rows: its hash, and that of its text, since it may be stored again with another."""


class SpansFile(NamedTuple):
    """Where the spans of a document's rows are, until one of these is found."""

    text: str
    """Hash of the text, under which the file is."""
    hash: str
    size: int
    chunks: int


class Entry(NamedTuple):
    """A document, as a segment has it beside its codes."""

    key: Key
    rows: int
    spans: Spans | SpansFile
    """Shape (rows,)."""
    paged: bool
    """Whether the document is of a type that has pages."""


class Addition(NamedTuple):
    """Some documents' rows, whose codes are read together when they are appended."""

    entries: Sequence[Entry]
    codes: Callable[[], Sequence[Codes]]
    """Of each, shape (rows, bytes a code)."""

    @property
    def rows(self) -> int:
        """Of all of them."""
        return sum(entry.rows for entry in self.entries)


Additions = Callable[[Sequence[Key]], Sequence[Addition]]
"""Gives the rows of some documents."""


@dataclass(slots=True, eq=False, repr=False)  # what else it could have is compiled when this is imported
class Snapshot:
    """The rows that a segment had at one moment. Immutable; safe for threads."""

    index: Any
    """A FAISS index on the segment's own memory."""
    codes: Codes
    """Shape (n, bytes a code). Keeps the memory alive that the index points to."""
    keys: list[Key]
    """Of each document; the segment appends to it, so only the first `len(ends)` are of this moment."""
    positions: dict[Key, int]
    """Where in `keys`, and the same holds."""
    latest: dict[str, int]
    """Where in `keys` a document is, by its hash alone; and the same holds."""
    earlier: dict[int, int]
    """Where a document is that is somewhere with another text: few have ever been stored with two."""
    paged: list[bool]
    """Which have pages, and the same holds."""
    spans: list[Spans | SpansFile]
    """Of each document, and the same holds. Who has read a file puts what it holds in its place."""
    bounds: Rows
    """Of each document the first row, and one past the last of all, shape (documents + 1,)."""
    sketcher: Sketcher
    """Has sketches of the rows, once it has made them."""
    rounder: Rounder
    """Has the rows rounded, once it has done that."""
    dimension: int
    codec: Codec

    @property
    def ends(self) -> Rows:
        """One past each document's last row, shape (documents,)."""
        return self.bounds[1:]

    def documents_of(self, rows: Rows) -> Rows:
        """The positions of the documents that some rows belong to."""
        return np.searchsorted(self.ends, rows, side="right")

    def addition(self, key: Key) -> Addition | None:
        """A document's rows: views of its memory, not copies."""
        position = self.positions.get(key)
        if position is None or position >= len(self.ends):
            return None
        first, last = self.bounds[position : position + 2].tolist()
        codes = self.codes[first:last]
        return Addition([Entry(key, len(codes), self.spans[position], self.paged[position])], lambda: [codes])

    def selection(self, positions: npt.NDArray[np.int64]) -> Selection:
        """The rows of some documents, whose positions are ascending, each once."""
        return Selection.of(self.ends, positions)


class Segment:
    """Rows that grow. Safe for threads."""

    def __init__(self, scope: int, dimension: int, codec: Codec, rows: int) -> None:
        """
        Args:
            scope: whose it is: only views of the same scope share it.
            rows: how many there will be at first; an eighth more have room, untouched and so unpaid for where large.
        """
        self.scope = scope
        self.serial = next(_SERIALS)
        """No other segment of the process has or had it."""
        self._dimension = dimension
        self._codec: Codec = codec
        # Who appends may be interrupted anywhere, by Ctrl-C for example. So what counts is as far as the bounds go, and
        # they grow last; the next who appends drops what lies beyond them.
        self._bounds: list[int] = [0]
        self._keys: list[Key] = []
        self._positions: dict[Key, int] = {}
        self._latest: dict[str, int] = {}
        self._earlier: dict[int, int] = {}
        self._paged: list[bool] = []
        self._names: dict[str, str] = {}
        self._spans: list[Spans | SpansFile] = []
        self._sketcher, self._rounder = Sketcher(dimension, codec), Rounder(dimension, codec)
        self._buffer, self._codes = self._allocated(rows)
        self._outgrown: list[weakref.ref[Codes]] = []
        self._snapshot: Snapshot | None = None
        self._make_lock()
        in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._guard = threading.Lock()

    @property
    def _used(self) -> int:
        return self._bounds[-1]

    @property
    def nbytes(self) -> int:
        """Memory it takes, in bytes."""
        # Of a large buffer the operating system gives only what is touched; a small one comes out of memory that it
        # gave before.
        codes = min(len(self._buffer), self._used * code_size(self._dimension, self._codec) + _FROM_HEAP)
        rows = codes + self._used * SPAN.itemsize
        coarse = self._sketcher.nbytes(self._used) + self._rounder.nbytes(self._used)
        return rows + coarse + 600 * len(self._keys) + _NAME_BYTES * len(self._names)

    @property
    def outgrown(self) -> int:
        """Memory it had before it grew and views of before still keep, in bytes. They go on without it, and need not be
        there for it to be there."""
        return sum(len(buffer) for each in self._outgrown if (buffer := each()) is not None)

    def has(self, key: Key) -> bool:
        """Whether a snapshot from now on has the rows of a document."""
        return not self.lacking([key])

    def lacking(self, keys: Iterable[Key]) -> list[Key]:
        """Those of some documents that a snapshot from now on may not have."""
        # Not by set operations, which go through a dictionary that others change.
        positions, count = self._positions, len(self._bounds) - 1
        return [key for key in keys if positions.get(key, count) >= count]

    def interned(self, names: list[str | None]) -> list[str | None]:
        """The same names, each once for all the workspaces that call a document so."""
        known = self._names
        if len(known) > _NAMES * len(self._keys):  # those of before, where documents are renamed again and again
            known = self._names = {}
        return [name if name is None else known.setdefault(name, name) for name in names]

    def has_room(self, rows: int) -> bool:
        """Whether so many rows more are appended without copying much: views of before keep what was copied."""
        return self._used + rows <= len(self._codes) or len(self._buffer) <= _COPIED

    def append(self, addition: Addition) -> None:
        """Appends documents' rows, but of those that it has. Raises what reading them does."""
        if not self.lacking(entry.key for entry in addition.entries):
            return
        read = addition.codes()  # not under the guard: reading may have to wait, and for who waits for the guard
        with self._guard:
            self._drop_unfinished()
            added = [
                (entry, codes)
                for entry, codes in zip(addition.entries, read, strict=True)
                if entry.key not in self._positions
            ]
            if not added:
                return
            entries, parts = zip(*added)
            bounds = list(accumulate(map(len, parts), initial=self._used))
            if bounds[-1] > len(self._codes):
                self._grow(bounds[-1])
            np.concatenate(parts, out=self._codes[self._used : bounds[-1]])
            self._note(entries)
            self._snapshot = None
            self._bounds += bounds[1:]  # whoever finds a document within them finds its rows

    def _note(self, entries: Sequence[Entry]) -> None:
        first = len(self._keys)
        self._keys += [entry.key for entry in entries]  # before what is dropped by them
        self._paged += [entry.paged for entry in entries]
        self._spans += [entry.spans for entry in entries]
        for position, (document, _) in enumerate(self._keys[first:], first):
            if (earlier := self._latest.get(document)) is not None:
                self._earlier[position] = earlier
            self._latest[document] = position
        self._positions.update(zip(self._keys[first:], range(first, len(self._keys))))

    def _drop_unfinished(self) -> None:
        count = len(self._bounds) - 1
        for position in reversed(range(count, len(self._keys))):
            key = self._keys[position]
            self._positions.pop(key, None)
            if self._latest.get(key[0]) == position:
                if (earlier := self._earlier.get(position)) is not None:
                    self._latest[key[0]] = earlier
                else:
                    del self._latest[key[0]]
            self._earlier.pop(position, None)
        for noted in (self._spans, self._paged, self._keys):
            del noted[count:]

    def snapshot(self) -> Snapshot:
        """All rows of now."""
        with self._guard:
            if self._snapshot is None:
                index = index_in(self._buffer, self._used, self._dimension, self._codec)
                self._snapshot = Snapshot(
                    index, self._codes[: self._used], self._keys, self._positions, self._latest,
                    self._earlier, self._paged, self._spans, np.array(self._bounds, np.int64), self._sketcher,
                    self._rounder, self._dimension, self._codec,
                )  # fmt: skip
            return self._snapshot

    def _allocated(self, rows: int) -> tuple[npt.NDArray[np.uint8], Codes]:
        capacity = rows + rows // 8 + 4
        header, size = header_size(self._dimension, self._codec), code_size(self._dimension, self._codec)
        buffer = np.empty(header + capacity * size, np.uint8)
        return buffer, buffer[header:].reshape(capacity, size)

    def _grow(self, rows: int) -> None:
        # Snapshots keep the old memory until the views that use them are gone.
        buffer, codes = self._allocated(rows)
        codes[: self._used] = self._codes[: self._used]
        kept = [each for each in self._outgrown if each() is not None]
        self._outgrown = [*kept, weakref.ref(self._buffer)]
        self._buffer, self._codes = buffer, codes  # together: no interrupt comes between
