"""Pins: rows that keep a workspace's references where they are when others move to a new version.

Plain functions on a transaction, as in `refcount`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from docstore.database import Database, rows


def pin(db: Database, workspace: int, hash: str, *, keep: bool) -> bool:
    """Pins a reference of a workspace, or lets go of it. False: there is no such reference."""
    reference = "FROM refs r JOIN documents d ON d.id = r.document_id WHERE r.workspace_id = ? AND d.hash = ?"
    if not rows(db, f"SELECT 1 {reference}", workspace, hash):
        return False
    if keep:
        db.execute(
            f"INSERT INTO pins SELECT r.workspace_id, r.document_id {reference} ON CONFLICT DO NOTHING",
            (workspace, hash),
        )
    else:
        db.execute(
            "DELETE FROM pins WHERE workspace_id = ? AND document_id = (SELECT id FROM documents WHERE hash = ?)",
            (workspace, hash),
        )
    return True


def pin_all(db: Database, workspace: int, hashes: Iterable[str]) -> None:
    """Pins those of some documents that a workspace references."""
    db.execute(
        """INSERT INTO pins SELECT r.workspace_id, r.document_id FROM refs r JOIN documents d ON d.id = r.document_id
           WHERE r.workspace_id = ? AND d.hash IN (SELECT value FROM json_each(?)) ON CONFLICT DO NOTHING""",
        (workspace, json.dumps(list(hashes))),
    )


def pinned(db: Database, workspace: int) -> list[str]:
    """Hashes of what a workspace has pinned."""
    query = (
        "SELECT d.hash FROM pins p JOIN documents d ON d.id = p.document_id WHERE p.workspace_id = ? ORDER BY d.hash"
    )
    return [each["hash"] for each in rows(db, query, workspace)]
