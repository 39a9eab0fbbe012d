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

APPLICATION_ID = 0x444F4353  # 'DOCS', what file(1) and we know a catalog by

NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"

_TABLES = (
    """
CREATE TABLE pipelines (
    -- One index version: everything that decides which vectors a text gets.
    id INTEGER PRIMARY KEY,             -- what subindexes.pipeline_id names
    fingerprint TEXT NOT NULL UNIQUE,   -- hash of `description`; names the folder embeddings/<fingerprint>
    description TEXT NOT NULL,          -- chunker, embedder and codec as JSON, for people
    created_at TEXT NOT NULL            -- when the first sub-index under it was published
) STRICT""",
    """
CREATE TABLE texts (
    -- What extraction gave, once for all documents that give the same. A text is condemned when all of its
    -- documents are doomed; no text is without a document once a transaction is over.
    id INTEGER PRIMARY KEY,             -- what documents.text_id names
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64), -- of the text in UTF-8; names texts/<ab>/<hash>.zst
    characters INTEGER NOT NULL CHECK (characters > 0),  -- Unicode code points, page breaks included
    file_hash TEXT NOT NULL CHECK (length(file_hash) = 64), -- of the compressed file
    file_size INTEGER NOT NULL          -- bytes of the compressed file
) STRICT""",
    """
CREATE TABLE subindexes (
    -- Chunks and vectors of one text under one pipeline: embeddings/<fingerprint>/<ab>/<text hash>/.
    text_id INTEGER NOT NULL REFERENCES texts(id) ON DELETE RESTRICT, -- whose chunks these are
    pipeline_id INTEGER NOT NULL REFERENCES pipelines(id) ON DELETE RESTRICT, -- what made them
    chunks INTEGER NOT NULL CHECK (chunks > 0), -- vectors in index.faiss, rows in chunks.npy
    index_hash TEXT NOT NULL CHECK (length(index_hash) = 64), -- of index.faiss, checked before FAISS reads it
    index_size INTEGER NOT NULL,        -- bytes of index.faiss
    spans_hash TEXT NOT NULL CHECK (length(spans_hash) = 64), -- of chunks.npy
    spans_size INTEGER NOT NULL,        -- bytes of chunks.npy
    PRIMARY KEY (text_id, pipeline_id)
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE documents (
    -- One row for each distinct sequence of bytes stored.
    id INTEGER PRIMARY KEY,             -- what refs.document_id names
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64), -- of the bytes; names documents/<ab>/<hash><suffix>
    media_type TEXT NOT NULL,           -- decided from the content; gives the suffix
    size INTEGER NOT NULL CHECK (size > 0), -- bytes of the blob
    text_id INTEGER NOT NULL REFERENCES texts(id) ON DELETE RESTRICT, -- what extraction gave
    pages INTEGER,                      -- NULL for types without pages
    stored_at TEXT NOT NULL,            -- when the blob was published
    refcount INTEGER NOT NULL DEFAULT 0 CHECK (refcount >= 0), -- rows in refs; written by triggers only
    unreferenced_at TEXT,               -- since when refcount is 0, NULL while it is not; the grace period's start
    doomed INTEGER NOT NULL DEFAULT 0 CHECK (doomed IN (0, 1)), -- 1: being collected, its files may be gone
    CHECK ((refcount = 0) = (unreferenced_at IS NOT NULL)),
    CHECK (doomed = 0 OR refcount = 0)
) STRICT""",
    "CREATE INDEX documents_by_text ON documents(text_id, doomed)",
    # Partial indexes: collection looks only at what it may delete, however large the store is.
    "CREATE INDEX documents_unreferenced ON documents(unreferenced_at) WHERE refcount = 0 AND doomed = 0",
    "CREATE INDEX documents_doomed ON documents(id) WHERE doomed = 1",
    """
CREATE TABLE workspaces (
    -- A named set of references: a user, a team, a chat.
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, so that a handle on a deleted one stays invalid
    name TEXT NOT NULL UNIQUE,          -- what the application calls it
    version INTEGER NOT NULL DEFAULT 0, -- grows with every change of its references; cached views compare it
    refs INTEGER NOT NULL DEFAULT 0 CHECK (refs >= 0), -- rows in refs; written by triggers only
    created_at TEXT NOT NULL            -- when it was first asked for
) STRICT""",
    """
CREATE TABLE refs (
    -- A workspace references a document, at most once.
    workspace_id INTEGER NOT NULL REFERENCES workspaces(id) ON DELETE RESTRICT, -- who
    document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE RESTRICT, -- what
    name TEXT NOT NULL,                 -- what this workspace calls the document
    metadata TEXT NOT NULL,             -- a JSON object, this workspace's own
    added_at TEXT NOT NULL,             -- when the reference was made; adding again does not change it
    avoided INTEGER NOT NULL CHECK (avoided >= 0), -- chunks whose vectors were there; 0: making it embedded them
    PRIMARY KEY (workspace_id, document_id)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX refs_by_document ON refs(document_id)",
    """
CREATE TABLE claims (
    -- Who is working on what is not there yet, so that nobody else does the same work. A claim whose owner is dead
    -- is void: its holder crashed, and may have left files without rows.
    key TEXT NOT NULL PRIMARY KEY,      -- 'document:<hash>' or 'embedding:<fingerprint>:<text hash>'
    owner TEXT NOT NULL                 -- alive while tmp/<owner>.lock is locked
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE totals (
    -- Sums kept by triggers, so that statistics cost the same in a store of any size.
    id INTEGER PRIMARY KEY CHECK (id = 1), -- there is one row
    documents INTEGER NOT NULL DEFAULT 0,  -- rows in documents
    workspaces INTEGER NOT NULL DEFAULT 0, -- rows in workspaces
    refs INTEGER NOT NULL DEFAULT 0,       -- rows in refs
    chunks INTEGER NOT NULL DEFAULT 0,     -- sum of subindexes.chunks
    file_bytes INTEGER NOT NULL DEFAULT 0, -- sizes of all published files
    logical_bytes INTEGER NOT NULL DEFAULT 0, -- the same, each file counted once for every reference that needs it
    embedded INTEGER NOT NULL DEFAULT 0,   -- chunks ever embedded; never falls
    avoided INTEGER NOT NULL DEFAULT 0,    -- sum of refs.avoided ever inserted; never falls
    sweeps_wanted INTEGER NOT NULL DEFAULT 0, -- grows when a crash may have left files without rows
    sweeps_done INTEGER NOT NULL DEFAULT 0 -- how many of those requests are met
) STRICT""",
    "INSERT INTO totals (id) VALUES (1)",
)

# What one reference to a document makes a private copy weigh: its blob, its text, its sub-indexes.
_FOOTPRINT = """(
    NEW.size + (SELECT file_size FROM texts WHERE id = NEW.text_id)
    + (SELECT coalesce(sum(index_size + spans_size), 0) FROM subindexes WHERE text_id = NEW.text_id))"""

_TRIGGERS = (
    """
CREATE TRIGGER refs_before_insert BEFORE INSERT ON refs
WHEN (SELECT doomed FROM documents WHERE id = NEW.document_id)
BEGIN SELECT RAISE(ABORT, 'a doomed document cannot be referenced'); END""",
    """
CREATE TRIGGER refs_insert AFTER INSERT ON refs BEGIN
    UPDATE documents SET refcount = refcount + 1, unreferenced_at = NULL WHERE id = NEW.document_id;
    UPDATE workspaces SET version = version + 1, refs = refs + 1 WHERE id = NEW.workspace_id;
    UPDATE totals SET refs = refs + 1, avoided = avoided + NEW.avoided;
END""",
    f"""
CREATE TRIGGER refs_delete AFTER DELETE ON refs BEGIN
    UPDATE documents SET refcount = refcount - 1,
        unreferenced_at = CASE WHEN refcount = 1 THEN {NOW} END WHERE id = OLD.document_id;
    UPDATE workspaces SET version = version + 1, refs = refs - 1 WHERE id = OLD.workspace_id;
    UPDATE totals SET refs = refs - 1;
END""",
    """
CREATE TRIGGER refs_update AFTER UPDATE OF name, metadata ON refs BEGIN
    UPDATE workspaces SET version = version + 1 WHERE id = NEW.workspace_id;
END""",
    """
CREATE TRIGGER refs_identity BEFORE UPDATE OF workspace_id, document_id ON refs
BEGIN SELECT RAISE(ABORT, 'a reference cannot change what it connects: delete it and insert another'); END""",
    f"""
CREATE TRIGGER documents_refcount AFTER UPDATE OF refcount ON documents BEGIN
    UPDATE totals SET logical_bytes = logical_bytes + (NEW.refcount - OLD.refcount) * {_FOOTPRINT};
END""",
    """
CREATE TRIGGER documents_identity BEFORE UPDATE OF hash, size, text_id ON documents
BEGIN SELECT RAISE(ABORT, 'a document is immutable'); END""",
    """
CREATE TRIGGER documents_insert AFTER INSERT ON documents BEGIN
    UPDATE totals SET documents = documents + 1, file_bytes = file_bytes + NEW.size;
END""",
    """
CREATE TRIGGER documents_delete AFTER DELETE ON documents BEGIN
    UPDATE totals SET documents = documents - 1, file_bytes = file_bytes - OLD.size;
END""",
    """
CREATE TRIGGER texts_insert AFTER INSERT ON texts BEGIN
    UPDATE totals SET file_bytes = file_bytes + NEW.file_size;
END""",
    """
CREATE TRIGGER texts_delete AFTER DELETE ON texts BEGIN
    UPDATE totals SET file_bytes = file_bytes - OLD.file_size;
END""",
    """
CREATE TRIGGER texts_update AFTER UPDATE OF file_size ON texts BEGIN
    UPDATE totals SET file_bytes = file_bytes + NEW.file_size - OLD.file_size,
        logical_bytes = logical_bytes + (NEW.file_size - OLD.file_size)
            * (SELECT coalesce(sum(refcount), 0) FROM documents WHERE text_id = NEW.id);
END""",
    """
CREATE TRIGGER subindexes_insert AFTER INSERT ON subindexes BEGIN
    UPDATE totals SET chunks = chunks + NEW.chunks, embedded = embedded + NEW.chunks,
        file_bytes = file_bytes + NEW.index_size + NEW.spans_size,
        logical_bytes = logical_bytes + (NEW.index_size + NEW.spans_size)
            * (SELECT coalesce(sum(refcount), 0) FROM documents WHERE text_id = NEW.text_id);
END""",
    """
CREATE TRIGGER subindexes_delete AFTER DELETE ON subindexes BEGIN
    UPDATE totals SET chunks = chunks - OLD.chunks, file_bytes = file_bytes - OLD.index_size - OLD.spans_size,
        logical_bytes = logical_bytes - (OLD.index_size + OLD.spans_size)
            * (SELECT coalesce(sum(refcount), 0) FROM documents WHERE text_id = OLD.text_id);
END""",
    """
CREATE TRIGGER workspaces_insert AFTER INSERT ON workspaces BEGIN
    UPDATE totals SET workspaces = workspaces + 1;
END""",
    """
CREATE TRIGGER workspaces_delete AFTER DELETE ON workspaces BEGIN
    UPDATE totals SET workspaces = workspaces - 1;
END""",
)

_CHECKING = (
    """
CREATE TABLE checks (
    -- When verify last read the files of a document: one row for each, kept by triggers.
    document_id INTEGER PRIMARY KEY REFERENCES documents(id) ON DELETE RESTRICT, -- whose
    checked_at TEXT NOT NULL            -- empty: never
) STRICT""",
    "CREATE INDEX checks_by_time ON checks(checked_at)",  # verify reads the least recently checked first
    "INSERT INTO checks SELECT id, '' FROM documents",
    """
CREATE TRIGGER documents_check AFTER INSERT ON documents BEGIN
    INSERT INTO checks VALUES (NEW.id, '');
END""",
    """
CREATE TRIGGER documents_uncheck BEFORE DELETE ON documents BEGIN
    DELETE FROM checks WHERE document_id = OLD.id;
END""",
    """ALTER TABLE totals ADD COLUMN workspaces_made INTEGER NOT NULL DEFAULT 0
       /* rows ever in workspaces; what sqlite_sequence must say */""",
    """UPDATE totals SET workspaces_made =
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'workspaces'), 0)""",
    "DROP TRIGGER refs_before_insert",  # the CHECK on doomed and refcount refuses the same, since a trigger counts
    "DROP TRIGGER workspaces_insert",
    """
CREATE TRIGGER workspaces_insert AFTER INSERT ON workspaces BEGIN
    UPDATE totals SET workspaces = workspaces + 1, workspaces_made = workspaces_made + 1;
END""",
)

# SQLite has no checksums, but `integrity_check` compares every row with its entries in every index. So an index over
# the columns that nothing else says twice (no file, no hash, no count) makes a flipped byte in any row show. The
# rejected alternative, a checksum in each row, would need a function of ours in every program that writes to it.
_TWINS = (
    "CREATE INDEX pipelines_twin ON pipelines(description, created_at)",
    "CREATE INDEX texts_twin ON texts(characters)",
    "CREATE INDEX subindexes_twin ON subindexes(chunks)",
    "CREATE INDEX documents_twin ON documents(media_type, pages, stored_at)",
    "CREATE INDEX workspaces_twin ON workspaces(version, created_at)",
    "DROP INDEX refs_by_document",
    "CREATE INDEX refs_by_document ON refs(document_id, name, metadata, added_at, avoided)",
    "CREATE INDEX totals_twin ON totals(embedded, avoided, sweeps_wanted, sweeps_done, workspaces_made)",
    "CREATE INDEX migrations_twin ON _sqlite_migrations(migration_set, name, applied_at)",
)


MIGRATIONS: Mapping[str, tuple[str, ...]] = {
    # Tables and triggers of release 0.1.
    "m001_first_release": (*_TABLES, *_TRIGGERS, f"PRAGMA application_id = {APPLICATION_ID}"),
    # Release 0.2: when a document was last verified, and indexes that show damage of the catalog's own rows.
    "m002_checked_and_checkable": (*_CHECKING, *_TWINS),
    # Release 0.2: pieces may be in `small.sqlar`. To who does not know of it they would be lost, so it must refuse.
    "m003_small_pieces_are_packed": (),
}
"""What brings a catalog up to date, in this order; each with its statements."""

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
