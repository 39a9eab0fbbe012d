"""Release 0.2: where the vector of a chunk's text is stored, so that no text with the same chunk computes it again."""

from __future__ import annotations

_TABLES = (
    """
CREATE TABLE chunks (
    -- Which chunk of which stored text says what: a row for each vector of a sub-index, but of those that older
    -- releases made. Only a hint: who reuses a vector reads and compares the texts, so a wrong row costs an embedding.
    text_id INTEGER NOT NULL,           -- whose chunk it is
    pipeline_id INTEGER NOT NULL,       -- in which of its sub-indexes
    chunk INTEGER NOT NULL CHECK (chunk >= 0), -- its place there, from 0
    digest INTEGER NOT NULL,            -- 48 bits of BLAKE3 of what it says in UTF-8, keyed with the fingerprint
    PRIMARY KEY (text_id, pipeline_id, chunk),
    FOREIGN KEY (text_id, pipeline_id) REFERENCES subindexes(text_id, pipeline_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID""",
    # Holds every column, so it is also the twin that makes a flipped byte show.
    "CREATE INDEX chunks_by_digest ON chunks(digest)",
    """
CREATE TABLE copies (
    -- Sub-indexes with vectors that were not computed for them, since the store had them, or for an equal chunk.
    text_id INTEGER NOT NULL,           -- whose sub-index
    pipeline_id INTEGER NOT NULL,       -- which of them
    vectors INTEGER NOT NULL CHECK (vectors > 0), -- how many: in totals.avoided, and not in totals.embedded
    PRIMARY KEY (text_id, pipeline_id),
    FOREIGN KEY (text_id, pipeline_id) REFERENCES subindexes(text_id, pipeline_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX copies_twin ON copies(vectors)",
)

_TRIGGERS = (
    """
CREATE TRIGGER copies_insert AFTER INSERT ON copies BEGIN
    UPDATE totals SET embedded = embedded - NEW.vectors, avoided = avoided + NEW.vectors;
END""",
)

STATEMENTS = (*_TABLES, *_TRIGGERS)
