"""Includes: which workspaces' documents a workspace's searches cover beside its own, as rows.

Plain functions on a transaction. What a search makes of them is `search`'s; deleting a workspace ends its grants both
ways, by foreign keys.
"""

from __future__ import annotations

from docstore import refcount
from docstore.database import Database, records
from docstore.moments import NOW


def grant(db: Database, workspace: int, included: int) -> None:
    """Lets a workspace's searches cover another's documents. To do it twice changes nothing.

    Raises:
        WorkspaceNotFound: one of them was deleted.
    """
    for each in (workspace, included):
        refcount.require_workspace(db, each)
    db.execute(f"INSERT INTO includes VALUES (?, ?, {NOW}) ON CONFLICT DO NOTHING", (workspace, included))


def revoke(db: Database, workspace: int, included: int) -> bool:
    """Ends a grant. False when there was none.

    Raises:
        WorkspaceNotFound: the one that it was given to was deleted.
    """
    refcount.require_workspace(db, workspace)
    cursor = db.execute("DELETE FROM includes WHERE workspace_id = ? AND included_id = ?", (workspace, included))
    return cursor.rowcount > 0


def names(db: Database, workspace: int) -> list[str]:
    """What a workspace includes, in the order in which they lend their names: the one that was made first, first."""
    refcount.require_workspace(db, workspace)
    query = """SELECT w.name FROM includes i JOIN workspaces w ON w.id = i.included_id
               WHERE i.workspace_id = ? AND w.expired_at IS NULL ORDER BY i.included_id"""
    return [name for (name,) in records(db, ("name",), query, workspace)]
