"""Guards: triggers that forbid everybody but `repair` to change what never changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from docstore.database import Database


@contextmanager
def lifted(db: Database, table: str) -> Iterator[None]:
    """Without the guard of a table, in the caller's write transaction."""
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name = tbl_name || ?"
    guards = db.execute(query, (table, "_identity")).fetchall()
    for name, _ in guards:
        db.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in guards:
        db.execute(sql)
