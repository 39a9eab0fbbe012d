"""What tests of packed pieces share."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from docstore import DocStore, durable
from docstore.archive import ARCHIVE
from docstore.testing import HashEmbedder
from tests.folders import files

MANY = 1 + durable._FEW // 4
"""Documents whose pieces are packed, or whose files are synced by threads."""

EMPTY = 20_480
"""Bytes of an archive that holds nothing."""


def notes(count: int = MANY, first: int = 0) -> list[bytes]:
    return [f"Note {number} tells of {number * number} ships.".encode() for number in range(first, first + count)]


def open_store(folder: Path, **options: Any) -> DocStore:
    return DocStore(folder, embedder=HashEmbedder(), **options)


def loose(folder: Path) -> list[str]:
    return [str(path) for path in files(folder) if (folder / path).is_file() and path.parts[0] != "tmp"]


def change(folder: Path, sql: str, *arguments: object) -> None:
    """Changes the archive behind the library's back."""
    with closing(sqlite3.connect(folder / ARCHIVE)) as archive, archive:
        archive.execute(sql, arguments)
