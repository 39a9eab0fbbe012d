"""Repair: restores what can be restored, sets aside what cannot, and never makes anything worse.

What a file held is known by its hash, so a restored file is the published one or none. In this order, since each rests
on the one before: the catalog's lost rows from what they describe; its counts from its rows; a text from its document's
blob; a sub-index from its text. A damaged blob has no source but its owner: it is moved to `quarantine/`, and adding
the document again heals it.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from docstore import arguments, contents, refcount, schema
from docstore import texts as text_files
from docstore.contents import DocumentRow
from docstore.database import Database
from docstore.durable import Publication, stage, storage_errors
from docstore.errors import DocStoreError, IntegrityError, read_only
from docstore.ingest.extraction import SUFFIXES
from docstore.lifecycle import catalog
from docstore.lifecycle.catalog import Correction
from docstore.lifecycle.lost_rows import (
    EMBEDDED,
    Statement,
    embed_again,
    extracted,
    restore_rows,
    restore_subindexes,
)
from docstore.lifecycle.pace import Pace
from docstore.lifecycle.salvage import free, salvage
from docstore.lifecycle.verify import Expected, Finding, Reading, damaged, expected_files, fault
from docstore.lifecycle.witnesses import Testimony
from docstore.parts import QUARANTINE, Parts
from docstore.reports import Problem, Progress, Repair, RepairAction, RepairReport
from docstore.scratch import Scratch
from docstore.texts import SUFFIX, Text

_ADD_AGAIN = "Add the document again, to any workspace, to heal it; or restore the file from a backup."


class _DryRun(Exception):
    """Rolls back what was only tried."""


def repair(parts: Parts, dry_run: bool, progress: Callable[[Progress], object] | None) -> RepairReport:
    """See `DocStore.repair`."""
    arguments.switch("dry_run", dry_run)
    if parts.readonly and not dry_run:
        raise read_only(parts.folder)
    repairs, restored = restore_rows(parts, dry_run)
    if restored is None:
        return RepairReport(tuple(repairs))
    repairs += _repair_catalog(parts, dry_run, restored)
    with parts.database.read(tampered=True) as db:
        if schema.is_tampered(db):
            return RepairReport(tuple(repairs))  # its rows mean nothing until that is corrected
    repairs += salvage(parts, dry_run)
    reading = Reading()
    findings = list(damaged(parts, reading, Pace(), note=not dry_run, progress=progress))
    told = {hash for each in repairs if each.path == "texts" for hash in each.documents}  # still lost, in a dry run
    repairs += [_as_repair("unrepaired", each, "Restore catalog.db from a backup.") for each in reading.problems
                if not told.issuperset(each.documents or ("",))]  # fmt: skip
    given: set[str] = set()
    for group in _by_text(findings):
        repairs += _repair_files(parts, group, given, dry_run)
    repairs += _repair_vectors(parts, findings, given if dry_run else set(), dry_run)
    repairs += restore_subindexes(parts, dry_run)
    return RepairReport(tuple(dict.fromkeys(repairs)))


def _as_repair(action: RepairAction, problem: Problem, advice: str) -> Repair:
    detail = f"{problem.detail}. {advice}" if advice else problem.detail
    return Repair(action, problem.path, detail, problem.workspaces, problem.documents)


# -- the catalog ------------------------------------------------------------------------------------------------------


def _repair_catalog(parts: Parts, dry_run: bool, restored: list[Statement]) -> list[Repair]:
    with parts.database.read(tampered=True) as db:
        if not (found := catalog.problems(db)):
            return []  # an intact store is not even locked
        testimony = Testimony.of(db)
    if parts.readonly:
        return [_as_repair("unrepaired", each, "The store was opened with readonly=True.") for each in found]
    corrections: list[Correction] = []
    try:
        with parts.database.write(tampered=True) as db:
            for statement in restored:
                db.execute(*statement)
            corrections = catalog.correct(db, testimony, partial(_is_stored, parts, db))
            refcount.outdate_views(db)  # what searches have in memory is of the damaged rows
            if dry_run:
                raise _DryRun
            _keep_lost_rows(parts, corrections)
    except _DryRun:
        pass
    except IntegrityError as error:
        return [_as_repair("unrepaired", each, f"{error}") for each in found]
    return [
        _as_repair("corrected", each.problem, "")
        if each.corrected
        else _as_repair("unrepaired", each.problem, "Restore catalog.db from a backup.")
        for each in corrections
    ]


def _is_stored(parts: Parts, db: Database, table: str, id: int, hash: str) -> bool:
    if table == "texts":
        ((size,),) = db.execute("SELECT file_size FROM texts WHERE id = ?", (id,)).fetchall()
        return parts.texts.intact(hash, SUFFIX, size)
    ((media_type, size),) = db.execute("SELECT media_type, size FROM documents WHERE id = ?", (id,)).fetchall()
    return parts.documents.intact(hash, SUFFIXES[media_type], size)


def _keep_lost_rows(parts: Parts, corrections: list[Correction]) -> None:
    """What rows that pointed to nothing said is kept for a person to read, before the commit that drops them."""
    if lines := catalog.dropped_rows(corrections):
        with Scratch(parts.tmp) as scratch, storage_errors("keeping dropped rows"):
            staged = stage(scratch.file(), lines)
            publication = Publication([staged])
            publication.place(staged.path, str(free(parts.folder / QUARANTINE / "rows.jsonl")), parts.folder)
            publication.sync()


# -- files ------------------------------------------------------------------------------------------------------------


def _by_text(findings: list[Finding]) -> Iterable[list[Finding]]:
    groups: dict[str, list[Finding]] = defaultdict(list)
    for each in findings:
        groups[each.document.text.hash].append(each)
    return groups.values()


def _repair_files(parts: Parts, findings: list[Finding], given: set[str], dry_run: bool) -> list[Repair]:
    """Repairs the files of one text and of the documents that have it, but for its vectors.

    Args:
        given: gets the text's hash where a document gives it again.
    """
    blobs = [each for each in findings if each.expected.is_blob]
    text = [each for each in findings if not each.expected.is_blob and not each.expected.fingerprint]
    others = [each for each in findings if each.expected.fingerprint not in ("", parts.pipeline.fingerprint)]
    repairs = [_set_aside(parts, each, dry_run, _ADD_AGAIN) for each in blobs]
    content = _extract_again(parts, text[0].document) if text else None
    if content is not None:
        given.add(content.hash)
        if not dry_run:
            _publish(parts, content)
    repairs += [
        _as_repair("restored", each.problem, "It was extracted from its document again.")
        if content is not None
        else _set_aside(parts, each, dry_run, "No intact document gives this text again. " + _ADD_AGAIN)
        for each in text
    ]
    advice = "Open the store with the embedder, codec and chunk sizes of that pipeline, and repair again."
    return repairs + [_as_repair("unrepaired", each.problem, advice) for each in others]


def _repair_vectors(parts: Parts, findings: list[Finding], given: set[str], dry_run: bool) -> list[Repair]:
    """Embeds again what is damaged of the pipeline that the store was opened with, many texts in one call.

    Args:
        given: texts that would have been restored by now.
    """
    ours = [each for each in findings if each.expected.fingerprint == parts.pipeline.fingerprint]
    errors = embed_again(parts, list(dict.fromkeys(each.document.text.hash for each in ours)), dry_run)
    for hash in given:
        errors.pop(hash, None)
    return [
        _as_repair("unrepaired" if hash in errors else "restored", each.problem, errors.get(hash, EMBEDDED))
        for each in ours
        for hash in (each.document.text.hash,)
    ]


def _extract_again(parts: Parts, document: DocumentRow) -> Text | None:
    """The text, from the first document that has it, is intact, and gives it."""
    with parts.database.read() as db:
        owners = contents.documents_of_text(db, document.text)
    for owner in owners:
        blob = Expected.of(parts.documents, owner.hash, owner.suffix, owner.hash, owner.size)
        if owner.doomed or fault(blob, Pace()) is not None:
            continue
        text = None
        with contextlib.suppress(DocStoreError):  # what cannot be done now, another run can
            text = extracted(parts, blob, owner.media_type)
        if text is not None and text.hash == document.text.hash:
            return text
    return None


def _publish(parts: Parts, content: Text) -> None:
    """Puts a text in its place, over the damaged one, under the rules that adding keeps."""
    with Scratch(parts.tmp) as scratch, storage_errors("restoring a file"):
        new = stage(scratch.file(), text_files.compress(content))
        publication = Publication([new], parts.archive)
        with parts.write() as db:
            text = contents.find_text(db, content.hash)
            if text is None:
                return  # collected meanwhile: nothing needs it
            parts.texts.place(publication, new.path, text.hash, SUFFIX)
            contents.correct_text(db, text, new.hash, new.size)
            publication.sync()


def _set_aside(parts: Parts, finding: Finding, dry_run: bool, advice: str) -> Repair:
    """Moves a damaged file out of the way of an intact one. The row stays: what else it serves goes on working."""
    found = fault(finding.expected, Pace())  # a second look: a flaw of the memory is no damage
    if found is None or found.kind != "damaged":
        # Missing: there is nothing to move. Unreadable: a failing disk is no place to move files about.
        return _as_repair("unrepaired", finding.problem, advice)
    target = free(parts.folder / QUARANTINE / finding.problem.path)
    where = f"Moved to {target.relative_to(parts.folder)}. " if not dry_run else f"To be moved to {QUARANTINE}/. "
    if not dry_run:
        with parts.write() as db, Scratch(parts.tmp) as scratch:
            now = contents.find_document(db, finding.document.hash)
            if now is None or now.doomed or finding.expected not in expected_files(parts, db, now):
                return _as_repair("unrepaired", finding.problem, "It changed meanwhile: verify again.")
            with storage_errors("setting a file aside"):
                _move(parts, finding.expected, target, scratch)
    return _as_repair("quarantined", finding.problem, where + advice)


def _move(parts: Parts, damaged: Expected, target: Path, scratch: Scratch) -> None:
    """Moves a damaged piece, which may be packed."""
    if damaged.path.exists():
        publication, moved = Publication(), str(damaged.path)
    else:
        with damaged.open() as file:
            staged = stage(scratch.file(), file.read())
        publication, moved = Publication([staged]), staged.path
    publication.place(moved, str(target), parts.folder)
    publication.sync()
    parts.archive.delete(str(damaged.path.relative_to(parts.folder)))
