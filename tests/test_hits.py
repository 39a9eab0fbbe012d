"""Hits: what a hit says of a chunk is read once, and stays within the memory that searches may take."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, Hit, Workspace, passages
from docstore.memory import Memory
from docstore.testing import HashEmbedder

_TEXTS = [f"Paragraph {number} of the handbook, on subject {number * 37 % 101}." for number in range(40)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[passages.Place]:
    """The places that searches read from stored texts."""
    places: list[passages.Place] = []
    original = passages.read

    def noted(files: Any, memory: Any, scope: int, some: list[passages.Place]) -> dict[passages.Place, str]:
        places.extend(some)
        return original(files, memory, scope, some)

    monkeypatch.setattr(passages, "read", noted)
    return places


def _filled(store: DocStore, name: str) -> Workspace:
    workspace = store.workspace(name)
    workspace.add_many([text.encode() for text in _TEXTS])
    return workspace


def test_a_chunk_is_read_when_it_is_first_found(tmp_path: Path, read: list[passages.Place]) -> None:
    with DocStore(tmp_path, embedder=HashEmbedder()) as store:
        workspace = _filled(store, "alice")
        first = workspace.search(_TEXTS[3], k=5)
        assert len(read) == 5
        assert workspace.search(_TEXTS[3], k=5) == first
        assert workspace.search(_TEXTS[3], k=8)[:5] == first and len(read) == 8
        many = workspace.search_many([_TEXTS[3], _TEXTS[4], _TEXTS[3]], k=5)
        assert many[0] == many[2] == first and many[1] == workspace.search(_TEXTS[4], k=5)


def test_who_calls_it_otherwise_is_told_so(tmp_path: Path, read: list[passages.Place]) -> None:
    with DocStore(tmp_path, embedder=HashEmbedder()) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        document = alice.add(b"Bolts are to be greased.", name="a.txt")
        bob.link(document.hash, name="b.txt")
        (mine,), (other,) = alice.search("bolts", k=1), bob.search("bolts", k=1)
        assert (mine.name, other.name, mine.text) == ("a.txt", "b.txt", other.text)
        alice.link(document.hash, name="c.txt")
        assert alice.search("bolts", k=1)[0].name == "c.txt"
        assert len(read) == 1


def test_where_bytes_are_demanded_nobody_reads_for_another(tmp_path: Path, read: list[passages.Place]) -> None:
    with DocStore(tmp_path, embedder=HashEmbedder(), demand_bytes=True) as store:
        for name in ("alice", "bob"):
            workspace = store.workspace(name)
            workspace.add(b"Bolts are to be greased.")
            workspace.search("bolts", k=1)
    assert len(read) == 2 and read[0] == read[1]


def test_what_searches_found_stays_within_its_memory(tmp_path: Path) -> None:
    budget = 60_000
    with DocStore(tmp_path, embedder=HashEmbedder(), cache_bytes=budget) as store:
        workspace = _filled(store, "alice")
        memory = store._parts.memory
        expected = [workspace.search(text, k=3) for text in _TEXTS]
        assert [workspace.search(text, k=3) for text in _TEXTS] == expected
        assert 0 < memory._used <= budget
        assert [each[0].text for each in expected] == _TEXTS


class _Patient(HashEmbedder):
    """Reads twice as much at once as its fingerprint's other kind, as a later release may cut otherwise."""

    def count_tokens(self, text: str) -> int:
        return super().count_tokens(text) // 2


def test_a_text_that_is_cut_otherwise_has_other_chunks(tmp_path: Path) -> None:
    document = "\n\n".join(f"Paragraph {number} tells of thing {number}. " * 3 for number in range(40)).encode()
    with DocStore(tmp_path, embedder=_Patient(max_tokens=60)) as store:
        hash = store.workspace("alice").add(document).hash
    with DocStore(tmp_path, embedder=HashEmbedder(max_tokens=60)) as store:
        alice = store.workspace("alice")
        before = alice.search("thing 3", k=99)
        alice.remove(hash)
        assert alice.search("thing 3", k=99) == []
        store.collect()
        assert alice.add(document).chunks > len(before)
        found = alice.search("thing 3", k=99)
    with DocStore(tmp_path, embedder=HashEmbedder(max_tokens=60)) as store:
        assert found == store.workspace("alice").search("thing 3", k=99)


def test_what_is_counted_for_a_text_does_not_grow_with_it(tmp_path: Path) -> None:
    """Python keeps the UTF-8 of a text that anybody asks for, as SQLite does."""
    with DocStore(tmp_path, embedder=HashEmbedder(), cache_bytes=200_000) as store:
        workspace = store.workspace("alice")
        workspace.add_many([f"Übung {number} über Öl. {'ü' * 500}".encode() for number in range(100)])
        memory = store._parts.memory
        with closing(sqlite3.connect(":memory:")) as database:
            for number in range(300):
                for hit in workspace.search(f"Übung {number % 100}", k=3):
                    database.execute("SELECT length(?)", (hit.text,))
        weighed = sum(value.nbytes for value in memory._values.values())
        shared = sum(share.counted for share in memory._shares.values())
        assert memory._used == weighed + shared <= 200_000


def test_a_search_of_many_hits_leaves_its_view_in_memory(tmp_path: Path) -> None:
    with DocStore(tmp_path, embedder=HashEmbedder(), cache_bytes=70_000) as store:
        workspace = _filled(store, "alice")
        assert len(workspace.search("handbook", k=40)) == 40
        assert store._parts.views.get(workspace._id) is not None


class _Weight:
    nbytes = 10


def test_what_many_are_looked_up_together_is_used_last() -> None:
    memory = Memory(30)
    for key in "abc":
        memory.put(key, _Weight())
    assert [value is not None for value in memory.get_all(["a", "x", "b"])] == [True, False, True]
    memory.put("d", _Weight())
    assert memory.get("c") is None and None not in memory.get_all(["a", "b", "d"])


def test_a_hit_is_as_its_constructor_makes_it(tmp_path: Path) -> None:
    with DocStore(tmp_path, embedder=HashEmbedder()) as store:
        hit = store.workspace("alice").add(b"Bolts are to be greased.", name="a.txt")
        (found,) = store.workspace("alice").search("bolts", k=1)
    assert found == Hit("Bolts are to be greased.", found.score, hit.hash, "a.txt", 0, 0, 24, None)
    assert type(found.score) is float and hash(found) == hash(found)
