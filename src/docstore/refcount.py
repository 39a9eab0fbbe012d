"""Workspaces, references and counts in SQLite.

The counts themselves are kept by the schema's triggers: no function here writes one, so none can get it wrong.
Plain functions on a transaction; what changes anything wants one from `CatalogDatabase.write`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from docstore import lifetimes, moments
from docstore.contents import DocumentRow, SubindexRow, find_document
from docstore.database import Database, checked, records, row, rows
from docstore.lifetimes import Lifetime
from docstore.metadata import decode, require_object
from docstore.moments import spelled
from docstore.names import shown


class ReferenceRow(NamedTuple):
    """A reference with what it points to, under one pipeline."""

    document: str
    """Hash of the document."""
    name: str
    metadata: Mapping[str, Any]
    added_at: str
    avoided: int
    """Chunks whose vectors were there when the reference was made."""
    media_type: str
    size: int
    pages: int | None
    text: str
    """Hash of the text."""
    chunks: int | None
    """None, as what follows, when the pipeline has not seen the text."""
    index_hash: str | None
    index_size: int | None
    spans_hash: str | None
    spans_size: int | None


_OWN_NAMES = ("name", "metadata", "added_at", "avoided")
_OWN = ", ".join(_OWN_NAMES)
_NAMES = ("hash", *_OWN_NAMES, "media_type", "size", "pages", "hash", "chunks",
          "index_hash", "index_size", "spans_hash", "spans_size")  # fmt: skip
JOINED = """
    JOIN texts t ON t.id = d.text_id
    LEFT JOIN subindexes s ON s.text_id = t.id
         AND s.pipeline_id = (SELECT id FROM pipelines WHERE fingerprint = ?)"""
"""What rows of references need besides references and documents, under one pipeline: its fingerprint follows."""
FROM_REFERENCES = f"""
    FROM refs r JOIN documents d ON d.id = r.document_id {JOINED}
    WHERE r.workspace_id = ?"""
"""What rows of a workspace's references are read from, under one pipeline; its fingerprint and the workspace follow."""

_REFERENCE = f"""
    SELECT d.hash, r.name, r.metadata, r.added_at, r.avoided, d.media_type, d.size, d.pages,
           t.hash, s.chunks, s.index_hash, s.index_size, s.spans_hash, s.spans_size {FROM_REFERENCES}"""


def workspace_id(db: Database, name: str) -> int | None:
    """The id of a workspace, or None."""
    found = row(db, "SELECT id FROM workspaces WHERE name = ?", name)
    return None if found is None else int(found["id"])


def create_workspace(db: Database, name: str, lifetime: Lifetime) -> int:
    """Creates a workspace unless it exists. Returns its id."""
    if (found := workspace_id(db, name)) is not None:
        return found
    made = db.execute(
        "INSERT INTO workspaces (name, created_at, ttl, sliding) VALUES (?, ?, ?, ?)",
        (name, spelled(moments.now()), lifetime.seconds, lifetime.sliding),
    )
    return int(made.lastrowid or 0)


def delete_workspace(db: Database, workspace: int) -> None:
    """Drops all of a workspace's references, and the workspace."""
    db.execute("DELETE FROM refs WHERE workspace_id = ?", (workspace,))
    db.execute("DELETE FROM workspaces WHERE id = ?", (workspace,))


def workspace_names(db: Database) -> list[str]:
    """All workspaces that are not expired, by name."""
    return [found["name"] for found in rows(db, lifetimes.of_living("SELECT name FROM workspaces"))]


def workspace_name(db: Database, workspace: int) -> str:
    """The name of a workspace that is there."""
    (found,) = rows(db, "SELECT name FROM workspaces WHERE id = ?", workspace)
    return str(found["name"])


def workspace_state(db: Database, workspace: int) -> tuple[int, int] | None:
    """(version, number of references), or None when the workspace was deleted or is expired: see `lifetimes.gone`."""
    found = row(db, "SELECT version, refs FROM workspaces WHERE id = ? AND expired_at IS NULL", workspace)
    return None if found is None else (int(found["version"]), int(found["refs"]))


def require_workspace(db: Database, workspace: int) -> tuple[int, int]:
    """As `workspace_state`.

    Raises:
        WorkspaceNotFound: it was deleted, or is expired.
    """
    state = workspace_state(db, workspace)
    if state is None:
        raise lifetimes.gone(db, workspace)
    return state


def outdate_views(db: Database) -> None:
    """Makes every search look anew at all that its workspace covers: for whoever changed rows otherwise than by making,
    dropping or changing references, for which triggers do that.

    Versions grow by more than there can be references, since one step more is taken for a single change. And they grow
    by a random number, since a workspace whose row was lost begins at 0 again, and might otherwise come to a version
    that somebody has in memory.
    """
    db.execute("""UPDATE workspaces
                  SET version = (version & ((1 << 61) - 1)) + (1 << 32) + (random() & ((1 << 32) - 1))""")


def refer(
    db: Database,
    workspace: int,
    document: DocumentRow,
    vectors: SubindexRow,
    name: str | None,
    fallback_name: str,
    metadata: str | None,
    avoided: int,
) -> ReferenceRow:
    """Makes the reference if it is missing.

    Where it exists, a name or metadata (as `metadata.encode` spells it) that is not None replaces what is there;
    None leaves it.
    """
    own = fallback_name if name is None else name, metadata or "{}", spelled(moments.now()), avoided
    # Without RETURNING: to read the row back takes a tenth of what linking a document takes.
    made = db.execute(
        """INSERT INTO refs (workspace_id, document_id, name, metadata, added_at, avoided)
           VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
        (workspace, document.id, *own),
    )
    if made.rowcount:
        # One that was dropped, and is made anew, is not what a replacement moved: no rollback takes it away.
        db.execute(
            """DELETE FROM moved WHERE workspace_id = ?
               AND replacement_id IN (SELECT id FROM replacements WHERE new_hash = ?)""",
            (workspace, document.hash),
        )
    else:
        _update(db, workspace, document, name, metadata)
        query = f"SELECT {_OWN} FROM refs WHERE workspace_id = ? AND document_id = ?"
        (own,) = records(db, _OWN_NAMES, query, workspace, document.id)
    name, metadata, added_at, avoided = own
    return ReferenceRow(
        document.hash, name, decode(metadata), added_at, avoided,
        document.media_type, document.size, document.pages, document.text.hash, vectors.chunks,
        vectors.index_hash, vectors.index_size, vectors.spans_hash, vectors.spans_size,
    )  # fmt: skip


def _update(db: Database, workspace: int, document: DocumentRow, name: str | None, metadata: str | None) -> None:
    for column, value in (("name", name), ("metadata", metadata)):
        if value is not None:
            # Only where it differs: an idempotent add must not invalidate the workspace's cached view.
            db.execute(
                f"UPDATE refs SET {column} = ? WHERE workspace_id = ? AND document_id = ? AND {column} <> ?",
                (value, workspace, document.id, value),
            )


def unrefer(db: Database, workspace: int, hashes: Sequence[str]) -> int:
    """Drops the references to some documents. Returns how many there were."""
    cursor = db.execute(
        """DELETE FROM refs WHERE workspace_id = ? AND document_id IN
           (SELECT d.id FROM json_each(?) dropped CROSS JOIN documents d ON d.hash = dropped.value)""",
        (workspace, json.dumps(hashes)),
    )
    return cursor.rowcount


def has_reference(db: Database, workspace: int, hash: str) -> bool:
    """Whether a workspace references a document."""
    query = "SELECT 1 FROM refs WHERE workspace_id = ? AND document_id = (SELECT id FROM documents WHERE hash = ?)"
    return row(db, query, workspace, hash) is not None


def references(db: Database, workspace: int, fingerprint: str) -> list[ReferenceRow]:
    """All references of a workspace, ordered by document hash: the order in which equal scores rank."""
    return _references(db, f"{_REFERENCE} ORDER BY d.hash", fingerprint, workspace)


def reference(db: Database, workspace: int, hash: str, fingerprint: str) -> ReferenceRow | None:
    """A workspace's reference to one document."""
    found = _references(db, f"{_REFERENCE} AND d.hash = ?", fingerprint, workspace, hash)
    return found[0] if found else None


def referenced_texts(db: Database, workspace: int) -> dict[tuple[str, str], tuple[int, str]]:
    """The id of each document that a workspace references, and what it calls it, by the hashes of document and text:
    all a view needs."""
    found = db.execute(
        """SELECT d.hash, t.hash, r.document_id, r.name FROM refs r
           JOIN documents d ON d.id = r.document_id JOIN texts t ON t.id = d.text_id WHERE r.workspace_id = ?""",
        (workspace,),
    )
    some = checked(("hash", "hash", "document_id", "name"), found.fetchall())
    return {(document, text): (id, name) for document, text, id, name in some}


def metadata_of(db: Database, workspace: int) -> dict[str, str]:
    """The metadata of each document that a workspace references, by hash, as the catalog holds it."""
    query = "SELECT d.hash, r.metadata FROM refs r JOIN documents d ON d.id = r.document_id WHERE r.workspace_id = ?"
    found = db.execute(query, (workspace,))
    once: dict[str, str] = {}  # in many a workspace, many documents have the same
    of_each = checked(("hash", "metadata"), found.fetchall())
    metadata = {document: once.setdefault(stored, stored) for document, stored in of_each}
    for stored in once:
        require_object(stored)
    return metadata


def referencing_workspaces(db: Database, document: DocumentRow) -> list[str]:
    """Names of the workspaces that reference a document."""
    found = rows(
        db,
        """SELECT w.name FROM refs r JOIN workspaces w ON w.id = r.workspace_id
           WHERE r.document_id = ? ORDER BY w.name""",
        document.id,
    )
    return [shown(each["name"]) for each in found]


def unreferenced(db: Database, before: str, limit: int) -> list[DocumentRow]:
    """Documents without a reference since before a time, and not doomed yet.

    The index `documents_unreferenced` finds candidates; the references decide. A count that lies can delay a
    collection, never cause one.
    """
    found = rows(
        db,
        """SELECT hash FROM documents d
           WHERE refcount = 0 AND doomed = 0 AND unreferenced_at <= ?
           AND NOT EXISTS (SELECT 1 FROM refs WHERE document_id = d.id) LIMIT ?""",
        before, limit,
    )  # fmt: skip
    return list(_documents(db, found))


def is_any_unreferenced(db: Database) -> bool:
    """Whether a collection without a grace period would find something to begin with."""
    return row(db, "SELECT 1 FROM documents WHERE refcount = 0 AND doomed = 0 LIMIT 1") is not None


def doom(db: Database, document: DocumentRow) -> None:
    """Condemns a document: from the commit on, an add of the same bytes publishes afresh."""
    db.execute("UPDATE documents SET doomed = 1 WHERE id = ?", (document.id,))


def doomed(db: Database, limit: int) -> Iterator[DocumentRow]:
    """Documents whose collection has begun, in this run or in one that crashed; each is read when it is asked for."""
    return _documents(db, rows(db, "SELECT hash FROM documents WHERE doomed = 1 LIMIT ?", limit))


def _documents(db: Database, found: list[dict[str, Any]]) -> Iterator[DocumentRow]:
    return (document for each in found if (document := find_document(db, each["hash"])) is not None)


def _references(db: Database, sql: str, *arguments: Any) -> list[ReferenceRow]:
    return [
        ReferenceRow(document, name, decode(metadata), *rest)
        for document, name, metadata, *rest in records(db, _NAMES, sql, *arguments)
    ]
