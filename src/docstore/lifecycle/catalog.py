"""What the catalog must say of itself: the checks of `verify`, and the corrections of `repair`, beside each other.

Counts and totals follow from the rows they count, so a wrong one is both found and corrected by the same expression.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from docstore import claims, messages, schema
from docstore.database import Database, row, rows
from docstore.errors import IntegrityError
from docstore.lifecycle.witnesses import IsStored, Testimony
from docstore.moments import NOW
from docstore.names import shown
from docstore.reports import Problem, ProblemKind

_REFERENCES = "(SELECT count(*) FROM refs WHERE document_id = documents.id)"
_MEMBERS = "(SELECT count(*) FROM refs WHERE workspace_id = workspaces.id)"
_BYTES = """coalesce((SELECT sum(d.size) FROM refs r JOIN documents d ON d.id = r.document_id
    WHERE r.workspace_id = workspaces.id), 0)"""

# What each column of `totals` that can be derived must be.
_TOTALS = {
    "documents": "(SELECT count(*) FROM documents)",
    "workspaces": "(SELECT count(*) FROM workspaces)",
    "expired": "(SELECT count(*) FROM workspaces WHERE expired_at IS NOT NULL)",
    "refs": "(SELECT count(*) FROM refs)",
    "chunks": "(SELECT coalesce(sum(chunks), 0) FROM subindexes)",
    "file_bytes": """((SELECT coalesce(sum(size), 0) FROM documents) + (SELECT coalesce(sum(file_size), 0) FROM texts)
        + (SELECT coalesce(sum(index_size + spans_size), 0) FROM subindexes))""",
    "logical_bytes": """(SELECT coalesce(sum(d.refcount * (d.size + t.file_size
        + (SELECT coalesce(sum(index_size + spans_size), 0) FROM subindexes WHERE text_id = t.id))), 0)
        FROM documents d JOIN texts t ON t.id = d.text_id)""",
}
_TOTALS_SET = ", ".join(f"{column} = {actual}" for column, actual in _TOTALS.items())
_TOTALS_WRONG = " OR ".join(f"{column} <> {actual}" for column, actual in _TOTALS.items())
_GIVEN_OUT = {
    table: f"(SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = '{table}')"
    for table in ("workspaces", "conversations")
}

WITHOUT_SUBINDEX = """NOT EXISTS (SELECT 1 FROM subindexes WHERE text_id = texts.id)
    AND EXISTS (SELECT 1 FROM documents WHERE text_id = texts.id AND doomed = 0)"""
"""Of a row of texts: something needs it, and it has no vectors, without which nothing is published."""


@dataclass(frozen=True, slots=True)
class _Check:
    """A query for contradictions, and what ends them."""

    kind: ProblemKind
    table: str
    query: str
    """One row a contradiction: `detail`, a sentence; and `document`, a hash, and `workspace`, a name, if it has any."""
    corrections: tuple[str, ...] = ()
    """Statements after which the query finds nothing. Empty: nothing here can tell what is right."""
    is_restored: bool = False
    """Whether repair tells what is right from elsewhere, and says so itself."""


_CHECKS = (
    _Check("reference", "refs",
           """SELECT 'a reference of workspace ' || coalesce(w.name, workspace_id) || ' points to nothing' AS detail,
                     w.name AS workspace, json_object('workspace', w.name, 'workspace_id', workspace_id,
                     'document_id', document_id, 'name', r.name, 'metadata', metadata) AS lost
              FROM refs r LEFT JOIN workspaces w ON w.id = workspace_id
              WHERE w.id IS NULL OR NOT EXISTS (SELECT 1 FROM documents WHERE id = document_id)""",
           ("""DELETE FROM refs WHERE NOT EXISTS (SELECT 1 FROM documents WHERE id = document_id)
               OR NOT EXISTS (SELECT 1 FROM workspaces WHERE id = workspace_id)""",)),
    _Check("reference", "includes",
           """SELECT 'a grant of workspace ' || coalesce(included_id, '?') || ' to workspace '
                     || coalesce(workspace_id, '?') || ' names one that is gone' AS detail FROM includes
              WHERE NOT EXISTS (SELECT 1 FROM workspaces WHERE id = workspace_id)
              OR NOT EXISTS (SELECT 1 FROM workspaces WHERE id = included_id)""",
           ("""DELETE FROM includes WHERE NOT EXISTS (SELECT 1 FROM workspaces WHERE id = workspace_id)
               OR NOT EXISTS (SELECT 1 FROM workspaces WHERE id = included_id)""",)),
    _Check("reference", "conversations",
           """SELECT 'the conversation ' || name || ' belongs to no workspace' AS detail,
                     json_object('conversation', name, 'workspace_id', workspace_id, 'created_at', created_at,
                     'messages', (SELECT json_group_array(json_object('number', number, 'role', role,
                     'said_at', said_at, 'content', content)) FROM messages WHERE conversation_id = c.id)) AS lost
              FROM conversations c WHERE NOT EXISTS (SELECT 1 FROM workspaces WHERE id = workspace_id)""",
           ("DELETE FROM conversations WHERE NOT EXISTS (SELECT 1 FROM workspaces WHERE id = workspace_id)",)),
    _Check("reference", "messages",
           """SELECT 'message ' || number || ' belongs to no conversation' AS detail,
                     json_object('conversation_id', conversation_id, 'number', number, 'role', role,
                                 'said_at', said_at, 'content', content) AS lost
              FROM messages WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = conversation_id)""",
           ("DELETE FROM messages WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = conversation_id)",)),
    _Check("catalog", "messages",
           """SELECT 'the conversation ' || c.name || ' of workspace ' || w.name || ' has lost messages' AS detail,
                     w.name AS workspace
              FROM messages m JOIN conversations c ON c.id = conversation_id JOIN workspaces w ON w.id = workspace_id
              GROUP BY c.id HAVING count(*) <> max(number)"""),
    _Check("reference", "subindexes",
           """SELECT 'the sub-index of text ' || text_id || ' belongs to nothing' AS detail FROM subindexes
              WHERE NOT EXISTS (SELECT 1 FROM texts WHERE id = text_id)
              OR NOT EXISTS (SELECT 1 FROM pipelines WHERE id = pipeline_id)""",
           ("""DELETE FROM subindexes WHERE NOT EXISTS (SELECT 1 FROM texts WHERE id = text_id)
               OR NOT EXISTS (SELECT 1 FROM pipelines WHERE id = pipeline_id)""",)),
    _Check("reference", "chunks",
           """SELECT 'chunks that belong to no sub-index: ' || count(*) AS detail
              FROM (SELECT text_id, pipeline_id FROM chunks UNION ALL SELECT text_id, pipeline_id FROM copies) AS own
              WHERE NOT EXISTS (SELECT 1 FROM subindexes AS s WHERE s.text_id = own.text_id
                                AND s.pipeline_id = own.pipeline_id) HAVING count(*) > 0""",
           tuple(f"""DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM subindexes AS s
                     WHERE s.text_id = {table}.text_id AND s.pipeline_id = {table}.pipeline_id)"""
                 for table in ("chunks", "copies"))),
    _Check("reference", "pins",
           """SELECT 'pins of what is not referenced, or moves of nothing: ' || count(*) AS detail
              FROM (SELECT 1 FROM pins AS p WHERE NOT EXISTS (SELECT 1 FROM refs AS r
                        WHERE r.workspace_id = p.workspace_id AND r.document_id = p.document_id) UNION ALL
                    SELECT 1 FROM moved WHERE replacement_id NOT IN (SELECT id FROM replacements)
                        OR workspace_id NOT IN (SELECT id FROM workspaces)) HAVING count(*) > 0""",
           ("""DELETE FROM pins WHERE NOT EXISTS (SELECT 1 FROM refs AS r
               WHERE r.workspace_id = pins.workspace_id AND r.document_id = pins.document_id)""",
            """DELETE FROM moved WHERE replacement_id NOT IN (SELECT id FROM replacements)
               OR workspace_id NOT IN (SELECT id FROM workspaces)""")),
    _Check("reference", "documents",
           """SELECT 'document ' || hash || ' has no text' AS detail, hash AS document
              FROM documents WHERE NOT EXISTS (SELECT 1 FROM texts WHERE id = text_id)"""),
    _Check("reference", "subindexes",
           f"""SELECT 'text ' || hash || ' has no vectors' AS detail, (SELECT hash FROM documents
                      WHERE text_id = texts.id AND doomed = 0) AS document
               FROM texts WHERE {WITHOUT_SUBINDEX}""", is_restored=True),
    _Check("reference", "refs",
           """SELECT 'a doomed document, ' || hash || ', is referenced' AS detail, hash AS document
              FROM documents WHERE doomed = 1 AND EXISTS (SELECT 1 FROM refs WHERE document_id = documents.id)""",
           (f"UPDATE documents SET doomed = 0, refcount = {_REFERENCES}, unreferenced_at = NULL "
            f"WHERE doomed = 1 AND {_REFERENCES} > 0",)),
    _Check("catalog", "texts",
           """SELECT 'text ' || hash || ' belongs to no document' AS detail
              FROM texts WHERE NOT EXISTS (SELECT 1 FROM documents WHERE text_id = texts.id)""",
           ("""DELETE FROM subindexes WHERE text_id IN
               (SELECT id FROM texts WHERE NOT EXISTS (SELECT 1 FROM documents WHERE text_id = texts.id))""",
            "DELETE FROM texts WHERE NOT EXISTS (SELECT 1 FROM documents WHERE text_id = texts.id)")),
    _Check("catalog", "checks",
           """SELECT 'documents that verify would pass over, or checks of none: ' || count(*) AS detail
              FROM (SELECT id FROM documents WHERE id NOT IN (SELECT document_id FROM checks) UNION ALL
                    SELECT document_id FROM checks WHERE document_id NOT IN (SELECT id FROM documents))
              HAVING count(*) > 0""",
           ("DELETE FROM checks WHERE document_id NOT IN (SELECT id FROM documents)",
            "INSERT INTO checks SELECT id, '' FROM documents WHERE id NOT IN (SELECT document_id FROM checks)")),
    _Check("count", "documents",
           f"""SELECT 'document ' || hash || ' has refcount ' || refcount || ' and ' || {_REFERENCES}
                      || ' references' AS detail, hash AS document
               FROM documents WHERE refcount <> {_REFERENCES}""",
           (f"""UPDATE documents SET refcount = {_REFERENCES}, unreferenced_at =
                CASE WHEN {_REFERENCES} = 0 THEN {NOW} END WHERE refcount <> {_REFERENCES}""",)),
    _Check("count", "workspaces",
           f"""SELECT 'workspace ' || name || ' counts ' || refs || ' references and has ' || {_MEMBERS} AS detail,
                      name AS workspace FROM workspaces WHERE refs <> {_MEMBERS}""",
           (f"UPDATE workspaces SET refs = {_MEMBERS} WHERE refs <> {_MEMBERS}",)),
    _Check("count", "workspaces",
           f"""SELECT 'workspace ' || name || ' counts ' || bytes || ' bytes of documents and has ' || {_BYTES}
                      AS detail, name AS workspace FROM workspaces WHERE bytes <> {_BYTES}""",
           (f"UPDATE workspaces SET bytes = {_BYTES} WHERE bytes <> {_BYTES}",)),
    _Check("catalog", "limits",
           "SELECT 'the limits are lost: set them again' AS detail WHERE NOT EXISTS (SELECT 1 FROM limits)",
           ("INSERT OR IGNORE INTO limits (id) VALUES (1)",)),
    _Check("count", "totals",
           "SELECT 'the totals are lost' AS detail WHERE NOT EXISTS (SELECT 1 FROM totals)",
           ("INSERT OR IGNORE INTO totals (id) VALUES (1)",)),
    _Check("count", "totals",
           f"SELECT 'the totals do not add up' AS detail FROM totals WHERE {_TOTALS_WRONG}",
           (f"UPDATE totals SET {_TOTALS_SET}",)),
    *(_Check("count", "totals",
             f"""SELECT 'ids of {table} were counted to ' || {table}_made || ' and given out to ' || {given_out}
                        AS detail FROM totals WHERE {table}_made <> {given_out}""",
             (f"""UPDATE sqlite_sequence SET seq = max(seq, (SELECT {table}_made FROM totals),
                  (SELECT coalesce(max(id), 0) FROM {table})) WHERE name = '{table}'""",
              f"UPDATE totals SET {table}_made = {given_out}"))
      for table, given_out in _GIVEN_OUT.items()),
)  # fmt: skip

_INTEGRITY = "SELECT integrity_check AS detail FROM pragma_integrity_check WHERE integrity_check <> 'ok'"


@dataclass(frozen=True, slots=True)
class Correction:
    """A contradiction that was ended, or could not be."""

    problem: Problem
    lost: str | None
    """JSON of a row that had to go."""
    corrected: bool


def problems(db: Database) -> list[Problem]:
    """Every contradiction. The catalog may be damaged in any way, so one that stops a check is one of them."""
    if schema.is_tampered(db):
        return _schema_problems(db)  # what a query would mean now, or whether it ends, nobody knows
    found = [each for each, _, _ in _contradictions(db)]
    return found + _damaged_messages(db) + _schema_problems(db) + _integrity_problems(db)


def is_sound(db: Database) -> bool:
    """Whether the file is whole, and its indexes say what its tables do."""
    return not _integrity_problems(db)


def correct(db: Database, testimony: Testimony, is_stored: IsStored) -> list[Correction]:
    """Ends what contradictions can be ended, in the caller's write transaction.

    Args:
        testimony: of a moment before it.
    """
    corrections = _correct_schema(db)
    if schema.is_tampered(db):
        return corrections
    broken = _integrity_problems(db)
    if broken:
        corrections += [Correction(each, None, True) for each in testimony.correct_before(db)]
        db.execute("REINDEX")
        remaining = {each.detail for each in _integrity_problems(db)}
        corrections += [Correction(each, None, each.detail not in remaining) for each in broken]
    corrections += [Correction(each, None, True) for each in testimony.correct(db, is_stored)]
    for problem, lost, check in _contradictions(db):
        if not check.is_restored:
            corrections.append(Correction(problem, lost, bool(check.corrections)))
    corrections += [Correction(each, None, False) for each in _damaged_messages(db)]
    for check in _CHECKS:  # all of them, in their order: one correction may bring out the next contradiction
        for statement in check.corrections:
            db.execute(statement)
    if corrections and not broken:
        # Rows that went may have left files. Where pages were damaged, these may be what a row named before.
        claims.request_sweep(db)
    return corrections


def _contradictions(db: Database) -> list[tuple[Problem, str | None, _Check]]:
    found = []
    for check in _CHECKS:
        try:
            contradictions = rows(db, check.query)
        except sqlite3.DatabaseError as error:
            contradictions = [{"detail": f"cannot be read: {error}"}]
            check = _Check("catalog", check.table, check.query)  # noqa: PLW2901  (nothing corrects that)
        for each in contradictions:
            found.append((_problem(db, check, each), each.get("lost"), check))
    return found


def _problem(db: Database, check: _Check, found: dict[str, Any]) -> Problem:
    # As text: in a damaged catalog they may be of any type.
    document, workspace = found.get("document"), found.get("workspace")
    workspaces = set() if workspace is None else {shown(str(workspace))}
    if document is not None:
        query = """SELECT DISTINCT w.name FROM refs r JOIN workspaces w ON w.id = r.workspace_id
                   WHERE r.document_id = (SELECT id FROM documents WHERE hash = ?)"""
        with contextlib.suppress(IntegrityError, sqlite3.DatabaseError):
            workspaces = {shown(each["name"]) for each in rows(db, query, document)}
    documents = () if document is None else (str(document),)
    return Problem(check.kind, check.table, found["detail"], tuple(sorted(workspaces)), documents)


def _damaged_messages(db: Database) -> list[Problem]:
    """Messages that are not what was written. Nothing says what they were: a backup does, or they go."""
    query = """SELECT w.name AS workspace, c.name AS conversation FROM conversations c
               JOIN workspaces w ON w.id = c.workspace_id WHERE c.id = ?"""
    found = []
    try:
        for conversation, number in messages.damaged(db):
            owner = row(db, query, conversation) or {"workspace": "", "conversation": conversation}
            workspace = shown(str(owner["workspace"]))
            detail = (f"message {number} of conversation {owner['conversation']} of workspace {workspace} is not what "
                      "was written: restore a backup, or delete the conversation")  # fmt: skip
            found.append(Problem("damaged", "messages", detail, (workspace,)))
    except (sqlite3.DatabaseError, IntegrityError) as error:
        found.append(Problem("catalog", "messages", f"cannot be read: {error}", ()))
    return found


def _integrity_problems(db: Database) -> list[Problem]:
    try:
        found = [str(each["detail"]) for each in rows(db, _INTEGRITY)]
    except sqlite3.DatabaseError as error:
        found = [f"cannot be read: {error}"]
    return [Problem("catalog", "catalog.db", detail, ()) for detail in found]


def _schema_problems(db: Database) -> list[Problem]:
    try:
        strange, missing = schema.difference(db)
    except sqlite3.DatabaseError as error:
        return [Problem("catalog", "catalog.db", f"its schema cannot be read: {error}", ())]
    return [
        Problem("catalog", name, f"the {type} is not the one that this version of docstore makes", ())
        for type, name in sorted({(type, name) for type, name, _ in strange | missing})
    ]


def _correct_schema(db: Database) -> list[Correction]:
    """Makes triggers, indexes and views what they should be. A table that differs holds data, and is left alone."""
    problems = {each.path: each for each in _schema_problems(db)}
    if not problems:
        return []
    strange, missing = schema.difference(db)
    for type, name, _ in strange:
        if type in ("trigger", "view") or (type == "index" and not name.startswith("sqlite_")):
            db.execute(f'DROP {type} "{name.replace(chr(34), chr(34) * 2)}"')
    for type, _, sql in sorted(missing):
        if type in ("trigger", "index") and sql:
            db.execute(sql)
    remaining = {each.path for each in _schema_problems(db)}
    return [Correction(each, None, name not in remaining) for name, each in problems.items()]


def dropped_rows(corrections: list[Correction]) -> bytes:
    """The rows that had to go, one JSON object a line."""
    return b"".join(json.dumps(json.loads(each.lost)).encode() + b"\n" for each in corrections if each.lost)
