"""Release 0.2: a workspace may let another's searches cover its documents."""

from __future__ import annotations

STATEMENTS = (
    """
CREATE TABLE includes (
    -- A grant: while the row is there, one workspace's searches cover the documents that another references. Not those
    -- that the other one includes in turn.
    workspace_id INTEGER NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE, -- whose searches
    included_id INTEGER NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE, -- whose documents
    granted_at TEXT NOT NULL,           -- when it was granted; granting again does not change it
    PRIMARY KEY (workspace_id, included_id),
    CHECK (workspace_id <> included_id)
) STRICT, WITHOUT ROWID""",
    # Whom a workspace that is deleted was granted to; and what makes a flipped byte show, as in m002.
    "CREATE INDEX includes_twin ON includes(included_id, granted_at)",
)
