"""References and counts: the database keeps them right by itself, and refuses what would break them."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from docstore import DocStore, Workspace
from tests.folders import lie, query

NOTE = b"A note."


@pytest.fixture
def raw(folder: Path, alice: Workspace, bob: Workspace) -> sqlite3.Connection:
    """A connection that any program might open, on a store where two workspaces share a document."""
    alice.add(NOTE)
    bob.add(NOTE)
    connection = sqlite3.connect(folder / "catalog.db")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def counts(connection: sqlite3.Connection) -> tuple[int, int]:
    refcount: int = connection.execute("SELECT refcount FROM documents").fetchone()[0]
    references: int = connection.execute("SELECT count(*) FROM refs").fetchone()[0]
    return refcount, references


def test_any_program_that_deletes_references_keeps_the_counts(raw: sqlite3.Connection) -> None:
    assert counts(raw) == (2, 2)
    raw.execute("DELETE FROM refs WHERE workspace_id = 1")
    assert counts(raw) == (1, 1)
    raw.rollback()
    assert counts(raw) == (2, 2)
    raw.execute("DELETE FROM refs")
    assert counts(raw) == (0, 0)
    assert raw.execute("SELECT unreferenced_at IS NOT NULL FROM documents").fetchone() == (1,)
    raw.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM documents",
        "DELETE FROM texts",
        "DELETE FROM workspaces",
        "DELETE FROM pipelines",
        "UPDATE documents SET doomed = 1",
        "UPDATE documents SET refcount = -1",
        "UPDATE documents SET hash = 'x'",
        "UPDATE documents SET size = 7",
        "UPDATE refs SET document_id = 9",
        "UPDATE refs SET workspace_id = 9",
        "INSERT INTO refs SELECT * FROM refs LIMIT 1",
        "INSERT INTO refs SELECT 77, document_id, name, metadata, added_at, avoided FROM refs LIMIT 1",
        "INSERT INTO totals (id) VALUES (2)",
    ],
)
def test_the_database_refuses_what_breaks_an_invariant(raw: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
    raw.close()


def test_a_doomed_document_cannot_be_referenced(raw: sqlite3.Connection) -> None:
    raw.execute("DELETE FROM refs")
    raw.execute("UPDATE documents SET doomed = 1")
    with pytest.raises(sqlite3.IntegrityError, match="doomed"):
        raw.execute("INSERT INTO refs VALUES (1, 1, 'x', '{}', 'now', 0)")
    raw.close()


def test_collection_trusts_the_references_not_the_count(store: DocStore, alice: Workspace, folder: Path) -> None:
    hash = alice.add(NOTE).hash
    lie(folder, "UPDATE documents SET refcount = 0, unreferenced_at = '2000-01-01'")
    assert store.collect().documents == 0
    with store.read(hash) as file:
        assert file.read() == NOTE
    assert not store.verify().ok


def test_every_table_and_column_is_explained_in_the_schema_itself(folder: Path, store: DocStore) -> None:
    tables = query(folder, "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%sqlite%'")
    assert {name for name, _ in tables} >= {
        "documents",
        "texts",
        "subindexes",
        "workspaces",
        "refs",
        "claims",
        "totals",
    }
    for table, sql in tables:
        lines = sql.splitlines()
        assert lines[1].strip().startswith("--"), f"{table} does not say what it is"
        columns = [row[1] for row in query(folder, f"PRAGMA table_info({table})")]
        documented = r"^\s+{0} .*--|(^|\*/), {0} [^/]*/\*"  # beside it, or with the migration that added it
        undocumented = [each for each in columns if not re.search(documented.format(each), sql, re.MULTILINE)]
        assert undocumented == [], f"{table}: columns without a comment"


def test_connections_are_durable_and_checked(store: DocStore) -> None:
    wanted = {"synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1, "trusted_schema": 0, "fullfsync": 1}
    with store._parts.database.read() as db:
        assert {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
