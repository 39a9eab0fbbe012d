"""One bit of a value is wrong, so that it is none of its column: it comes back from the index that has a copy of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from docstore import DocStore
from docstore.lifecycle.twins import _TWINS
from docstore.testing import HashEmbedder
from tests.clock import DAY, HOUR, Clock
from tests.folders import query

_PAGE = 4096


@pytest.fixture
def filled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that nobody has open, with a row in every table, and a leaf for each table."""
    clock = Clock(monkeypatch)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice, bob, gone = (store.workspace(name, ttl=DAY) for name in ("alice", "bob", "gone"))
        note = alice.add(b"Five days of leave.", name="noté.txt", metadata={"year": 2024})
        bob.include(alice)
        alice.conversation("leave").append("user", "How many days?")
        store.rollback(store.replace(note.hash, b"Six days of leave.").new)
        gone.expire_after(timedelta(hours=1), sliding=False)
        clock.advance(2 * HOUR)
        assert store.expire().expired == ("gone",)
    return folder


def _flip(folder: Path, table: str, value: str, at: int, bit: int) -> None:
    """Flips a bit of a value in the table, and not in the index that has it too."""
    ((page,),) = query(folder, f"SELECT rootpage FROM sqlite_schema WHERE name = '{table}'")
    path = folder / "catalog.db"
    data = bytearray(path.read_bytes())
    place = data.find(value.encode(), (page - 1) * _PAGE, page * _PAGE)
    assert place > 0
    data[place + at] ^= bit
    path.write_bytes(data)


_VALUES = [(each.table, ", ".join(each.key), column) for each in _TWINS for column in each.columns]


@pytest.mark.parametrize(("table", "key", "column"), _VALUES, ids=[f"{table}.{column}" for table, _, column in _VALUES])
def test_the_value_is_what_it_was(filled: Path, table: str, key: str, column: str) -> None:
    rows = f"SELECT {key}, {column} FROM {table} ORDER BY {key}"
    before = query(filled, rows)
    value = next(each[-1] for each in before if each[-1])
    _flip(filled, table, value, at=value.index("é") + 1 if column == "name" else 0, bit=64)
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert not store.verify().ok
        assert store.repair(dry_run=True).ok
        report = store.repair()
        assert report.ok
        assert any(f"{column} of " in each.detail for each in report.repairs)
        assert {each.path for each in report.repairs} == {table, "catalog.db"}
        assert store.verify().ok
        assert store.workspace("alice").documents()[0].metadata == {"year": 2024}
        assert store.workspace_infos()
    assert query(filled, rows) == before


def test_of_two_values_that_may_both_be_right_the_row_counts(filled: Path) -> None:
    _flip(filled, "refs", "2024", at=3, bit=1)
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert store.repair().ok
        assert store.workspace("alice").documents()[0].metadata == {"year": 2025}
        assert store.verify().ok


def test_a_value_that_only_the_index_has_wrong_stays(filled: Path) -> None:
    before = query(filled, "SELECT * FROM refs")
    ((page,),) = query(filled, "SELECT rootpage FROM sqlite_schema WHERE name = 'refs_by_document'")
    path = filled / "catalog.db"
    data = bytearray(path.read_bytes())
    data[data.find(b"2024", (page - 1) * _PAGE, page * _PAGE) - 2] ^= 64
    path.write_bytes(data)
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert not store.verify().ok
        assert store.repair().ok
    assert query(filled, "SELECT * FROM refs") == before
