"""Packed pieces that are lost, damaged or tampered with: what is found, and what is saved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from docstore import IntegrityError, StoreVersionError, schema
from docstore.archive import ARCHIVE, JOURNAL, Archive
from docstore.migrations import MIGRATIONS
from tests.folders import execute, hash_of, packed
from tests.packing import MANY, change, notes, open_store


def test_a_lost_archive_is_lost_pieces_and_adding_heals(filled: Path) -> None:
    with open_store(filled) as store:
        assert store.workspace("alice").search("ships")
        (filled / ARCHIVE).unlink()
        report = store.verify()
        assert {each.kind for each in report.problems} == {"missing"}
        assert len(report.problems) == 4 * MANY
        assert not store.workspace("alice").add_many(notes()).failed
        assert store.verify().ok
    assert len(packed(filled)) == 4 * MANY


def test_a_lost_piece_may_come_back_as_a_file_and_a_lost_file_as_a_packed_piece(filled: Path) -> None:
    with open_store(filled) as store:
        alice = store.workspace("alice")
        first = notes()[0]
        hash = hash_of(first)
        name = f"documents/{hash[:2]}/{hash}.txt"
        change(filled, "UPDATE sqlar SET data = x'00', sz = 1 WHERE name = ?", name)
        alice.add(first)
        assert (filled / name).read_bytes() == first
        assert name not in packed(filled)
        (filled / name).write_bytes(b"cut")
        change(filled, "DELETE FROM sqlar")
        alice.add_many(notes())
        assert not (filled / name).exists()
        assert packed(filled)[name] == first
        assert store.verify().ok


@pytest.mark.parametrize("target", ["", "nowhere"])
def test_a_link_that_leads_nowhere_does_not_hide_a_packed_piece(tmp_path: Path, target: str) -> None:
    hash = hash_of(notes()[0])
    path = tmp_path / "store" / "documents" / hash[:2] / f"{hash}.txt"
    with open_store(tmp_path / "store") as store:
        path.parent.mkdir(parents=True)
        path.symlink_to(target or path)  # to itself, or to nothing
        assert len(store.workspace("alice").add_many(notes()).added) == MANY
        assert not path.is_symlink()
        with store.read(hash) as file:
            assert file.read() == notes()[0]
        assert store.verify().ok


def test_a_sweep_removes_the_copy_that_does_not_count(filled: Path) -> None:
    for name, data in packed(filled).items():
        (filled / name).parent.mkdir(parents=True, exist_ok=True)
        (filled / name).write_bytes(data)
    with open_store(filled) as store:
        assert store.verify().leftovers == 4 * MANY
        assert store.collect().leftovers == 4 * MANY
        assert packed(filled) == {}
        assert store.verify().ok


def test_a_piece_of_other_bytes_is_found_set_aside_and_healed(filled: Path) -> None:
    hash = hash_of(notes()[0])
    name = f"documents/{hash[:2]}/{hash}.txt"
    change(filled, "UPDATE sqlar SET data = ? WHERE name = ?", bytes(len(notes()[0])), name)
    with open_store(filled) as store:
        (problem,) = store.verify().problems
        assert (problem.kind, problem.path, problem.documents) == ("damaged", name, (hash,))
        (repair,) = store.repair().repairs
        assert repair.action == "quarantined"
        assert (filled / "quarantine" / name).read_bytes() == bytes(len(notes()[0]))
        assert name not in packed(filled)
        store.workspace("alice").add(notes()[0])
        assert store.verify().ok


def test_a_damaged_copy_beside_a_sound_file_harms_nobody(filled: Path) -> None:
    """As a backup may leave it. Once a packed piece was read, packed pieces are looked for first."""
    for name, data in packed(filled).items():
        if name.endswith("index.faiss"):
            (filled / name).parent.mkdir(parents=True)
            (filled / name).write_bytes(data)
            last = name
    change(filled, "UPDATE sqlar SET data = zeroblob(length(data)) WHERE name LIKE '%index.faiss'")
    change(filled, "UPDATE sqlar SET data = zeroblob(length(data) + 1) WHERE name = ?", last)
    with open_store(filled) as store:
        files = store._parts.embeddings(store._parts.pipeline.fingerprint)
        files._last_was_packed = True
        assert len(store.workspace("alice").search("ships", k=MANY)) == MANY


def test_damaged_texts_and_vectors_are_restored(filled: Path) -> None:
    change(filled, "UPDATE sqlar SET data = zeroblob(length(data)) WHERE name NOT LIKE 'documents%'")
    with open_store(filled) as store:
        assert len(store.verify().problems) == 3 * MANY
        assert {each.action for each in store.repair().repairs} == {"restored"}
        assert store.verify().ok


LONG = os.environ.get("DOCSTORE_TESTS") == "long"


@pytest.mark.parametrize("failing", range(3))
def test_a_look_that_fails_once_is_no_damage(filled: Path, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that the system failed looks to SQLite like a malformed file."""
    looks = iter(range(100))
    rows = Archive._rows

    def failing_once(archive: Archive, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        if next(looks) == failing:
            raise IntegrityError("The archive refused: database disk image is malformed.")
        return rows(archive, sql, *arguments)

    with open_store(filled) as store, monkeypatch.context() as patched:
        patched.setattr(Archive, "_rows", failing_once)
        assert store._parts.archive.problems() == []


def test_every_byte_of_the_archive(filled: Path) -> None:
    """A flipped byte is noticed, or harmless; and after a repair and adding again, nothing is wrong."""
    whole = (filled / ARCHIVE).read_bytes()
    before = packed(filled)
    harmless = 0
    for position in range(0, len(whole), 37 if LONG else 1999):
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        (filled / ARCHIVE).write_bytes(damaged)
        (filled / JOURNAL).unlink(missing_ok=True)
        with open_store(filled) as store:
            report = store.verify()
            if report.ok:
                harmless += 1
                assert packed(filled) == before, position
                continue
            store.repair()
            assert not store.workspace("alice").add_many(notes()).failed, position
            report = store.verify()
            assert report.ok, (position, report)
        shutil.rmtree(filled / "quarantine", ignore_errors=True)
        for shard in ("documents", "texts", "embeddings"):
            shutil.rmtree(filled / shard, ignore_errors=True)
    assert harmless < len(whole) // (37 if LONG else 1999), "most of it means something"


@pytest.mark.parametrize("rest", [0, 1, 4096, 10_000])
def test_a_truncated_archive(filled: Path, rest: int) -> None:
    os.truncate(filled / ARCHIVE, rest)
    with open_store(filled) as store:
        assert not store.verify().ok
        store.repair()
        assert not store.workspace("alice").add_many(notes()).failed
        assert store.verify().ok


def test_what_can_be_read_of_a_damaged_archive_is_saved(filled: Path) -> None:
    change(filled, "UPDATE held SET bytes = bytes + 1")
    with open_store(filled) as other, open_store(filled) as store:
        assert other.workspace("alice").search("ships")
        (problem,) = store.verify().problems
        assert (problem.kind, problem.path) == ("damaged", ARCHIVE)
        (repair,) = store.repair(dry_run=True).repairs
        assert repair.action == "restored"
        (repair,) = store.repair().repairs
        assert repair.action == "restored"
        assert not (filled / "quarantine").exists()
        assert store.verify().ok
        # The other has the old file open, and must not write to it.
        assert not other.workspace("bob").add_many(notes(MANY, 50)).failed
        assert other.verify().ok
        assert store.verify().ok
    assert len(packed(filled)) == 8 * MANY


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER theirs AFTER INSERT ON sqlar BEGIN DELETE FROM sqlar; END",
        "CREATE VIEW theirs AS SELECT 1",
        "DROP TRIGGER sqlar_insert",
    ],
)
def test_an_archive_whose_schema_was_changed_is_not_written(filled: Path, sql: str) -> None:
    change(filled, sql)
    with open_store(filled) as store:
        with pytest.raises(IntegrityError, match="repair"):
            store.workspace("bob").add_many(notes(MANY, 50))
        assert not store.verify().ok
        store.repair()
        assert store.verify().ok
        assert not store.workspace("bob").add_many(notes(MANY, 50)).failed


def test_a_view_in_place_of_the_table_is_not_read(filled: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS name, x'' AS data FROM n"
    change(filled, "ALTER TABLE sqlar RENAME TO other")
    change(filled, f"CREATE VIEW sqlar AS {endless}")
    with open_store(filled) as store, pytest.raises(IntegrityError, match="repair"):
        store.workspace("alice").search("ships")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "documents/ab/notes.txt", "", "embeddings/x/y"])
def test_strange_names_are_reported_and_become_no_paths(filled: Path, name: str) -> None:
    change(filled, "INSERT INTO sqlar VALUES (?, 1, 1, 1, x'00')", name)
    with open_store(filled) as store:
        (problem,) = store.verify().problems
        assert (problem.kind, problem.path) == ("foreign", ARCHIVE)
        execute(filled, "UPDATE totals SET sweeps_wanted = sweeps_wanted + 1")
        store.collect()
    assert packed(filled)[name] == b"\0"


def test_a_piece_that_grew_is_not_read_whole(filled: Path) -> None:
    change(filled, "UPDATE sqlar SET data = zeroblob(100000000) WHERE name LIKE '%index.faiss'")
    grown = next(name for name in packed(filled) if name.endswith("index.faiss"))
    with open_store(filled) as store:
        with pytest.raises(IntegrityError, match="repair"):
            store.workspace("alice").search("ships")
        with pytest.raises(IntegrityError, match="repair"):
            store._parts.archive.read(grown, 1000)


def test_packed_documents_beside_a_lost_catalog_are_not_forgotten(filled: Path) -> None:
    for path in filled.glob("catalog.db*"):
        path.unlink()
    (filled / "catalog.db").touch()
    with pytest.raises(IntegrityError, match="lost"):
        open_store(filled)


def test_who_does_not_know_of_archives_refuses(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name: each for name, each in MIGRATIONS.items() if name < "m003"}
    monkeypatch.setattr(schema, "MIGRATIONS", known)
    with pytest.raises(StoreVersionError, match="newer"):
        open_store(filled)
