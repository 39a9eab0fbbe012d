"""One bit of the catalog is wrong: an index and its table then disagree, and nothing that is sound is given up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.folders import execute, lie, packed, query

_PAGE = 4096
_TABLE, _INDEX = 13, 10  # kinds of leaf pages


@pytest.fixture
def hashes(folder: Path) -> dict[str, list[str]]:
    """Of three workspaces, in a store that nobody has open."""
    with DocStore(folder, embedder=HashEmbedder()) as store:
        for name in ("alice", "bob", "carol"):
            store.workspace(name).add_many([f"Document {number} of {name}.\n".encode() for number in range(20)])
        return {name: [each.hash for each in store.workspace(name).documents()] for name in store.workspaces()}


def _leaves(data: bytearray, kind: int) -> Iterator[int]:
    return (start for start in range(_PAGE, len(data), _PAGE) if data[start] == kind)


def _change(folder: Path, text: str, kind: int, bit: int = 1) -> None:
    """Flips a bit of a text, where pages of one kind have it."""
    path = folder / "catalog.db"
    data = bytearray(path.read_bytes())
    places = [at for start in _leaves(data, kind) if (at := data.find(text.encode(), start, start + _PAGE)) > 0]
    assert places
    for place in places:  # and in what is left of an older page
        data[place + 10] ^= bit
    path.write_bytes(data)


def _renumber(folder: Path, name: str, number: int, bit: int) -> None:
    """Flips a bit of the number of the last row of a table, in which this name is."""
    path = folder / "catalog.db"
    data = bytearray(path.read_bytes())
    for start in _leaves(data, _TABLE):
        cells = int.from_bytes(data[start + 3 : start + 5], "big")
        last = start + int.from_bytes(data[start + 6 + 2 * cells : start + 8 + 2 * cells], "big")
        place = last + (2 if data[last] & 0x80 else 1)
        if data.find(name.encode(), last, last + 150) > 0 and data[place] == number:
            data[place] ^= bit
            path.write_bytes(data)
            return
    raise AssertionError("there is no such row")


def _require_all(folder: Path, hashes: dict[str, list[str]]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.collect()
        assert store.verify().ok
        assert set(store.workspaces()) == set(hashes)
        for name, own in hashes.items():
            assert [each.hash for each in store.workspace(name).documents()] == own
            for hash in own:
                with store.read(hash) as document:
                    assert document.read().startswith(b"Document")


def _repair(folder: Path) -> set[tuple[str, str]]:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert not store.verify().ok
        store.collect()  # it may be called before anybody looks
        found: set[tuple[str, str]] = {(each.action, each.path) for each in store.repair(dry_run=True).repairs}
        report = store.repair()
        assert report.ok
        assert {(each.action, each.path) for each in report.repairs} == found
        return found


def test_a_hash_that_a_row_has_wrong_is_the_one_of_the_stored_document(
    folder: Path, hashes: dict[str, list[str]]
) -> None:
    _change(folder, hashes["bob"][7], _TABLE)
    assert ("corrected", "documents") in _repair(folder)
    _require_all(folder, hashes)


def test_a_hash_that_an_index_has_wrong_is_the_rows(folder: Path, hashes: dict[str, list[str]]) -> None:
    _change(folder, hashes["bob"][7], _INDEX)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.verify().leftovers > 0
        for _ in range(2):
            assert store.collect().leftovers == 0, "they only seem to be some"
    assert ("corrected", "documents") not in _repair(folder)
    _require_all(folder, hashes)


def test_a_sweep_that_a_crash_asked_for_waits_until_the_catalog_is_sound(
    folder: Path, hashes: dict[str, list[str]]
) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store, store._parts.database.write() as db:
        db.execute("UPDATE totals SET sweeps_wanted = sweeps_wanted + 1")
    (folder / "texts" / "ab").mkdir(parents=True, exist_ok=True)
    leftover = folder / "texts" / "ab" / f"{'ab' * 32}.zst"
    leftover.write_bytes(b"left by a crash")
    _change(folder, hashes["bob"][7], _INDEX)
    before = packed(folder).keys()
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.collect().leftovers == 0
    assert packed(folder).keys() == before
    _repair(folder)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.collect().leftovers == 1
    assert not leftover.exists()
    _require_all(folder, hashes)


def test_a_workspace_whose_row_has_another_number_keeps_its_references(
    folder: Path, hashes: dict[str, list[str]]
) -> None:
    _renumber(folder, "carol", 3, bit=8)
    assert ("corrected", "workspaces") in _repair(folder)
    _require_all(folder, hashes)


def test_a_document_whose_row_has_another_number_keeps_its_references(
    folder: Path, hashes: dict[str, list[str]]
) -> None:
    ids = dict(query(folder, "SELECT hash, id FROM documents"))
    last = max(hashes["carol"], key=ids.__getitem__)
    _renumber(folder, last, 60, bit=64)
    assert ("corrected", "documents") in _repair(folder)
    _require_all(folder, hashes)


def test_of_two_names_of_a_workspace_both_are_told(folder: Path, hashes: dict[str, list[str]]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("workspace of dave").add(b"Dave's.")
    _change(folder, "workspace of dave", _TABLE)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        (told,) = [each for each in store.repair().repairs if each.path == "workspaces"]
        (name,) = set(store.workspaces()) - set(hashes)
    assert "workspace of dave" in told.detail
    assert name in told.detail


def test_a_workspace_of_which_nothing_tells_the_name_keeps_its_references(
    folder: Path, hashes: dict[str, list[str]]
) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("recovered-3")
    execute(folder, "DELETE FROM workspaces WHERE name = 'carol'")  # without foreign keys
    assert ("corrected", "workspaces") in _repair(folder)
    hashes["recovered-recovered-3"], hashes["recovered-3"] = hashes.pop("carol"), []
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert {each.name for each in store.workspace("recovered-recovered-3").documents()} == {"untitled"}
    _require_all(folder, {name: own for name, own in hashes.items() if own} | {"recovered-3": []})


def test_searches_of_an_open_store_find_a_document_by_its_hash_again(
    folder: Path, hashes: dict[str, list[str]]
) -> None:
    """Though nobody made or dropped a reference since they looked."""
    with DocStore(folder, embedder=HashEmbedder()) as store:
        hash = store.workspace("alice").add(b"Of other bytes\r\nthan its text.").hash
    _change(folder, hash, _TABLE)
    every = {*hashes["alice"], hash}
    with DocStore(folder, embedder=HashEmbedder()) as store, DocStore(folder, embedder=HashEmbedder()) as other:
        for each in (store, other):
            assert {hit.document for hit in each.workspace("alice").search("bytes", k=99)} != every
        assert store.repair().ok
        for each in (store, other):
            alice = each.workspace("alice")
            assert {hit.document for hit in alice.search("bytes", k=99)} == every
            assert {hit.document for hit in alice.search("bytes", documents=[hash])} == {hash}


def test_a_version_that_a_bit_has_made_enormous_keeps_nothing_from_being_corrected(
    folder: Path, hashes: dict[str, list[str]]
) -> None:
    execute(folder, "UPDATE workspaces SET version = 9223372036854775807 WHERE name = 'bob'")
    lie(folder, "UPDATE workspaces SET refs = refs + 1 WHERE name = 'alice'")
    assert ("corrected", "workspaces") in _repair(folder)
    _require_all(folder, hashes)


def test_a_workspace_that_begins_anew_is_not_taken_for_what_it_was(folder: Path, hashes: dict[str, list[str]]) -> None:
    """By a store that has it in memory, once as many changes were made to it as there had been."""
    with DocStore(folder, embedder=HashEmbedder()) as store, DocStore(folder, embedder=HashEmbedder()) as other:
        carol = other.workspace("carol")
        ((version,),) = query(folder, "SELECT version FROM workspaces WHERE name = 'carol'")
        assert {hit.document for hit in carol.search("Document", k=99)} == {*hashes["carol"]}
        execute(folder, "DELETE FROM workspaces WHERE name = 'carol'")
        assert store.repair().ok
        recovered = store.workspace("carol" if "carol" in store.workspaces() else "recovered-3")
        for hash in hashes["carol"][: version - 1]:
            recovered.remove(hash)
        added = recovered.add(b"What is new.").hash
        left = {*hashes["carol"][version - 1 :], added}
        assert {hit.document for hit in carol.search("Document", k=99)} == left


def test_an_index_with_a_damaged_page_is_made_anew(folder: Path, hashes: dict[str, list[str]]) -> None:
    """One that cannot be read to its end, and has nothing to tell."""
    ((page,),) = query(folder, "SELECT rootpage FROM sqlite_schema WHERE name = 'refs_by_document'")
    path = folder / "catalog.db"
    data = bytearray(path.read_bytes())
    leaf = (page - 1) * _PAGE
    assert data[leaf] == _INDEX
    first = leaf + int.from_bytes(data[leaf + 8 : leaf + 10], "big")
    data[first + 3] ^= 32  # how long its first text is: longer than the row
    path.write_bytes(data)
    _repair(folder)
    _require_all(folder, hashes)
