"""The catalog's schema. It documents itself: `sqlite3 catalog.db .schema` prints every comment below.

Invariants the database keeps on its own, whatever code runs against it:

- a document's `refcount` is the number of its rows in `refs`; a document with references is never doomed;
- nothing that something else points to can be deleted (foreign keys, RESTRICT);
- `totals` are the sums over the tables they name;
- a workspace's `version` grows with every change of what its searches may return.

Times are UTC, ISO 8601 with milliseconds, and compare as text. Hashes are BLAKE3, 64 lowercase hexadecimal
characters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import cache
from itertools import chain
from types import NoneType

from docstore.migrations import MIGRATIONS
from docstore.migrations.m001_first_release import APPLICATION_ID

# Where sqlite-utils notes which migrations were applied, as its release 4.2 makes it: the schema of a catalog must not
# depend on which release made it.
_LEDGER = (
    """CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
)""",
    """CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name")""",
)


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a catalog up to date, in the transaction that is open: it happens whole or not at all."""
    # Imported here: that takes as long as opening does, and few processes meet a catalog that is new or behind.
    from sqlite_utils import Database, Migrations

    if not _has_ledger(connection):
        _execute(connection, _LEDGER)
    migrations = Migrations("docstore")
    for name, statements in MIGRATIONS.items():

        @migrations(name=name)
        def _(db: Database, statements: Iterable[str] = statements) -> None:
            _execute(db.conn, statements)

    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))


def _execute(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    # One at a time: sqlite3's executescript would commit the transaction that makes this all or nothing.
    for statement in statements:
        connection.execute(statement)


Entries = set[tuple[str, str, str]]
"""Of a schema: (type, name, SQL)."""


Types = Mapping[str, frozenset[type]]
"""By column name: what values it may have in Python. Columns of one name are of one type in all tables."""


@cache
def _new() -> tuple[frozenset[tuple[str, str, str]], Types]:
    """The schema of a new catalog, and the types of its columns. Making one takes some milliseconds."""
    types: dict[str, set[type]] = {}
    with closing(sqlite3.connect(":memory:")) as empty:
        _execute(empty, chain(_LEDGER, *MIGRATIONS.values()))
        for name, declared, is_nullable in empty.execute(
            # A reference that is joined to no sub-index has none of these.
            """SELECT c.name, c.type, NOT (c."notnull" OR c.pk) OR t.name = 'subindexes'
               FROM sqlite_master t, pragma_table_info(t.name) c
               WHERE t.type = 'table' AND t.name NOT LIKE '%sqlite%'"""
        ):
            types.setdefault(name, set()).update([{"INTEGER": int, "TEXT": str}[declared]], [NoneType] * is_nullable)
        return frozenset(_found(empty)), {name: frozenset(each) for name, each in types.items()}


def column_types() -> Types:
    """What values the catalog's columns may have."""
    return _new()[1]


def _found(connection: sqlite3.Connection) -> Entries:
    # As text: in a damaged schema they may be of any type.
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master")
    return {(str(type), str(name), str(sql)) for type, name, sql in rows}


def difference(connection: sqlite3.Connection) -> tuple[Entries, Entries]:
    """(what is in a catalog's schema and should not be, what should be and is not)."""
    found = _found(connection)
    return found - _new()[0], set(_new()[0] - found)


def is_tampered(connection: sqlite3.Connection) -> bool:
    """Whether our own statements would do something else than they say: anything of ours is missing or changed, or
    there is a trigger or view of somebody else's. Tables and indexes that others add do no harm."""
    strange, missing = difference(connection)
    return bool(missing) or any(type in ("trigger", "view") for type, _, _ in strange)


def unknown_migrations(connection: sqlite3.Connection) -> list[str]:
    """Migrations the catalog has seen and this version has not: a newer docstore wrote it."""
    return [name for name in _applied(connection) if name not in MIGRATIONS]


def pending_migrations(connection: sqlite3.Connection) -> list[str]:
    """Migrations the catalog has not seen: it is new, or an older docstore wrote it."""
    applied = set(_applied(connection))
    return [name for name in MIGRATIONS if name not in applied]


def _applied(connection: sqlite3.Connection) -> list[str]:
    if not _has_ledger(connection):
        return []
    query = "SELECT name FROM _sqlite_migrations WHERE migration_set = 'docstore' ORDER BY id"
    return [str(name) for (name,) in connection.execute(query)]


def _has_ledger(connection: sqlite3.Connection) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlite_migrations'"
    return bool(connection.execute(query).fetchone()[0])


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether the catalog has no tables: it is new, or a crash left it so, or it was lost."""
    return bool(connection.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether the file is a SQLite database that somebody else made."""
    # One statement sees one moment: another process may be creating the catalog between two.
    query = "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
    application, tables = connection.execute(query).fetchone()
    return bool(tables) and application != APPLICATION_ID
