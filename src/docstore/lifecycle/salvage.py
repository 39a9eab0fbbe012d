"""Salvage: a damaged archive made anew, of every piece in it that can be read and hashes to what the catalog says.

What cannot be read is then missing, and repaired as a missing file is. The damaged archive is kept if there is any.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from blake3 import blake3

from docstore import contents, sqlar
from docstore.archive import ARCHIVE, JOURNAL, Archive
from docstore.cas import LARGEST_PACKED
from docstore.database import Database, rows
from docstore.durable import storage_errors, sync_directory
from docstore.errors import IntegrityError
from docstore.lifecycle.verify import Expected, expected_files
from docstore.parts import QUARANTINE, Parts
from docstore.reports import Repair
from docstore.scratch import Scratch

_PORTION = 1 << 24  # bytes a transaction writes: what is not committed is in memory
_FEW = 4096  # rows that are asked for one by one behind a damaged page: as many as some hundred pages have
_LAST_ROW = 1 << 40  # more than were ever in an archive
_PIECES = "SELECT name, data FROM sqlar NOT INDEXED"


def salvage(parts: Parts, dry_run: bool) -> list[Repair]:
    """Makes the archive anew if it is damaged. Under the write lock, for as long as that takes."""
    problems = parts.archive.problems()
    if not problems:
        return []
    detail = "; ".join(problems)
    if dry_run:
        return [Repair("restored", ARCHIVE, f"{detail}. It would be made anew of what can be read.", (), ())]
    with (
        parts.write() as db,
        Scratch(parts.tmp) as scratch,
        storage_errors("making the archive anew"),
    ):
        folder = Path(scratch.file())
        folder.mkdir()
        lost = _save(parts, db, folder)
        kept = free(parts.folder / QUARANTINE / ARCHIVE) if lost else None
        _exchange(parts.folder, folder, kept)
    what = (
        f"{lost} pieces could not; the damaged archive is {QUARANTINE}/{kept.name}" if kept is not None else "All could"
    )
    return [Repair("restored", ARCHIVE, f"{detail}. It was made anew of what could be read. {what}.", (), ())]


def _save(parts: Parts, db: Database, folder: Path) -> int:
    """Copies what is sound to an archive in another folder. Returns how many pieces are not."""
    lacking: dict[str, str] = {}
    new = Archive(folder, readonly=False, timeout=0)
    try:
        with new.writing():
            saved = _Portions(new)
            for expected in _expected(parts, db):
                name = str(expected.path.relative_to(parts.folder))
                if expected.path.exists():
                    continue
                try:
                    with expected.open() as file:
                        data = file.read()
                except (FileNotFoundError, IntegrityError):
                    data = b""
                if blake3(data).hexdigest() == expected.hash:
                    saved.put(name, data)
                else:
                    lacking[name] = expected.hash
            for name, data in _in_order(parts.archive.path) if lacking else ():
                if lacking.get(name) == blake3(data).hexdigest():
                    saved.put(name, data)
                    del lacking[name]
                if not lacking:
                    break
    finally:
        new.close()
    return len(lacking)


class _Portions:
    """Puts pieces into an archive, and commits now and then."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._written = 0

    def put(self, name: str, data: bytes) -> None:
        self._archive.put(name, data)
        self._written += len(data)
        if self._written > _PORTION:
            self._archive.commit()
            self._written = 0


def _in_order(path: Path) -> Iterator[tuple[str, bytes]]:
    """The pieces of a damaged archive that can be read without its index of names, and though the file was cut off."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as archive:
        # With a writable schema, and told so first, SQLite reads a file that is shorter than its first page says.
        for pragma in ("writable_schema = ON", *sqlar.PRAGMAS_OF_READERS):
            archive.execute(f"PRAGMA {pragma}")
        if not sqlar.is_ours(archive.execute(sqlar.ENTRIES).fetchall(), sqlar.EXPECTED[:1]):
            return
        # First in one go, which looks at no number of a row, so that one that is wrong hides no other; it ends at the
        # first damage. Then number by number, past that.
        with suppress(sqlite3.Error, UnicodeDecodeError):
            yield from _pieces(archive.execute(f"{_PIECES} WHERE length(data) <= ?", (LARGEST_PACKED,)))
        row = _after(archive, 0)
        while row is not None:
            with suppress(sqlite3.Error, UnicodeDecodeError):
                sought = archive.execute(f"{_PIECES} WHERE rowid = ? AND length(data) <= ?", (row, LARGEST_PACKED))
                yield from _pieces(sought)
            row = _after(archive, row)


def _pieces(rows: Iterable[tuple[object, object]]) -> Iterator[tuple[str, bytes]]:
    for name, data in rows:
        if isinstance(name, str) and isinstance(data, bytes):
            yield name, data


def _after(archive: sqlite3.Connection, row: int) -> int | None:
    """The first row after one, or after the damage that follows it. None: there is none, or all is damaged."""

    def seek(after: int) -> int | None:
        found = archive.execute("SELECT rowid FROM sqlar NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT 1", (after,))
        for (next,) in found:
            if next > after:
                return int(next)
            raise sqlite3.DatabaseError("rows are out of order")
        return None

    def is_readable(after: int) -> bool:
        with suppress(sqlite3.Error):
            seek(after)
            return True
        return False

    # Where a page is damaged nothing says how many rows it has.
    for first in range(row, row + _FEW):
        with suppress(sqlite3.Error):
            return seek(first)
    step = _FEW
    while not is_readable(row + step):
        if step > _LAST_ROW:
            return None
        step *= 2
    first, last = row + step // 2, row + step
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (first, middle) if is_readable(middle) else (middle, last)
    return seek(last)


def _expected(parts: Parts, db: Database) -> Iterator[Expected]:
    for found in rows(db, "SELECT hash FROM documents WHERE doomed = 0 ORDER BY id"):
        document = contents.find_document(db, found["hash"])
        assert document is not None
        yield from expected_files(parts, db, document)


def _exchange(folder: Path, new: Path, kept: Path | None) -> None:
    """Puts the new archive into the place of the old one."""
    if kept is not None:
        kept.parent.mkdir(exist_ok=True)
        os.link(folder / ARCHIVE, kept)
        sync_directory(kept.parent)
    # Never the old one's journal beside the new one: SQLite would play it back.
    (folder / JOURNAL).unlink(missing_ok=True)
    if (new / ARCHIVE).exists():
        (new / ARCHIVE).replace(folder / ARCHIVE)
    else:
        (folder / ARCHIVE).unlink()
    sync_directory(folder)


def free(path: Path) -> Path:
    """The path, or the first with a number after it that nothing uses."""
    candidate, number = path, 1
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return candidate
