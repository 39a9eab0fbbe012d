"""Witnesses: what the catalog's own indexes still tell of rows that their tables have lost, or hold otherwise.

An index has a copy of each name and hash with the id of its row. Where one bit of a page has changed, only one of the
two is wrong, and what is stored under a hash says which. To be asked before the indexes are made anew from the tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from docstore.database import Database
from docstore.errors import DocStoreError
from docstore.lifecycle import guards, lost_references, twins
from docstore.moments import NOW
from docstore.names import EXPIRED, name_before, shown
from docstore.reports import Problem

IsStored = Callable[[str, int, str], bool]
"""Given a table, the id of a row, and a hash: whether that row's piece is stored under it."""

_NAMED = {"documents": "hash", "texts": "hash", "workspaces": "name"}
_MEMBERS = "SELECT workspace_id, count(*) FROM refs GROUP BY workspace_id"


class Testimony(NamedTuple):
    """What the indexes say, where the tables do not say the same."""

    names: dict[str, dict[int, str]]
    """By table, the name or hash of each id."""
    references: list[lost_references.Reference] | None
    """Those that come back when their table is made anew from its index. None: the table is as good."""
    values: list[twins.Value]
    """What makes a row whole again."""

    @classmethod
    def of(cls, db: Database) -> Testimony:
        """Reads all indexes that can be read. In a transaction that only reads: in one that writes, SQLite refuses
        every change after it has met a damaged page."""
        names = {table: _different(db, table, column) for table, column in _NAMED.items()}
        return cls(names, lost_references.told(db), twins.told(db))

    def correct_before(self, db: Database) -> list[Problem]:
        """Corrects what can be read in the indexes alone, before they are made anew from the tables. Gives what was
        wrong."""
        return [] if self.references is None else lost_references.restore(db, self.references)

    def correct(self, db: Database, is_stored: IsStored) -> list[Problem]:
        """Corrects hashes, ids and values of rows, once the indexes were made anew. Gives what was wrong."""
        found = twins.correct(db, self.values)
        for table in ("documents", "texts"):
            for id, hash in self.names.get(table, {}).items():
                row = db.execute(f"SELECT hash FROM {table} WHERE id = ?", (id,)).fetchone()
                if row is not None and _is_right(is_stored, table, id, hash, row[0]):
                    with guards.lifted(db, table):
                        db.execute(f"UPDATE {table} SET hash = ? WHERE id = ?", (hash, id))
                    found.append(Problem("catalog", table, f"row {id} is that of {hash}, not of {row[0]}", ()))
                elif row is None and table == "documents" and _was_renumbered(db, id, hash):
                    found.append(Problem("catalog", table, f"document {hash} had lost its number {id}", (), (hash,)))
        return found + self._restore_workspaces(db) + self._other_names(db)

    def _other_names(self, db: Database) -> list[Problem]:
        """Workspaces whose index has another name than their row. Nothing says which is right, so somebody must."""
        found = []
        for id, name in self.names.get("workspaces", {}).items():
            row = db.execute("SELECT name FROM workspaces WHERE id = ?", (id,)).fetchone()
            if row is not None and row[0] != name:
                detail = (f"workspace {id} is called {shown(str(row[0]))} by its row, which counts, and was called "
                          f"{shown(name)} by an index: see whose documents it has")  # fmt: skip
                found.append(Problem("catalog", "workspaces", detail, (shown(str(row[0])),)))
        return found

    def _restore_workspaces(self, db: Database) -> list[Problem]:
        """Of workspaces that references still name: to drop these would let the next collection delete documents."""
        found = []
        for id, references in db.execute(_MEMBERS).fetchall():
            if db.execute("SELECT 1 FROM workspaces WHERE id = ?", (id,)).fetchone() is None:
                name = self._restored(db, id)
                detail = f"workspace {id}, which has {references} references, was lost: it is called {shown(name)} now"
                found.append(Problem("catalog", "workspaces", detail, (shown(name),)))
        return found

    def _restored(self, db: Database, id: int) -> str:
        told = self.names.get("workspaces", {}).get(id)
        # The row of that name is then the lost one, and has a wrong id; unless that is another's, whose references it
        # would take along.
        moved = """UPDATE workspaces SET id = ? WHERE name = ?
                   AND NOT EXISTS (SELECT 1 FROM refs WHERE workspace_id = workspaces.id)"""
        if told is not None and db.execute(moved, (id, told)).rowcount == 1:
            return told
        name = told or f"recovered-{id}"
        if name.startswith(EXPIRED):  # since when, nothing tells: it lives
            name = name_before(name)
        while db.execute("SELECT 1 FROM workspaces WHERE name = ?", (name,)).fetchone() is not None:
            name = f"recovered-{name}"
        db.execute(f"INSERT INTO workspaces (id, name, created_at) VALUES (?, ?, {NOW})", (id, name))
        return name


def _was_renumbered(db: Database, id: int, hash: str) -> bool:
    """Gives a document's row the number that references have, unless it has references under its own."""
    moved = """UPDATE documents SET id = ? WHERE hash = ?
               AND NOT EXISTS (SELECT 1 FROM refs WHERE document_id = documents.id)"""
    return db.execute(moved, (id, hash)).rowcount == 1


def _different(db: Database, table: str, column: str) -> dict[int, str]:
    try:
        of_table = dict(db.execute(f"SELECT id, {column} FROM {table} NOT INDEXED").fetchall())
    except sqlite3.DatabaseError:
        of_table = {}
    try:
        index = f"SELECT id, {column} FROM {table} INDEXED BY sqlite_autoindex_{table}_1 WHERE {column} >= ''"
        of_index = db.execute(index).fetchall()
    except sqlite3.DatabaseError:
        return {}
    return {id: name for id, name in of_index if isinstance(name, str) and of_table.get(id) != name}


def _is_right(is_stored: IsStored, table: str, id: int, hash: str, other: str) -> bool:
    def stored(name: str) -> bool:
        try:
            return is_stored(table, id, name)
        except DocStoreError:  # it is written like no hash
            return False

    return stored(hash) and not stored(other)
