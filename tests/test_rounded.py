"""Rounded vectors rule out only what cannot be among the best, whatever the vectors; where that is little, they go."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
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
from tests.rows import (
    CODECS,
    DIMENSION,
    clustered,
    one_by_one,
    plain,
    rows_of,
    segment_of,
    sketched,
    two_stages_from,
    unit,
)


def rounded_of(snapshot: Snapshot) -> Rounded:
    """Its rows, rounded, whatever searches have found of them."""
    snapshot.rounder._losses = snapshot.rounder._pause = 0
    for _ in range(2 + 2 * len(snapshot.codes)):
        if (found := snapshot.rounder.of(snapshot.codes)) is not None:
            return found
    raise AssertionError


def made(snapshot: Snapshot) -> int:
    """How many of its segment's rows are rounded."""
    return 0 if snapshot.rounder._rounded is None else snapshot.rounder._rounded.rows


def by_rounded(snapshot: Snapshot, queries: Vectors, k: int, alive: Selection | None = None) -> object:
    return list(map(plain, nearest._by_rounded(snapshot, rounded_of(snapshot), queries, k, alive)))


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
        patched.setattr(rounded, "_SAMPLE", 20)  # which the others need not be like
        for some in (None, alive):
            if some is None or some.population >= k:
                assert by_rounded(snapshot, queries, k, some) == one_by_one(snapshot, queries, k, some)


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_row_exceeds_the_bound(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "_SAMPLE", 100)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        snapshot = segment_of(drawn(kind, generator, 500), each=3).snapshot()
        vectors = decode(snapshot.codes, 32, "float16").astype(np.float64)
        queries = unit(generator.standard_normal((20, 32)))
        for query, rows, bound in zip(queries, *rounded_of(snapshot).nearest(queries, 20), strict=True):
            assert np.delete(vectors @ query, rows).max() <= bound


_OFF = 33 / 64  # of a step: what rounding moves furthest, and every codec has exactly


@pytest.mark.parametrize("where", [0, 7, 19], ids=["first", "between", "last"])
def test_the_bound_allows_for_what_rounding_did_to_rows(where: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random vectors hardly show it: here one row is moved away from the query in all dimensions, and no other is."""
    monkeypatch.setattr(Box, "of", lambda _: Box(np.zeros(32, np.float32), 1 / 64))
    monkeypatch.setattr(rounded, "_BLOCK", 4)
    monkeypatch.setattr(rounded, "_AT_ONCE", 10 * 32)
    query = np.full(32, 8, np.float32)
    away = query + (1 + _OFF) * np.repeat([1, -1], [18, 14])  # to be rounded to 2
    vectors = np.stack([query + np.repeat([2, -2, 1, -1], [13, 13, 3, 3])] * 20)
    vectors[where] = away
    vectors = (vectors / 64).astype(np.float32)
    query /= np.float32(64)
    segment = segment_of(vectors[:12], each=1)
    rounded_of(segment.snapshot())
    for number, row in enumerate(vectors[12:]):
        segment.append(rows_of(f"later {number}", row[np.newaxis]))
    rows, (bound,) = rounded_of(segment.snapshot()).nearest(query[np.newaxis], 19)
    assert where not in rows[0]
    assert vectors[where - 1] @ query < vectors[where] @ query <= bound


def test_the_bound_allows_for_what_rounding_did_to_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Box, "of", lambda _: Box(np.zeros(32, np.float32), 1 / 64))
    row = np.full(32, 8, np.float32)
    moved = row + (1 + _OFF) * np.repeat([1, -1], [14, 18])  # to be rounded to 2
    away = np.repeat([-2, 2, 1, -1, 2, -2, 1, -1], [10, 2, 1, 1, 11, 3, 2, 2])  # no longer than the row
    others = row + 2 * np.repeat([1, -1], [14, 18]) + away
    vectors = (np.stack([row, *[others] * 19]) / 64).astype(np.float32)
    query = (moved / 64).astype(np.float32)
    rows, (bound,) = rounded_of(segment_of(vectors).snapshot()).nearest(query[np.newaxis], 19)
    assert 0 not in rows[0]
    assert vectors[1] @ query < vectors[0] @ query <= bound


def test_few_rows_are_scored_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = segment_of(clustered(10_000)).snapshot()
    queries = clustered(10_050)[10_000:]
    expected = one_by_one(snapshot, queries, 5)
    some, scored = rounded_of(snapshot), []

    def counted(codes: Codes, rows: Rows, *rest: Any) -> Any:
        scored.append(len(rows))
        return scan_some(codes, rows, *rest)

    monkeypatch.setattr(nearest, "scan_some", counted)
    monkeypatch.setattr(nearest, "scan", None)  # of all rows: nothing calls it
    assert list(map(plain, nearest._by_rounded(snapshot, some, queries, 5, None))) == expected
    assert scored == [nearest._NEAR] * len(queries)
    assert math.sqrt(some.moved) * some.box.step < 0.01


def test_nothing_is_rounded_for_a_few_searches_and_none_finds_anything_else() -> None:
    snapshot = segment_of(clustered(10_000)).snapshot()
    query = clustered(10_001)[10_000:]
    before = plain(nearest.nearest(snapshot, query, 5, None, None)[0])
    for _ in range(rounded._PATIENCE - 1):
        nearest.nearest(snapshot, query, 5, None, None)
    assert snapshot.rounder._making is None
    for rows in (0, 10_000, 10_000):
        assert plain(nearest.nearest(snapshot, query, 5, None, None)[0]) == before
        assert made(snapshot) == rows


def test_rows_that_came_later_are_scored_too_and_those_of_another_snapshot_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounded, "FROM", 1000)
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

    assert agree(few) and made(few) == 5000
    segment.append(rows_of("many", vectors[5100:]))
    assert agree(segment.snapshot()) and made(few) == 6000
    assert agree(before) and agree(few)


def test_what_an_older_snapshot_has_is_enough_for_it() -> None:
    vectors = clustered(9000)
    segment = segment_of(vectors[:5000])
    before = segment.snapshot()
    segment.append(rows_of("later", vectors[5000:]))
    newer = segment.snapshot()
    newer.rounder._pause = 0
    newer.rounder.of(newer.codes)
    assert made(newer) == 0, "so many in one search"
    assert rounded_of(before).rows >= 5000
    assert rounded_of(newer).rows == 9000


def test_it_is_left_for_a_while_where_searches_cannot_be_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "FROM", 1000)
    generator = np.random.default_rng(0)
    vectors = unit(np.repeat(generator.standard_normal((20, 32)), 150, axis=0))
    snapshot = segment_of(vectors).snapshot()
    rounded_of(snapshot)
    queries = unit(generator.standard_normal((20, 32)))
    found = [plain(nearest.nearest(snapshot, query[np.newaxis], 5, None, None)[0]) for query in queries]
    assert found == one_by_one(snapshot, queries, 5)
    assert all(len(rows) >= 150 for _, rows in found)
    answers = [snapshot.rounder.of(snapshot.codes) is not None for _ in range(rounded._PAUSE)]
    assert answers.index(True) == rounded._PAUSE - (len(queries) - rounded._MOST // rounded._COST)


def test_what_others_find_makes_up_for_what_is_in_vain() -> None:
    snapshot = segment_of(clustered(2000)).snapshot()
    rounded_of(snapshot)
    enough = rounded._MOST // rounded._COST
    for vain, certain in ((enough - 1, 4 * enough), (enough - 1, 0)):
        for answer in (*[False] * vain, *[True] * certain):
            snapshot.rounder.tell(answer)
    assert snapshot.rounder.of(snapshot.codes) is not None
    snapshot.rounder.tell(False)
    assert snapshot.rounder.of(snapshot.codes) is None


def test_documents_that_are_alike_and_come_first_do_not_decide_for_all() -> None:
    vectors = clustered(10_000)
    vectors[:6000] = unit(vectors[:1] + vectors[:6000] * 0.1)
    snapshot = segment_of(vectors).snapshot()
    queries = clustered(10_050)[10_000:]
    assert by_rounded(snapshot, queries, 5) == one_by_one(snapshot, queries, 5)
    assert snapshot.rounder._losses == 0


@pytest.mark.parametrize(("dimension", "pays"), [(16, True), (20, False), (33_024, True), (33_040, False)])
def test_what_faiss_does_not_compare_as_whole_bytes_is_not_rounded(dimension: int, pays: bool) -> None:
    """Dimensions that are left over it compares one by one; and of too many the sum would not fit."""
    snapshot = segment_of(unit(np.random.default_rng(0).standard_normal((20, dimension)))).snapshot()
    snapshot.rounder._pause = 0
    assert (snapshot.rounder.of(snapshot.codes) is not None) == pays
    assert (snapshot.rounder.nbytes(rounded.FROM) > 0) == pays


def test_sketches_take_the_place_of_what_was_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "FROM", 1000)
    vectors = clustered(6000)
    two_stages_from(5500, monkeypatch)
    segment = segment_of(vectors[:5000])
    rounded_of(segment.snapshot())
    segment.append(rows_of("many", vectors[5000:]))
    assert segment.snapshot().rounder.nbytes(6000) == 5000 * DIMENSION
    nearest.nearest(segment.snapshot(), vectors[:1], 5, None, None)
    assert segment.snapshot().rounder.nbytes(6000) == made(segment.snapshot()) == 0


def test_memory_counts_it_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view is weighed when it is kept, and its segment's rows are rounded with later searches."""
    segment = segment_of(clustered(5000))
    before = segment.nbytes
    monkeypatch.setattr(rounded, "FROM", 5000)
    assert segment.nbytes == before + 5000 * DIMENSION
    rounded_of(segment.snapshot())
    assert segment.nbytes == before + 5000 * DIMENSION


def test_memory_counts_sketches_before_they_are_made_and_nothing_rounded_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A view that is weighed with what it never has is not kept, and read again by each search."""
    monkeypatch.setattr(rounded, "FROM", 5000)
    segment = segment_of(clustered(6000))
    snapshot = segment.snapshot()
    before = segment.nbytes - snapshot.rounder.nbytes(6000)
    two_stages_from(6000, monkeypatch)
    counted = segment.nbytes
    sketched(snapshot)
    pieces = snapshot.sketcher.pieces(snapshot.codes)
    assert pieces is not None
    held = sum(len(faiss.vector_to_array(piece.index.codes)) for piece in pieces)
    assert segment.nbytes == counted
    assert 0 <= counted - before - held < 32 * held / 6000


def test_a_workspace_changes_and_is_searched_by_threads(
    alice: Workspace, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounded, "FROM", 10**6)
    monkeypatch.setattr(rounded, "_AT_ONCE", 10_000)
    notes = alice.add_many([f"Note {number}: {number % 7} and {number % 11}.".encode() for number in range(300)]).added
    queries = ["which came later", *(f"note {number} and {number % 7}" for number in range(12))]
    expected = {query: alice.search(query, k=2) for query in queries}
    monkeypatch.setattr(rounded, "FROM", 200)
    view = alice._parts.views.get(alice._id)
    assert view is not None
    view.parts[0].snapshot.rounder._pause = 20

    def agree(query: str) -> bool:
        return alice.search(query, k=2) == expected[query]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(agree, queries * 5))
        for note in notes[:40]:
            alice.remove(note.hash)
        later = alice.add(b"Note 3 and 3, which came later.", name="later.txt")
        monkeypatch.setattr(rounded, "FROM", 10**6)
        expected = {query: alice.search(query, k=2) for query in queries}
        monkeypatch.setattr(rounded, "FROM", 200)
        assert all(pool.map(agree, queries * 5))
    assert expected["which came later"][0].document == later.hash
    assert made(view.parts[0].snapshot) == 300
