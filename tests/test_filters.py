"""Filters: they act before the top k, whichever way rows are then searched, and cost nothing per document when warm."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import DocStore, DocumentNotFound, IntegrityError, Workspace, metadata, nearest
from docstore.testing import HashEmbedder
from docstore.views import Part, View
from tests import folders
from tests.oracle import private_index
from tests.rows import FEW, MOST, rows_of
from tests.views import rankings, segment_named

QUERIES = ["red fox", "tax law of the land", "moon", "number 7", "blue"]


def view_in(store: DocStore, workspace: Workspace) -> View:
    view = store._parts.views.get(workspace._id)
    assert view is not None
    return view


@pytest.fixture
def texts() -> dict[str, str]:
    """Names to texts. Every fourth has a chunk that others have too."""
    same = " ".join(["red fox on the blue moon"] * 3)
    return {f"{number:03}": f"number {number} {('red', 'tax', 'law', 'moon', 'blue', 'fox')[number % 6]} " * 3
            + (f"\n\n{same}" if number % 4 == 0 else "") for number in range(60)}  # fmt: skip


@pytest.fixture
def small(folder: Path) -> Any:
    with DocStore(folder, embedder=HashEmbedder(), chunk_size=80, chunk_overlap=0) as store:
        yield store


def _add(workspace: Workspace, texts: dict[str, str]) -> dict[str, str]:
    """Names to hashes. Metadata say which number a document has, and which of 3 kinds."""
    return {
        name: workspace.add(text.encode(), name=name, metadata={"number": int(name), "kind": int(name) % 3}).hash
        for name, text in texts.items()
    }


def agree(workspace: Workspace, texts: dict[str, str], **filter: Any) -> None:
    """What a filter finds, by single queries and by many, is what one index over some texts, by their hash, gives."""
    for k in (3, 500):
        expected = private_index(texts, QUERIES, k, "float16", 80, 0)
        together = workspace.search_many(QUERIES * 4, k, **filter)
        assert together == together[:5] * 4
        for query, hits, (ranking, scores) in zip(QUERIES, together, expected):
            assert [(hit.document, hit.chunk) for hit in hits] == ranking
            assert [hit.score for hit in hits] == scores.tolist()
            assert workspace.search(query, k, **filter) == hits


@pytest.mark.parametrize("way", [{}, FEW, MOST, {"_WORTH": 1}])
@pytest.mark.parametrize("included", [False, True])
def test_a_filtered_search_equals_one_index_of_what_is_kept(
    small: DocStore, texts: dict[str, str], included: bool, way: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant, value in way.items():
        monkeypatch.setattr(nearest, constant, value)
    owner = small.workspace("owner")
    hashes = _add(owner, dict(list(texts.items())[:50]))
    owner.search("red")
    hashes |= _add(owner, dict(list(texts.items())[50:]))  # these go to the tail
    owner.remove(hashes.pop("005"))  # and this one stays in the segment
    searched = owner
    if included:
        searched = small.workspace("reader")
        hashes |= _add(searched, {"060": "number 60, which the reader has"})
        texts |= {"060": "number 60, which the reader has"}
        searched.include(owner)
    searched.search("red")
    assert included or len(view_in(small, owner).parts) == 2

    for names in ([], ["000"], ["052"], ["000", "004", "008", "056"], list(hashes)[::2], list(hashes)[1:], hashes):
        kept = {hashes[name]: texts[name] for name in names}
        agree(searched, kept, documents=list(kept))
        of_kind = {hashes[name]: texts[name] for name in names if int(name) % 3 == 1}
        agree(searched, of_kind, documents=list(kept), where={"kind": 1})
    for where, takes in (
        ({"number": 7}, lambda number: number == 7), ({"number": 1000}, lambda _: False), ({}, lambda _: True),
        ({"kind": 2}, lambda number: number % 3 == 2), ({"kind": 0, "number": 57}, lambda number: number == 57),
    ):  # fmt: skip
        kept = {hash: texts[name] for name, hash in hashes.items() if takes(int(name))}
        agree(searched, kept, where=where)
        agree(searched, kept, where=where)


def test_an_unknown_document_is_an_error_wherever_others_are(small: DocStore, texts: dict[str, str]) -> None:
    alice, bob = small.workspace("alice"), small.workspace("bob")
    hashes = list(_add(alice, texts).values())
    alice.search("red")
    late = alice.add(b"a late one").hash
    gone = hashes.pop()
    alice.remove(gone)
    other = bob.add(b"bob's own").hash
    assert {hit.document for hit in alice.search("red", k=500, documents=[hashes[0], late])} == {hashes[0], late}
    for unknown in (gone, other, "0" * 64, ""):
        with pytest.raises(DocumentNotFound, match=f"no document {unknown}"):
            alice.search("red", documents=[hashes[0], late, unknown])


def test_a_document_that_was_stored_with_two_texts_is_found_with_the_one_it_has() -> None:
    vectors = np.eye(32, dtype=np.float32)
    segment = segment_named({"a": vectors[:2]}, "float16")
    segment.append(rows_of("b", vectors[2:4], text="old text"))

    def view_with(text: str) -> View:
        return View(((1, 1),), (Part.of(segment, {("a", "text"): "a", ("b", text): "b"}),), 32, "float16")

    before = view_with("old text")
    segment.append(rows_of("b", vectors[4:8]))
    for view, numbers in ((before, 2), (view_with("old text"), 2), (view_with("text"), 4)):
        chosen, unknown = view.named(["b", "c"])
        found = rankings(view, vectors[:1], 9, chosen)[0]
        assert ([each[1:3] for each in found], unknown) == ([("b", number) for number in range(numbers)], ["c"])


def test_metadata_that_change_are_seen_by_the_next_search(small: DocStore, folder: Path) -> None:
    alice, bob = small.workspace("alice"), small.workspace("bob")
    bob.include(alice)
    hash = alice.add(b"red fox", metadata={"year": 1}).hash
    alice.add(b"red dog", metadata={"year": 1})

    def found(year: int) -> list[int]:
        return [sum(hit.document == hash for hit in each.search("red", where={"year": year})) for each in (alice, bob)]

    assert (found(1), found(2)) == ([1, 1], [0, 0])
    alice.add(b"red fox", metadata={"year": 2})
    assert (found(1), found(2)) == ([0, 0], [1, 1])
    with DocStore(folder, embedder=HashEmbedder(), chunk_size=80, chunk_overlap=0) as other:
        other.workspace("alice").add(b"red fox", metadata={"year": 1})
    assert (found(1), found(2)) == ([1, 1], [0, 0])
    bob.add(b"red fox", metadata={"year": 3})  # what the workspace itself says comes first
    assert (found(1), found(3)) == ([1, 0], [0, 1])


def test_metadata_that_change_are_seen_where_two_call_a_document_otherwise(small: DocStore) -> None:
    alice, bob = small.workspace("alice"), small.workspace("bob")
    alice.include(bob)
    alice.add(b"red fox", name="alice's")
    bob.add(b"red fox", name="bob's")
    other = bob.add(b"red dog", metadata={"year": 1}).hash
    assert [hit.document for hit in alice.search("red", where={"year": 1})] == [other]
    bob.link(other, metadata={"year": 2})
    assert alice.search("red", where={"year": 1}) == []
    assert [hit.document for hit in alice.search("red", where={"year": 2})] == [other]


def test_a_removed_document_is_unknown_beside_a_filter_too(small: DocStore, texts: dict[str, str]) -> None:
    alice = small.workspace("alice")
    hashes = list(_add(alice, texts).values())
    alice.search("red", where={"kind": 1})
    alice.remove(hashes[5])
    with pytest.raises(DocumentNotFound, match=f"no document {hashes[5]}"):
        alice.search("red", documents=[hashes[5], hashes[6]], where={"kind": 10})


_VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 2, 0.0, 1.0, 1.5, "", "a", '"', "é"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", 'a"']), inner, max_size=2),
    max_leaves=4,
)
_OBJECTS = st.dictionaries(st.sampled_from(["a", "b", 'a"', "é"]), _VALUES, max_size=3)


@given(own=_OBJECTS, where=_OBJECTS)
def test_metadata_match_as_their_values_do(own: dict[str, Any], where: dict[str, Any]) -> None:
    stored, wanted = metadata.encode(own), json.loads(metadata.encode(where) or "")
    assert stored is not None
    expected = all(key in own and metadata.same(json.loads(stored)[key], value) for key, value in wanted.items())
    matches = metadata.matcher(wanted)
    assert matches(stored) is matches(stored) is expected
    assert metadata.matcher(json.loads(stored))(stored)
    assert metadata.matcher({})(stored)


class Counted(dict[str, Any]):
    """Metadata that count how often a document's are asked for."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


def test_metadata_are_asked_once_for_each_filter(small: DocStore, texts: dict[str, str]) -> None:
    alice = small.workspace("alice")
    hashes = list(_add(alice, texts).values())
    alice.search("red", where={"kind": 1})
    view = view_in(small, alice)
    view.metadata = counted = Counted(view.metadata or {})
    expected = alice.search("red", where={"kind": 2})
    assert counted.asked >= len(texts)
    before = counted.asked
    for where in ({"kind": 1}, {"kind": 2}):
        alice.search_many(QUERIES, where=where)
    assert alice.search("red", where={"kind": 2}) == expected
    assert counted.asked == before
    alice.search("red", documents=hashes[:3], where={"kind": 5})
    assert counted.asked <= before + 3


def test_what_is_kept_of_filters_is_little_and_what_was_used_last(small: DocStore, texts: dict[str, str]) -> None:
    alice = small.workspace("alice")
    _add(alice, texts)
    with ThreadPoolExecutor(4) as pool:
        every = list(pool.map(lambda number: alice.search("red", where={"number": number % 60}), range(240)))
    assert [{hit.name for hit in hits} for hits in every] == [{f"{number % 60:03}"} for number in range(240)]
    view = view_in(small, alice)
    kept = view.filtered._answers._values
    assert sum(each.nbytes for each in kept.values()) <= view.filtered.budget < view.nbytes
    assert 1 < len(kept) < 10
    alice.search("red", where={"number": 3})
    for number in range(2):
        alice.search("red", where={"number": number})
    assert {'{"number":3}', '{"number":1}'} <= kept.keys()


def _events(act: Callable[[], object]) -> int:
    """How many functions a call calls, those written in C too."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("many", [False, True])
def test_a_warm_filtered_search_does_no_work_for_each_document(folder: Path, many: bool) -> None:
    counts = set()
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((3 if many else 1, 64)).astype(np.float32)  # equal scores would be many hits
    with DocStore(folder, embedder=HashEmbedder()) as store:
        for size in (40, 400):
            workspace = store.workspace(f"w{size}")
            report = workspace.add_many([generator.bytes(20).hex(" ").encode() for _ in range(size)],
                                        metadata={"size": size})  # fmt: skip
            some = [each.hash for each in (report.added + report.reused)[:5]]
            workspace.add(b"red, and of no size")
            for filter in ({"where": {"size": size}}, {"documents": some}, {"documents": some, "where": {}}):

                def act(workspace: Workspace = workspace, filter: Any = filter) -> object:
                    return workspace.search_vectors(vectors, k=3, **filter)

                act()
                act()
                counts.add((tuple(filter), _events(act)))
    assert len(counts) == 3


def test_many_threads_filter_one_view(small: DocStore, texts: dict[str, str]) -> None:
    alice = small.workspace("alice")
    hashes = _add(alice, texts)

    def right(number: int) -> bool:
        kind = number % 3
        of_kind = {name for name in hashes if int(name) % 3 == kind}
        hits = alice.search(QUERIES[number % 5], k=500, where={"kind": kind})
        return {hit.name for hit in hits} == of_kind

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, range(120)))


@pytest.mark.parametrize(
    ("stored", "wanted", "is_same"),
    [
        (1, 1.0, True), (1, True, False), (True, 1, False), ([True], [1], False), ([1, [2]], [1.0, [2]], True),
        ({"x": True}, {"x": 1}, False), ({"x": [0]}, {"x": [False]}, False), ({"x": 1}, {"x": 1, "y": 1}, False),
        ([1], [1, 1], False), ({}, [], False), (None, False, False), ("1", 1, False),
    ],
)  # fmt: skip
def test_true_is_not_1_wherever_it_stands(folder: Path, stored: Any, wanted: Any, is_same: bool) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(b"a note", metadata={"value": stored})
        assert bool(alice.search("note", where={"value": wanted})) is is_same


def test_metadata_count_as_memory(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(b"a note", metadata={"long": ["x" * 20_000], "year": 2024})
        alice.search("note")
        before = view_in(store, alice).nbytes
        assert alice.search("note", where={"year": 2024})
        assert 20_000 < view_in(store, alice).nbytes - before < 25_000
        assert store._parts.memory._used == sum(
            each.nbytes for each in store._parts.memory._values.values()
        ) + sum(share.counted for share in store._parts.memory._shares.values())  # fmt: skip


def test_equal_metadata_are_in_memory_once_and_counted_as_often_as_they_are(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        same = {"long": "x" * 20_000}
        hashes = [each.hash for each in alice.add_many([b"note %d" % n for n in range(20)], metadata=same).added]
        alice.search("note", where=same)
        before = view_in(store, alice).nbytes
        for number, hash in enumerate(hashes):
            alice.link(hash, name=f"called {number}")
            alice.search("note", where=same)
        assert len({id(each) for each in (view_in(store, alice).metadata or {}).values()}) == 1
        assert view_in(store, alice).nbytes - before < 20_000
        alice.add(b"another note", metadata=same)
        assert len(alice.search("note", k=50, where=same)) == 21
        assert 20_000 < view_in(store, alice).nbytes - before < 45_000


def test_names_of_before_leave_memory(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        hashes = [alice.add(text).hash for text in (b"one note", b"another note", b"a third note")]
        for number in range(40):
            alice.link(hashes[number % 3], name=f"name {number}")
            assert f"name {number}" in {hit.name for hit in alice.search("note")}
        (part,) = view_in(store, alice).parts
        assert len(part.segment._names) < 20


def test_a_document_whose_row_is_lost_is_damage_and_no_key_error(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        lost, *_ = [alice.add(f"note {number}".encode()).hash for number in range(8)]
        alice.search("note")
        folders.lie(folder, f"DELETE FROM documents WHERE hash = '{lost}'")
        alice.add(b"one more note")
        with pytest.raises(IntegrityError, match=f"has lost its row of document {lost}.*docstore repair"):
            alice.search("note", where={"year": 2024})


@pytest.mark.parametrize("unknown", ["A" * 10**6, "zz\ud800", ""])
def test_whatever_names_no_document_is_told_in_short(small: DocStore, unknown: str) -> None:
    with pytest.raises(DocumentNotFound) as error:
        small.workspace("alice").search("fox", documents=[unknown])
    assert len(str(error.value).encode()) < 300
