"""Rounded vectors rule out only what cannot be among the best, whatever the vectors; where that is little, they go."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import Workspace, nearest, rounded
from docstore.rounded import Box, Rounded
from docstore.segments import Codes, Snapshot
from docstore.selections import Rows, Selection
from docstore.testing import HashEmbedder
from docstore.vectors import Codec, Vectors, decode, scan_some
from tests.rows import rows_of
from tests.test_nearest import CODECS, DIMENSION, clustered, one_by_one, plain, segment_of, unit


def rounded_of(snapshot: Snapshot) -> Rounded:
    """Its rows, rounded, whatever searches have found of them."""
    snapshot.rounder._losses = 0
    found = [snapshot.rounder.of(snapshot.codes) for _ in range(3 + len(snapshot.codes) // rounded._AT_ONCE)]
    assert found[-1] is not None
    return found[-1]


def by_rounded(snapshot: Snapshot, queries: Vectors, k: int, alive: Selection | None = None) -> object:
    some = rounded_of(snapshot)
    return [plain(nearest._by_rounded(snapshot, some, query[np.newaxis], k, alive)) for query in queries]


def drawn(kind: str, generator: np.random.Generator, rows: int) -> Vectors:
    """Unit vectors of 32 dimensions."""
    spread = generator.standard_normal((rows, 32))
    made = {
        "spread": spread,
        "near": spread * 0.01 + generator.standard_normal(32),
        "alike": spread[generator.integers(0, 1 + rows // 20, rows)],
        "one dimension stands out": spread + 30 * np.eye(32)[0],
        "one dimension each": np.eye(32)[generator.integers(0, 32, rows)],
        "one row stands out": np.where(
            np.arange(rows)[:, np.newaxis] == rows - 1, 100 * np.eye(32)[1], 1 + spread / 50
        ),
        "all the same": np.ones((rows, 32)),
    }
    return unit(made[kind])


KINDS = ("spread", "near", "alike", "one dimension stands out", "one dimension each", "one row stands out",
         "all the same")  # fmt: skip


@CODECS
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), rows=st.integers(8, 400), k=st.integers(1, 8))
def test_the_rows_and_scores_are_those_of_a_scan(codec: Codec, seed: int, kind: str, rows: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = drawn(kind, generator, rows)
    snapshot = segment_of(vectors, codec, each=3).snapshot()
    queries = unit(np.concatenate([generator.standard_normal((5, 32)), vectors[:3] + 0.01, np.eye(32)[:2]]))
    alive = snapshot.selection(np.flatnonzero(generator.random(len(snapshot.ends)) < 0.8))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nearest, "_NEAR", 8)
        patched.setattr(rounded, "_AT_ONCE", 100)  # the box is made for the first alone
        for some in (None, alive):
            if some is None or some.population >= k:
                assert by_rounded(snapshot, queries, k, some) == one_by_one(snapshot, queries, k, some)


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_row_exceeds_the_bound(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "_AT_ONCE", 100)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        snapshot = segment_of(drawn(kind, generator, 500), each=3).snapshot()
        vectors = decode(snapshot.codes, 32, "float16").astype(np.float64)
        for query in unit(generator.standard_normal((20, 32))):
            rows, bound = rounded_of(snapshot).nearest(query[np.newaxis], 20)
            others = np.delete(vectors @ query, rows)
            assert others.max() <= bound


def test_the_bound_allows_for_what_rounding_did_to_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random vectors hardly show it: here one row is moved away from the query in all dimensions, and no other is."""
    monkeypatch.setattr(Box, "of", lambda _: Box(np.zeros(32, np.float32), 1 / 64))
    query = np.full(32, 8, np.float32)
    away = query + (1 + 33 / 64) * np.repeat([1, -1], [18, 14])  # to be rounded to 2
    others = query + np.repeat([2, -2, 1, -1], [13, 13, 3, 3])
    vectors = (np.stack([away, *[others] * 19]) / 64).astype(np.float32)
    query /= np.float32(64)
    rows, bound = rounded_of(segment_of(vectors).snapshot()).nearest(query[np.newaxis], 19)
    assert sorted(rows) == list(range(1, 20))
    assert vectors[1] @ query < vectors[0] @ query <= bound


def test_few_rows_are_scored_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = segment_of(clustered(10_000)).snapshot()
    queries = clustered(10_050)[10_000:]
    expected = one_by_one(snapshot, queries, 5)
    some, scored = rounded_of(snapshot), []
    real = scan_some

    def counted(codes: Codes, rows: Rows, *rest: Any) -> Any:
        scored.append(len(rows))
        return real(codes, rows, *rest)

    monkeypatch.setattr(nearest, "scan_some", counted)
    monkeypatch.setattr(nearest, "scan", None)  # of all rows: nothing calls it
    found = [plain(nearest._by_rounded(snapshot, some, query[np.newaxis], 5, None)) for query in queries]
    assert found == expected
    assert scored == [nearest._NEAR] * len(queries)
    assert math.sqrt(some.moved) * some.box.step < 0.01


def test_the_first_search_waits_for_nothing_and_later_ones_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_MIDDLING", 1000)
    snapshot = segment_of(clustered(10_000)).snapshot()
    query = clustered(10_001)[10_000:]
    before = plain(nearest.nearest(snapshot, query, 5, None, None)[0])
    assert snapshot.rounder.nbytes == 0
    for rows in (8192, 10_000, 10_000):
        assert plain(nearest.nearest(snapshot, query, 5, None, None)[0]) == before
        assert snapshot.rounder.nbytes == rows * DIMENSION


def test_rows_that_came_later_are_scored_too_and_those_of_another_snapshot_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nearest, "_MIDDLING", 1000)
    vectors = clustered(6000)
    segment = segment_of(vectors[:5000])
    before = segment.snapshot()
    rounded_of(before)
    segment.append(rows_of("a few", vectors[5000:5100]))
    few = segment.snapshot()
    queries = np.concatenate([vectors[5000:5100:10], clustered(6020)[6000:]])

    def agree(snapshot: Snapshot) -> bool:
        return [plain(nearest.nearest(snapshot, query[np.newaxis], 5, None, None)[0]) for query in queries] == (
            one_by_one(snapshot, queries, 5)
        )

    assert agree(few) and few.rounder.nbytes == 5000 * DIMENSION
    segment.append(rows_of("many", vectors[5100:]))
    assert agree(segment.snapshot()) and few.rounder.nbytes == 6000 * DIMENSION
    assert agree(before) and agree(few)


@pytest.mark.parametrize("kind", ["alike", "all the same"])
def test_it_is_left_where_searches_cannot_be_certain(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_MIDDLING", 1000)
    generator = np.random.default_rng(0)
    vectors = (
        drawn("all the same", generator, 3000)
        if kind == "all the same"
        else unit(np.repeat(generator.standard_normal((20, 32)), 150, axis=0))
    )
    snapshot = segment_of(vectors).snapshot()
    rounded_of(snapshot)
    queries = unit(generator.standard_normal((20, 32)))
    found = [plain(nearest.nearest(snapshot, query[np.newaxis], 5, None, None)[0]) for query in queries]
    assert found == one_by_one(snapshot, queries, 5)
    assert all(len(rows) >= 150 for _, rows in found)
    assert snapshot.rounder.nbytes == 0 and snapshot.rounder.of(snapshot.codes) is None


def test_what_does_not_pay_is_not_rounded() -> None:
    assert segment_of(clustered(100)[:, :24]).snapshot().rounder.of(np.empty((100, 48), np.uint8)) is None
    vectors = unit(np.random.default_rng(0).standard_normal((100, 20)))  # no whole number of what is compared at a time
    snapshot = segment_of(vectors).snapshot()
    assert [snapshot.rounder.of(snapshot.codes) for _ in range(3)] == [None] * 3


def test_sketches_take_the_place_of_what_was_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_MIDDLING", 1000)
    vectors = clustered(6000)
    segment = segment_of(vectors[:5000])
    rounded_of(segment.snapshot())
    before = segment.nbytes
    monkeypatch.setattr(nearest, "_LARGE", 5500)
    segment.append(rows_of("many", vectors[5000:]))
    for _ in range(2):
        nearest.nearest(segment.snapshot(), vectors[:1], 5, None, None)
    assert segment.snapshot().rounder.nbytes == 0
    assert segment.nbytes < before


def test_memory_counts_it() -> None:
    segment = segment_of(clustered(5000))
    before = segment.nbytes
    rounded_of(segment.snapshot())
    assert segment.nbytes == before + 5000 * DIMENSION


def test_a_workspace_changes_and_is_searched_by_threads(
    alice: Workspace, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_MIDDLING", 200)
    monkeypatch.setattr(rounded, "_AT_ONCE", 64)
    notes = alice.add_many([f"Note {number}: {number % 7} and {number % 11}.".encode() for number in range(300)]).added
    queries = ["which came later", *(f"note {number} and {number % 7}" for number in range(12))]
    expected = {query: alice.search(query, k=2) for query in queries}

    def agree(query: str) -> bool:
        return alice.search(query, k=2) == expected[query]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(agree, queries * 5))
        for note in notes[:40]:
            alice.remove(note.hash)
        later = alice.add(b"Note 3 and 3, which came later.", name="later.txt")
        monkeypatch.setattr(nearest, "_MIDDLING", 10**6)
        expected = {query: alice.search(query, k=2) for query in queries}
        monkeypatch.setattr(nearest, "_MIDDLING", 200)
        assert all(pool.map(agree, queries * 5))
    assert expected["which came later"][0].document == later.hash
    view = alice._parts.views.get(alice._id)
    assert view is not None and view.parts[0].snapshot.rounder.nbytes
