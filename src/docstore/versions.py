"""Versions: what a document came from and what came of it, as the catalog's replacements tell.

Documents that replaced one another are a line. What is noted of it goes with the last of them that is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from docstore.contents import DocumentRow, find_documents
from docstore.database import Database, rows
from docstore.moments import parsed


@dataclass(frozen=True, slots=True)
class Version:
    """One document in a line of versions."""

    hash: str
    replaces: str | None
    """Hash of the version before; None: the first that is known."""
    replaced_at: datetime | None
    """When it took that one's place; None for the first."""
    rolled_back_at: datetime | None
    """When that was undone; None: it was not."""
    stored: bool
    """Whether the store still holds it."""
    references: int
    """Workspaces that reference it now."""


_LINE = """
    WITH RECURSIVE line(hash) AS (
        VALUES (?) UNION SELECT new_hash FROM line JOIN replacements ON old_hash = line.hash
        UNION SELECT old_hash FROM line JOIN replacements ON new_hash = line.hash)"""

_NEIGHBOURS = tuple(
    f"SELECT {one}, EXISTS (SELECT 1 FROM documents WHERE hash = {one}) FROM replacements WHERE {other} = ? {order}"
    for one, other, order in (("new_hash", "old_hash", ""), ("old_hash", "new_hash", "ORDER BY id DESC"))
)


def history(db: Database, hash: str) -> list[Version]:
    """What a document came from and what came of it. Empty: nothing is known of it."""
    found = rows(
        db,
        """WITH RECURSIVE
           up(hash) AS (VALUES (?) UNION SELECT old_hash FROM up JOIN replacements ON new_hash = up.hash),
           down(hash) AS (VALUES (?) UNION SELECT new_hash FROM down JOIN replacements ON old_hash = down.hash)
           SELECT id, old_hash, new_hash, replaced_at, rolled_back_at FROM replacements
           WHERE new_hash IN (SELECT hash FROM up) OR old_hash IN (SELECT hash FROM down) ORDER BY id""",
        hash,
        hash,
    )
    stored = find_documents(db, {hash, *(each[end] for each in found for end in ("old_hash", "new_hash"))})
    versions: list[Version] = []
    told: set[str] = set()
    in_force: set[tuple[str, str]] = set()
    for each in found:
        old, new, undone = each["old_hash"], each["new_hash"], each["rolled_back_at"]
        if old not in told:
            versions.append(_version(stored, old))
        if undone or (old, new) not in in_force:  # again, for those who had pinned the old one
            times = parsed(each["replaced_at"]), parsed(undone) if undone else None
            versions.append(_version(stored, new, old, *times))
        told.update((old, new))
        if not undone:
            in_force.add((old, new))
    return versions or ([_version(stored, hash)] if hash in stored and not stored[hash].doomed else [])


def _version(
    stored: Mapping[str, DocumentRow], hash: str, replaces: str | None = None, at: datetime | None = None,
    undone: datetime | None = None,
) -> Version:  # fmt: skip
    document = stored.get(hash)
    is_stored = document is not None and not document.doomed
    return Version(hash, replaces, at, undone, is_stored, document.refcount if document is not None else 0)


def forget(db: Database, hash: str) -> None:
    """Drops what is noted for a document that was deleted: the way back to it, and with the last of its line all."""
    db.execute("DELETE FROM moved WHERE replacement_id IN (SELECT id FROM replacements WHERE old_hash = ?)", (hash,))
    if not _is_any_stored(db, hash):
        db.execute(f"{_LINE} DELETE FROM replacements WHERE old_hash IN (SELECT hash FROM line)", (hash,))


def _is_any_stored(db: Database, hash: str) -> bool:
    """Whether a document of its line is. Ends at the first, mostly a neighbour: of a line that is long, many may go one
    after the other. Row by row, since of a document that took the place of many each is its neighbour, and the last of
    them first: what goes, goes in the order in which it came."""
    line = [hash]
    known = {hash}
    for each in line:
        for query in _NEIGHBOURS:
            with closing(db.execute(query, (each,))) as found:
                for neighbour, is_stored in found:
                    if is_stored:
                        return True
                    if neighbour not in known:
                        known.add(neighbour)
                        line.append(neighbour)
    return False
