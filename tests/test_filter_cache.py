"""What filters chose: a view that comes from another asks of what changed, and answers as if it had asked of all."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from docstore.filter_cache import Chosen, Filtered
from docstore.segments import Segment
from docstore.views import Part
from tests.rows import rows_of

VECTOR = np.eye(32, dtype=np.float32)[:1]


class _Documents:
    """Documents of one segment, those of them that are covered, and those that pass a filter, which notes of what it is
    asked."""

    def __init__(self, names: Iterable[str]) -> None:
        self.segment = Segment(0, 32, "float16", 0)
        self.covered: set[str] = set()
        self.passing: set[str] = set()
        self.asked: list[str] = []
        self.cover(names)

    def cover(self, names: Iterable[str]) -> None:
        for name in names:
            self.segment.append(rows_of(name, VECTOR))
            self.covered.add(name)

    def accepts(self, document: str) -> bool:
        self.asked.append(document)
        return document in self.passing

    def chosen(self, filtered: Filtered, where: str = "it") -> set[str]:
        part = Part.of(self.segment, {(name, "text"): name for name in self.covered})
        ((selection,)) = filtered.having([part], where, self.accepts).parts
        keys = part.snapshot.keys
        return {key[0] for row, key in enumerate(keys) if selection is None or selection.has(np.array([row]))[0]}


@given(
    steps=st.lists(
        st.tuples(
            st.sets(st.sampled_from("abcdefghijkl")),  # flip whether these are covered
            st.sets(st.sampled_from("abcdefghijkl")),  # and whether these pass
            st.booleans(),  # whether the filter is used then
        ),
        max_size=6,
    )
)
def test_any_history_asks_what_changed_and_nothing_else(steps: list[tuple[set[str], set[str], bool]]) -> None:
    documents = _Documents("abcdefgh")
    filtered = Filtered.of(1000)
    documents.chosen(filtered)
    stale = set[str]()
    for flipped, others, is_used in steps:
        gone = flipped & documents.covered
        documents.cover(flipped - gone)
        documents.covered -= gone
        documents.passing ^= others
        changed = frozenset(flipped | others)
        stale |= changed
        filtered = filtered.after(changed, 1000)
        if is_used:
            documents.asked.clear()
            assert documents.chosen(filtered) == documents.covered & documents.passing
            assert sorted(documents.asked) == sorted(stale & documents.covered)
            assert documents.chosen(filtered) == documents.covered & documents.passing
            assert len(documents.asked) <= len(stale)
            stale = set()


def test_of_two_views_of_one_neither_takes_the_others_answers() -> None:
    """Two threads that searched after different changes of one workspace."""
    documents = _Documents("abcd")
    first = Filtered.of(1000)
    assert documents.chosen(first) == set()
    one, other = first.after(frozenset("a"), 1000), first.after(frozenset("b"), 1000)
    documents.passing = {"a"}
    assert documents.chosen(one) == {"a"}
    documents.passing = {"b"}
    assert documents.chosen(other) == {"b"}
    documents.passing = {"a"}
    assert documents.chosen(one) == {"a"}
    assert documents.chosen(first) == {"a"}  # an older one, which a slow search still uses


def test_too_many_changes_are_asked_as_if_all_had() -> None:
    documents = _Documents("abcd")
    filtered = Filtered.of(40)
    documents.chosen(filtered)
    filtered = filtered.after(frozenset("ab"), 40)
    documents.passing = {"a"}
    filtered = filtered.after(frozenset("abc"), 40)
    documents.asked.clear()
    assert documents.chosen(filtered) == {"a"}
    assert sorted(documents.asked) == ["a", "b", "c", "d"]


def test_what_is_kept_grows_with_the_workspace() -> None:
    filtered = Filtered.of(100)
    assert filtered.after(frozenset("a"), 110).budget == filtered.budget
    assert filtered.after(frozenset("a"), 1000).budget == Filtered.of(1000).budget > 2 * filtered.budget


def test_answers_keep_no_segment_in_memory() -> None:
    documents = _Documents("abc")
    filtered = Filtered.of(1000)
    assert isinstance(filtered.having([Part.of(documents.segment, {})], "it", documents.accepts), Chosen)
    segment = weakref.ref(documents.segment)
    documents.segment = Segment(0, 32, "float16", 0)
    documents.covered = set()
    gc.collect()
    assert segment() is None
    documents.cover("b")
    documents.passing = {"b"}
    assert documents.chosen(filtered.after(frozenset(), 1000)) == {"b"}
