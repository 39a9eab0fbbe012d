"""The archive's format: a SQLite Archive with sums over it, and whether a file has this and nothing else that acts.

https://sqlite.org/sqlar.html
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

from docstore.errors import IntegrityError

ADVICE = "Run `docstore repair`, which saves what can still be read."
"""What to do about a damaged archive."""

PRAGMAS_OF_READERS = (
    "trusted_schema = OFF",  # an archive that was tampered with cannot make us call functions
    "cell_size_check = ON",
    "temp_store = MEMORY",  # as in the catalog
    "cache_size = -768",  # KiB: pieces are read once, and stream through it; 2 MB are memory to ask for, and leave L2
)
"""What a connection is told that never writes."""

PRAGMAS: tuple[str, ...] = (
    *PRAGMAS_OF_READERS,
    "secure_delete = ON",
    "journal_mode = TRUNCATE",
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: see durable.sync_file
    "cache_spill = OFF",  # readers go on until the commit
)
"""What any other is told."""

SCHEMA = (
    "CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)",  # as the format has it
    "CREATE TABLE held(pieces INT, bytes INT)",  # sums over sqlar, so that statistics cost the same in any store
    "INSERT INTO held VALUES (0, 0)",
    """CREATE TRIGGER sqlar_insert AFTER INSERT ON sqlar BEGIN
    UPDATE held SET pieces = pieces + 1, bytes = bytes + length(NEW.data);
END""",
    """CREATE TRIGGER sqlar_delete AFTER DELETE ON sqlar BEGIN
    UPDATE held SET pieces = pieces - 1, bytes = bytes - length(OLD.data);
END""",
    """CREATE TRIGGER sqlar_update AFTER UPDATE ON sqlar BEGIN
    UPDATE held SET bytes = bytes - length(OLD.data) + length(NEW.data);
END""",
)
"""Makes an archive."""

EXPECTED = [(sql.split()[1].lower(), sql.split()[2].partition("(")[0], sql) for sql in SCHEMA if "CREATE" in sql]
"""What it then has: (type, name, SQL). The table of pieces comes first."""

ENTRIES = "SELECT type, name, coalesce(sql, '') FROM sqlite_master"
"""Of what an archive has, the same."""

HELD_IS_WRONG = """
    SELECT 1 WHERE (SELECT count(*) FROM held) <> 1
    UNION ALL SELECT 1 FROM held, (SELECT count(*) AS n, coalesce(sum(length(data)), 0) AS size FROM sqlar)
    WHERE pieces <> n OR bytes <> size"""
"""Finds a row where the sums are not those of the pieces."""

OURS = re.compile(r"(documents|texts|embeddings/[0-9a-f]{32})/([0-9a-f]{2})/\2[0-9a-f]{62}[./]")
"""How the names of pieces begin."""


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether there is no table yet."""
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def require(connection: sqlite3.Connection, expected: list[tuple[str, str, str]], path: Path) -> None:
    """Raises IntegrityError unless the archive is what `is_ours` asks for."""
    if not is_ours(connection.execute(ENTRIES).fetchall(), expected):
        raise IntegrityError(f"The schema of {path} is not docstore's: it was damaged or changed. {ADVICE}")


def is_ours(entries: list[tuple[Any, ...]], expected: list[tuple[str, str, str]]) -> bool:
    """Whether an archive is what we made, and does what our statements say.

    Args:
        expected: what it must have. To read, that is the table of pieces; a trigger cannot change what is read.
    """
    # As text: in a damaged schema they may be of any type.
    found = {(str(type), str(name), str(sql)) for type, name, sql in entries}
    acting = {entry for entry in found if entry[0] in ("trigger", "view")}
    return found.issuperset(expected) and (expected != EXPECTED or acting.issubset(expected))
