"""Verify: reads every published file, compares it with its hash, and the catalog with itself.

The documents that were checked least recently come first, and what was checked is noted, so a run that is stopped is
resumed by the next. Runs that all end early come round all the same: a round begins with the document of the least id,
and is over when all others were checked since that one was. The run that ends it also looks for what no row names.

Works beside readers and writers: a problem is only believed after a second look at the catalog,
since the file may have been collected in between. What a crash left behind is no problem, and counted apart.
"""

from __future__ import annotations

import contextlib
import io
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from sys import intern
from typing import BinaryIO, NamedTuple

from docstore import arguments, claims, contents, refcount, scratch
from docstore.archive import ARCHIVE
from docstore.cas import ContentStore
from docstore.contents import DocumentRow
from docstore.database import Database, checked, row
from docstore.durable import SourceError, hash_stream
from docstore.errors import IntegrityError, InvalidArgument, StorageError, StoreLocked
from docstore.lifecycle import catalog
from docstore.lifecycle.collect import content_stores, orphans, packed_orphans
from docstore.lifecycle.pace import Pace
from docstore.moments import NOW
from docstore.parts import Parts
from docstore.reports import Problem, ProblemKind, Progress, VerifyReport
from docstore.texts import SUFFIX
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

_PAGE = 256  # documents listed at a time
_NOTE_SECONDS = 1.0  # after which what was checked is noted: a run may be killed
_PATIENCE_SECONDS = 0.1  # to wait for the catalog then; a second later is as good


@dataclass(frozen=True, slots=True)
class Expected:
    """A piece that a row says is there."""

    path: Path
    """Where it is if it is a file; its name in the archive is the same."""
    hash: str
    size: int
    fingerprint: str = ""
    """Of the pipeline, for the files of a sub-index."""
    is_blob: bool = False
    """Of one document alone; other files serve all documents of a text."""
    open: Callable[[], BinaryIO] = field(kw_only=True, compare=False)
    """Opens it, whichever it is. Raises what `ContentStore.open` does."""

    @classmethod
    def of(
        cls, files: ContentStore, name: str, suffix: str, hash: str, size: int, fingerprint: str = "",
        *, is_blob: bool = False,
    ) -> Expected:  # fmt: skip
        """What `files` should hold under a hash and suffix."""
        opened = partial(files.open, name, suffix)
        return cls(files.path(name, suffix), hash, size, fingerprint, is_blob, open=opened)


@dataclass(frozen=True, slots=True)
class Finding:
    """A file of a document that is not as it was published."""

    problem: Problem
    document: DocumentRow
    expected: Expected


@dataclass(slots=True)
class Reading:
    """What one run has read so far."""

    files: int = 0
    bytes: int = 0
    documents: int = 0
    total: int = 0
    is_stopped: bool = False
    """Whether its time was over before it came to the end."""
    first_of_round: int = 0
    """Id of a document."""
    comes_round: bool = False
    """Whether, when it is that document's turn, all others have been checked since it last was."""
    is_round: bool = False
    """Whether its turn came, and that was so: a round is complete."""
    problems: list[Problem] = field(default_factory=list)
    """Of the catalog, met while looking for files."""


def verify(
    parts: Parts,
    bytes_per_second: float | None,
    duration: timedelta | None,
    dry_run: bool,
    progress: Callable[[Progress], object] | None,
) -> VerifyReport:
    """See `DocStore.verify`."""
    arguments.switch("dry_run", dry_run)
    if bytes_per_second is not None:
        bytes_per_second = arguments.positive("bytes_per_second", bytes_per_second, ", or None for no limit")
    pace = Pace(bytes_per_second, _checked_duration(duration))
    with parts.database.read(tampered=True) as db:
        problems = catalog.problems(db)
    is_sound = not problems
    reading = Reading()
    findings = damaged(parts, reading, pace, note=not (parts.readonly or dry_run), read=not dry_run, progress=progress)
    problems += [each.problem for each in findings] + reading.problems
    remaining = _remaining(parts, reading, is_noted=not (parts.readonly or dry_run)) if reading.is_stopped else 0
    leftovers = 0
    if reading.is_round or not remaining:
        foreign, leftovers = _strangers(parts)
        problems += foreign
        if not dry_run:
            problems += [Problem("damaged", ARCHIVE, each, ()) for each in parts.archive.problems()]
    # In a damaged catalog a sound document may seem to be one.
    if leftovers and is_sound and not parts.readonly and not dry_run:
        # A full disk or a busy store must not cost the report.
        with contextlib.suppress(StorageError, StoreLocked), parts.write() as db:
            claims.request_sweep(db)
    return VerifyReport(tuple(problems), reading.files, reading.bytes, leftovers, remaining)


def _checked_duration(value: timedelta | None) -> timedelta | None:
    if value is not None and (not isinstance(value, timedelta) or value <= timedelta(0)):
        raise InvalidArgument(f"duration is {value!r}; it must be a datetime.timedelta above 0, or None for no limit")
    return value


def damaged(
    parts: Parts,
    reading: Reading,
    pace: Pace,
    *,
    note: bool,
    read: bool = True,
    progress: Callable[[Progress], object] | None = None,
) -> Iterator[Finding]:
    """Every file that is not as it was published, of documents in the order they were last checked.

    Args:
        note: whether to note in the catalog what was checked.
        read: False to count only what would be read.
    """
    if note:
        _forget_future(parts)
    done: list[int] = []
    noted_at = time.monotonic()
    for id, work in _documents(parts, reading):
        if pace.is_over() and reading.documents:  # one at least, or runs too short to begin would never come to an end
            reading.is_stopped = True
            break
        # Nothing of one that is gone, or whose row is damaged. It counts as checked all the same: a round must end.
        document, expected = work or (None, [])
        for each in expected:
            reading.files += 1
            reading.bytes += each.size
            if document is not None and read and (problem := _check(parts, document, each, pace)) is not None:
                yield Finding(problem, document, each)
        reading.documents += 1
        done.append(id)
        reading.is_round |= reading.comes_round and id == reading.first_of_round
        if note and time.monotonic() - noted_at >= _NOTE_SECONDS:
            if _note(parts, done, _PATIENCE_SECONDS):
                done = []
            noted_at = time.monotonic()
        if progress is not None and document is not None:
            progress(Progress(reading.documents, reading.total, 0, document.hash))
    if note and done:
        _note(parts, done)


def _note(parts: Parts, documents: list[int], timeout: float | None = None) -> bool:
    """Whether it could be noted what was checked. Otherwise the next run reads these again: no loss, and no reason to
    lose the report."""
    with contextlib.suppress(StorageError, StoreLocked, IntegrityError), parts.database.write(timeout=timeout) as db:
        # One moment for all: of those noted with a round's first, none is to count as checked before it, and to come.
        (moment,) = db.execute(f"SELECT {NOW}").fetchone()
        db.executemany("UPDATE checks SET checked_at = ? WHERE document_id = ?", [(moment, id) for id in documents])
        return True
    return False


def _forget_future(parts: Parts) -> None:
    """What a clock noted that was ahead would come last, and runs that end early would not come to it."""
    with contextlib.suppress(StorageError, StoreLocked, IntegrityError):
        with parts.database.read() as db:
            found = row(db, f"SELECT 1 FROM checks WHERE checked_at > {NOW} LIMIT 1")
        if found is not None:
            with parts.write() as db:
                db.execute(f"UPDATE checks SET checked_at = '' WHERE checked_at > {NOW}")


def _documents(parts: Parts, reading: Reading) -> Iterator[tuple[int, tuple[DocumentRow, list[Expected]] | None]]:
    """The id of every live document, and the document with its files, if it is still there and can be read; a text's
    files come with the first of its documents."""
    try:
        ids = _ids(parts)
        if ids:
            reading.first_of_round = min(ids)
            reading.comes_round = ids[0] != reading.first_of_round and _was_checked(parts, reading.first_of_round)
    except IntegrityError as error:
        reading.problems.append(Problem("catalog", "catalog.db", str(error), ()))
        return
    reading.total = len(ids)
    for id in ids:
        yield id, _work(parts, id, reading)


def _ids(parts: Parts) -> array[int]:
    """All that this run is to look at. Settled at its start, and not page by page from the times: those that others
    note meanwhile, who may have found damage, or that a clock noted when it was ahead, say nothing of this run."""
    ids = array("q")
    with parts.database.read() as db:
        found = db.execute(
            """SELECT document_id FROM checks JOIN documents ON id = document_id WHERE doomed = 0
               ORDER BY checked_at, document_id"""
        )
        while some := checked(("document_id",), found.fetchmany(_PAGE)):
            ids.extend(id for (id,) in some)
    return ids


def _was_checked(parts: Parts, id: int) -> bool:
    with parts.database.read() as db:
        return row(db, "SELECT 1 FROM checks WHERE document_id = ? AND checked_at > ''", id) is not None


def _remaining(parts: Parts, reading: Reading, *, is_noted: bool) -> int:
    """Documents that the round, of which a run read some, has still to come to."""
    with contextlib.suppress(IntegrityError):
        if is_noted and _was_checked(parts, reading.first_of_round):
            query = """SELECT count(*) FROM checks JOIN documents ON id = document_id
                       WHERE doomed = 0 AND checked_at < (SELECT checked_at FROM checks WHERE document_id = ?)"""
            with parts.database.read() as db:
                return int(db.execute(query, (reading.first_of_round,)).fetchone()[0])
    return reading.total - reading.documents


def _work(parts: Parts, id: int, reading: Reading) -> tuple[DocumentRow, list[Expected]] | None:
    hash = ""
    try:
        with parts.database.read() as db:
            found = row(db, "SELECT hash FROM documents WHERE id = ? AND doomed = 0", id)
            if found is None:
                return None
            hash = found["hash"]
            document = contents.find_document(db, hash)
            return None if document is None else (document, expected_files(parts, db, document))
    except IntegrityError as error:
        reading.problems.append(Problem("catalog", "documents", str(error), (), (hash,) if hash else ()))
        return None


def expected_files(parts: Parts, db: Database, document: DocumentRow) -> list[Expected]:
    """The files of a document: its blob, and its text's when it is the first of the text's documents."""
    blob = Expected.of(parts.documents, document.hash, document.suffix, document.hash, document.size, is_blob=True)
    text = document.text
    if not contents.is_first_of_text(db, document):
        return [blob]
    expected = [blob, Expected.of(parts.texts, text.hash, SUFFIX, text.file_hash, text.file_size)]
    for fingerprint, found in contents.subindexes_of_text(db, text):
        files = parts.embeddings(fingerprint)
        for suffix, hash, size in (
            (INDEX_SUFFIX, found.index_hash, found.index_size),
            (SPANS_SUFFIX, found.spans_hash, found.spans_size),
        ):
            expected.append(Expected.of(files, text.hash, suffix, hash, size, fingerprint))
    return expected


def _check(parts: Parts, document: DocumentRow, expected: Expected, pace: Pace) -> Problem | None:
    if fault(expected, pace) is None:
        return None
    with parts.database.read() as db:
        now = contents.find_document(db, document.hash)
        if now is None or now.doomed or expected not in expected_files(parts, db, now):
            return None  # removed, collected or replaced while we read
        affected = [document] if expected.is_blob else contents.documents_of_text(db, document.text)
        # Each name once for all problems of a report, of which a large store has many.
        names = {intern(name) for each in affected for name in refcount.referencing_workspaces(db, each)}
    found = fault(expected, pace)
    if found is None:
        return None  # the row is another one: collected and added again, or healed, between our two looks
    return Problem(
        found.kind,
        str(expected.path.relative_to(parts.folder)),
        found.detail,
        tuple(sorted(names)),
        tuple(each.hash for each in affected),
    )


class Fault(NamedTuple):
    """What is wrong with a file."""

    kind: ProblemKind
    detail: str


def fault(expected: Expected, pace: Pace) -> Fault | None:
    """What is wrong with a file. None: nothing."""
    try:
        with expected.open() as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            hash = hash_stream(pace.reading(file))[0] if size == expected.size else ""
    except FileNotFoundError:
        return Fault("missing", "the catalog says it is stored, and there is no such file")
    except IntegrityError as error:
        return Fault("damaged", str(error))
    except (OSError, SourceError, StorageError) as error:
        return Fault("unreadable", f"it cannot be read: {error}")
    if size != expected.size:
        return Fault("damaged", f"it has {size} bytes and was published with {expected.size}")
    if hash != expected.hash:
        return Fault("damaged", f"its bytes hash to {hash}, not to {expected.hash}")
    return None


def _strangers(parts: Parts) -> tuple[list[Problem], int]:
    """Files that no row names, and folders that cannot be listed; and how many files a crash left."""
    found: list[Problem] = []
    leftovers = 0
    with _listing(parts, parts.folder, found):
        names = sorted(parts.folder.iterdir())
        found += [_foreign(parts, path) for path in names if path.name not in parts.known_names]
    with _listing(parts, parts.tmp, found):
        leftovers += scratch.count_dead(parts.tmp)
    with contextlib.suppress(IntegrityError):  # a damaged archive has no listing, and is reported
        stores: list[ContentStore] = []
        with _listing(parts, parts.folder / "embeddings", found):
            stores = content_stores(parts)
        for files in stores:
            shards: list[str] = []
            with _listing(parts, files.root, found):
                found += [_foreign(parts, path) for path in files.strays()]
                shards = files.shards()
            for shard in shards:
                with _listing(parts, files.root / shard, found):
                    found += [_foreign(parts, path) for hash, _, path in files.files(shard) if not hash]
                    leftovers += _leftovers(parts, files, shard)
        strangers = parts.archive.strangers()
        found += [Problem("foreign", ARCHIVE, f"docstore packs nothing of the name {each}", ()) for each in strangers]
    return found, leftovers


@contextlib.contextmanager
def _listing(parts: Parts, folder: Path, found: list[Problem]) -> Iterator[None]:
    """One folder that cannot be listed must not cost the report on all others."""
    try:
        yield
    except OSError as error:
        path = str(folder.relative_to(parts.folder))
        found.append(Problem("unreadable", path, f"it cannot be listed: {error.strerror or error}", ()))


def _foreign(parts: Parts, path: Path) -> Problem:
    return Problem("foreign", str(path.relative_to(parts.folder)), "docstore makes nothing of this name here", ())


def _leftovers(parts: Parts, files: ContentStore, shard: str) -> int:
    def look(db: Database) -> set[Path | str]:
        return {*orphans(parts, db, files, shard), *packed_orphans(parts, db, files, shard)}

    try:
        with parts.database.read() as db:
            found = look(db)
        if found:
            # What somebody publishes has no row for a moment. Who holds the write lock meets nobody in the middle; a
            # store that is opened to be read has no such means, and looks again.
            lock = parts.database.read if parts.readonly else parts.write
            with contextlib.suppress(StorageError, StoreLocked), lock() as db:
                found &= look(db)
        return len(found)
    except IntegrityError:  # a damaged row was reported above
        return 0
