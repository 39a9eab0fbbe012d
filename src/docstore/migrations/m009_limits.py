"""Release 0.2: how much a workspace may reference, and the store may hold."""

from __future__ import annotations

_BYTES = """coalesce((SELECT sum(d.size) FROM refs r JOIN documents d ON d.id = r.document_id
                  WHERE r.workspace_id = workspaces.id), 0)"""

_TABLES = (
    """ALTER TABLE workspaces ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0)
       /* sum of documents.size over its refs; written by triggers only */""",
    f"UPDATE workspaces SET bytes = {_BYTES}",
    """ALTER TABLE workspaces ADD COLUMN most_documents INTEGER CHECK (most_documents >= 0)
       /* what refs may become; NULL: any */""",
    """ALTER TABLE workspaces ADD COLUMN most_bytes INTEGER CHECK (most_bytes >= 0)
       /* what bytes may become; NULL: any */""",
    """ALTER TABLE workspaces ADD COLUMN warn_at INTEGER NOT NULL DEFAULT 900 CHECK (warn_at BETWEEN 1 AND 1000)
       /* thousandths of these two from which on callers are warned */""",
    """
CREATE TABLE limits (
    -- Of the whole store.
    id INTEGER PRIMARY KEY CHECK (id = 1), -- there is one row
    physical_bytes INTEGER CHECK (physical_bytes >= 0), -- what totals.file_bytes may become; NULL: anything
    keep_free INTEGER CHECK (keep_free BETWEEN 0 AND 999), -- thousandths of its disk that adding must leave; NULL: none
    warn_at INTEGER NOT NULL DEFAULT 900 CHECK (warn_at BETWEEN 1 AND 1000), -- of physical_bytes, as in workspaces
    workspace_documents INTEGER CHECK (workspace_documents >= 0), -- most_documents of workspaces that are made
    workspace_bytes INTEGER CHECK (workspace_bytes >= 0), -- most_bytes of workspaces that are made
    lifted INTEGER NOT NULL DEFAULT 0 CHECK (lifted IN (0, 1)) -- 1, within a transaction only: references move,
                                        -- which no workspace's limit forbids
) STRICT""",
    "INSERT INTO limits (id) VALUES (1)",
)

# The limits are checked where documents are added, which can say what to do. These refuse whatever else runs. Before
# the row is there, since in which order the triggers after it would count is not defined; and not of what is inserted
# in vain, because it is there. A publication inserts the document last: its text and vectors are counted by then.
_TRIGGERS = (
    """
CREATE TRIGGER refs_insert_bytes AFTER INSERT ON refs BEGIN
    UPDATE workspaces SET bytes = bytes + coalesce((SELECT size FROM documents WHERE id = NEW.document_id), 0)
    WHERE id = NEW.workspace_id;
END""",
    """
CREATE TRIGGER refs_delete_bytes AFTER DELETE ON refs BEGIN
    UPDATE workspaces SET bytes = bytes - coalesce((SELECT size FROM documents WHERE id = OLD.document_id), 0)
    WHERE id = OLD.workspace_id;
END""",
    """
CREATE TRIGGER refs_limits BEFORE INSERT ON refs
WHEN (SELECT refs >= most_documents OR (most_bytes IS NOT NULL
             AND bytes + (SELECT size FROM documents WHERE id = NEW.document_id) > most_bytes)
      FROM workspaces WHERE id = NEW.workspace_id)
AND NOT EXISTS (SELECT 1 FROM refs WHERE workspace_id = NEW.workspace_id AND document_id = NEW.document_id)
AND NOT (SELECT lifted FROM limits)
BEGIN SELECT RAISE(ABORT, 'quota: the workspace would exceed its limit'); END""",
    """
CREATE TRIGGER documents_limits BEFORE INSERT ON documents
WHEN (SELECT (SELECT file_bytes FROM totals) + NEW.size > physical_bytes FROM limits)
BEGIN SELECT RAISE(ABORT, 'quota: the store would exceed its limit'); END""",
    """
CREATE TRIGGER workspaces_limits AFTER INSERT ON workspaces
WHEN (SELECT workspace_documents IS NOT NULL OR workspace_bytes IS NOT NULL FROM limits)
BEGIN
    UPDATE workspaces SET most_documents = (SELECT workspace_documents FROM limits),
        most_bytes = (SELECT workspace_bytes FROM limits) WHERE id = NEW.id;
END""",
)

# See m002 on twins. `bytes` needs none: the documents say it too.
_TWINS = (
    "CREATE INDEX workspaces_limits_twin ON workspaces(most_documents, most_bytes, warn_at)",
    """CREATE INDEX limits_twin
    ON limits(physical_bytes, keep_free, warn_at, workspace_documents, workspace_bytes, lifted)""",
)

STATEMENTS = (*_TABLES, *_TRIGGERS, *_TWINS)
