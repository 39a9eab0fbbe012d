"""What is on disk, seen and changed without the library: the tests' independent witness."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from blake3 import blake3


def files(folder: Path, below: str = "") -> list[Path]:
    """Every file below a folder, relative to the store, without the catalog and the reserve. What is in the archive
    counts as a file of its name, and the archive not at all."""
    ours = ("catalog.db", "small.sqlar")
    loose = {
        path.relative_to(folder)
        for path in (folder / below).rglob("*")
        if path.is_file() and not path.name.startswith(ours) and path != folder / "reserve"
    }
    return sorted(loose.union(path for path in map(Path, packed(folder)) if path.is_relative_to(below)))


def packed(folder: Path) -> dict[str, bytes]:
    """What is in the archive, by name."""
    if not (folder / "small.sqlar").exists() or not (folder / "small.sqlar").stat().st_size:
        return {}
    with closing(sqlite3.connect(folder / "small.sqlar")) as archive:
        is_made = archive.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return dict(archive.execute("SELECT name, data FROM sqlar").fetchall()) if is_made else {}


def apparent_bytes(folder: Path) -> int:
    """What `du --apparent-size` counts for all files, the catalog included."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def query(folder: Path, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Rows straight from the catalog."""
    with closing(sqlite3.connect(folder / "catalog.db")) as catalog:
        return catalog.execute(sql, arguments).fetchall()


def execute(folder: Path, sql: str, *arguments: Any) -> None:
    """Changes the catalog behind the library's back."""
    with closing(sqlite3.connect(folder / "catalog.db")) as catalog, catalog:
        catalog.execute(sql, arguments)


def lie(folder: Path, *statements: str) -> None:
    """Changes the catalog as damage does, or who may write the disk: without checks, foreign keys, and the triggers,
    which stand again after."""
    with closing(sqlite3.connect(folder / "catalog.db")) as catalog, catalog:
        lie_in(catalog, *statements)


def lie_in(catalog: sqlite3.Connection, *statements: str) -> None:
    """What `lie` does, in a transaction of the caller's."""
    catalog.executescript("PRAGMA ignore_check_constraints = ON; PRAGMA writable_schema = ON")
    triggers = catalog.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        catalog.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        catalog.execute(statement)
    for _, made in triggers:
        with suppress(sqlite3.Error):  # it was on a table that is no more
            catalog.execute(made)


def hash_of(data: bytes) -> str:
    """The name of a document."""
    return blake3(data).hexdigest()


def problems(folder: Path) -> list[str]:
    """Everything that contradicts the invariants 1 to 3 in a store nobody is using."""
    found = []
    archived = packed(folder)

    def is_sound(name: str, hash: str) -> bool:
        path = folder / name
        data = path.read_bytes() if path.is_file() else archived.get(name)
        return data is not None and hash_of(data) == hash

    for hash, media_type in query(folder, "SELECT hash, media_type FROM documents WHERE doomed = 0"):
        named = f"documents/{hash[:2]}/{hash}."
        blobs = {str(path.relative_to(folder)) for path in (folder / "documents" / hash[:2]).glob(f"{hash}.*")}
        blobs.update(name for name in archived if name.startswith(named))
        if len(blobs) != 1 or not is_sound(next(iter(blobs)), hash):
            found.append(f"document {hash} ({media_type}) has files {blobs}")
    # A text whose documents are all doomed is being collected with them: its files may be gone.
    live = "EXISTS (SELECT 1 FROM documents WHERE text_id = t.id AND doomed = 0)"
    for hash, file_hash in query(folder, f"SELECT hash, file_hash FROM texts t WHERE {live}"):
        if not is_sound(f"texts/{hash[:2]}/{hash}.zst", file_hash):
            found.append(f"text {hash} is missing or damaged")
    subindexes = f"""SELECT p.fingerprint, t.hash, index_hash, spans_hash FROM subindexes s
                     JOIN texts t ON t.id = s.text_id JOIN pipelines p ON p.id = pipeline_id WHERE {live}"""
    for fingerprint, hash, index_hash, spans_hash in query(folder, subindexes):
        for name, expected in (("index.faiss", index_hash), ("chunks.npy", spans_hash)):
            if not is_sound(f"embeddings/{fingerprint}/{hash[:2]}/{hash}/{name}", expected):
                found.append(f"{name} of {hash} is missing or damaged")
    wrong = "SELECT hash FROM documents d WHERE refcount <> (SELECT count(*) FROM refs WHERE document_id = d.id)"
    found += [f"count of {hash} is wrong" for (hash,) in query(folder, wrong)]
    return found
