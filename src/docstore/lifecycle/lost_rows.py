"""LostRows: rows of the catalog that were lost, made again of what is left.

A pipeline's from its files, a text's from a document that gives it, a sub-index's from its text. Before anything else
is corrected: what pointed to a lost row would go as belonging to nothing, and its sound files with the next collection.
A document whose text nothing gives any more gets one that is missing, so that it can be removed, collected, and added
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Any

from blake3 import blake3

from docstore import contents, refcount, schema
from docstore import texts as text_files
from docstore.contents import TextRow
from docstore.database import Database, row, rows
from docstore.durable import Publication, Staged, stage, storage_errors
from docstore.errors import DocStoreError, IntegrityError, StorageError
from docstore.ingest.extraction import SUFFIXES, Unreadable
from docstore.ingest.pipeline import StagedSubindex
from docstore.lifecycle.catalog import WITHOUT_SUBINDEX
from docstore.lifecycle.pace import Pace
from docstore.lifecycle.verify import Expected, fault
from docstore.moments import NOW
from docstore.parts import Parts
from docstore.reports import Repair, RepairAction
from docstore.scratch import Scratch
from docstore.texts import SUFFIX, Text
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

_TOGETHER = 64  # texts that are embedded in one call
EMBEDDED = "It was embedded again."
_TEXT_IS_LOST = ("Its text is lost too, so it cannot be made again. Add the document again, to any workspace, to heal "
                 "it; or restore the file from a backup.")  # fmt: skip
_OF_NONE = "pipeline_id NOT IN (SELECT pipeline_id FROM subindexes AS s WHERE s.text_id = {}.text_id)"
_RESTORED: tuple[RepairAction, str] = "restored", ". It was extracted from its document again."
_GONE: tuple[RepairAction, str] = (
    "unrepaired",
    ", and nothing gives it again. Remove the document from every workspace, collect, and add it again.",
)


_NOT_NOW = (
    "Nothing else of the catalog was corrected. Remove the cause (move a file that cannot be read any more out of the "
    "store, or open the store with larger limits), then repair again."
)

Statement = tuple[str, tuple[object, ...]]


def restore_rows(parts: Parts, dry_run: bool) -> tuple[list[Repair], list[Statement] | None]:
    """Restores rows of pipelines and texts that something tells.

    Returns what it did, and the statements that a dry run did not execute: what else is to be corrected shows after
    these. None where a row is lost that another run may restore: until then nothing else is to be corrected, since what
    points to it would go.
    """
    repairs: list[Repair] = []
    statements: list[Statement | None] = []
    with parts.database.read(tampered=True) as db:
        if parts.readonly or schema.is_tampered(db):
            return repairs, []  # what a query would mean nobody knows
    for restore in (_pipeline, _texts):
        with suppress(IntegrityError):  # what is damaged so that it cannot be read is told of by the catalog's checks
            for repair, statement in restore(parts, dry_run):
                repairs.append(repair)
                statements.append(statement)
    if None in statements:
        return repairs, None
    return repairs, [each for each in statements if each is not None] if dry_run else []


# -- a pipeline, from its files ---------------------------------------------------------------------------------------


def _pipeline(parts: Parts, dry_run: bool) -> Iterator[tuple[Repair, Statement | None]]:
    """Only the one that the store was opened with: of another nothing says what it was."""
    own = parts.pipeline
    with parts.database.read() as db:
        lost = rows(db, "SELECT DISTINCT pipeline_id FROM subindexes "
                        "WHERE pipeline_id NOT IN (SELECT id FROM pipelines)")  # fmt: skip
        known = row(db, "SELECT id FROM pipelines WHERE fingerprint = ?", own.fingerprint)
        found = [] if known else [each["pipeline_id"] for each in lost if _made_by(parts, db, each["pipeline_id"])]
    if len(found) != 1:
        return
    insert = f"INSERT INTO pipelines (id, fingerprint, description, created_at) VALUES (?, ?, ?, {NOW})"
    statement = insert, (found[0], own.fingerprint, own.description)
    if not dry_run:
        with parts.write() as db:
            db.execute(*statement)
    detail = f"pipeline {found[0]} was lost. It is the one that this store is opened with, as its files show."
    yield Repair("restored", "pipelines", detail, ()), statement


def _made_by(parts: Parts, db: Database, pipeline: int) -> bool:
    """Whether sub-indexes of a lost pipeline are files of the one that the store was opened with."""
    files = parts.embeddings(parts.pipeline.fingerprint)
    query = """SELECT t.hash, s.index_hash, s.index_size FROM subindexes s JOIN texts t ON t.id = s.text_id
               WHERE s.pipeline_id = ?"""
    return any(
        fault(Expected.of(files, each["hash"], INDEX_SUFFIX, each["index_hash"], each["index_size"]), Pace()) is None
        for each in rows(db, query, pipeline)
    )


# -- a text, from a document that gives it ----------------------------------------------------------------------------


def _texts(parts: Parts, dry_run: bool) -> Iterator[tuple[Repair, Statement | None]]:
    query = """SELECT text_id, hash, media_type, size, doomed FROM documents
               WHERE NOT EXISTS (SELECT 1 FROM texts WHERE id = text_id) ORDER BY text_id, id"""
    with parts.database.read() as db:
        lacking = rows(db, query)
    for id, documents in groupby(lacking, itemgetter("text_id")):
        owners = list(documents)
        hashes = tuple(each["hash"] for each in owners)
        try:
            text = _given(parts, owners)
        except DocStoreError as error:  # a row that says it is lost would say so for good
            detail = f"document {hashes[0]} had lost its text, and it could not be extracted now: {error} {_NOT_NOW}"
            yield Repair("unrepaired", "texts", detail, (), hashes), None
            continue
        gone = blake3(f"the lost text of {hashes[0]}".encode()).hexdigest()
        statement = _text_row(id, gone if text is None else text.hash, 1, gone, 0)
        is_restored = text is not None if dry_run else _put_text(parts, id, text, gone)
        action, what = _RESTORED if is_restored else _GONE
        yield Repair(action, "texts", f"document {hashes[0]} had lost its text{what}", (), hashes), statement


def _text_row(id: int, hash: str, characters: int, file_hash: str, file_size: int) -> Statement:
    insert = "INSERT INTO texts (id, hash, characters, file_hash, file_size) VALUES (?, ?, ?, ?, ?)"
    return insert, (id, hash, characters, file_hash, file_size)


def _given(parts: Parts, owners: Sequence[dict[str, Any]]) -> Text | None:
    """What the first of some documents gives that gives any text.

    Raises:
        DocStoreError: none does, and of one it could not be found out now.
    """
    failed = None
    for each in owners:
        try:
            if (text := _extracted(parts, each)) is not None:
                return text
        except DocStoreError as error:
            failed = error
    if failed is not None:
        raise failed
    return None


def _extracted(parts: Parts, document: dict[str, Any]) -> Text | None:
    if document["media_type"] not in SUFFIXES:
        return None
    suffix = SUFFIXES[document["media_type"]]
    blob = Expected.of(parts.documents, document["hash"], suffix, document["hash"], document["size"])
    if document["doomed"]:
        return None
    found = fault(blob, Pace())
    if found is None:
        return extracted(parts, blob, document["media_type"])
    if found.kind == "unreadable":  # it may be sound: too many files are open, or a disk fails
        raise StorageError(f"{blob.path}: {found.detail}.")
    return None


def extracted(parts: Parts, blob: Expected, media_type: str) -> Text | None:
    """What an intact document gives; None where it gives none any more, to another version.

    Raises:
        DocStoreError: that could not be found out now: no memory for a process, a limit was met.
    """
    try:
        with storage_errors("reading a document again"):
            if blob.path.exists():
                return Text.of(parts.extractor.extract(blob.path, media_type).text)
            with blob.open() as file:
                return Text.of(parts.extractor.extract(file.read(), media_type).text)
    except IntegrityError:
        return None
    except Unreadable as error:
        if error.reason == "limit":
            raise StorageError(error.detail) from error
        return None


def _put_text(parts: Parts, id: int, text: Text | None, gone: str) -> bool:
    """Puts a text back under its id, or else one that is missing, of the hash `gone`. Returns which it was."""
    with Scratch(parts.tmp) as scratch, storage_errors("restoring a text"):
        staged = [] if text is None else [stage(scratch.file(), text_files.compress(text))]
        publication = Publication(staged)
        with parts.write() as db:
            if row(db, "SELECT id FROM texts WHERE id = ?", id) is not None:
                return text is not None  # somebody else was ahead, and found what we did
            if text is None or contents.find_text(db, text.hash) is not None:
                db.execute(*_text_row(id, gone, 1, gone, 0))
                refcount.outdate_views(db)
                return False
            (file,) = staged
            parts.texts.place(publication, file.path, text.hash, SUFFIX)
            publication.sync()
            db.execute(*_text_row(id, text.hash, len(text.content), file.hash, file.size))
            refcount.outdate_views(db)
            return True


# -- a sub-index, from its text ---------------------------------------------------------------------------------------


def restore_subindexes(parts: Parts, dry_run: bool) -> list[Repair]:
    """Embeds texts again whose sub-indexes were lost; last of all, when texts were restored that can be."""
    with parts.database.read(tampered=True) as db:
        if parts.readonly or schema.is_tampered(db):
            return []
    with suppress(IntegrityError):
        with parts.database.read() as db:
            lacking = [str(each["hash"]) for each in rows(db, f"SELECT hash FROM texts WHERE {WITHOUT_SUBINDEX}")]
        errors = embed_again(parts, lacking, dry_run)
        return [
            Repair("unrepaired" if hash in errors else "restored", "subindexes",
                   f"text {hash} had lost its vectors. {errors.get(hash, EMBEDDED)}", ())
            for hash in lacking
        ]  # fmt: skip
    return []


def _stored(parts: Parts, text: TextRow) -> Text | None:
    """A stored text, if it is sound."""
    try:
        return parts.read_text(text)
    except DocStoreError:
        return None


def embed_again(parts: Parts, texts: Sequence[str], dry_run: bool) -> dict[str, str]:
    """Makes sub-indexes of stored texts anew, some in one call of the embedder. Returns why not, by their hashes."""
    errors: dict[str, str] = {}
    for first in range(0, len(texts), _TOGETHER):
        with parts.database.read() as db:
            some = contents.find_texts(db, texts[first : first + _TOGETHER])
        found = [(each, _stored(parts, each)) for each in some.values()]
        errors |= {each.hash: _TEXT_IS_LOST for each, content in found if content is None}
        if not dry_run:
            errors |= _embed_or_halve(parts, [(each, content) for each, content in found if content is not None])
    return errors


def _embed_or_halve(parts: Parts, texts: Sequence[tuple[TextRow, Text]]) -> dict[str, str]:
    """By halves, where the embedder refuses one."""
    if not texts:
        return {}
    try:
        _embed(parts, texts)
    except DocStoreError as error:
        if len(texts) == 1:
            return {texts[0][0].hash: str(error)}
        half = len(texts) // 2
        return _embed_or_halve(parts, texts[:half]) | _embed_or_halve(parts, texts[half:])
    return {}


def _embed(parts: Parts, texts: Sequence[tuple[TextRow, Text]]) -> None:
    with Scratch(parts.tmp) as scratch:
        built = parts.pipeline.build([content.content for _, content in texts], scratch, lambda _chunks: None)
        staged: list[Staged] = [piece for each in built for piece in each.staged]
        with storage_errors("restoring vectors"):
            publication = Publication(staged, parts.archive)
            with parts.write() as db:
                for (text, _), subindex in zip(texts, built, strict=True):
                    if (now := contents.find_text(db, text.hash)) is not None:
                        for table in ("chunks", "copies"):  # of the row that was lost
                            db.execute(f"DELETE FROM {table} WHERE text_id = ? AND {_OF_NONE.format(table)}", (now.id,))
                        _put_subindex(parts, db, publication, now, subindex)
                publication.sync()


def _put_subindex(parts: Parts, db: Database, publication: Publication, text: TextRow, new: StagedSubindex) -> None:
    """Puts a sub-index that was made again in the place of one that was lost."""
    fingerprint = parts.pipeline.fingerprint
    files = parts.embeddings(fingerprint)
    files.place(publication, new.index.path, text.hash, INDEX_SUFFIX)
    files.place(publication, new.spans.path, text.hash, SPANS_SUFFIX)
    pipeline = contents.put_pipeline(db, fingerprint, parts.pipeline.description)
    contents.delete_subindex(db, text, pipeline)
    contents.insert_subindex(db, text, pipeline, new.row, new.computed, new.digests)
