"""Of the rows of a segment, those that are selected: every way to search them finds the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import nearest
from docstore.segments import Segment
from docstore.selections import Selection
from docstore.vectors import Codec
from tests.rows import CODECS, FEW, MOST, plain, segment_of, sketched, two_stages_from, unit
from tests.views import rankings, view_of


@given(sizes=st.lists(st.integers(0, 4), max_size=30), data=st.data())
def test_a_selection_is_what_its_documents_have(sizes: list[int], data: st.DataObject) -> None:
    selected = np.array([data.draw(st.booleans()) for _ in sizes], bool)
    selection = Selection.of(np.cumsum(sizes, dtype=np.int64), np.flatnonzero(selected))
    expected = np.repeat(selected, sizes)
    assert selection.rows.tolist() == np.flatnonzero(expected).tolist()
    assert selection.population == np.count_nonzero(expected)
    some = np.array(data.draw(st.permutations(range(sum(sizes)))), np.int64)
    assert selection.has(some).tolist() == expected[some].tolist()


@CODECS
@pytest.mark.parametrize("way", [{}, FEW, MOST, MOST | {"_SPARE": 0}, {"_WORTH": 1, "_BLOCK": 32}])
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 300), k=st.integers(1, 40), distinct=st.integers(1, 300),
       share=st.sampled_from([0.0, 0.02, 0.5, 0.97, 1.0]), many=st.booleans())  # fmt: skip
def test_every_way_gives_the_best_of_what_is_selected(
    codec: Codec, way: dict[str, Any], seed: int, rows: int, k: int, distinct: int, share: float, many: bool
) -> None:
    """Few distinct vectors, so that many scores are equal, and more are than are fetched at first."""
    generator = np.random.default_rng(seed)
    vectors = unit(generator.standard_normal((distinct, 24)))[generator.integers(0, distinct, rows)]
    snapshot = segment_of(vectors, codec, each=3).snapshot()
    selected = generator.random(len(snapshot.ends)) < share
    selection = snapshot.selection(np.flatnonzero(selected))
    queries = unit(generator.standard_normal((20 if many else 3, 24)))
    with pytest.MonkeyPatch.context() as patched:
        for name, value in way.items():
            patched.setattr(nearest, name, value)
        found = nearest.nearest(snapshot, queries, k, selection, None)
    taking_part = set(np.flatnonzero(np.repeat(selected, np.diff(snapshot.ends, prepend=0))).tolist())
    for query, best in zip(queries, found, strict=True):
        scores, order = snapshot.index.search(query[np.newaxis], rows)
        all_of_them = [(score, row) for score, row in zip(scores[0].tolist(), order[0].tolist()) if row in taking_part]
        kth = all_of_them[min(k, len(all_of_them)) - 1][0] if all_of_them else 0
        expected = [(score, row) for score, row in all_of_them if score >= kth]
        assert plain(best) == ([score for score, _ in expected], {row for _, row in expected})


@pytest.mark.parametrize("way", [{}, FEW, MOST])
@pytest.mark.parametrize("count", [1, 20])
def test_what_is_best_of_all_may_be_what_is_not_selected(
    way: dict[str, float], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    subject = generator.standard_normal(32)
    near, far = unit(subject + 0.1 * generator.standard_normal((2000, 32))), unit(generator.standard_normal((2000, 32)))
    snapshot = segment_of(np.concatenate([near, far])).snapshot()
    selection = snapshot.selection(np.arange(40, 80))
    for name, value in way.items():
        monkeypatch.setattr(nearest, name, value)
    queries = np.repeat(unit(subject[np.newaxis]), count, axis=0)
    alone = segment_of(far).snapshot()
    for best, expected in zip(
        nearest.nearest(snapshot, queries, 5, selection, None), nearest.nearest(alone, queries, 5, None, None)
    ):
        assert (best[0].tolist(), (best[1] - 2000).tolist()) == (expected[0].tolist(), expected[1].tolist())


@pytest.mark.parametrize("gone", [[], [3]])
def test_a_query_that_nothing_is_near_to_costs_little_more_than_a_scan(
    monkeypatch: pytest.MonkeyPatch, gone: list[int]
) -> None:
    """As many looks as it would take to be sure take four times a scan; and so does to copy all but what is gone."""
    two_stages_from(1000, monkeypatch)
    generator = np.random.default_rng(0)
    snapshot = sketched(segment_of(unit(generator.standard_normal((20_000, 384)))).snapshot())
    alive = snapshot.selection(np.delete(np.arange(400), gone)) if gone else None
    looks: list[int] = []
    look, best_of = nearest._estimated_best, nearest._best_of

    def counted(*given: Any) -> Any:
        looks.append(given[3])
        return look(*given)

    def no_copy(snapshot: Any, queries: Any, k: int, some: Any, selection: Any) -> Any:
        assert some is None
        return best_of(snapshot, queries, k, some, selection)

    monkeypatch.setattr(nearest, "_estimated_best", counted)
    monkeypatch.setattr(nearest, "_best_of", no_copy)
    queries = unit(generator.standard_normal((10, 384)))
    for query in queries:
        ours = plain(nearest.nearest(snapshot, query[np.newaxis], 5, alive, None)[0])
        assert ours == plain(nearest._each(snapshot, query[np.newaxis], 5, alive)[0])
    assert len(looks) <= 2 * len(queries)


def test_two_stages_find_what_is_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    two_stages_from(1000, monkeypatch)
    generator = np.random.default_rng(0)
    subjects = generator.standard_normal((200, 384))
    of_subject = np.sort(generator.integers(0, 200, 20_000))
    vectors = unit(subjects[of_subject] + 0.9 * generator.standard_normal((20_000, 384)))
    snapshot = sketched(segment_of(vectors).snapshot())
    queries = unit(subjects[:20] + 0.9 * generator.standard_normal((20, 384)))
    calls: list[int] = []
    two_stages = nearest._in_two_stages

    def counted(*given: Any) -> nearest.Best:
        calls.append(1)
        return two_stages(*given)

    monkeypatch.setattr(nearest, "_in_two_stages", counted)
    # Every second document, all but some, and all that lie far from the queries.
    for positions in (np.arange(0, 400, 2), np.delete(np.arange(400), [3, 7, 9]), np.arange(100, 400)):
        selection = snapshot.selection(positions)
        right = 0
        for query in queries:
            ours = plain(nearest.nearest(snapshot, query[np.newaxis], 10, selection, None)[0])
            exact = plain(nearest._each(snapshot, query[np.newaxis], 10, selection)[0])
            assert ours[1] <= set(selection.rows.tolist())
            right += len(ours[1] & exact[1])
        assert right >= 0.995 * 10 * len(queries)
        (all_candidates,) = nearest.nearest(snapshot, queries[:1], 10, selection, 20_000)
        assert plain(all_candidates) == plain(nearest._each(snapshot, queries[:1], 10, selection)[0])
        (few_candidates,) = nearest.nearest(snapshot, queries[:1], 10, selection, 1)
        assert len(few_candidates[0]) >= 10
    assert len(calls) == 3 * 22
    nearest.nearest(snapshot, queries[:1], 10, snapshot.selection(np.arange(20)), None)
    assert len(calls) == 3 * 22  # of few rows a copy is scanned


def test_an_empty_selection_of_an_empty_segment() -> None:
    segment = Segment(0, 32, "float16", 0)
    view = view_of([segment], set(), "float16")
    assert rankings(view, np.eye(32, dtype=np.float32)[:1], 3, view.having("", lambda _: True)) == [[]]
