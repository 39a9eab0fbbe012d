"""Which workspace has which documents, in SQLite: what an application keeps beside an engine that has no joins."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path


class References:
    """A table of references. What was added or removed is on the disk when the call returns."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "references.db", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE IF NOT EXISTS refs (workspace INTEGER, document INTEGER, PRIMARY KEY (workspace, document))"
            " WITHOUT ROWID;"
        )

    def fill(self, references: Iterable[tuple[int, int]]) -> None:
        """Adds many pairs of a workspace and a document, in one transaction."""
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO refs VALUES (?, ?)", references)
        self._db.execute("COMMIT")

    def add(self, workspace: int, document: int) -> None:
        """Adds one."""
        self._db.execute("INSERT INTO refs VALUES (?, ?)", (workspace, document))

    def remove(self, workspace: int, document: int) -> None:
        """Removes one."""
        self._db.execute("DELETE FROM refs WHERE workspace = ? AND document = ?", (workspace, document))

    def documents(self, workspace: int) -> list[int]:
        """Numbers of the documents that a workspace references."""
        return [row[0] for row in self._db.execute("SELECT document FROM refs WHERE workspace = ?", (workspace,))]

    def close(self) -> None:
        """Closes the database."""
        self._db.close()
