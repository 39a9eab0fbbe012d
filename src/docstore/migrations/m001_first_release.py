"""Tables and triggers of release 0.1."""

from __future__ import annotations

from docstore.moments import NOW

APPLICATION_ID = 0x444F4353  # 'DOCS', what file(1) and we know a catalog by

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

STATEMENTS = (*_TABLES, *_TRIGGERS, f"PRAGMA application_id = {APPLICATION_ID}")
