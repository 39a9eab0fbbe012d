"""Salvage: of an archive whose pages are damaged, or that was cut off, every piece that can be read is saved."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from docstore import sqlar
from docstore.archive import ARCHIVE
from docstore.lifecycle import salvage
from tests.folders import packed
from tests.packing import notes, open_store

_PAGE = 4096
_LEAF_OF_NAMES, _INNER_OF_NAMES, _LEAF = 10, 2, 13
"""First bytes of pages (https://sqlite.org/fileformat2.html#b_tree_pages)."""
_DOCUMENTS = 150


@pytest.fixture
def many(folder: Path) -> Path:
    """A store whose archive's index of names has an inner page."""
    with open_store(folder) as store:
        assert len(store.workspace("alice").add_many(notes(_DOCUMENTS)).added) == _DOCUMENTS
    return folder


def _pages(archive: Path, kind: int) -> list[int]:
    data = archive.read_bytes()
    return [page for page in range(1, len(data) // _PAGE) if data[page * _PAGE] == kind]


def _overwrite(archive: Path, page: int) -> None:
    with archive.open("r+b") as file:
        file.seek(page * _PAGE)
        file.write(b"\xff" * _PAGE)


def _saved(folder: Path) -> int:
    """Pieces that a repair saves; and adding the documents again heals the rest."""
    with open_store(folder) as store:
        assert not store.verify().ok
        repairs = store.repair().repairs
        assert repairs[0].path == ARCHIVE and repairs[0].action == "restored"
        saved = len(packed(folder))
        alice = store.workspace("alice")
        assert not alice.add_many(notes(_DOCUMENTS)).failed
        assert store.verify().ok and len(alice.search("ships", k=999)) == _DOCUMENTS
    return saved


@pytest.mark.parametrize("kind", [_LEAF_OF_NAMES, _INNER_OF_NAMES])
def test_without_a_page_of_the_index_nothing_is_lost(many: Path, kind: int) -> None:
    _overwrite(many / ARCHIVE, _pages(many / ARCHIVE, kind)[0])
    assert _saved(many) == 4 * _DOCUMENTS
    assert not (many / "quarantine").exists()


@pytest.mark.parametrize("place", [1, 7, -1])
@pytest.mark.parametrize("few", [1, 4096])
def test_a_damaged_page_costs_its_own_pieces(many: Path, place: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "_FEW", few)
    _overwrite(many / ARCHIVE, _pages(many / ARCHIVE, _LEAF)[place])  # the first is that of the sums
    _overwrite(many / ARCHIVE, _pages(many / ARCHIVE, _LEAF_OF_NAMES)[0])
    assert 4 * _DOCUMENTS - 30 < _saved(many) < 4 * _DOCUMENTS
    assert (many / "quarantine" / ARCHIVE).exists()


def test_of_one_that_was_cut_off_what_is_left_is_saved(many: Path) -> None:
    os.truncate(many / ARCHIVE, (many / ARCHIVE).stat().st_size - _PAGE)
    assert 4 * _DOCUMENTS - 30 < _saved(many) < 4 * _DOCUMENTS


def test_of_one_without_a_first_page_nothing_is(many: Path) -> None:
    _overwrite(many / ARCHIVE, 0)
    with open_store(many) as store:
        store.repair()
        assert packed(many) == {}
        assert not store.workspace("alice").add_many(notes(_DOCUMENTS)).failed
        assert store.verify().ok


def test_one_number_that_is_wrong_hides_no_other_row(tmp_path: Path) -> None:
    """As after a flipped bit, which makes the next row seem the last."""
    rows = [(number, f"name {number}", b"piece %d" % number) for number in range(1, 61)]
    with closing(sqlite3.connect(tmp_path / "odd.sqlar")) as archive, archive:
        archive.executescript(";".join(sqlar.SCHEMA))
        archive.executemany("INSERT INTO sqlar (rowid, name, data) VALUES (?, ?, ?)", rows)
    data = bytearray((tmp_path / "odd.sqlar").read_bytes())
    at = data.index(b"name 30piece 30")
    number = data.rindex(bytes([30]), 0, at)
    data[number] = 0x7F  # 127: beyond all others
    (tmp_path / "odd.sqlar").write_bytes(bytes(data))
    saved = dict(salvage._in_order(tmp_path / "odd.sqlar"))
    assert len(saved) >= 59
