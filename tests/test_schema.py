"""What the catalog's triggers and foreign keys count, refuse and keep."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from docstore import DocStore, Workspace
from docstore.lifecycle import catalog
from docstore.testing import HashEmbedder
from tests.folders import execute, files, query
from tests.packing import open_store

NOTE = b"A note."


def test_counts_and_totals_follow_every_change(folder: Path) -> None:
    def sound(store: DocStore) -> None:
        with store._parts.database.read() as db:
            assert catalog.problems(db) == []

    with open_store(folder) as store, DocStore(folder, embedder=HashEmbedder(32)) as second:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        sound(store)
        hash = alice.add(NOTE + b"\n").hash
        bob.add(NOTE + b"\n")
        bob.add(NOTE + b"\r\n")
        sound(store)
        second.workspace("alice").link(hash)
        sound(store)
        with store._parts.database.write() as db:
            db.execute("UPDATE texts SET file_size = file_size + 7")
        sound(store)
        with store._parts.database.write() as db:
            db.execute("UPDATE texts SET file_size = file_size - 7")
        alice.remove(hash)
        sound(store)
        store.delete_workspace("bob")
        sound(store)
        assert store.collect().documents == 2
        sound(store)
    assert files(folder) == []


@pytest.fixture
def raw(folder: Path, alice: Workspace) -> Iterator[sqlite3.Connection]:
    """What any program may open, on a store with two documents."""
    alice.add_many([NOTE, b"Another note."])
    connection = sqlite3.connect(folder / "catalog.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ([], "DELETE FROM workspaces"),
        ([], "DELETE FROM documents"),
        (["DELETE FROM refs", "DELETE FROM subindexes"], "DELETE FROM texts"),
        (["DELETE FROM refs", "DELETE FROM documents"], "DELETE FROM texts"),
        ([], "DELETE FROM pipelines"),
    ],
)
def test_nothing_that_is_pointed_to_can_be_deleted(raw: sqlite3.Connection, before: list[str], refused: str) -> None:
    for statement in before:
        raw.execute(statement)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        raw.execute(refused)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE documents SET refcount = 0",
        "UPDATE documents SET unreferenced_at = '2000-01-01'",
        "UPDATE documents SET refcount = -1, unreferenced_at = NULL",
    ],
)
def test_a_count_and_its_time_agree(raw: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        raw.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE refs SET document_id = 2 WHERE document_id = 1",
        "UPDATE refs SET workspace_id = 2",
        "UPDATE documents SET hash = replace(hash, 'a', 'b')",
        "UPDATE documents SET text_id = 2 WHERE id = 1",
        "UPDATE documents SET size = size + 1",
    ],
)
def test_identities_do_not_change(raw: sqlite3.Connection, statement: str) -> None:
    raw.execute("INSERT INTO workspaces (name, created_at) VALUES ('bob', '')")
    raw.execute("DELETE FROM refs WHERE document_id = 2")
    with pytest.raises(sqlite3.IntegrityError, match=r"cannot change|immutable"):
        raw.execute(statement)


def test_what_sqlite_notes_of_its_tables_is_no_damage(store: DocStore, folder: Path) -> None:
    store.workspace("alice").add(b"A note on keys.")
    execute(folder, "ANALYZE")
    assert query(folder, "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'") == [(1,)]
    assert store.verify().ok
    assert store.repair().repairs == ()
    assert len(store.workspace("alice").documents()) == 1
