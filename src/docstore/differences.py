"""Differences: the next view of a workspace out of the last one, by the documents whose references changed.

Nothing here goes through all documents but NumPy and the copy of a list, and a part that did not change is not even
copied. Where a view should no longer use a segment, as `views` has it, there is no such step, and all are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from docstore.segments import Addition, Additions, Key, Segment, Snapshot
from docstore.selections import Rows
from docstore.vectors import Codec
from docstore.views import COVERED, Called, Coverage, Part, Versions, View

_NONE: Rows = np.empty(0, np.int64)


class Step(NamedTuple):
    """How the next view of a workspace differs from the last one."""

    base: _Half
    tail: _Half | None
    """None: what is lacking goes into a new segment."""
    called: Called
    """What is lacking, and is the workspace's own."""
    lent: Called
    """What is lacking, and goes into the base, where all that it is lent to find it."""
    members: tuple[Rows, ...]
    """As in `Coverage`, of the next view."""
    changed: frozenset[str]
    """Hashes of what is no longer covered as it was, or only is covered now."""

    @classmethod
    def of(
        cls, old: View, touched: Rows, called: Called, members: tuple[Rows, ...], borrowed: Mapping[Key, int]
    ) -> Step | None:
        """None when other segments are to be chosen.

        Args:
            touched: ids of documents that are no longer covered as they were.
            called: those of them that are covered now.
            borrowed: those of these that only an included workspace references, each with the number of its rows.
        """
        if old.coverage is None or not old.parts:
            return None
        halves = [_Half(*each) for each in zip(old.parts, old.coverage.ids, strict=True)]
        changed = frozenset(key[0] for key in called).union(*(half.documents_of(touched) for half in halves))
        base = _followed(halves[0], halves[0].part.snapshot, touched, called)
        # What the base has, only the base has: found in both, it would be found twice.
        called = {key: each for key, each in called.items() if not base.part.covers(key)}
        tail = None if len(halves) == 1 else _followed(halves[1], halves[1].part.snapshot, touched, called)
        lacking = {key: each for key, each in called.items() if tail is None or not tail.part.covers(key)}
        if tail is not None and not tail.is_mostly_covered:
            lacking |= tail.called()
            tail = None
        lent = {key: each for key, each in lacking.items() if key in borrowed}
        if base.part.segment.has_room(sum(borrowed[key] for key in lent)):
            lacking = {key: each for key, each in lacking.items() if key not in lent}
        else:
            lent = {}
        beside = len(lacking) + (0 if tail is None else tail.documents)
        if not base.is_mostly_covered or beside > (1 - COVERED) * (base.documents + len(lent) + beside):
            return None
        return cls(base, tail, lacking, lent, members, changed)

    @property
    def lacking(self) -> list[Key]:
        """The documents whose rows are to be had."""
        return [*self.lent, *self.called]

    @property
    def documents(self) -> int:
        """How many the view will cover."""
        return self.base.documents + len(self.lacking) + (0 if self.tail is None else self.tail.documents)

    def build(self, versions: Versions, additions_of: Additions, dimension: int, codec: Codec) -> View:
        """The view, with what was lacking."""
        lent, own = additions_of(list(self.lent)), additions_of(list(self.called))
        halves = [_extended(self.base, lent, self.lent)]
        if self.tail is not None:
            halves.append(_extended(self.tail, own, self.called))
        elif own:
            segment = Segment(self.base.part.segment.scope, dimension, codec, sum(each.rows for each in own))
            halves.append(_extended(_Half(Part(segment, segment.snapshot(), [], None), _NONE), own, self.called))
        coverage = Coverage(self.members, tuple(half.ids for half in halves))
        return View(versions, tuple(half.part for half in halves), dimension, codec, coverage=coverage)


def called_in(view: View) -> set[tuple[int, str | None]]:
    """The ids of all documents that a view covers, each with its name; what it does not cover has none."""
    every = zip(view.parts, view.coverage.ids if view.coverage is not None else ())
    return set().union(*(zip(ids.tolist(), part.names) for part, ids in every))


class _Half(NamedTuple):
    """A part of a view, base or tail, with the ids of its documents in the catalog."""

    part: Part
    ids: Rows

    @property
    def documents(self) -> int:
        """How many are covered."""
        return len(self.ids) if self.part.alive is None else int(np.count_nonzero(self.covers))

    @property
    def covers(self) -> npt.NDArray[np.bool_]:
        """Which documents of the segment, shape (documents,)."""
        known = len(self.ids)
        # By each document's last row: there is none without rows.
        return np.ones(known, bool) if self.part.alive is None else self.part.alive.has(self.part.snapshot.ends - 1)

    @property
    def is_mostly_covered(self) -> bool:
        """Whether a view should use the segment."""
        alive = self.part.alive
        return alive is None or alive.population >= COVERED * len(self.part.snapshot.codes)

    def places(self, some: Rows) -> list[int]:
        """Where documents of some ids are that are covered: of what is not, the id may be another's by now."""
        found: list[int] = np.flatnonzero(_are_among(self.ids, some) & self.covers).tolist()
        return found

    def documents_of(self, some: Rows) -> list[str]:
        """Their hashes."""
        return [self.part.snapshot.keys[place][0] for place in self.places(some)]

    def called(self) -> dict[Key, tuple[int, str]]:
        """All that are covered. Goes through them."""
        each = zip(self.part.snapshot.keys, self.ids.tolist(), self.part.names)
        return {key: (id, name) for key, id, name in each if name is not None}


def _extended(half: _Half, additions: Sequence[Addition], called: Called) -> _Half:
    """The same with some documents more, which its segment gets unless somebody else's view was faster."""
    if not additions:
        return half
    segment = half.part.segment
    for addition in additions:
        segment.append(addition)
    return _followed(half, segment.snapshot(), _NONE, called)


def _followed(half: _Half, snapshot: Snapshot, gone: Rows, called: Called) -> _Half:
    """The same with all rows of a later snapshot, without the documents of some ids, and with those of others that it
    has the rows of."""
    part, ids = half
    count, known = len(snapshot.ends), len(ids)
    places = {
        position: each for key, each in called.items() if (position := snapshot.positions.get(key, count)) < count
    }
    alive, dropped = half.covers, half.places(gone)
    if count == known and not places and not dropped:
        return half
    names = part.names + [None] * (count - known)
    alive = np.concatenate([alive, np.zeros(count - known, bool)])
    ids = np.concatenate([ids, np.zeros(count - known, np.int64)])
    for position in dropped:
        names[position], alive[position] = None, False
    for position, (id, name) in places.items():
        (names[position],) = part.segment.interned([name])
        ids[position], alive[position] = id, True
    selection = None if alive.all() else snapshot.selection(np.flatnonzero(alive))
    return _Half(Part(part.segment, snapshot, names, selection), ids)


def _are_among(ids: Rows, some: Rows) -> npt.NDArray[np.bool_]:
    # Not `np.isin`, which takes ten times as long where some are few, as they are.
    if len(some) == 0:
        return np.zeros(len(ids), bool)
    return np.equal(some.take(np.searchsorted(some, ids), mode="clip"), ids)
