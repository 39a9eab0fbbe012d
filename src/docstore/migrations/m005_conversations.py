"""Release 0.2: what was said in a workspace."""

from __future__ import annotations

_TABLES = (
    """
CREATE TABLE conversations (
    -- What was said in a workspace, under a name. Goes with it.
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, so that a handle on a deleted one stays invalid
    workspace_id INTEGER NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE, -- where
    name TEXT NOT NULL,                 -- what the application calls it
    created_at TEXT NOT NULL,           -- when it was first asked for
    UNIQUE (workspace_id, name)
) STRICT""",
    """
CREATE TABLE messages (
    -- One message of a conversation. Never changes; goes with its conversation.
    conversation_id INTEGER NOT NULL REFERENCES conversations(id) ON DELETE CASCADE, -- where
    number INTEGER NOT NULL CHECK (number > 0), -- its place: 1, 2, 3 and so on, without gaps
    role TEXT NOT NULL,                 -- who said it, in the application's words
    said_at TEXT NOT NULL,              -- when it was appended
    checksum TEXT NOT NULL CHECK (length(checksum) = 64), -- BLAKE3 of all other columns; see conversations.py
    metadata TEXT NOT NULL,             -- a JSON object, the application's own
    sources TEXT NOT NULL,              -- JSON: which chunks it used and where their texts lie, never the texts
    content TEXT NOT NULL,              -- what was said; last, since reading on from it would read all of it
    PRIMARY KEY (conversation_id, number)
) STRICT""",
    """ALTER TABLE totals ADD COLUMN conversations_made INTEGER NOT NULL DEFAULT 0
       /* rows ever in conversations; what sqlite_sequence must say */""",
)

_TRIGGERS = (
    """
CREATE TRIGGER conversations_insert AFTER INSERT ON conversations BEGIN
    UPDATE totals SET conversations_made = conversations_made + 1;
END""",
    """
CREATE TRIGGER messages_insert BEFORE INSERT ON messages
WHEN NEW.number <> 1 + (SELECT coalesce(max(number), 0) FROM messages WHERE conversation_id = NEW.conversation_id)
BEGIN SELECT RAISE(ABORT, 'a message comes after the last one'); END""",
    """
CREATE TRIGGER messages_identity BEFORE UPDATE ON messages
BEGIN SELECT RAISE(ABORT, 'a message never changes'); END""",
)

# As in m002. The keys are in the indexes that make them unique; all else of a message is in its checksum.
_TWINS = (
    "CREATE INDEX conversations_twin ON conversations(created_at)",
    "CREATE INDEX totals_conversations_twin ON totals(conversations_made)",
)

STATEMENTS = (*_TABLES, *_TRIGGERS, *_TWINS)
