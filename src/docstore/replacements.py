"""Replacements in the catalog: who moves to a new version, who stays, and the way back.

Plain functions on a transaction, as in `refcount`. A reference moves by DELETE and INSERT, so that the triggers count
it; all of a replacement move in the transaction that publishes the new document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from docstore import quotas
from docstore.contents import DocumentRow, find_document
from docstore.database import Database, row, rows
from docstore.errors import DocumentNotFound, InvalidArgument, not_stored
from docstore.moments import NOW
from docstore.names import shown


@dataclass(frozen=True, slots=True)
class Replacement:
    """What `replace` did."""

    old: str
    """Hash of the document that was replaced."""
    new: str
    """Hash of the one that took its place."""
    moved: tuple[str, ...]
    """Names of the workspaces that reference the new one now, sorted; of each that is expired `chat (expired)`, so that
    two may be alike."""
    stayed: tuple[str, ...]
    """Names of those that had pinned the old one, and keep it."""
    chunks: int
    """Chunks of the new document."""
    embedded: int
    """Vectors that were computed for it. All others were stored, or are those of equal chunks."""

    @property
    def reused(self) -> float:
        """The share of its vectors that were not computed, from 0 to 1."""
        return 1 - self.embedded / self.chunks if self.chunks else 0.0


@dataclass(frozen=True, slots=True)
class Rollback:
    """What `rollback` did."""

    old: str
    """Hash of the document that is back."""
    new: str
    """Hash of the one that had replaced it."""
    moved: tuple[str, ...]
    """Names of the workspaces that reference the old one again."""
    stayed: tuple[str, ...]
    """Names of those that the replacement had moved, and that have pinned or dropped the new one since. One that
    dropped it and then referenced it anew is not named: the replacement no longer concerns it."""


# A reference moves with all that its workspace gave it. Whether its vectors were stored when it was made stays as it
# was: where bytes are demanded, a move must not begin to tell what others hold.
_CARRY = """
    INSERT INTO refs (workspace_id, document_id, name, metadata, added_at, avoided)
    SELECT r.workspace_id, :to, r.name, r.metadata, r.added_at, iif(r.avoided = 0, 0, (
               SELECT coalesce(max(chunks), 1) FROM subindexes WHERE text_id = (
                   SELECT text_id FROM documents WHERE id = :to)))
    FROM moved m JOIN refs r ON r.workspace_id = m.workspace_id AND r.document_id = :from
    WHERE m.replacement_id = :id AND m.had_new = 0 ON CONFLICT DO NOTHING"""

_DROP = """
    DELETE FROM refs WHERE document_id = :from
    AND workspace_id IN (SELECT workspace_id FROM moved WHERE replacement_id = :id AND had_new <= :had_new)"""

# A workspace that an earlier replacement moved to this document, and that no later one moved away, has dropped it
# since. So rolling back the earlier one must not take away what brings it there now. The plus keeps SQLite from going
# through every move of these workspaces.
_OUTDATE = """
    WITH departures(workspace_id, id) AS MATERIALIZED (
        SELECT m.workspace_id, max(m.replacement_id) FROM replacements r CROSS JOIN moved m
        ON m.replacement_id = r.id WHERE r.old_hash = :hash GROUP BY m.workspace_id)
    DELETE FROM moved WHERE replacement_id IN (SELECT id FROM replacements WHERE new_hash = :hash AND id < :id)
    AND +workspace_id IN (SELECT workspace_id FROM moved WHERE replacement_id = :id AND had_new = 0)
    AND replacement_id > coalesce((SELECT d.id FROM departures d WHERE d.workspace_id = moved.workspace_id), 0)"""

# Whether a replacement can still be undone: not once the old version was collected, even if its bytes are added again.
# Rows in `moved` show that it was not collected since. Where there are none, times have to tell, which alone would not
# do: a clock may have been set back.
_OPEN = """
    rolled_back_at = '' AND EXISTS (SELECT 1 FROM documents WHERE hash = new_hash AND doomed = 0)
    AND EXISTS (SELECT 1 FROM documents WHERE hash = old_hash AND doomed = 0 AND (
        stored_at <= replaced_at OR EXISTS (SELECT 1 FROM moved WHERE replacement_id = replacements.id)))"""

_MOVED = "SELECT w.id, w.name FROM moved m JOIN workspaces w ON w.id = m.workspace_id WHERE m.replacement_id = ?"
_REFERENCING = "SELECT w.id, w.name FROM refs r JOIN workspaces w ON w.id = r.workspace_id WHERE r.document_id = ?"


def move(db: Database, old: DocumentRow, new: DocumentRow) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Moves every reference from one document to another, but those that are pinned, and notes it.

    Returns:
        Names of the workspaces that were moved, and of those that stay.
    """
    (noted,) = rows(
        db,
        f"INSERT INTO replacements (old_hash, new_hash, replaced_at) VALUES (?, ?, {NOW}) RETURNING id",
        old.hash, new.hash,
    )  # fmt: skip
    ids = {"id": noted["id"], "from": old.id, "to": new.id, "had_new": 1}
    db.execute(
        """INSERT INTO moved
           SELECT :id, own.workspace_id, n.workspace_id IS NOT NULL, iif(n.workspace_id, own.name, ''),
                  iif(n.workspace_id, own.metadata, ''), iif(n.workspace_id, own.added_at, ''),
                  iif(n.workspace_id, own.avoided, 0)
           FROM refs own LEFT JOIN refs n ON n.workspace_id = own.workspace_id AND n.document_id = :to
           WHERE own.document_id = :from AND NOT EXISTS (
               SELECT 1 FROM pins p WHERE p.workspace_id = own.workspace_id AND p.document_id = :from)""",
        ids,
    )
    with quotas.lifted(db):
        db.execute(_CARRY, ids)
        db.execute(_DROP, ids)
    db.execute(_OUTDATE, ids | {"hash": new.hash})
    moved = _workspaces(db, _MOVED, noted["id"])
    if not moved:
        # Whoever asks again, not knowing that it was done, must not see it twice in the history.
        db.execute(
            """DELETE FROM replacements WHERE id = :id AND EXISTS (
                   SELECT 1 FROM replacements r WHERE r.old_hash = replacements.old_hash
                   AND r.new_hash = replacements.new_hash AND r.rolled_back_at = '' AND r.id < replacements.id)""",
            ids,
        )
    return _names(moved), _names(_workspaces(db, _REFERENCING, old.id))


def move_back(db: Database, hash: str) -> Rollback:
    """Undoes the replacement that brought a document last. See `DocStore.rollback`."""
    last, old, new = _last(db, hash)
    # Several replacements of the same two documents are undone together: the later ones moved workspaces that had
    # pinned the old one. Not those from before the new one was itself replaced (that is to be rolled back first), nor
    # those that cannot be undone any more.
    same = rows(
        db,
        f"""SELECT id FROM replacements WHERE old_hash = ? AND new_hash = ? AND {_OPEN} AND id > (
               SELECT coalesce(max(id), 0) FROM replacements WHERE old_hash = ? AND rolled_back_at = '' AND id < ?)
           ORDER BY id DESC""",
        old.hash, hash, hash, last,
    )  # fmt: skip
    before: dict[int, str] = {}
    moved: dict[int, str] = {}
    for each in same:
        before |= _workspaces(db, _MOVED, each["id"])
        moved |= _undo(db, each["id"], old, new)
    stayed = {id: name for id, name in before.items() if id not in moved}
    return Rollback(old.hash, hash, _names(moved), _names(stayed))


def _last(db: Database, hash: str) -> tuple[int, DocumentRow, DocumentRow]:
    """The replacement that brought a document last, once it can be undone, and its old and new document.

    Raises:
        InvalidArgument, DocumentNotFound: see `DocStore.rollback`.
    """
    last = row(
        db,
        f"""SELECT id, old_hash, {_OPEN} AS is_open FROM replacements WHERE new_hash = ? AND rolled_back_at = ''
            ORDER BY id DESC LIMIT 1""",
        hash,
    )
    if last is None:
        raise InvalidArgument(f"{hash} took no document's place, or that was rolled back already: there is nothing to "
                              "roll back. store.history(hash) shows what replaced what.")  # fmt: skip
    old, new = find_document(db, last["old_hash"]), find_document(db, hash)
    if new is None or new.doomed:
        raise not_stored(hash)
    if old is None or not last["is_open"]:
        raise DocumentNotFound(f"Document {last['old_hash']}, which {hash} replaced, was collected, and with it what "
                               "was known of who had it. If you have its file, or somebody has added it again, "
                               f"replace {hash} by that file.")  # fmt: skip
    later = row(
        db,
        f"SELECT new_hash FROM replacements WHERE old_hash = ? AND id > ? AND {_OPEN} ORDER BY id DESC LIMIT 1",
        hash, last["id"],
    )  # fmt: skip
    if later is not None:
        raise InvalidArgument(f"{hash} was itself replaced since, by {later['new_hash']}: roll that back first.")
    return last["id"], old, new


def _undo(db: Database, id: int, old: DocumentRow, new: DocumentRow) -> dict[int, str]:
    ids = {"id": id, "from": new.id, "to": old.id, "had_new": 0}
    # Who is not on the new document any more, or has pinned it, stays as it is.
    db.execute(
        """DELETE FROM moved WHERE replacement_id = :id AND (
               NOT EXISTS (SELECT 1 FROM refs r WHERE r.workspace_id = moved.workspace_id AND r.document_id = :from)
               OR had_new = 0 AND EXISTS (
                   SELECT 1 FROM pins p WHERE p.workspace_id = moved.workspace_id AND p.document_id = :from))""",
        ids,
    )
    moved = _workspaces(db, _MOVED, id)
    with quotas.lifted(db):
        db.execute(_CARRY, ids)
        db.execute(
            """INSERT INTO refs (workspace_id, document_id, name, metadata, added_at, avoided)
               SELECT workspace_id, :to, name, metadata, added_at, avoided FROM moved
               WHERE replacement_id = :id AND had_new = 1 ON CONFLICT DO NOTHING""",
            ids,
        )
        db.execute(_DROP, ids)
    db.execute("DELETE FROM moved WHERE replacement_id = ?", (id,))
    db.execute(f"UPDATE replacements SET rolled_back_at = {NOW} WHERE id = ?", (id,))
    return moved


def _workspaces(db: Database, query: str, id: int) -> dict[int, str]:
    """Workspaces with their names, by id: two that are expired may be shown by one name."""
    return {each["id"]: shown(each["name"]) for each in rows(db, query, id)}


def _names(workspaces: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(sorted(workspaces.values()))
