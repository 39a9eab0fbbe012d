"""The catalog's schema. It documents itself: `sqlite3 catalog.db .schema` prints every comment below.

Invariants the database keeps on its own, whatever code runs against it:

- a document's `refcount` is the number of its rows in `refs`; a document with references is never doomed;
- nothing that something else points to can be deleted alone (foreign keys: RESTRICT, or CASCADE where what points to it
  has no life of its own);
- `totals` are the sums over the tables they name;
- a workspace's `version` grows with every change of its references.

Times are UTC, ISO 8601 with milliseconds, and compare as text. Hashes are BLAKE3, 64 lowercase hexadecimal
characters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import cache
from itertools import chain

from blake3 import blake3

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

DIGEST = "ef18ec80ed59a359b98120a82303adcf8de78a599427a1c379c6a3df17b42172"
"""Of the schema that the migrations make, as `digest` gives it: most catalogs have nothing beside it, and need not be
compared with one that is made for that. A test compares the two."""


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


@cache
def _new() -> frozenset[tuple[str, str, str]]:
    """The schema of a new catalog. Making one takes some milliseconds."""
    with closing(sqlite3.connect(":memory:")) as empty:
        _execute(empty, chain(_LEDGER, *MIGRATIONS.values()))
        return frozenset(_found(empty))


def _found(connection: sqlite3.Connection) -> Entries:
    # As text: in a damaged schema they may be of any type. Without the tables that SQLite's ANALYZE makes.
    query = """SELECT type, name, coalesce(sql, '') FROM sqlite_master
               WHERE NOT (type = 'table' AND name GLOB 'sqlite_stat[134]' AND rootpage > 0)"""
    rows = connection.execute(query)
    return {(str(type), str(name), str(sql)) for type, name, sql in rows}


def difference(connection: sqlite3.Connection) -> tuple[Entries, Entries]:
    """(what is in a catalog's schema and should not be, what should be and is not)."""
    found = _found(connection)
    return found - _new(), set(_new() - found)


def digest(entries: Iterable[tuple[str, str, str]]) -> str:
    """The BLAKE3 hash of a schema, whatever its order."""
    return blake3(repr(sorted(entries)).encode()).hexdigest()


def is_tampered(connection: sqlite3.Connection) -> bool:
    """Whether our own statements would do something else than they say: anything of ours is missing or changed, or
    there is a trigger or view of somebody else's. Tables and indexes that others add do no harm."""
    if digest(_found(connection)) == DIGEST:
        return False
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
