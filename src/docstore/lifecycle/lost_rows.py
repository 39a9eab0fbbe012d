"""LostRows: rows of the catalog that were lost, told from what there still is.

A pipeline's from its files, a text's from a document that gives it, a sub-index's from its text. Before anything else
is corrected: what pointed to a lost row would go as belonging to nothing, and its sound files with the next collection.
A document whose text nothing gives any more gets one that is missing, so that it can be removed, collected, and added
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Any

from blake3 import blake3

from docstore import contents, schema
from docstore import texts as text_files
from docstore.contents import SubindexRow, TextRow
from docstore.database import Database, row, rows
from docstore.durable import Publication, Staged, stage, storage_errors
from docstore.errors import DocStoreError, IntegrityError
from docstore.ingest.extraction import SUFFIXES, Unreadable
from docstore.ingest.pipeline import StagedSubindex
from docstore.lifecycle.catalog import WITHOUT_SUBINDEX
from docstore.lifecycle.pace import Pace
from docstore.lifecycle.verify import Expected, fault
from docstore.moments import NOW
from docstore.parts import Parts
from docstore.reports import Repair
from docstore.scratch import Scratch
from docstore.texts import SUFFIX, Text
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

TOGETHER = 64  # texts that are embedded in one call
_SAMPLE = 8  # files that may tell whose they are

_OF_NONE = "pipeline_id NOT IN (SELECT pipeline_id FROM subindexes AS s WHERE s.text_id = {}.text_id)"
_RESTORED = "restored", ". It was extracted from its document again."
_GONE = "unrepaired", (", and nothing gives it again. Remove the document from every workspace, collect, and add it "
                       "again.")  # fmt: skip


def restore_rows(parts: Parts, dry_run: bool) -> list[Repair]:
    """Restores what can be told, each kind from the kind before."""
    if parts.readonly:
        return []
    with parts.database.read(tampered=True) as db:
        if schema.is_tampered(db):
            return []  # what a query would mean nobody knows
    repairs = []
    for restore in (_pipeline, _texts, _subindexes):
        with suppress(IntegrityError):  # what is damaged so that it cannot be read is told of by the catalog's checks
            repairs += restore(parts, dry_run)
    return repairs


# -- a pipeline, from its files ---------------------------------------------------------------------------------------


def _pipeline(parts: Parts, dry_run: bool) -> list[Repair]:
    """Only the one that the store was opened with: of another nothing says what it was."""
    own = parts.pipeline
    with parts.database.read() as db:
        lost = rows(db, "SELECT DISTINCT pipeline_id FROM subindexes "
                        "WHERE pipeline_id NOT IN (SELECT id FROM pipelines)")  # fmt: skip
        known = row(db, "SELECT id FROM pipelines WHERE fingerprint = ?", own.fingerprint)
        found = [] if known else [each["pipeline_id"] for each in lost if _made_by(parts, db, each["pipeline_id"])]
    if len(found) != 1:
        return []
    if not dry_run:
        with parts.database.write() as db:
            db.execute(
                f"INSERT INTO pipelines (id, fingerprint, description, created_at) VALUES (?, ?, ?, {NOW})",
                (found[0], own.fingerprint, own.description),
            )
    detail = f"pipeline {found[0]} was lost. It is the one that this store is opened with, as its files show."
    return [Repair("restored", "pipelines", detail, ())]


def _made_by(parts: Parts, db: Database, pipeline: int) -> bool:
    """Whether sub-indexes of a lost pipeline are files of the one that the store was opened with."""
    files = parts.embeddings(parts.pipeline.fingerprint)
    query = """SELECT t.hash, s.index_hash, s.index_size FROM subindexes s JOIN texts t ON t.id = s.text_id
               WHERE s.pipeline_id = ? LIMIT ?"""
    return any(
        not fault(Expected.of(files, each["hash"], INDEX_SUFFIX, each["index_hash"], each["index_size"]), Pace())[0]
        for each in rows(db, query, pipeline, _SAMPLE)
    )


# -- a text, from a document that gives it ----------------------------------------------------------------------------


def _texts(parts: Parts, dry_run: bool) -> list[Repair]:
    query = """SELECT text_id, hash, media_type, size, doomed FROM documents
               WHERE NOT EXISTS (SELECT 1 FROM texts WHERE id = text_id) ORDER BY text_id, id"""
    with parts.database.read() as db:
        lacking = rows(db, query)
    repairs = []
    for id, documents in groupby(lacking, itemgetter("text_id")):
        owners = list(documents)
        hashes = tuple(each["hash"] for each in owners)
        text = next(filter(None, (_extracted(parts, each) for each in owners)), None)
        is_restored = text is not None if dry_run else _put_text(parts, id, hashes, text)
        action, what = _RESTORED if is_restored else _GONE
        repairs.append(Repair(action, "texts", f"document {hashes[0]} had lost its text{what}", (), hashes))
    return repairs


def _extracted(parts: Parts, document: dict[str, Any]) -> Text | None:
    if document["media_type"] not in SUFFIXES:
        return None
    suffix = SUFFIXES[document["media_type"]]
    blob = Expected.of(parts.documents, document["hash"], suffix, document["hash"], document["size"])
    if document["doomed"] or fault(blob, Pace())[0]:
        return None
    return extracted(parts, blob, document["media_type"])


def extracted(parts: Parts, blob: Expected, media_type: str) -> Text | None:
    """What an intact document gives; None where it cannot be read any more, by another version or under a limit."""
    try:
        if blob.path.exists():
            return Text.of(parts.extractor.extract(blob.path, media_type).text)
        with blob.open() as file:
            return Text.of(parts.extractor.extract(file.read(), media_type).text)
    except (DocStoreError, Unreadable, OSError):
        return None


def _put_text(parts: Parts, id: int, documents: tuple[str, ...], text: Text | None) -> bool:
    """Puts a text back under its id, or one that is missing. Returns whether it is the text."""
    with Scratch(parts.tmp) as scratch, storage_errors("restoring a text"):
        staged = None if text is None else stage(scratch.file(), text_files.compress(text))
        publication = Publication([staged] if staged else [])
        with parts.write() as db:
            if row(db, "SELECT id FROM texts WHERE id = ?", id) is not None:
                return False  # somebody else was ahead
            if text is None or staged is None or contents.find_text(db, text.hash) is not None:
                missing = blake3(f"the lost text of {documents[0]}".encode()).hexdigest()
                _insert_text(db, (id, missing, 1, missing, 0))
                return False
            parts.texts.place(publication, staged.path, text.hash, SUFFIX)
            publication.sync()
            _insert_text(db, (id, text.hash, len(text.content), staged.hash, staged.size))
            return True


def _insert_text(db: Database, values: tuple[int, str, int, str, int]) -> None:
    db.execute("INSERT INTO texts (id, hash, characters, file_hash, file_size) VALUES (?, ?, ?, ?, ?)", values)


# -- a sub-index, from its text ---------------------------------------------------------------------------------------


def _subindexes(parts: Parts, dry_run: bool) -> list[Repair]:
    repairs: list[Repair] = []
    last = 0
    while some := _without_subindex(parts, last):
        last = some[-1].id
        texts = [(each, content) for each in some if (content := stored_text(parts, each)) is not None]
        detail, action = "It was embedded again.", "restored"
        if texts and not dry_run:
            try:
                embed_again(parts, texts)
            except DocStoreError as error:
                detail, action = str(error), "unrepaired"
        repairs += [Repair(action, "subindexes", f"text {each.hash} had lost its vectors. {detail}", ())
                    for each, _ in texts]  # fmt: skip
    return repairs


def _without_subindex(parts: Parts, last: int) -> list[TextRow]:
    with parts.database.read() as db:
        found = rows(db, f"SELECT hash FROM texts WHERE id > ? AND {WITHOUT_SUBINDEX} ORDER BY id LIMIT ?",
                     last, TOGETHER)  # fmt: skip
        texts = contents.find_texts(db, [each["hash"] for each in found])
    return sorted(texts.values())


def stored_text(parts: Parts, text: TextRow) -> Text | None:
    """A stored text, if it is sound."""
    try:
        with storage_errors("reading a stored text"):
            data = parts.texts.read_checked(text.hash, SUFFIX, text.file_hash, text.file_size)
        return text_files.decompress(data, text.hash, text.characters)
    except DocStoreError:
        return None


def embed_again(parts: Parts, texts: Sequence[tuple[TextRow, Text]]) -> None:
    """Makes sub-indexes of texts anew, in one call of the embedder. Raises what `Pipeline.build` does."""
    ignored: Callable[[int], None] = lambda _chunks: None  # noqa: E731
    with Scratch(parts.tmp) as scratch:
        built = parts.pipeline.build([content.content for _, content in texts], scratch, ignored)
        staged: list[Staged] = [piece for each in built for piece in each.staged]
        with storage_errors("restoring vectors"):
            publication = Publication(staged, parts.archive)
            with parts.write() as db:
                for (text, _), subindex in zip(texts, built, strict=True):
                    if (now := contents.find_text(db, text.hash)) is not None:
                        for table in ("chunks", "copies"):  # of the row that was lost
                            db.execute(f"DELETE FROM {table} WHERE text_id = ? AND {_OF_NONE.format(table)}", (now.id,))
                        put_subindex(parts, db, publication, now, subindex)
                publication.sync()


def put_subindex(parts: Parts, db: Database, publication: Publication, text: TextRow, new: StagedSubindex) -> None:
    """Puts a sub-index that was made again in the place of one that was lost."""
    fingerprint = parts.pipeline.fingerprint
    files = parts.embeddings(fingerprint)
    files.place(publication, new.index.path, text.hash, INDEX_SUFFIX)
    files.place(publication, new.spans.path, text.hash, SPANS_SUFFIX)
    made = SubindexRow(new.chunks, new.index.hash, new.index.size, new.spans.hash, new.spans.size)
    pipeline = contents.put_pipeline(db, fingerprint, parts.pipeline.description)
    contents.delete_subindex(db, text, pipeline)
    contents.insert_subindex(db, text, pipeline, made, new.computed, new.digests)
