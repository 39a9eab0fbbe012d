"""Release 0.2: workspaces that expire, and come back until they are deleted for good."""

from __future__ import annotations

_COLUMNS = (
    """ALTER TABLE workspaces ADD COLUMN ttl INTEGER CHECK (ttl BETWEEN 1 AND 3153600000)
       /* seconds it lives, from where `sliding` says; NULL: until it is deleted */""",
    """ALTER TABLE workspaces ADD COLUMN sliding INTEGER NOT NULL DEFAULT 1 CHECK (sliding IN (0, 1))
       /* 1: ttl counts from the last access; 0: from lives_from */""",
    """ALTER TABLE workspaces ADD COLUMN lives_from TEXT
       /* when ttl was set; NULL: when it was made */""",
    """ALTER TABLE workspaces ADD COLUMN accessed_at TEXT
       /* the last search or change, up to some minute late; NULL: none since it was made */""",
    # The name is free for another: the row of an expired one is called by the sentinel, its id, and the name it had.
    """ALTER TABLE workspaces ADD COLUMN expired_at TEXT
       CHECK (expired_at IS NULL OR substr(name, 1, 9) = char(31) || 'expired' || char(31))
       /* since when it is expired, and called <U+001F>expired<U+001F>id<U+001F>name; NULL: it is there */""",
    # Derived, so that no statement can forget it.
    """ALTER TABLE workspaces ADD COLUMN expires_at TEXT GENERATED ALWAYS AS (
           strftime('%Y-%m-%dT%H:%M:%fZ',
                    coalesce(CASE sliding WHEN 1 THEN accessed_at ELSE lives_from END, created_at),
                    '+' || ttl || ' seconds')) VIRTUAL
       /* when `expire` takes it at the earliest; NULL: never */""",
    """ALTER TABLE totals ADD COLUMN expired INTEGER NOT NULL DEFAULT 0
       /* rows in workspaces that are expired */""",
)

_TRIGGERS = (
    """
CREATE TRIGGER workspaces_expire AFTER UPDATE OF expired_at ON workspaces
WHEN (OLD.expired_at IS NULL) <> (NEW.expired_at IS NULL)
BEGIN
    UPDATE totals SET expired = expired + iif(NEW.expired_at IS NULL, -1, 1);
END""",
    """
CREATE TRIGGER workspaces_delete_expired AFTER DELETE ON workspaces WHEN OLD.expired_at IS NOT NULL
BEGIN
    UPDATE totals SET expired = expired - 1;
END""",
)

_INDEXES = (
    # Partial: `expire` looks only at what may expire, and at what is expired, however many workspaces there are.
    "CREATE INDEX workspaces_expiring ON workspaces(expires_at) WHERE ttl IS NOT NULL AND expired_at IS NULL",
    "CREATE INDEX workspaces_expired ON workspaces(expired_at) WHERE expired_at IS NOT NULL",
    # See m002 on twins.
    "CREATE INDEX workspaces_lifetime_twin ON workspaces(accessed_at, ttl, sliding, lives_from, expired_at)",
)

STATEMENTS = (*_COLUMNS, *_TRIGGERS, *_INDEXES)
