"""Verify: reads every published file, compares it with its hash, and the catalog with itself.

Works beside readers and writers: a problem is only believed after a second look at the catalog, since the file may
have been collected in between. What a crash left behind is no problem, and counted apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from docstore import claims, contents, refcount, scratch
from docstore.contents import DocumentRow
from docstore.database import rows
from docstore.durable import SourceError, hash_stream, storage_errors
from docstore.errors import StorageError, StoreLocked
from docstore.ingest.extract import SUFFIXES
from docstore.lifecycle.collect import content_stores, orphans
from docstore.model import Problem, Progress, VerifyReport
from docstore.parts import Parts
from docstore.texts import SUFFIX
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

_PAGE = 256  # documents read from the catalog at a time

# Each query returns one row a contradiction, as a sentence in its column `detail`.
_CATALOG_CHECKS = (
    ("count", "documents",
     """SELECT 'document ' || hash || ' has refcount ' || refcount || ' and '
               || (SELECT count(*) FROM refs WHERE document_id = d.id) || ' references' AS detail
        FROM documents d WHERE refcount <> (SELECT count(*) FROM refs WHERE document_id = d.id)"""),
    ("count", "workspaces",
     """SELECT 'workspace ' || name || ' counts ' || refs || ' references and has '
               || (SELECT count(*) FROM refs WHERE workspace_id = w.id) AS detail
        FROM workspaces w WHERE refs <> (SELECT count(*) FROM refs WHERE workspace_id = w.id)"""),
    ("count", "totals",
     """SELECT 'the totals do not add up' AS detail FROM totals WHERE
            documents <> (SELECT count(*) FROM documents)
            OR workspaces <> (SELECT count(*) FROM workspaces)
            OR refs <> (SELECT count(*) FROM refs)
            OR chunks <> (SELECT coalesce(sum(chunks), 0) FROM subindexes)
            OR file_bytes <> (SELECT coalesce(sum(size), 0) FROM documents)
                + (SELECT coalesce(sum(file_size), 0) FROM texts)
                + (SELECT coalesce(sum(index_size + spans_size), 0) FROM subindexes)
            OR logical_bytes <> (SELECT coalesce(sum(d.refcount * (d.size + t.file_size
                + (SELECT coalesce(sum(index_size + spans_size), 0) FROM subindexes WHERE text_id = t.id))), 0)
                FROM documents d JOIN texts t ON t.id = d.text_id)"""),
    ("reference", "refs",
     """SELECT 'a doomed document, ' || d.hash || ', is referenced' AS detail
        FROM refs r JOIN documents d ON d.id = r.document_id WHERE d.doomed = 1"""),
    ("catalog", "texts",
     """SELECT 'text ' || hash || ' belongs to no document' AS detail FROM texts t
        WHERE NOT EXISTS (SELECT 1 FROM documents WHERE text_id = t.id)"""),
    ("reference", "catalog.db",
     """SELECT 'a row of ' || "table" || ' refers to nothing in ' || parent AS detail
        FROM pragma_foreign_key_check"""),
    ("catalog", "catalog.db",
     "SELECT integrity_check AS detail FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Expected:
    """A file that a row says is there."""

    path: Path
    hash: str
    size: int
    is_blob: bool
    """Of one document alone; other files serve all documents of a text."""


def verify(parts: Parts, readonly: bool, progress: Callable[[Progress], object] | None) -> VerifyReport:
    """See `DocStore.verify`."""
    with parts.database.read() as db:
        problems = [
            Problem(kind, where, found["detail"], ())
            for kind, where, query in _CATALOG_CHECKS
            for found in rows(db, query)
        ]
        total = rows(db, "SELECT count(*) AS documents FROM documents")[0]["documents"]
    files = size = 0
    for done, (document, expected) in enumerate(_documents(parts), 1):
        for each in expected:
            files += 1
            size += each.size
            if (problem := _check(parts, document, each)) is not None:
                problems.append(problem)
        if progress is not None:
            progress(Progress(done, total, 0, document.hash))
    with storage_errors("listing the store's folders"):
        foreign, leftovers = _strangers(parts)
    if leftovers and not readonly:
        # A full disk or a busy store must not cost the report.
        with contextlib.suppress(StorageError, StoreLocked), parts.database.write() as db:
            claims.request_sweep(db)
    return VerifyReport(tuple(problems + foreign), files, size, leftovers)


def _documents(parts: Parts) -> Iterator[tuple[DocumentRow, list[_Expected]]]:
    """Every live document with its files; a text's files come with the first of its documents."""
    last = 0
    while True:
        with parts.database.read() as db:
            page = rows(db, "SELECT id, hash FROM documents WHERE id > ? ORDER BY id LIMIT ?", last, _PAGE)
            found = [contents.find_document(db, each["hash"]) for each in page]
            work = [(each, _expected(parts, db, each)) for each in found if each is not None and not each.doomed]
        yield from work
        if not page:
            return
        last = page[-1]["id"]


def _expected(parts: Parts, db: Database, document: DocumentRow) -> list[_Expected]:
    path = parts.documents.path(document.hash, SUFFIXES[document.media_type])
    blob = _Expected(path, document.hash, document.size, is_blob=True)
    text = document.text
    if not contents.is_first_of_text(db, document):
        return [blob]
    expected = [blob, _Expected(parts.texts.path(text.hash, SUFFIX), text.file_hash, text.file_size, is_blob=False)]
    for fingerprint, found in contents.subindexes_of_text(db, text):
        files = parts.embeddings(fingerprint)
        for suffix, hash, size in (
            (INDEX_SUFFIX, found.index_hash, found.index_size),
            (SPANS_SUFFIX, found.spans_hash, found.spans_size),
        ):
            expected.append(_Expected(files.path(text.hash, suffix), hash, size, is_blob=False))
    return expected


def _check(parts: Parts, document: DocumentRow, expected: _Expected) -> Problem | None:
    kind, detail = _fault(expected)
    if not kind:
        return None
    with parts.database.read() as db:
        now = contents.find_document(db, document.hash)
        if now is None or now.doomed or expected not in _expected(parts, db, now):
            return None  # removed, collected or replaced while we read
        affected = [document] if expected.is_blob else contents.documents_of_text(db, document.text)
        names = {name for each in affected for name in refcount.referencing_workspaces(db, each)}
    return Problem(
        kind,
        str(expected.path.relative_to(parts.folder)),
        detail,
        tuple(sorted(names)),
        tuple(each.hash for each in affected),
    )


def _fault(expected: _Expected) -> tuple[str, str]:
    try:
        with open(expected.path, "rb") as file:
            hash, size = hash_stream(file)
    except FileNotFoundError:
        return "missing", "the catalog says it is stored, and there is no such file"
    except (OSError, SourceError) as error:
        return "damaged", f"it cannot be read: {error}"
    if size != expected.size:
        return "damaged", f"it has {size} bytes and was published with {expected.size}"
    if hash != expected.hash:
        return "damaged", f"its bytes hash to {hash}, not to {expected.hash}"
    return "", ""


def _strangers(parts: Parts) -> tuple[list[Problem], int]:
    """Files that no row names: those that are not ours at all, and how many a crash left."""
    known = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "documents", "texts", "embeddings", "tmp"}
    foreign = [_foreign(parts, path) for path in sorted(parts.folder.iterdir()) if path.name not in known]
    leftovers = scratch.count_dead(parts.tmp)
    for files in content_stores(parts):
        foreign += [_foreign(parts, path) for path in files.strays()]
        for shard in files.shards():
            foreign += [_foreign(parts, path) for hash, _, path in files.files(shard) if not hash]
            with parts.database.read() as db:
                leftovers += len(orphans(parts, db, files, shard))
    return foreign, leftovers


def _foreign(parts: Parts, path: Path) -> Problem:
    return Problem("foreign", str(path.relative_to(parts.folder)), "docstore makes nothing of this name here", ())
