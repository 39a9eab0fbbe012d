"""Filtered: which documents of a view take part in a search, and what filters on metadata chose.

A view that is made from another takes over what was chosen there, and asks again only of what changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from docstore.memory import Memory
from docstore.segments import Segment
from docstore.selections import Selection

if TYPE_CHECKING:
    from docstore.views import Part

_SELECTION_BYTES = 500  # Python objects of what is kept of a filter
_KEPT_BYTES, _KEPT_DOCUMENT_BYTES = 2_000, 16  # for answers: even one that takes every second document finds room
_CHANGES = 100  # that are remembered, and a tenth of the documents: to ask those again takes as long as to ask all
_SHARE = 10


class Chosen(NamedTuple):
    """Which documents of a view take part in a search."""

    parts: tuple[Selection | None, ...]
    """Of each part; None for all it has."""


class Before(NamedTuple):
    """What was accepted of a segment in an earlier view."""

    selection: Selection | None
    """None for all."""
    documents: int
    """How many the segment had: what came later is to be asked."""
    changed: Collection[str]
    """Hashes of what is to be asked again."""


class _Answer(NamedTuple):
    """What a filter chose in one view."""

    view: object
    """As its `Filtered` names it."""
    segments: tuple[weakref.ref[Segment], ...]
    documents: tuple[int, ...]
    chosen: Chosen
    nbytes: int


@dataclass(slots=True, eq=False, repr=False)
class Filtered:
    """What filters chose in a view and in those that it came from. Safe for threads."""

    budget: int
    """Bytes that are kept at most."""
    _answers: Memory
    """Of all these views, and of others that came from the same."""
    _before: tuple[tuple[object, frozenset[str]], ...] = ()
    """The last views that it came from, each with the hashes of what the one after it changed."""
    _view: object = field(default_factory=object)
    """What tells it from the others: two threads may each make another view of the same one."""

    @classmethod
    def of(cls, documents: int) -> Filtered:
        """Nothing yet, for a view of so many documents."""
        budget = _KEPT_BYTES + _KEPT_DOCUMENT_BYTES * documents
        return cls(budget, Memory(budget))

    def after(self, changed: frozenset[str], documents: int) -> Filtered:
        """The same for the next view.

        Args:
            changed: hashes of the documents that came, went, or have other metadata.
            documents: of the next view.
        """
        following = Filtered.of(documents)
        if following.budget > 2 * self.budget:
            return following
        before = (*self._before, (self._view, changed))[-_CHANGES:]
        while sum(len(each) for _, each in before) * _SHARE > documents:
            before = before[1:]
        return Filtered(self.budget, self._answers, before)

    def having(self, parts: Sequence[Part], where: str, accepts: Callable[[str], bool]) -> Chosen:
        """The documents, by their hash, that something accepts. As long as `where` names it, it is asked of each once,
        and again when the document changed."""
        answer: _Answer | None = self._answers.get(where)
        if answer is not None and answer.view is self._view:
            return answer.chosen
        before = {} if answer is None else self._known(answer)
        chosen = Chosen(tuple([part.accepted(accepts, before.get(part.segment)) for part in parts]))
        nbytes = _SELECTION_BYTES + len(where) + sum(each.nbytes for each in chosen.parts if each is not None)
        # Weakly: a segment that no view uses any more is memory that nobody counts.
        segments = tuple([weakref.ref(part.segment) for part in parts])
        documents = tuple([part.documents for part in parts])
        self._answers.put(where, _Answer(self._view, segments, documents, chosen, nbytes))
        return chosen

    def _known(self, answer: _Answer) -> dict[Segment | None, Before]:
        """What an answer says of each segment, if it is of a view that this one came from."""
        views = [view for view, _ in self._before]
        if answer.view not in views:
            return {}
        changed = frozenset[str]().union(*(each for _, each in self._before[views.index(answer.view) :]))
        of_each = zip(answer.segments, answer.chosen.parts, answer.documents, strict=True)
        return {segment(): Before(selection, documents, changed) for segment, selection, documents in of_each}
