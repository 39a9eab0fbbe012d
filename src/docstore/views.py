"""Views: what the searches of a workspace cover at one moment, as documents of segments. A view never changes.

Most of a view is a base: a segment that all workspaces share which reference most of it. The rest is a tail, the
workspace's own. When the workspace changes, the next view takes over both; what is no longer referenced stays in the
segment and is passed over, until it is more than a quarter of it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from itertools import islice, repeat
from sys import getsizeof
from typing import NamedTuple

import numpy as np

from docstore.filter_cache import Before, Chosen, Filtered
from docstore.forking import in_child
from docstore.memory import Memory
from docstore.nearest import Best, nearest
from docstore.segments import Addition, Additions, Key, Segment, Snapshot
from docstore.selections import Rows, Selection
from docstore.vectors import Codec, Vectors, decode

COVERED = 0.75
"""Of a segment's rows a view must cover this to use it: passing over the rest costs time."""

_SAMPLE = 16  # documents that are looked up in a segment before all are
_VIEW_BYTES = 4_000  # Python objects of a view without documents
_DOCUMENT_BYTES = 40  # and of each document
_ENTRY_BYTES = 100  # of each document in a dictionary
_EQUALS = 64  # rows beyond k that Python ranks faster than NumPy would begin to

Versions = tuple[tuple[int, int], ...]
"""(id, version) of a workspace and of what it includes: all that decides what its searches cover."""

Called = Mapping[Key, tuple[int, str]]
"""Documents, each with its id in the catalog and what the workspace calls it."""


class Part(NamedTuple):
    """The documents of one segment that a view has."""

    segment: Segment
    snapshot: Snapshot
    names: list[str | None]
    """What the workspace calls each document of the segment; None for those it does not cover."""
    alive: Selection | None
    """Which it has; None for all."""

    @classmethod
    def of(cls, segment: Segment, names: Mapping[Key, str], besides: Part | None = None) -> Part:
        """What a workspace has of a segment, and not of another part: found in both, it would be found twice."""
        snapshot = segment.snapshot()
        keys = snapshot.keys[: len(snapshot.ends)]
        called = segment.interned([names.get(key) for key in keys])
        if besides is not None:
            called = [None if besides.covers(key) else name for key, name in zip(keys, called, strict=True)]
        alive = np.flatnonzero([name is not None for name in called])
        return cls(segment, snapshot, called, None if len(alive) == len(called) else snapshot.selection(alive))

    def covers(self, key: Key) -> bool:
        """Whether a document is among those it has. Not whether its segment has it, which others append to."""
        position = self.snapshot.positions.get(key)
        return position is not None and position < len(self.names) and self.names[position] is not None

    def named(self, documents: Iterable[str]) -> tuple[Selection, list[str]]:
        """Some documents, by their hash; and those of them that it does not have. Each is named once."""
        names, latest, lacking = self.names, self.snapshot.latest, []
        positions = []
        for document in documents:
            position = latest.get(document)
            while position is not None and (position >= len(names) or names[position] is None):
                position = self.snapshot.earlier.get(position)
            if position is None:
                lacking.append(document)
            else:
                positions.append(position)
        return self.snapshot.selection(np.sort(np.array(positions, np.int64))), lacking

    @property
    def documents(self) -> int:
        """How many of the segment's it knows of, those that it does not cover included."""
        return len(self.names)

    def accepted(self, accepts: Callable[[str], bool], before: Before | None = None) -> Selection | None:
        """Those of its documents, by their hash, that something accepts. None for all.

        Args:
            before: what it accepted in an earlier view.
        """
        is_accepted = np.zeros(len(self.names), bool)
        asked = list(range(len(self.names)))
        if before is not None:
            ends = self.snapshot.ends[: before.documents]
            # By each document's last row: there is none without rows.
            is_accepted[: len(ends)] = before.selection is None or before.selection.has(ends - 1)
            asked = [*self._places(before.changed, before.documents), *range(before.documents, len(self.names))]
        names, keys = self.names, self.snapshot.keys
        is_accepted[asked] = [names[each] is not None and accepts(keys[each][0]) for each in asked]
        return None if is_accepted.all() else self.snapshot.selection(np.flatnonzero(is_accepted))

    def _places(self, documents: Iterable[str], before: int) -> Iterator[int]:
        """Where some documents are, by their hash and with whatever text, among the first of the segment."""
        for document in documents:
            position = self.snapshot.latest.get(document)
            while position is not None:
                if position < before:
                    yield position
                position = self.snapshot.earlier.get(position)

    def first_of_equals(self, best: Best, k: int) -> Best:
        """The k best rows, where others score as the k-th: document and number decide between these. They may be all
        rows there are, for each of many queries, and as Python objects take a hundred bytes each."""
        scores, rows = best
        better = int(np.searchsorted(-scores, -scores[k - 1]))
        equals = np.sort(rows[better:])
        positions, firsts = np.unique(self.snapshot.documents_of(equals), return_index=True)
        keys, lasts = self.snapshot.keys, [*firsts[1:].tolist(), len(equals)]
        by_key = nsmallest(k - better, zip(map(keys.__getitem__, positions.tolist()), firsts.tolist(), lasts))
        first = np.concatenate([equals[begin:end] for _, begin, end in by_key])[: k - better]
        return scores[:k], np.concatenate([rows[:better], first])

    def ranked(self, best: list[Best]) -> Iterator[list[Ranked]]:
        """The best rows for each query."""
        # Of all queries at once: NumPy takes longer to begin than to go on.
        scores, rows = best[0] if len(best) == 1 else (np.concatenate(each) for each in zip(*best))
        positions = self.snapshot.documents_of(rows)
        numbers = rows - self.snapshot.bounds[positions]
        ranks, at, rows_at, numbers_at = (each.tolist() for each in (-scores, positions, rows, numbers))
        keys = map(self.snapshot.keys.__getitem__, at)
        ranked = zip(ranks, keys, numbers_at, at, rows_at, repeat(self))
        return (list(islice(ranked, len(scores))) for scores, _ in best)


Ranked = tuple[float, Key, int, int, int, Part]
"""A row that was found. First what it is ranked by: minus its score, its document, and its number there. Then where its
document is in the segment, the row, and the part that has it. What else a hit says is looked up later: most of the best
rows of each part are not among the best of all."""


class Coverage(NamedTuple):
    """Which rows of the catalog a view was made of: what the next one is compared with."""

    members: tuple[Rows, ...]
    """The ids of the documents that each workspace of its versions references, rising."""
    ids: tuple[Rows, ...]
    """For each of its parts, the id of each document of the segment. Of those it does not cover they say nothing."""


@dataclass(slots=True, eq=False, repr=False)
class View:
    """What a search of one version of a workspace, and of what it includes, goes through."""

    versions: Versions
    parts: tuple[Part, ...]
    dimension: int
    codec: Codec
    metadata: Mapping[str, str] | None = field(default=None)
    """By document, as the catalog holds it, once a filter has asked for it."""
    coverage: Coverage | None = field(default=None)
    """None where the next view is not made from this one."""
    filtered: Filtered = field(init=False)
    """What filters on metadata chose."""
    _metadata_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.filtered = Filtered.of(self.documents)
        self._metadata_bytes = 0

    @property
    def documents(self) -> int:
        """How many its segments have, those that it does not cover included."""
        return sum(part.documents for part in self.parts)

    def described(self, metadata: Mapping[str, str] | None, filtered: Filtered) -> View:
        """The same, with metadata of its documents and what filters chose by them."""
        view = replace(self, metadata=metadata)
        view.filtered = filtered
        # What many documents have is mostly in memory once: see `refcount.metadata_of`.
        stored = (metadata or {}).values()
        distinct = dict(zip(map(id, stored), stored)).values()
        view._metadata_bytes = _ENTRY_BYTES * len(stored) + sum(map(getsizeof, distinct))
        return view

    @property
    def nbytes(self) -> int:
        """Memory it takes beside its segments, in bytes."""
        return _VIEW_BYTES + _DOCUMENT_BYTES * self.documents + self._metadata_bytes + self.filtered.budget

    @property
    def shared(self) -> tuple[Segment, ...]:
        """The segments, which others may use too."""
        return tuple(part.segment for part in self.parts)

    def addition(self, key: Key) -> Addition | None:
        """A document's rows, to be copied, if the view has them."""
        for part in self.parts:
            if (found := part.snapshot.addition(key)) is not None:
                return found
        return None

    def named(self, documents: Iterable[str]) -> tuple[Chosen, list[str]]:
        """Some documents, by their hash; and those of them that it does not cover. Each is named once."""
        selections, lacking = [], list(documents)
        for part in self.parts:
            selection, lacking = part.named(lacking)
            selections.append(selection)
        return Chosen(tuple(selections)), lacking

    def having(self, where: str, accepts: Callable[[str], bool]) -> Chosen:
        """The documents, by their hash, that something accepts, which is asked once of each as long as `where` names it
        and the document does not change."""
        return self.filtered.having(self.parts, where, accepts)

    def nearest(self, queries: Vectors, k: int, chosen: Chosen | None, candidates: int | None) -> list[list[Ranked]]:
        """The k best chunks for each query, by falling inner product, then document hash, then chunk number.

        Args:
            queries: shape (m, dimension), normalised.
            chosen: which documents take part; None for all.
            candidates: as for `nearest.nearest`.
        """
        answers: list[list[Ranked]] = [[] for _ in queries]
        selections = [part.alive for part in self.parts] if chosen is None else chosen.parts
        for part, selection in zip(self.parts, selections, strict=True):
            covered = None if part.alive is None else part.alive.population
            best_of_part = [
                part.first_of_equals(best, k) if len(best[0]) > k + _EQUALS else best
                for best in nearest(part.snapshot, queries, k, selection, candidates, covered)
            ]
            for answer, some in zip(answers, part.ranked(best_of_part), strict=True):
                answer.extend(some)
        for answer in answers:
            # Documents and numbers decide between equal scores, so that neither the order of rows nor their
            # distribution over segments shows.
            answer.sort()
            del answer[k:]
        return answers

    def vectors(self, best: Sequence[Ranked]) -> Vectors:
        """Of what was found, shape (found, dimension)."""
        if not best:
            return np.empty((0, self.dimension), np.float32)
        return decode(np.stack([part.snapshot.codes[row] for *_, row, part in best]), self.dimension, self.codec)


class Plan(NamedTuple):
    """Where the next view of a workspace comes from."""

    scope: int
    base: Segment | None
    """None: all of it goes into a new segment, which is then the base."""
    tail: Segment | None
    """None: what is lacking goes into a new one."""
    lacking: list[Key]
    wanted: Called
    members: tuple[Rows, ...]
    """As in `Coverage`."""

    @property
    def documents(self) -> int:
        """How many the view will cover."""
        return len(self.wanted)


class _Turn:
    """What a weak dictionary can hold: it goes when nobody waits."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Views:
    """The views used last, and the segments they share. Safe for threads."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.made = 0
        """How many were kept so far."""
        # Not a WeakSet: going through one while another thread adds to it fails. `valuerefs` copies in one step.
        self._bases: weakref.WeakValueDictionary[int, Segment] = weakref.WeakValueDictionary()
        self._make_locks()
        in_child(self._make_locks)

    def _make_locks(self) -> None:
        self._guard = threading.Lock()
        self._making: weakref.WeakValueDictionary[int, _Turn] = weakref.WeakValueDictionary()

    @contextmanager
    def making(self, scope: int) -> Iterator[None]:
        """One thread's turn to make a large view of a scope.

        In turns, because the next finds what it needs in memory then: of threads that begin at once, as after a
        restart, each would else read all of it, and where they search different workspaces of the same documents, each
        would keep what it has read.
        """
        with self._guard:
            turn = self._making.setdefault(scope, _Turn())
        with turn.lock:
            yield

    def get(self, workspace: int) -> View | None:
        """The view of a workspace, of whatever versions."""
        view: View | None = self._memory.get(("view", workspace))
        return view

    def put(self, workspace: int, view: View) -> None:
        """Keeps a view in place of an older one; without metadata where only that makes it too large."""
        with self._guard:
            self.made += 1
        if not self._memory.put(("view", workspace), view) and view.metadata is not None:
            self._memory.put(("view", workspace), view.described(None, Filtered.of(view.documents)))

    def drop(self, workspace: int) -> None:
        """Forgets the view of a workspace that is gone."""
        self._memory.drop(("view", workspace))

    def has_any(self, scope: int) -> bool:
        """Whether there is a segment that the next view of a workspace could use."""
        return any(each.scope == scope for each in self._living())

    def _living(self) -> list[Segment]:
        return [segment for each in self._bases.valuerefs() if (segment := each()) is not None]

    def plan(self, scope: int, wanted: Called, members: tuple[Rows, ...], old: View | None) -> Plan:
        """Which segments the next view of a workspace goes on with, and what they lack.

        Args:
            wanted: the documents the workspace covers.
            members: as in `Coverage`.
            old: the view it had.
        """
        base = self._base(scope, wanted, old)
        if base is None:
            return Plan(scope, None, None, list(wanted), wanted, members)
        tail = old.parts[-1].segment if old is not None and len(old.parts) > 1 else None
        if tail is base or (tail is not None and not _is_mostly(tail, wanted)):
            tail = None
        lacking = [key for key in base.lacking(wanted) if tail is None or not tail.has(key)]
        return Plan(scope, base, tail, lacking, wanted, members)

    def _base(self, scope: int, wanted: Called, old: View | None) -> Segment | None:
        mine = [part.segment for part in old.parts[:1]] if old is not None else []
        others = [each for each in self._living() if each.scope == scope]
        some = list(islice(wanted, _SAMPLE))
        for segment in mine + others:
            if 2 * len(segment.lacking(some)) > len(some):
                continue  # most segments, in a store of many workspaces
            if len(segment.lacking(wanted)) <= (1 - COVERED) * len(wanted) and _is_mostly(segment, wanted):
                return segment
        return None

    def build(self, plan: Plan, versions: Versions, additions_of: Additions, dimension: int, codec: Codec) -> View:
        """The view that a plan leads to, with what was lacking."""
        segments = [segment for segment in (plan.base, plan.tail) if segment is not None]
        if plan.lacking:
            additions = additions_of(plan.lacking)
            if plan.tail is None:
                segments.append(Segment(plan.scope, dimension, codec, sum(each.rows for each in additions)))
            for addition in additions:
                segments[-1].append(addition)
        if not segments:
            return View(versions, (), dimension, codec)
        base, *tail = segments
        self._bases[id(base)] = base
        names = {key: name for key, (_, name) in plan.wanted.items()}
        most = Part.of(base, names)
        parts = (most, *(Part.of(each, names, besides=most) for each in tail))
        coverage = Coverage(plan.members, tuple(_ids(part, plan.wanted) for part in parts))
        return View(versions, parts, dimension, codec, coverage=coverage)


def _ids(part: Part, wanted: Called) -> Rows:
    nothing = (0, "")
    return np.array([wanted.get(key, nothing)[0] for key in part.snapshot.keys[: len(part.names)]], np.int64)


def _is_mostly(segment: Segment, wanted: Called) -> bool:
    snapshot = segment.snapshot()
    # By whichever is fewer: a small workspace need not go through all that a large one has, nor the other way round.
    count, find = len(snapshot.ends), snapshot.positions.get
    some = wanted if len(wanted) < count else [key for key in snapshot.keys[:count] if key in wanted]
    kept = np.array([position for key in some if (position := find(key, count)) < count], np.int64)
    rows = snapshot.ends[kept] - snapshot.bounds[kept]
    return int(rows.sum()) >= COVERED * len(snapshot.codes)
