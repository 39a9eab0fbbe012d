"""The four ways to the best rows: they give the same rows and scores, and what two stages miss is little."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import InvalidArgument, Workspace, nearest, sketches
from docstore.segments import Segment
from docstore.testing import HashEmbedder
from docstore.vectors import Codec, Vectors, empty_index, scan, scan_each
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


@CODECS
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(8, 300),
    k=st.integers(1, 30),
    distinct=st.integers(1, 300),
    copied=st.integers(1, 300),
)
def test_a_product_gives_the_rows_and_scores_of_single_queries(
    codec: Codec, seed: int, rows: int, k: int, distinct: int, copied: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = unit(generator.standard_normal((distinct, 24)))[generator.integers(0, distinct, rows)]
    snapshot = segment_of(vectors, codec, each=3).snapshot()
    queries = unit(generator.standard_normal((20, 24)))
    dead = generator.random(len(snapshot.ends)) < 0.2
    dead[0] = False
    for alive in (None, snapshot.selection(np.flatnonzero(~dead))):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(nearest, "_BLOCK", 32)
            patched.setattr(nearest, "_COPIED", copied)
            found = nearest._by_product(snapshot, queries, min(k, 3), alive)
        assert [plain(each) for each in found] == one_by_one(snapshot, queries, min(k, 3), alive)


def test_few_rows_are_copied_for_queries_together_however_many_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    some, copied = unit(generator.standard_normal((20, 24))), []
    # Of the first vector there are more than are copied together; of the others, as many as for a few queries.
    snapshot = segment_of(np.repeat(some, [nearest._COPIED + 1, *[1000] * 19], axis=0)).snapshot()

    def noted(codes: Any, rows: Any, *others: Any) -> Any:
        copied.append(len(rows))
        return scan_each(codes, rows, *others)

    monkeypatch.setattr(nearest, "scan_each", noted)
    found = nearest._by_product(snapshot, some, 5, None)
    assert [len(rows) for _, rows in found] == [nearest._COPIED + 1, *[1000] * 19]
    assert copied == [4000, 4000, 4000, 4000, 3000]


@CODECS
def test_a_scan_for_very_many_queries_gives_the_scores_of_single_ones(codec: Codec) -> None:
    # FAISS would multiply matrices for as many: of few rows, which are scanned, too.
    generator = np.random.default_rng(0)
    snapshot = segment_of(unit(generator.standard_normal((30, DIMENSION))), codec).snapshot()
    queries = unit(generator.standard_normal((2 * 128_000 // DIMENSION, DIMENSION)))
    assert [plain(each) for each in nearest._each(snapshot, queries, 5, None)] == one_by_one(snapshot, queries, 5)


@pytest.fixture
def eight_threads() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(8)
    yield
    faiss.omp_set_num_threads(before)


@CODECS
@pytest.mark.usefixtures("eight_threads")
def test_fewer_queries_than_threads_get_the_scores_of_single_ones(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    snapshot = segment_of(unit(generator.standard_normal((17_000, 64))), codec).snapshot()
    queries = unit(generator.standard_normal((9, 64)))
    expected = one_by_one(snapshot, queries, 5)
    for count in range(2, 10):
        assert [plain(each) for each in nearest._each(snapshot, queries[:count], 5, None)] == expected[:count]
    # And those that are left for a call of their own, where there are too many for one.
    monkeypatch.setattr("docstore.vectors._COMPONENTS_AT_ONCE", 64 * 8)
    assert [plain(each) for each in nearest._each(snapshot, queries, 5, None)] == expected
    assert faiss.omp_get_max_threads() == 8


def test_many_equal_scores_are_left_to_single_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.repeat(unit(np.random.default_rng(0).standard_normal((2, 24))), 500, axis=0)
    snapshot = segment_of(vectors).snapshot()
    queries = unit(np.random.default_rng(1).standard_normal((16, 24)))
    expected = one_by_one(snapshot, queries, 5)
    monkeypatch.setattr(nearest, "_MOST", 1000)
    monkeypatch.setattr(nearest, "_BLOCK", 100)
    assert [plain(each) for each in nearest._by_product(snapshot, queries, 5, None)] == expected
    assert all(len(rows) == 500 for _, rows in expected)


def test_sketches_made_one_by_one_are_those_of_a_joint_build() -> None:
    vectors = clustered(1000)
    segment = Segment(0, DIMENSION, "float16", 0)
    codes = empty_index(DIMENSION, "float16").sa_encode(vectors)
    for first in range(0, 1000, 50):
        segment.append(rows_of(str(first), vectors[first : first + 50]))
        sketched(segment.snapshot())
    pieces = segment.snapshot().sketcher.pieces(codes)
    assert pieces is not None and [pieces[0].first, pieces[-1].last] == [0, 992]  # whole groups of 32
    joint: Any = faiss.IndexRaBitQFastScan(DIMENSION, faiss.METRIC_INNER_PRODUCT)
    joint.train(np.zeros((1, DIMENSION), np.float32))
    joint.add(sketches.rotate(empty_index(DIMENSION, "float16").sa_decode(codes[:992])))
    ours = b"".join(faiss.vector_to_array(piece.index.codes).tobytes() for piece in pieces)
    assert ours == faiss.vector_to_array(joint.codes).tobytes()


@pytest.mark.parametrize("dimension", [1, 24, 127, 384, 500])
def test_turning_keeps_products(dimension: int) -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((20, dimension)))
    turned = sketches.rotate(vectors)
    assert np.allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-5)


@pytest.mark.parametrize("dimension", [1, 24, 127, 384, 500])
def test_turning_does_not_show_what_else_is_turned(dimension: int) -> None:
    generator = np.random.default_rng(0)
    spread, peaked = generator.standard_normal((2, 300, dimension))
    peaked[:, 0] *= 1000  # one dimension has nearly all: the sums are as large as they can be
    vectors = unit(np.concatenate([spread, peaked]))
    turned = sketches.rotate(vectors)
    for together in (1, 3, 32, 97):
        some = [sketches.rotate(vectors[first : first + together]) for first in range(0, len(vectors), together)]
        assert np.concatenate(some).tobytes() == turned.tobytes()


def test_turning_spreads_what_one_dimension_holds() -> None:
    turned = sketches.rotate(np.eye(384, dtype=np.float32))
    # 1 where all dimensions hold the same; 0.8 where they are normally distributed, on which the deviation rests.
    assert np.quantile(np.abs(turned).sum(axis=1) / np.sqrt(384), 0.01) > 0.75


def test_two_stages_give_scores_that_are_exact_and_miss_few(monkeypatch: pytest.MonkeyPatch) -> None:
    two_stages_from(1000, monkeypatch)
    snapshot = segment_of(clustered(20_000)).snapshot()
    queries = clustered(20_050)[20_000:]
    expected = one_by_one(snapshot, queries, 10)

    def found(candidates: int | None) -> list[tuple[list[float], set[int]]]:
        return [plain(nearest.nearest(snapshot, query[np.newaxis], 10, None, candidates)[0]) for query in queries]

    assert found(None) == expected  # while there are no sketches
    sketched(snapshot)
    right = sum(len(ours[1] & theirs[1]) for ours, theirs in zip(found(None), expected, strict=True))
    assert right >= 0.995 * 10 * len(queries)
    few = sum(len(ours[1] & theirs[1]) for ours, theirs in zip(found(10), expected, strict=True))
    assert few < right
    assert found(20_000) == expected
    exact = dict(zip(range(20_000), nearest._each(snapshot, queries[:1], 20_000, None)[0][0]))
    assert found(None)[0][0] == list(exact.values())[:10]


def test_two_stages_find_every_equal_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sketches cannot tell what is equal; all of it is found, however much it is."""
    two_stages_from(1000, monkeypatch)
    vectors = clustered(10_000)
    vectors[1000:3000] = vectors[7]
    snapshot = sketched(segment_of(vectors).snapshot())
    (best,) = nearest.nearest(snapshot, vectors[7:8], 5, None, None)
    assert set(best[1].tolist()) == {7, *range(1000, 3000)}


def test_two_stages_pass_over_what_is_gone_or_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    two_stages_from(1000, monkeypatch)
    vectors = clustered(6000)
    segment = segment_of(vectors[:5000])
    before = segment.snapshot()
    segment.append(rows_of("later", vectors[5000:]))
    sketched(segment.snapshot())
    alive = before.selection(np.flatnonzero(np.random.default_rng(0).random(len(before.ends)) > 0.2))
    queries = clustered(6020)[6000:]
    found = [plain(nearest.nearest(before, query[np.newaxis], 10, alive, None)[0]) for query in queries]
    assert found == one_by_one(before, queries, 10, alive)


@pytest.mark.parametrize("place", ["anywhere", "first", "last"])
def test_the_best_estimates_are_found_wherever_they_lie(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketches, "_AT_ONCE", 320)
    monkeypatch.setattr(sketches, "_FEWER", 3)
    vectors, query = clustered(10_000), clustered(10_001)[10_000:]
    if place != "anywhere":
        order = np.argsort(vectors @ query[0])
        vectors = vectors[order if place == "last" else order[::-1]]
    snapshot = sketched(segment_of(vectors).snapshot())
    pieces, rotated = snapshot.sketcher.pieces(snapshot.codes), sketches.rotate(query)
    assert pieces is not None and len(pieces) > 2
    every = sorted(zip(*(np.concatenate(each).tolist() for each in zip(*(p.best(rotated, 10_000) for p in pieces)))))
    asked: list[int] = []
    best = sketches.Piece.best

    def counted(piece: sketches.Piece, rotated: Vectors, count: int) -> Any:
        asked.append(count)
        return best(piece, rotated, count)

    monkeypatch.setattr(sketches.Piece, "best", counted)
    for count in (5, 100, 1000):
        asked.clear()
        found = nearest._best_estimates(pieces, rotated, count)
        assert sorted(zip(*(each.tolist() for each in found))) == every[-count:]
        if place == "anywhere":
            assert len(asked) == len(pieces), "no piece is scanned twice"
            assert count < 100 or sum(asked) < 2 * count, "and of a small one few are asked for"


def test_a_query_whose_sums_do_not_fit_is_answered_by_a_scan() -> None:
    """FAISS adds up a query's tables in 16 bits. Of 1,536 dimensions that all stand out alike these do not fit, and the
    nearest of all would look farthest."""
    dimension = 1536
    generator = np.random.default_rng(0)
    turned = generator.choice(np.array([-1, 1], np.float32), (1, dimension)) / np.float32(math.sqrt(dimension))
    query = unit(turned @ sketches.rotate(np.eye(dimension, dtype=np.float32)).T)  # what is turned to that
    vectors = unit(generator.standard_normal((3000, dimension)))
    vectors[1234] = query[0]
    snapshot = sketched(segment_of(vectors).snapshot())
    pieces = snapshot.sketcher.pieces(snapshot.codes)
    assert pieces is not None and 1234 not in pieces[0].best(sketches.rotate(query), 1000)[1], "a sum that does not fit"
    assert not sketches.fit(sketches.rotate(query)) and sketches.fit(sketches.rotate(vectors[:1]))
    assert nearest._in_two_stages(snapshot, pieces, query, 5, None, 100)[1][0] == 1234
    assert plain(nearest._in_two_stages(snapshot, pieces, query, 5, None, None)) == one_by_one(snapshot, query, 5)[0]


def test_whether_a_query_fits_is_asked_of_it_as_faiss_rounds_it() -> None:
    """Components just above the middle between two steps of 4 bits: all tables but the widest grow by a half."""
    query = np.full((384, 4), 0.1343)
    query[:, 0] = 0.2672
    query[:, 1::2] *= -1
    query[0], query[1] = [1, 0.132, 0.132, 0.132], [-1, 0.132, -0.132, 0.132]
    rotated = unit(query.reshape(1, -1))
    widths = np.abs(rotated.reshape(-1, 4)).sum(axis=1)
    assert widths.sum() < 190 * widths.max()
    assert not sketches.fit(rotated)


@pytest.mark.parametrize("dimension", [1, 64, 384, 1024])
def test_any_query_of_fewer_dimensions_fits(dimension: int) -> None:
    """Its tables' sum is 255 for each four dimensions at most."""
    assert 255 * math.ceil(dimension / 4) < 1 << 16
    assert sketches.fit(np.full((1, dimension), dimension**-0.5, np.float32))


def test_more_dimensions_than_fit_have_no_sketches(monkeypatch: pytest.MonkeyPatch) -> None:
    two_stages_from(100, monkeypatch)
    vectors = unit(np.random.default_rng(0).standard_normal((3000, 2048)))
    snapshot = segment_of(vectors).snapshot()
    for query in vectors[:10]:
        ((_, rows),) = nearest.nearest(snapshot, query[np.newaxis], 1, None, None)
        assert np.array_equal(vectors[rows[0]], query)
    assert snapshot.sketcher.pieces(snapshot.codes) is None and snapshot.sketcher.nbytes(3000) == 0


def test_nothing_is_sketched_for_who_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketches, "FROM", 100)
    snapshot = segment_of(clustered(1000)).snapshot()
    for _ in range(4):
        nearest.nearest(snapshot, clustered(1), 1, None, None)
        assert snapshot.sketcher._pieces == ()
    nearest.nearest(snapshot, clustered(1), 1, None, None)
    assert sketches.covered(snapshot.sketcher._pieces) == 992


def noted(really: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    """The same function, and its arguments to somebody else before."""

    def call(*args: Any) -> Any:
        note(*args)
        return really(*args)

    return call


def test_a_search_for_much_of_a_workspace_is_no_product_and_not_in_two_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketches, "FROM", 100)
    vectors = clustered(20_000)
    snapshot = sketched(segment_of(vectors).snapshot())
    most = {"_in_two_stages": 20_000 // nearest._FEWEST, "_by_product": nearest._MOST_OF_MANY}
    asked: list[str] = []
    for way, k in most.items():
        monkeypatch.setattr(nearest, way, noted(getattr(nearest, way), lambda *_: asked.append(way)))  # noqa: B023
        queries = vectors[: 1 if way == "_in_two_stages" else 32]
        for some in (k, k + 1):
            found = nearest.nearest(snapshot, queries, some, None, None)
            assert len(asked) == 1, (way, some)
            assert plain(found[0]) == one_by_one(snapshot, queries, some)[0]
        asked.clear()


def test_a_filter_does_not_make_candidates_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(20_000)
    snapshot = sketched(segment_of(vectors).snapshot())
    scored: list[int] = []
    monkeypatch.setattr(nearest, "_scan", noted(nearest._scan, lambda *args: scored.append(len(args[3]))))
    selection = snapshot.selection(np.arange(0, 400, 2))  # every second document of 50 rows
    pieces = snapshot.sketcher.pieces(snapshot.codes) or ()
    for query in vectors[:20]:
        nearest._in_two_stages(snapshot, pieces, query[np.newaxis], 5, selection, 300)
    assert 250 < np.mean(scored) < 350


def test_what_is_selected_of_most_rows_is_never_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of the nearest are others: to copy nine rows of ten takes ten times a scan."""
    vectors = clustered(5000)
    vectors[:1500] = vectors[0]
    snapshot = segment_of(vectors).snapshot()
    selection = snapshot.selection(np.arange(30, 100))
    expected = one_by_one(snapshot, vectors[:1], 5, selection)
    monkeypatch.setattr(nearest, "scan_some", None)
    assert [plain(best) for best in nearest.nearest(snapshot, vectors[:1], 5, selection, None)] == expected


@pytest.mark.parametrize("rows", [100_000, 1_000_000, 10**8])
def test_candidates_grow_with_rows_and_k(rows: int) -> None:
    assert nearest.candidates_for(rows, 10) == max(rows // 350, 400)
    assert nearest.candidates_for(rows, 10**6) >= 10**6


def test_many_vectors_at_once_give_what_each_gives(alice: Workspace, embedder: HashEmbedder) -> None:
    for number in range(30):
        alice.add(f"Note {number} says {number * number}, and {number % 7}.".encode(), name=f"{number}.txt")
    queries = [f"What does note {number} say?" for number in range(40)]
    vectors = embedder.embed(queries)
    each = [alice.search_vector(vector, k=3) for vector in vectors]
    assert alice.search_vectors(vectors, k=3) == each == alice.search_many(queries, k=3)
    assert alice.search_vectors(vectors[:0], k=3) == alice.search_vectors([], k=3) == []
    assert alice.search_vectors(vectors, k=3, candidates=5) == each


def test_bad_vectors_and_candidates(alice: Workspace, embedder: HashEmbedder) -> None:
    alice.add(b"A note.", name="note.txt")
    with pytest.raises(InvalidArgument, match="two dimensions"):
        alice.search_vectors(embedder.embed(["query"])[0])
    for candidates in (0, -1, 1.5, True, "many"):
        with pytest.raises(InvalidArgument, match="candidates is"):
            alice.search("note", candidates=candidates)  # type: ignore[arg-type]


def test_a_workspace_searched_in_two_stages_changes_and_is_searched_by_threads(
    alice: Workspace, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_stages_from(200, monkeypatch)
    monkeypatch.setattr(sketches, "_AT_ONCE", 64)
    notes = alice.add_many([f"Note {number}: {number % 7} and {number % 11}.".encode() for number in range(300)]).added
    queries = [f"note {number} and {number % 7}" for number in range(12)]

    def agree(query: str) -> bool:
        return alice.search(query, k=2) == alice.search(query, k=2, candidates=10**6)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(agree, queries * 5))
        for note in notes[:40]:
            alice.remove(note.hash)
        alice.add(b"Note 3 and 3, which came later.", name="later.txt")
        assert all(pool.map(agree, queries * 5))
    assert "later.txt" in {hit.name for hit in alice.search("note 3 and 3 which came later", k=2)}
    assert alice.search("note 3", k=2, mmr=True, fetch_k=2) == alice.search("note 3", k=2, mmr=True, fetch_k=2)
    found = {hit.document for hit in alice.search("note 3", k=2, documents=[notes[50].hash])}
    assert found == {notes[50].hash}


def test_where_there_is_no_room_for_many_results_faiss_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the process: a failure to allocate in one of its threads goes nowhere."""

    class Index:
        def search(self, *_: object) -> None:
            raise AssertionError

    def full(*_: object) -> None:
        raise MemoryError

    query = clustered(1)
    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(MemoryError):
        scan(Index(), query, 200)
