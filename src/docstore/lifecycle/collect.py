"""Collect: deletes what nothing references, and sweeps what crashes left behind.

Three passes. (a) Documents unreferenced for longer than the grace period are doomed, which is committed, and so
durable, before any file goes. (b) Under the write lock again, a few at a time: unlink the files of what is doomed,
delete the rows, commit. A crash anywhere leaves doomed rows, and the next run finishes them. (c) Only when some
operation crashed since the last time: look through the folders for files without a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from docstore import arguments, claims, contents, moments, refcount, scratch
from docstore.callbacks import Callback
from docstore.cas import ContentStore, is_fingerprint
from docstore.contents import DocumentRow
from docstore.database import Database, records
from docstore.durable import prune, prune_below, storage_errors, sync_entries, unlink
from docstore.ingest.extraction import SUFFIXES
from docstore.lifecycle import catalog
from docstore.parts import Parts
from docstore.reap import reap
from docstore.reports import CollectReport, Progress
from docstore.texts import SUFFIX
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

_BREATH_SECONDS = 0.01  # between batches, for writers of other processes to get their turn
_BATCH = 64  # documents a transaction dooms or deletes
_HOLD_SECONDS = 0.01  # and how long it unlinks at most, since writers wait for it
# What one transaction may delete on a full disk, where the log must fit into what is left of the reserve.
_FRUGAL_BYTES = 128 * 1024  # of packed pieces
_FRUGAL_PAGES = 48  # of the catalog, of 4 KiB
_PAGES_TO_DOOM, _PAGES_TO_REAP = 3, 12  # pages with a document's rows, in a large store; each digest is on one more

# What would go, as `refcount.unreferenced` and `doomed` have it, and the pieces of texts of which all documents would.
# One statement: there may be as many as there are documents, and nobody asks for more than their number. The last of it
# is how many of them a collection could read: in a damaged catalog it would refuse the others.
_PREVIEW = f"""
    WITH going(id, size, text_id, media_type) AS MATERIALIZED (
        SELECT id, size, text_id, media_type FROM documents WHERE doomed = 1 UNION ALL
        SELECT id, size, text_id, media_type FROM documents d
        WHERE refcount = 0 AND doomed = 0 AND unreferenced_at <= ?
        AND NOT EXISTS (SELECT 1 FROM refs WHERE document_id = d.id))
    SELECT count(*) AS documents, coalesce(sum(size), 0) AS size, (
        SELECT coalesce(sum(file_size + (
            SELECT coalesce(sum(index_size + spans_size), 0)
            FROM subindexes s JOIN pipelines p ON p.id = s.pipeline_id WHERE s.text_id = t.id)), 0)
        FROM texts t WHERE id IN (SELECT text_id FROM going) AND NOT EXISTS (
            SELECT 1 FROM documents d WHERE d.text_id = t.id AND d.id NOT IN (SELECT id FROM going))) AS file_size, (
        SELECT count(*) FROM going g CROSS JOIN texts t ON t.id = g.text_id
        WHERE g.media_type IN ({", ".join(f"'{each}'" for each in SUFFIXES)})) AS documents
    FROM going"""


def collect(
    parts: Parts, grace: timedelta, dry_run: bool, progress: Callable[[Progress], object] | None
) -> CollectReport:
    """See `DocStore.collect`."""
    before = moments.ago(grace)
    arguments.switch("dry_run", dry_run)
    if dry_run:
        return parts.free_space(lambda: _preview(parts, before))
    gone, told = _Gone(), Callback(progress or (lambda _: None))
    told.during(lambda: parts.free_space(lambda: _collect(parts, before, gone, told)))
    return CollectReport(gone.documents, gone.bytes, gone.leftovers)


@dataclass(slots=True, eq=False, repr=False)
class _Gone:
    """What went so far, also in a try that a full disk cut short."""

    documents: int = 0
    bytes: int = 0
    leftovers: int = 0


def _collect(parts: Parts, before: str, gone: _Gone, progress: Callable[[Progress], object]) -> None:
    with storage_errors("collecting"):
        with parts.write() as db:
            claims.discard_dead(db, parts.owner_is_alive)
            wanted, met = claims.sweeps(db)
        _doom(parts, before)
        touched: set[Path] = set()
        requested = _reap_doomed(parts, touched, gone, progress)
        sync_entries(touched, parts.folder)
        gone.leftovers += scratch.sweep(parts.tmp)
        may_sweep = wanted > met and _is_sound(parts)
        if may_sweep:
            _sweep(parts, gone)
        with parts.write() as db:
            parts.archive.tidy()
            if may_sweep or wanted == met:
                claims.sweep_done(db, wanted + requested)
    parts.database.compact()


def _doom(parts: Parts, before: str) -> None:
    while True:
        with parts.write() as db:
            batch = _FRUGAL_PAGES // _PAGES_TO_DOOM if parts.must_save else _BATCH
            documents = refcount.unreferenced(db, before, batch)
            for document in documents:
                refcount.doom(db, document)
        if not documents:
            return
        time.sleep(_BREATH_SECONDS)


def _reap_doomed(parts: Parts, touched: set[Path], gone: _Gone, progress: Callable[[Progress], object]) -> int:
    """Returns how many sweeps it asked for."""
    requests = 0
    while True:
        with parts.write() as db:
            reaped = _reap_some(parts, db, touched)
            if reaped.documents:
                # Until their directories are synced: after a power cut, unlinked files may be back without rows. Here
                # and not with dooming: what one collection dooms, another may reap, and be killed before it syncs.
                claims.request_sweep(db)
                requests += 1
        if reaped.were_all:
            return requests
        gone.documents += len(reaped.documents)
        gone.bytes += reaped.bytes
        if reaped.documents:
            progress(Progress(gone.documents, None, 0, reaped.documents[-1].hash))
        time.sleep(_BREATH_SECONDS)


class _Reaped(NamedTuple):
    """What one transaction deletes."""

    documents: list[DocumentRow]
    bytes: int
    were_all: bool
    """Whether there was nothing left to delete."""


def _reap_some(parts: Parts, db: Database, touched: set[Path]) -> _Reaped:
    end = time.monotonic() + _HOLD_SECONDS
    documents: list[DocumentRow] = []
    freed = pages = 0
    must_save = parts.must_save
    for document in refcount.doomed(db, _BATCH):
        if must_save:
            pages += _PAGES_TO_REAP + contents.digests_left(db, document.text, _FRUGAL_PAGES)
            if pages > _FRUGAL_PAGES:
                if not documents:
                    contents.forget_digests(db, document.text, _FRUGAL_PAGES - _PAGES_TO_REAP)
                return _Reaped(documents, freed, were_all=False)
        freed += reap(parts, db, [document], touched)
        documents.append(document)
        if (must_save and parts.archive.deleted_bytes > _FRUGAL_BYTES) or time.monotonic() > end:
            break
    return _Reaped(documents, freed, were_all=not documents)


def _preview(parts: Parts, before: str) -> CollectReport:
    with parts.database.read() as db:
        names = "documents", "size", "file_size", "documents"
        ((documents, freed, of_texts, readable),) = records(db, names, _PREVIEW, before)
        if readable < documents:  # to read them says what is wrong, as it would to a collection
            list(refcount.unreferenced(db, before, -1))
            list(refcount.doomed(db, -1))
    return CollectReport(documents, freed + of_texts, 0)


def _is_sound(parts: Parts) -> bool:
    """Whether the catalog can be trusted to name all that is stored. What an index has lost looks like a leftover."""
    with parts.database.read() as db:
        return catalog.is_sound(db)


def _sweep(parts: Parts, gone: _Gone) -> None:
    """Unlinks files without rows, and makes durable that they are gone, whoever unlinked them."""
    looked = {parts.folder, parts.folder / "embeddings"}
    for files in content_stores(parts):
        looked.add(files.root)
        for shard in files.shards():
            looked.add(files.root / shard)
            # One shard at a time, so that writers wait for one directory's listing, not for the store's.
            swept = 0
            with parts.write() as db:
                for path in orphans(parts, db, files, shard):
                    unlink(path, parts.folder)
                    looked.add(path.parent)
                    swept += 1
                for name in packed_orphans(parts, db, files, shard):
                    parts.archive.delete(name)
                    swept += 1
                # Whoever died between making a directory and placing its first file left it empty.
                prune_below(files.root / shard, parts.folder)
            gone.leftovers += swept
    with parts.write():
        for root in (*(files.root for files in content_stores(parts)), parts.folder / "embeddings"):
            prune(root, parts.folder)
    # Directories where nothing was found too: a collection or an add that died may have unlinked there, unsynced.
    sync_entries(looked, parts.folder)


def content_stores(parts: Parts) -> list[ContentStore]:
    """The roots of all published pieces, of pipelines this version never heard of too."""
    pipelines = ContentStore(parts.folder, "embeddings", parts.archive).shards()
    named = [name for name in pipelines if is_fingerprint(name) or (parts.folder / "embeddings" / name).is_dir()]
    return [parts.documents, parts.texts, *(parts.embeddings(name) for name in named)]


def orphans(parts: Parts, db: Database, files: ContentStore, shard: str) -> list[Path]:
    """Files of one shard that are named like ours and have no row.

    Only under the write lock are they all: without it, what somebody is publishing looks the same.
    """
    listed = [(hash, suffix, path) for hash, suffix, path in files.files(shard) if hash]
    return [path for hash, suffix, path in listed if not _has_row(parts, db, files, hash, suffix)]


def packed_orphans(parts: Parts, db: Database, files: ContentStore, shard: str) -> list[str]:
    """The same of the archive: names of pieces without a row. And of those that are files too: the file is what counts,
    and a crash while one replaced the other leaves both."""
    listed = [(hash, suffix, path) for hash, suffix, path in files.packed(shard) if hash]
    return [
        str(path.relative_to(parts.folder))
        for hash, suffix, path in listed
        if path.exists() or not _has_row(parts, db, files, hash, suffix)
    ]


def _has_row(parts: Parts, db: Database, files: ContentStore, hash: str, suffix: str) -> bool:
    if files.root == parts.documents.root:
        document = contents.find_document(db, hash)
        return document is not None and document.suffix == suffix
    text = contents.find_text(db, hash)
    if files.root == parts.texts.root:
        return text is not None and suffix == SUFFIX
    found = text and contents.find_subindex(db, text, files.root.name)
    return found is not None and suffix in (INDEX_SUFFIX, SPANS_SUFFIX)
