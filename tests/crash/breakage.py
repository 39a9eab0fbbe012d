"""Durability broken on purpose: the proof that the images would show it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from docstore import durable, sqlar
from docstore.database import CatalogDatabase


def break_durability(what: str) -> None:
    """Spoils one of the things that durability rests on, in this process, for good."""
    match what:
        case "directories":
            durable.sync_directory = _sync_no_directory
        case "files":
            durable.sync_file = _sync_nothing
        case "catalog":
            setattr(CatalogDatabase, "_connect", _connect_carelessly)  # noqa: B010  (mypy refuses the assignment)
        case "archive":
            sqlar.PRAGMAS = *sqlar.PRAGMAS, "synchronous = OFF"
        case _:
            raise ValueError(what)


def _sync_no_directory(path: Path | str) -> None:
    """Leaves a directory's entries to chance."""


def _sync_nothing(fd: int) -> None:
    """Leaves a file's bytes to chance."""


_connect = CatalogDatabase._connect


def _connect_carelessly(database: CatalogDatabase) -> sqlite3.Connection:
    connection = _connect(database)
    connection.execute("PRAGMA synchronous = OFF")
    return connection
