"""Views: what is put together of segments answers as one index would, is shared, and costs what changed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import DocStore, nearest, rounded, search, subindexes
from docstore.covered import CoveredRow
from docstore.filter_cache import Chosen
from docstore.parts import Parts
from docstore.segments import Segment
from docstore.testing import HashEmbedder
from docstore.vectors import Vectors
from docstore.views import Part, View, _is_mostly
from tests.rows import CODECS, rows_of, two_stages_from
from tests.views import fill, rankings, searched, segment_named, view_of


def ways_to_choose(view: View, documents: set[str]) -> list[Chosen]:
    """By name, and by what is accepted, when it is first asked for and when it is kept."""
    accepted = view.having("first", documents.__contains__)
    named, unknown = view.named([*documents, "unknown"])
    assert unknown == ["unknown"]
    return [named, accepted, view.having("first", set().__contains__)]


@CODECS
@given(data=st.data(), seed=st.integers(1, 5), k=st.integers(1, 80))
def test_any_division_gives_the_answer_of_one_index(codec: Any, data: st.DataObject, seed: int, k: int) -> None:
    """Few distinct vectors, so that scores are equal within and across documents and segments."""
    generator = np.random.default_rng(seed)
    distinct = generator.standard_normal((7, 32)).astype(np.float32)
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    lists = st.lists(st.integers(0, 6), min_size=1, max_size=12)
    documents = {f"{number:02}": distinct[rows] for number, rows in enumerate(data.draw(st.lists(lists, max_size=12)))}
    order = data.draw(st.permutations(sorted(documents)))
    cut = data.draw(st.integers(0, len(order)))
    alive = set(data.draw(st.lists(st.sampled_from(order), unique=True))) if order else set()
    allowed = alive & set(data.draw(st.lists(st.sampled_from(order)))) if order else set()
    halves = [segment_named({name: documents[name] for name in part}, codec) for part in (order[:cut], order[cut:])]
    queries = generator.standard_normal((3, 32)).astype(np.float32)
    view = view_of(halves, alive, codec)
    for chosen, those in ((None, alive), *((each, allowed) for each in ways_to_choose(view, allowed))):
        joint = view_of([segment_named({name: documents[name] for name in sorted(those)}, codec)], those, codec)
        assert rankings(view, queries, k, chosen) == rankings(joint, queries, k)
        expected = [
            (-score, name, number)
            for name in those
            for number, score in enumerate(_scores(queries[0], documents[name], codec))
        ]
        found = [(-score, name, number) for score, name, number, _ in rankings(view, queries[:1], k, chosen)[0]]
        assert [each[1:] for each in found] == [each[1:] for each in sorted(expected)[:k]]
        assert np.allclose([each[0] for each in found], [each[0] for each in sorted(expected)[:k]], atol=1e-6)


def _scores(query: Vectors, vectors: Vectors, codec: Any) -> list[float]:
    # Rounded, so that what is equal in exact arithmetic is equal here, and ranks by name and number.
    stored = vectors.astype(np.float16 if codec == "float16" else np.float32).astype(np.float64)
    return [round(float(score), 7) for score in stored @ query.astype(np.float64)]


@CODECS
def test_more_equal_scores_than_places(codec: Any) -> None:
    vectors = np.zeros((60, 32), np.float32)
    vectors[:, 0] = 1
    vectors[50, :] = np.eye(32)[1]
    view = view_of([segment_named({"a": vectors}, codec)], {"a"}, codec)
    for k in (1, 5, 40, 60):
        (answer,) = rankings(view, vectors[:1], k)
        assert [number for _, _, number, _ in answer] == [row for row in range(60) if row != 50][:k] + [50] * (k == 60)
        assert answer[0][0] == 1


@CODECS
def test_a_batch_gives_each_query_its_own_answer(codec: Any) -> None:
    # As many rows as it takes for FAISS to use another kernel for single queries on several threads; and more equal
    # rows than are fetched at first.
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((20_000, 64)).astype(np.float32)
    vectors[::100] = vectors[0]
    view = view_of([segment_named({"a": vectors}, codec, 64)], {"a"}, codec, 64)
    queries = np.concatenate([vectors[:1], vectors[1:17] + vectors[17:33]])
    for count in (1, 2, 16, 17):
        for number, answer in enumerate(rankings(view, queries[:count], 10)):
            assert [answer] == rankings(view, queries[number : number + 1], 10)


@CODECS
def test_many_equal_scores_of_documents_that_are_gone(codec: Any) -> None:
    """What is passed over may be all that is fetched at first."""
    best, worse = np.eye(32, dtype=np.float32)[:1], np.eye(32, dtype=np.float32)[1:2]
    segment = segment_named({"gone": np.repeat(best, 500, axis=0), "here": np.repeat(worse, 20, axis=0)}, codec)
    view = view_of([segment], {"here"}, codec)
    assert [each[1:3] for each in rankings(view, best, 7)[0]] == [("here", number) for number in range(7)]


def test_a_snapshot_stays_while_its_segment_grows() -> None:
    generator = np.random.default_rng(1)
    documents = {f"{number:03}": generator.standard_normal((5, 32)).astype(np.float32) for number in range(200)}
    segment = segment_named({"000": documents["000"]}, "float16")
    queries = documents["000"][:2]
    view = view_of([segment], {"000"}, "float16")
    before = rankings(view, queries, 5)
    for name, vectors in documents.items():
        segment.append(rows_of(name, vectors))
    assert rankings(view, queries, 5) == before
    assert len(segment.snapshot().codes) == 1000  # and the document it had was not appended again


def _store(folder: Path, **options: Any) -> DocStore:
    return DocStore(folder, embedder=HashEmbedder(), **options)


def test_workspaces_of_the_same_documents_share_their_memory(folder: Path) -> None:
    with _store(folder) as store:
        views = []
        for number in range(10):
            fill(store, f"w{number}", range(40))
            store.workspace(f"w{number}").add(f"the note of w{number}".encode())
            views.append(searched(store, f"w{number}"))
        assert len({id(view.shared[0]) for view in views}) == 1
        alone = views[0].shared[0].nbytes
        assert store._parts.memory._used < alone + sum(view.nbytes for view in views) + 20_000
        for number in range(10):
            notes = {hit.text for hit in store.workspace(f"w{number}").search("note", k=100)}
            assert [text for text in notes if "note" in text] == [f"the note of w{number}"]


def test_a_large_view_is_kept_where_all_it_will_ever_have_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has sketches, and nothing rounded: weighed with both it would be dropped, and made again by each search."""
    monkeypatch.setattr(rounded, "FROM", 10)
    two_stages_from(200, monkeypatch)
    with _store(folder) as store:
        fill(store, "alice", range(300))
        view = searched(store, "alice")
        snapshot = view.shared[0].snapshot()
        assert snapshot.sketcher.pieces(snapshot.codes) is not None
        store.workspace("alice").search("text", k=1)  # in two stages
        budget = view.shared[0].nbytes + sum(each.nbytes for each in store._parts.memory._values.values())
    with _store(folder, cache_bytes=budget) as store:
        assert searched(store, "alice") is searched(store, "alice")


def test_what_others_have_in_a_segment_makes_no_workspace_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what it has removed: a search of less than 100,000 chunks is exact, whoever shares its memory."""
    two_stages_from(250, monkeypatch)
    looks: list[int] = []
    in_two_stages = nearest._in_two_stages

    def counted(*given: Any) -> nearest.Best:
        looks.append(1)
        return in_two_stages(*given)

    monkeypatch.setattr(nearest, "_in_two_stages", counted)

    def is_in_two_stages(workspace: str, **filters: Any) -> bool:
        looks.clear()
        assert store.workspace(workspace).search("text", k=1, **filters)
        return bool(looks)

    with _store(folder) as store:
        hashes = fill(store, "alice", range(300))
        searched(store, "alice")
        fill(store, "bob", range(240))
        assert searched(store, "bob").shared[0] is searched(store, "alice").shared[0]
        assert is_in_two_stages("alice") and not is_in_two_stages("bob")
        assert is_in_two_stages("alice", documents=hashes[:240])  # of one that is large
        for hash in hashes[249:]:
            store.workspace("alice").remove(hash)
        assert not is_in_two_stages("alice")


class _Same(HashEmbedder):
    """What is the best is nearest to everything; all the rest is equal."""

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        vectors = np.ones((len(texts), self.dimension), np.float32)
        vectors[["best" not in text for text in texts], 0] = 0
        return vectors


@pytest.mark.parametrize("k", [1, 5, 40])
def test_of_very_many_equals_the_first_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    """Without a Python object for each: there are as many for each of many queries."""
    with DocStore(folder, embedder=_Same(), chunk_size=20, chunk_overlap=0) as store:
        alice = store.workspace("alice")
        alice.add_many(
            [b"\n".join(b"%d text of line %d" % (number, line) for line in range(3)) for number in range(90)]
        )
        equal = [(each.hash, chunk) for each in sorted(alice.documents(), key=lambda each: each.hash)
                 for chunk in range(each.chunks)]  # fmt: skip
        best = [alice.add(b"best %d" % number).hash for number in range(3)]
        expected = [*((hash, 0) for hash in sorted(best)), *equal][:k]
        ranked: list[int] = []
        rank = Part.ranked

        def counted(part: Part, best: list[nearest.Best]) -> Any:
            ranked.extend(len(scores) for scores, _ in best)
            return rank(part, best)

        monkeypatch.setattr(Part, "ranked", counted)
        for hits in alice.search_many(["best"] * 20, k=k):
            assert [(hit.document, hit.chunk) for hit in hits] == expected
        assert len(ranked) == 20 and max(ranked) <= max(k, 3)  # of the best, which are few, all


def test_where_bytes_are_demanded_nothing_is_shared(folder: Path) -> None:
    with _store(folder, demand_bytes=True) as store:
        for name in ("alice", "bob"):
            fill(store, name, range(10))
        assert searched(store, "alice").shared[0] is not searched(store, "bob").shared[0]


def test_an_added_document_goes_to_the_tail(folder: Path) -> None:
    with _store(folder) as store:
        hashes = fill(store, "alice", range(40))
        base = searched(store, "alice").shared[0]
        fill(store, "alice", range(100, 104))
        first, tail = searched(store, "alice").shared
        fill(store, "alice", range(104, 107))
        assert searched(store, "alice").shared == (base, tail) and first is base
        assert len(tail.snapshot().keys) == 7
        store.workspace("alice").remove(hashes[0])
        assert searched(store, "alice").shared == (base, tail)
        assert hashes[0] not in {hit.document for hit in store.workspace("alice").search("text", k=100)}


def test_a_document_of_base_and_tail_is_found_once(folder: Path) -> None:
    """A workspace that comes to resemble another takes over that one's base, and what it had added is in both."""
    with _store(folder) as store:
        first = fill(store, "alice", range(40))
        searched(store, "alice")
        fill(store, "alice", range(100, 106))
        assert len(searched(store, "alice").shared) == 2
        second = fill(store, "bob", range(100, 140))
        theirs = searched(store, "bob").shared[0]
        for hash in first:
            store.workspace("alice").remove(hash)
        fill(store, "alice", range(106, 140))
        assert searched(store, "alice").shared[0] is theirs
        found = [(hit.document, hit.chunk) for hit in store.workspace("alice").search("text", k=1000)]
        assert sorted(found) == sorted(set(found)) == sorted((hash, 0) for hash in second)


def test_views_of_many_threads_at_once(folder: Path) -> None:
    with _store(folder) as store:
        for number in range(16):
            fill(store, f"w{number}", range(number * 3, number * 3 + 5))

        def change_and_search(number: int) -> set[int]:
            counts = set()
            for turn in range(30):
                workspace = store.workspace(f"w{number}")
                hash = workspace.add(f"visitor {number} {turn}".encode()).hash
                hits = workspace.search("text", k=1000)
                counts.add(len(hits))
                assert len({(hit.document, hit.chunk) for hit in hits}) == len(hits)
                workspace.remove(hash)
            return counts

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(change_and_search, range(16))) == [{6}] * 16


def test_what_is_no_longer_referenced_leaves_memory(folder: Path) -> None:
    with _store(folder) as store:
        hashes = fill(store, "alice", range(40))
        base = searched(store, "alice").shared[0]
        for hash in hashes[:20]:
            store.workspace("alice").remove(hash)
        (segment,) = searched(store, "alice").shared
        assert segment is not base
        assert len(segment.snapshot().keys) == 20
        assert {hit.document for hit in store.workspace("alice").search("text", k=100)} == set(hashes[20:])


def test_a_document_that_comes_back_is_found_again(folder: Path) -> None:
    with _store(folder) as store:
        alice = store.workspace("alice")
        hashes = fill(store, "alice", range(20))
        for _ in range(3):
            alice.remove(hashes[3])
            store.collect()
            assert hashes[3] not in {hit.document for hit in alice.search("text", k=100)}
            alice.add(b"text number 3", name="back")
            assert {hit.name for hit in alice.search("text", k=100) if hit.document == hashes[3]} == {"back"}


def test_a_small_workspace_does_not_go_through_a_large_segment() -> None:
    segment = Segment(0, 32, "float16", 4)
    segment.append(rows_of("large", np.ones((75, 32), np.float32), "float16"))
    segment.append(rows_of("small", np.ones((25, 32), np.float32), "float16"))
    snapshot = segment.snapshot()
    many, keys, snapshot.keys = [f"other {number}" for number in range(9)], snapshot.keys, []  # gone through in vain
    for names, is_mostly in ((["large"], True), (["small"], False)):
        assert _is_mostly(segment, {(name, "text"): (1, name) for name in names}) == is_mostly
    snapshot.keys = keys
    for names, is_mostly in ((["large", *many], True), (["small", *many], False)):
        assert _is_mostly(segment, {(name, "text"): (1, name) for name in names}) == is_mostly


@pytest.mark.parametrize("names", [["alice"] * 4, ["alice", "bob", "carol", "dave"]])
def test_threads_that_begin_at_once_read_a_document_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """After a restart, each would else read and keep all of its workspace, which others have too."""
    monkeypatch.setattr(search, "_MANY_DOCUMENTS", 10)
    with _store(folder) as store:
        for name in set(names):
            fill(store, name, range(30))
    looked = threading.Barrier(len(names))
    waited = threading.local()
    look = search._look

    def look_with_the_others(*arguments: Any) -> Any:
        moment = look(*arguments)
        if not hasattr(waited, "once"):
            waited.once = looked.wait(10)
        return moment

    monkeypatch.setattr(search, "_look", look_with_the_others)
    read: list[str] = []
    codes = subindexes._codes

    reading = threading.Barrier(2)

    def read_codes(parts: Parts, references: list[CoveredRow]) -> Any:
        with suppress(threading.BrokenBarrierError):  # a second that reads at the same time, if there is one
            reading.wait(0.5)
        read.extend(each.text for each in references)
        return codes(parts, references)

    monkeypatch.setattr(subindexes, "_codes", read_codes)
    with _store(folder) as store, ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(lambda name: store.workspace(name).search("text", k=30), names))
        assert len(read) == len(set(read)) == 30
        assert all(len(hits) == 30 for hits in found)
        assert len(store._parts.views._making) == 0


def test_who_makes_a_large_view_alone_looks_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To look takes a tenth of a new process's first answer."""
    monkeypatch.setattr(search, "_MANY_DOCUMENTS", 10)
    looks: list[int] = []
    look = search._look

    def counted(*arguments: Any) -> Any:
        looks.append(1)
        return look(*arguments)

    with _store(folder) as store:
        fill(store, "alice", range(30))
    monkeypatch.setattr(search, "_look", counted)
    with _store(folder) as store:
        assert len(store.workspace("alice").search("text", k=30)) == 30
    assert len(looks) == 1


def test_small_segments_count_the_room_they_have() -> None:
    """It comes out of memory that the process has, touched or not."""
    for rows in (1, 3, 50):
        segment = Segment(0, 384, "float16", rows)
        segment.append(rows_of("a", np.eye(384, dtype=np.float32)[:rows], "float16"))
        assert len(segment._buffer) <= segment.nbytes
        assert len(segment._codes) <= rows + rows // 8 + 4


def test_a_view_that_fits_stays_where_metadata_makes_it_too_large(folder: Path) -> None:
    with _store(folder) as store:
        fill(store, "alice", range(20))
        store.workspace("alice").add(b"text with metadata", metadata={"key": "x" * 60_000})
        view = searched(store, "alice")
        budget = view.shared[0].nbytes + sum(each.nbytes for each in store._parts.memory._values.values())
    with _store(folder, cache_bytes=budget) as store:
        assert len(store.workspace("alice").search("text", where={"key": "y"})) == 0
        kept = store._parts.views.get(store.workspace("alice")._id)
        assert kept is not None
        assert kept.metadata is None
        assert searched(store, "alice") is kept
