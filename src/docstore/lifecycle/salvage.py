"""Salvage: a damaged archive made anew, of every piece in it that can be read and hashes to what the catalog says.

What cannot be read is then missing, and repaired as a missing file is. The damaged archive is kept if there is any.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from docstore import contents
from docstore.archive import ARCHIVE, JOURNAL, Archive
from docstore.database import Database, rows
from docstore.durable import storage_errors, sync_directory
from docstore.errors import IntegrityError
from docstore.lifecycle.verify import Expected, expected_files
from docstore.parts import QUARANTINE, Parts
from docstore.reports import Repair
from docstore.scratch import Scratch

_PORTION = 1 << 24  # bytes a transaction writes: what is not committed is in memory


def salvage(parts: Parts, dry_run: bool) -> list[Repair]:
    """Makes the archive anew if it is damaged. Under the write lock, for as long as that takes."""
    problems = parts.archive.problems()
    if not problems:
        return []
    detail = "; ".join(problems)
    if dry_run:
        return [Repair("restored", ARCHIVE, f"{detail}. It would be made anew of what can be read.", (), ())]
    with (
        parts.database.write() as db,
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
    lost = written = 0
    new = Archive(folder, readonly=False, timeout=0)
    try:
        with new.writing():
            for expected in _expected(parts, db):
                if expected.path.exists():
                    continue
                try:
                    with expected.open() as file:
                        data = file.read()
                except (FileNotFoundError, IntegrityError):
                    data = b""
                if blake3(data).hexdigest() != expected.hash:
                    lost += 1
                    continue
                new.put(str(expected.path.relative_to(parts.folder)), data)
                written += len(data)
                if written > _PORTION:
                    new.commit()
                    written = 0
    finally:
        new.close()
    return lost


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
