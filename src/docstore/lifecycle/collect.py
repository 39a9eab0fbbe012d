"""Collect: deletes what nothing references, and sweeps what crashes left behind.

Three passes. (a) Documents unreferenced for longer than the grace period are doomed, which is committed, and so
durable, before any file goes. (b) Under the write lock again, a few at a time: unlink the files of what is doomed,
delete the rows, commit. A crash anywhere leaves doomed rows, and the next run finishes them. (c) Only when some
operation crashed since the last time: look through the folders for files without a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlite_utils import Database

from docstore import claims, contents, refcount, scratch
from docstore.cas import ContentStore
from docstore.contents import DocumentRow, TextRow
from docstore.durable import storage_errors, unlink
from docstore.errors import InvalidArgument
from docstore.ingest.extract import SUFFIXES
from docstore.model import CollectReport, Progress
from docstore.parts import Parts
from docstore.texts import SUFFIX
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

_BATCH = 64  # documents a transaction deletes: writers wait for one batch at most, some milliseconds


def collect(
    parts: Parts, grace: timedelta, dry_run: bool, progress: Callable[[Progress], object] | None
) -> CollectReport:
    """See `DocStore.collect`."""
    if grace < timedelta(0):
        raise InvalidArgument(f"grace is {grace}; it cannot be negative")
    try:
        before = (datetime.now(UTC) - grace).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except OverflowError:  # before the year 1: nothing is that old
        before = ""
    if dry_run:
        return _preview(parts, before)
    with storage_errors("collecting"):
        _doom(parts, before)
        documents, freed = _reap_doomed(parts, progress)
        leftovers = scratch.sweep(parts.tmp) + _sweep_if_due(parts)
    parts.database.compact()
    return CollectReport(documents, freed, leftovers)


def reap(parts: Parts, db: Database, documents: Iterable[DocumentRow]) -> int:
    """Deletes doomed documents, files before rows, and their texts when no other document has them.

    Under the write lock. Returns the bytes of the files. A crash in between leaves the rows, still doomed: unlinking
    what is gone already is no error, so running it again completes it.
    """
    freed = 0
    for document in documents:
        assert document.doomed
        parts.documents.unlink(document.hash, SUFFIXES[document.media_type])
        freed += document.size
        # A condemned text's files may go, and its row after the last of its documents' rows.
        last = [each.id for each in contents.documents_of_text(db, document.text)] == [document.id]
        freed += _unlink_text(parts, db, document.text) if last else 0
        contents.delete_document(db, document)
        if last:
            contents.delete_text(db, document.text)
    return freed


def _unlink_text(parts: Parts, db: Database, text: TextRow) -> int:
    freed = text.file_size
    parts.texts.unlink(text.hash, SUFFIX)
    for fingerprint, subindex in contents.subindexes_of_text(db, text):
        files = parts.embeddings(fingerprint)
        files.unlink(text.hash, INDEX_SUFFIX)
        files.unlink(text.hash, SPANS_SUFFIX)
        freed += subindex.index_size + subindex.spans_size
    return freed


def _doom(parts: Parts, before: str) -> None:
    while True:
        with parts.database.write() as db:
            documents = refcount.unreferenced(db, before, 1000)
            for document in documents:
                refcount.doom(db, document)
        if not documents:
            return


def _reap_doomed(parts: Parts, progress: Callable[[Progress], object] | None) -> tuple[int, int]:
    count = freed = 0
    while True:
        with parts.database.write() as db:
            documents = refcount.doomed(db, _BATCH)
            freed += reap(parts, db, documents)
        if not documents:
            return count, freed
        count += len(documents)
        if progress is not None:
            progress(Progress(count, None, 0, documents[-1].hash))


def _preview(parts: Parts, before: str) -> CollectReport:
    with parts.database.read() as db:
        going = refcount.unreferenced(db, before, -1) + refcount.doomed(db, -1)
        freed = sum(document.size for document in going)
        hashes = {document.hash for document in going}
        for text in {document.text.id: document.text for document in going}.values():
            if all(document.hash in hashes for document in contents.documents_of_text(db, text)):
                freed += text.file_size
                for _, subindex in contents.subindexes_of_text(db, text):
                    freed += subindex.index_size + subindex.spans_size
    return CollectReport(len(going), freed, 0)


def _sweep_if_due(parts: Parts) -> int:
    with parts.database.write() as db:
        claims.discard_dead(db, parts.owner_is_alive)
        wanted = claims.sweep_due(db)
    if wanted is None:
        return 0
    swept = 0
    for files in content_stores(parts):
        for shard in files.shards():
            # One shard at a time, so that writers wait for one directory's listing, not for the store's.
            with parts.database.write() as db:
                for path in orphans(parts, db, files, shard):
                    unlink(path, parts.folder)
                    swept += 1
    with parts.database.write() as db:
        claims.sweep_done(db, wanted)
    return swept


def content_stores(parts: Parts) -> list[ContentStore]:
    """The roots of all published files, of pipelines this version never heard of too."""
    pipelines = parts.folder / "embeddings"
    names = sorted(each.name for each in pipelines.iterdir() if each.is_dir()) if pipelines.is_dir() else []
    return [parts.documents, parts.texts, *(parts.embeddings(name) for name in names)]


def orphans(parts: Parts, db: Database, files: ContentStore, shard: str) -> list[Path]:
    """Files of one shard that are named like ours and have no row.

    Lists first and asks the catalog after: asked first, a file published in between would look like an orphan. Under
    the write lock neither could happen, but `verify` calls this without.
    """
    listed = [(hash, suffix, path) for hash, suffix, path in files.files(shard) if hash]
    return [path for hash, suffix, path in listed if not _has_row(parts, db, files, hash, suffix)]


def _has_row(parts: Parts, db: Database, files: ContentStore, hash: str, suffix: str) -> bool:
    if files.root == parts.documents.root:
        document = contents.find_document(db, hash)
        return document is not None and SUFFIXES[document.media_type] == suffix
    text = contents.find_text(db, hash)
    if files.root == parts.texts.root:
        return text is not None and suffix == SUFFIX
    found = text and contents.find_subindex(db, text, files.root.name)
    return found is not None and suffix in (INDEX_SUFFIX, SPANS_SUFFIX)
