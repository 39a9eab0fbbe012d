"""Release 0.2: which document took the place of which, for whom, and who keeps the one it has."""

from __future__ import annotations

_TABLES = (
    """
CREATE TABLE pins (
    -- A workspace keeps this version: a replacement leaves its reference where it is.
    workspace_id INTEGER NOT NULL,      -- who
    document_id INTEGER NOT NULL,       -- what
    PRIMARY KEY (workspace_id, document_id),
    FOREIGN KEY (workspace_id, document_id) REFERENCES refs(workspace_id, document_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX pins_twin ON pins(document_id)",  # shows a flipped byte: see m002
    """
CREATE TABLE replacements (
    -- One document took the place of another. By hash, since documents go and their lineage stays; it goes with the
    -- last document of it that is stored.
    id INTEGER PRIMARY KEY,             -- grows with time; what moved.replacement_id names
    old_hash TEXT NOT NULL CHECK (length(old_hash) = 64), -- what was replaced
    new_hash TEXT NOT NULL CHECK (length(new_hash) = 64 AND new_hash <> old_hash), -- by what
    replaced_at TEXT NOT NULL,          -- when
    rolled_back_at TEXT NOT NULL DEFAULT '' -- when that was undone; empty: it was not
) STRICT""",
    "CREATE INDEX replacements_by_old ON replacements(old_hash, new_hash, replaced_at, rolled_back_at)",
    "CREATE INDEX replacements_by_new ON replacements(new_hash)",
    """
CREATE TABLE moved (
    -- A reference that a replacement moved, for its rollback.
    replacement_id INTEGER NOT NULL REFERENCES replacements(id) ON DELETE CASCADE, -- by which
    workspace_id INTEGER NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE, -- whose
    had_new INTEGER NOT NULL CHECK (had_new IN (0, 1)), -- 1: it had the new document too, so the old was dropped
    name TEXT NOT NULL,                 -- of the reference that was dropped; empty where none was
    metadata TEXT NOT NULL,             -- the same
    added_at TEXT NOT NULL,             -- the same
    avoided INTEGER NOT NULL,           -- the same; 0 where none was
    PRIMARY KEY (replacement_id, workspace_id)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX moved_by_workspace ON moved(workspace_id, had_new, name, metadata, added_at, avoided)",
)

_TRIGGERS = (
    """
CREATE TRIGGER replacements_identity BEFORE UPDATE OF id, old_hash, new_hash, replaced_at ON replacements
BEGIN SELECT RAISE(ABORT, 'what replaced what does not change: only that it was rolled back'); END""",
)

STATEMENTS = (*_TABLES, *_TRIGGERS)
