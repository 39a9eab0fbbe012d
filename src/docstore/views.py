"""Views: what the searches of a workspace cover at one moment, as documents of segments. A view never changes.

Most of a view is a base: a segment that all workspaces share which reference most of it. The rest is a tail, the
workspace's own. When the workspace changes, the next view takes over both; what is no longer referenced stays in the
segment and is passed over, until it is more than a quarter of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from docstore.memory import Memory
from docstore.nearest import Best, nearest
from docstore.segments import Addition, Key, Rows, Segment, Snapshot
from docstore.vectors import Codec, Vectors, decode

COVERED = 0.75
"""Of a segment's rows a view must cover this to use it: passing over the rest costs time."""

_SAMPLE = 16  # documents that are asked for before all are
_VIEW_BYTES = 4_000  # Python objects of a view without documents
_DOCUMENT_BYTES = 40  # and of each document


Versions = tuple[tuple[int, int], ...]
"""(id, version) of a workspace and of what it includes: all that decides what its searches cover."""


Called = Mapping[Key, tuple[int, str]]
"""Documents, each with its id in the catalog and what the workspace calls it."""


class Found(NamedTuple):
    """A chunk that a search found: whose it is, its number there, and where it lies in the text, as in `SPAN`."""

    score: float
    document: str
    number: int
    text: str
    name: str
    start: int
    end: int
    first_byte: int
    last_byte: int
    page: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """The documents of one segment that a view has."""

    segment: Segment
    snapshot: Snapshot
    names: list[str | None]
    """What the workspace calls each document of the segment; None for those it does not cover."""
    alive: npt.NDArray[np.bool_] | None
    """Which it has, shape (documents,); None for all."""

    @classmethod
    def of(cls, segment: Segment, names: Mapping[Key, str], besides: Segment | None = None) -> Part:
        """What a workspace has of a segment, and not of another: found in both, it would be found twice."""
        snapshot = segment.snapshot()
        keys = snapshot.keys[: len(snapshot.ends)]
        called = segment.interned([names.get(key) for key in keys])
        if besides is not None:
            called = [None if besides.has(key) else name for key, name in zip(keys, called, strict=True)]
        alive = np.array([name is not None for name in called], bool)
        return cls(segment, snapshot, called, None if alive.all() else alive)

    def accepted(self, keep: Callable[[str], bool]) -> npt.NDArray[np.bool_]:
        """Which of its documents the view has and `keep` accepts, by their hash. Shape (documents,)."""
        pairs = zip(self.names, self.snapshot.keys)
        return np.fromiter(
            (name is not None and keep(document) for name, (document, _) in pairs), bool, len(self.names)
        )

    def found(self, best: list[Best]) -> Iterator[list[tuple[Found, int, Part]]]:
        """The best rows for each query as what was found, each with its row."""
        # Of all queries at once: NumPy takes longer to begin than to go on.
        scores, rows = (np.concatenate(each) for each in zip(*best))
        positions = self.snapshot.documents_of(rows)
        numbers = rows - np.where(positions > 0, self.snapshot.ends[positions - 1], 0)
        columns = (each.tolist() for each in (scores, rows, positions, numbers))
        found = ((self._found(score, position, number), row, self) for score, row, position, number in zip(*columns))
        return (list(islice(found, len(scores))) for scores, _ in best)

    def _found(self, score: float, position: int, number: int) -> Found:
        document, text = self.snapshot.keys[position]
        start, end, first_byte, last_byte, page = self.snapshot.spans_of(position).item(number)
        name = self.names[position] or ""
        return Found(
            score, document, number, text, name, start, end, first_byte, last_byte,
            page if self.snapshot.paged[position] else None,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which rows of the catalog a view was made of: what the next one is compared with."""

    members: tuple[Rows, ...]
    """The ids of the documents that each workspace of its versions references, rising."""
    ids: tuple[Rows, ...]
    """For each of its parts, the id of each document of the segment. Of those it does not cover they say nothing."""


@dataclass(slots=True)
class View:
    """What a search of one version of a workspace, and of what it includes, goes through."""

    versions: Versions
    parts: tuple[Part, ...]
    dimension: int
    codec: Codec
    metadata: Mapping[str, Mapping[str, Any]] | None = field(default=None)
    """By document, once a filter has asked for it."""
    coverage: Coverage | None = field(default=None)
    """None where the next view is not made from this one."""

    @property
    def nbytes(self) -> int:
        """Memory it takes beside its segments, in bytes."""
        return _VIEW_BYTES + _DOCUMENT_BYTES * sum(len(part.names) for part in self.parts)

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

    @property
    def documents(self) -> Iterable[str]:
        """Hashes of the documents it covers."""
        for part in self.parts:
            yield from (document for name, (document, _) in zip(part.names, part.snapshot.keys) if name is not None)

    def nearest(
        self, queries: Vectors, k: int, keep: Callable[[str], bool] | None, candidates: int | None = None
    ) -> list[list[Found]]:
        """The k best chunks for each query, by falling inner product, then document hash, then chunk number.

        Args:
            queries: shape (m, dimension), normalised.
            keep: which documents take part; None for all.
            candidates: as for `nearest.nearest`.
        """
        return [[found for found, _, _ in best] for best in self._nearest(queries, k, keep, candidates)]

    def nearest_with_vectors(
        self, query: Vectors, k: int, keep: Callable[[str], bool] | None, candidates: int | None = None
    ) -> tuple[list[Found], Vectors]:
        """As `nearest`, for one query of shape (dimension,); and the vectors found, shape (found, dimension)."""
        (best,) = self._nearest(query[np.newaxis], k, keep, candidates)
        codes = [part.snapshot.codes[row] for _, row, part in best]
        if not codes:
            return [], np.empty((0, self.dimension), np.float32)
        return [found for found, _, _ in best], decode(np.stack(codes), self.dimension, self.codec)

    def _nearest(
        self, queries: Vectors, k: int, keep: Callable[[str], bool] | None, candidates: int | None
    ) -> list[list[tuple[Found, int, Part]]]:
        answers: list[list[tuple[Found, int, Part]]] = [[] for _ in queries]
        for part in self.parts:
            allowed = None if keep is None else part.accepted(keep)
            best_of_part = nearest(part.snapshot, queries, k, part.alive, allowed, candidates)
            for answer, some in zip(answers, part.found(best_of_part), strict=True):
                answer.extend(some)
        for answer in answers:
            # Documents and numbers decide between equal scores, so that neither the order of rows nor their
            # distribution over segments shows.
            answer.sort(key=lambda each: (-each[0].score, each[0].document, each[0].number))
            del answer[k:]
        return answers


@dataclass(frozen=True, slots=True)
class Plan:
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


class Views:
    """The views used last, and the segments they share. Safe for threads."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        # Not a WeakSet: going through one while another thread adds to it fails. `valuerefs` copies in one step.
        self._bases: weakref.WeakValueDictionary[int, Segment] = weakref.WeakValueDictionary()

    def get(self, workspace: int) -> View | None:
        """The view of a workspace, of whatever versions."""
        view: View | None = self._memory.get(("view", workspace))
        return view

    def put(self, workspace: int, view: View) -> None:
        """Keeps a view in place of an older one."""
        self._memory.put(("view", workspace), view)

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

    def build(
        self, plan: Plan, versions: Versions, additions: Sequence[Addition], dimension: int, codec: Codec
    ) -> View:
        """The view that a plan leads to, with what was lacking."""
        segments = [segment for segment in (plan.base, plan.tail) if segment is not None]
        if additions:
            if plan.tail is None:
                segments.append(Segment(plan.scope, dimension, codec, sum(each.rows for each in additions)))
            for addition in additions:
                segments[-1].append(addition)
        if not segments:
            return View(versions, (), dimension, codec)
        base, *tail = segments
        self._bases[id(base)] = base
        names = {key: name for key, (_, name) in plan.wanted.items()}
        parts = (Part.of(base, names), *(Part.of(each, names, besides=base) for each in tail))
        coverage = Coverage(plan.members, tuple(_ids(part, plan.wanted) for part in parts))
        return View(versions, parts, dimension, codec, coverage=coverage)


def _ids(part: Part, wanted: Called) -> Rows:
    nothing = (0, "")
    return np.array([wanted.get(key, nothing)[0] for key in part.snapshot.keys[: len(part.names)]], np.int64)


def _is_mostly(segment: Segment, wanted: Called) -> bool:
    snapshot = segment.snapshot()
    count = len(snapshot.ends)
    kept = np.array([key in wanted for key in snapshot.keys[:count]], bool)
    return snapshot.rows_of(kept) >= COVERED * len(snapshot.codes)
