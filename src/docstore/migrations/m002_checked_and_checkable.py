"""Release 0.2: when a document was last verified, and indexes that show damage of the catalog's own rows."""

from __future__ import annotations

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

STATEMENTS = (*_CHECKING, *_TWINS)
