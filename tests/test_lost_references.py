"""One bit of a reference is wrong: nobody loses a document by that, or gets another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.folders import query

_PAGE, _INDEX = 4096, 10
_DOCUMENT, _WORKSPACE = 1, 2  # bytes before the name, in the table
_CAROL = 3

Told = dict[str, list[tuple[str, str | None]]]


@pytest.fixture
def told(folder: Path) -> Told:
    """What three workspaces hold, by hash and name, in a store that nobody has open."""
    with DocStore(folder, embedder=HashEmbedder()) as store:
        for name in ("alice", "bob", "carol"):
            store.workspace(name).add_many([f"Document {number} of {name}.\n".encode() for number in range(20)])
        carol = store.workspace("carol")
        needle = carol.add(b"What is to be found.\n", name="needle.txt")
        store.workspace("bob").link(needle.hash)
        carol.pin(needle.hash)
        carol.pin(carol.documents()[0].hash)
    return _told(folder)


def _told(folder: Path) -> Told:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert len(store.workspace("carol").pinned()) == 2
        return {name: [(each.hash, each.name) for each in store.workspace(name).documents()]
                for name in store.workspaces()}  # fmt: skip


def _flip(folder: Path, is_table: bool, before_name: int, bit: int) -> None:
    """Flips a bit of a number in the reference to the needle, in the table or in the copy that its index has."""
    path = folder / "catalog.db"
    data = bytearray(path.read_bytes())
    places = [at for start in range(_PAGE, len(data), _PAGE) if data[start] == _INDEX
              and (at := data.find(b"needle.txt", start, start + _PAGE)) > 0]  # fmt: skip
    # A row of the table begins with both numbers, and the name is next; in the index only the document's is before it.
    (place,) = [at for at in places if (data[at - _WORKSPACE] == _CAROL) is is_table]
    data[place - before_name] ^= bit
    path.write_bytes(data)


_PLACES = [
    pytest.param(True, _WORKSPACE, 1, id="table: another workspace"),
    pytest.param(True, _WORKSPACE, 64, id="table: no workspace"),
    pytest.param(True, _DOCUMENT, 1, id="table: a document it has"),
    pytest.param(True, _DOCUMENT, 32, id="table: another document"),
    pytest.param(True, _DOCUMENT, 128, id="table: no document"),
    pytest.param(False, _DOCUMENT, 32, id="index: another document"),
    pytest.param(False, _DOCUMENT, 128, id="index: no document"),
]


@pytest.mark.parametrize(("is_table", "before_name", "bit"), _PLACES)
def test_the_reference_is_what_it_was(folder: Path, told: Told, is_table: bool, before_name: int, bit: int) -> None:
    _flip(folder, is_table, before_name, bit)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        carol = store.workspace("carol")
        assert not store.verify().ok
        store.collect()  # it may be called before anybody looks
        carol.search("What is to be found?")  # is in memory then
        previewed = store.repair(dry_run=True)
        report = store.repair()
        assert report.ok
        assert report == previewed
        mended = [each for each in report.repairs if "had become another" in each.detail]
        needle = [hash for hash, name in told["carol"] if name == "needle.txt"]
        assert [(each.workspaces, list(each.documents)) for each in mended] == [(("carol",), needle)] * is_table
        assert store.verify().ok
        assert carol.search("What is to be found?", k=1)[0].name == "needle.txt"
        carol.unpin(needle[0])
        carol.pin(needle[0])
    assert _told(folder) == told


def test_triggers_and_foreign_keys_are_what_they_were(folder: Path, told: Told) -> None:
    schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    before = query(folder, schema)
    _flip(folder, True, _WORKSPACE, 1)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.repair().ok
        needle = next(hash for hash, name in told["carol"] if name == "needle.txt")
        store.workspace("carol").remove(needle)  # and its pin goes with it
        assert store.refcount(needle) == 1
        assert len(store.workspace("carol").pinned()) == 1
        assert store.verify().ok
    assert query(folder, schema) == before


def test_who_lacked_a_document_and_added_it_again_has_it_once(folder: Path, told: Told) -> None:
    """The index has it twice by then, and all counts agree with that."""
    _flip(folder, True, _WORKSPACE, 1)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        carol = store.workspace("carol")
        needle = carol.add(b"What is to be found.\n", name="needle.txt")
        carol.pin(needle.hash)
        assert store.repair().ok
        assert store.verify().ok
        assert store.refcount(needle.hash) == 2
    assert {name: sorted(own) for name, own in _told(folder).items()} == {
        name: sorted(own) for name, own in told.items()
    }


def test_where_the_counts_agree_with_neither_the_table_counts(folder: Path, told: Told) -> None:
    _flip(folder, True, _WORKSPACE, 1)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        with store._parts.database.write() as db:
            db.execute("UPDATE workspaces SET refs = refs + 1 WHERE name = 'alice'")
        store.repair()
        assert not [each for each in store.repair().repairs if "had become another" in each.detail]
    assert len(query(folder, "SELECT 1 FROM refs")) == sum(map(len, told.values()))
