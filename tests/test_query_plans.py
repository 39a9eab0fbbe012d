"""Cost that does not grow with the store: no statement of any call goes through a table that does."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, Workspace
from docstore.testing import HashEmbedder
from tests.packing import notes

# What may be gone through, since it stays small: one row each; who is at work now; what is being deleted.
SMALL = ("totals", "limits", "held", "claims", "documents USING INDEX documents_doomed")
# And what the statement itself brings: constants, lists of parameters, versions of one document; SQLite's own tables.
OWN = ("CONSTANT ROW", "line", "up", "down", "sqlite_master")

NOTE, SINGLE = b"A note.", b"Added alone."


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[Path, set[str]]]:
    """Statements, by the file that was asked."""
    statements: dict[Path, set[str]] = defaultdict(set)
    real = sqlite3.connect

    def connect(path: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(path, **options)
        connection.set_trace_callback(statements[Path(re.sub(r"^file://|\?.*", "", str(path)))].add)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    yield statements
    monkeypatch.undo()


def scans(said: dict[Path, set[str]]) -> list[tuple[str, str]]:
    """Steps that go through a whole table which may grow, with their statements."""
    found = []
    for path, statements in said.items():
        with closing(sqlite3.connect(path)) as connection:
            for sql in statements:
                # A trigger's statements are said as comments. `IN ()` is nothing, which SQLite's plan does not tell.
                if re.match(r"--|PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE", sql) or "IN ()" in sql:
                    continue
                for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}"):
                    table = step.removeprefix("SCAN ")
                    if table != step and not table.startswith((*SMALL, *OWN)) and "VIRTUAL TABLE" not in table:
                        found.append((step, sql))
    return found


def _live(store: DocStore, alice: Workspace) -> None:
    """What applications do all day."""
    bob = store.workspace("bob")
    hash = bob.add(SINGLE).hash
    bob.link(alice.documents()[0].hash)
    bob.add_many([b"More.", b"And more."])
    for where in (None, {"year": 2024}):
        bob.search("note", where=where)
    bob.documents()
    bob.document(hash)
    bob.read(hash).close()
    bob.include(alice)
    bob.search("note")
    bob.exclude(alice)
    bob.limit(documents=100)
    store.limit(physical_bytes=10**9)
    bob.add(b"Within a limit.")
    chat = bob.conversation("chat")
    chat.append("user", "What is noted?", hits=bob.search("note"))
    chat.messages()
    bob.conversations()
    bob.info()
    bob.quota()
    store.quota()
    store.stats()
    store.refcount(hash)
    store.document(hash)
    store.rollback(store.replace(hash, b"Another version.").new)
    store.replace(hash, b"Another version.")
    store.history(hash)
    store.workspace_for([NOTE, SINGLE])
    bob.remove(bob.documents()[0].hash)
    bob.expire_after(timedelta(days=1))
    store.expire()
    store.delete_workspace("bob")
    store.collect()


def test_no_call_goes_through_a_table_that_grows(filled: Path, said: dict[Path, set[str]]) -> None:
    with DocStore(filled, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(SINGLE)
        for statements in said.values():
            statements.clear()  # opening looks at the schema
        _live(store, alice)
        assert store.stats().documents > len(notes())
    assert sum(map(len, said.values())) > 100
    assert scans(said) == []


@pytest.mark.parametrize(
    "call", [lambda db: db.execute("SELECT count(*) FROM refs"), lambda db: db.execute("SELECT 1 FROM documents")]
)
def test_the_check_would_notice(store: DocStore, said: dict[Path, set[str]], call: Callable[[Any], object]) -> None:
    with DocStore(store._parts.folder, embedder=HashEmbedder()) as other, other._parts.database.read() as db:
        call(db)
    assert len(scans(said)) == 1
