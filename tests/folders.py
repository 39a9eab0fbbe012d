"""What is on disk, seen without the library: the tests' independent witness."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from blake3 import blake3


def files(folder: Path, below: str = "") -> list[Path]:
    """Every file below a folder, relative to the store, without the catalog and the reserve."""
    return sorted(
        path.relative_to(folder)
        for path in (folder / below).rglob("*")
        if path.is_file() and not path.name.startswith("catalog.db") and path != folder / "reserve"
    )


def apparent_bytes(folder: Path) -> int:
    """What `du --apparent-size` counts for all files, the catalog included."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def query(folder: Path, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Rows straight from the catalog."""
    connection = sqlite3.connect(folder / "catalog.db")
    try:
        return connection.execute(sql, arguments).fetchall()
    finally:
        connection.close()


def execute(folder: Path, sql: str, *arguments: Any) -> None:
    """Changes the catalog behind the library's back."""
    connection = sqlite3.connect(folder / "catalog.db")
    try:
        with connection:
            connection.execute(sql, arguments)
    finally:
        connection.close()


def hash_of(data: bytes) -> str:
    """The name of a document."""
    return blake3(data).hexdigest()


def problems(folder: Path) -> list[str]:
    """Everything that contradicts the invariants 1 to 3 in a store nobody is using."""
    found = []
    for hash, media_type in query(folder, "SELECT hash, media_type FROM documents WHERE doomed = 0"):
        blobs = list((folder / "documents" / hash[:2]).glob(f"{hash}.*"))
        if len(blobs) != 1 or hash_of(blobs[0].read_bytes()) != hash:
            found.append(f"document {hash} ({media_type}) has files {blobs}")
    # A text whose documents are all doomed is being collected with them: its files may be gone.
    live = "EXISTS (SELECT 1 FROM documents WHERE text_id = t.id AND doomed = 0)"
    for hash, file_hash in query(folder, f"SELECT hash, file_hash FROM texts t WHERE {live}"):
        path = folder / "texts" / hash[:2] / f"{hash}.zst"
        if not path.is_file() or hash_of(path.read_bytes()) != file_hash:
            found.append(f"text {hash} is missing or damaged")
    subindexes = f"""SELECT p.fingerprint, t.hash, index_hash, spans_hash FROM subindexes s
                     JOIN texts t ON t.id = s.text_id JOIN pipelines p ON p.id = pipeline_id WHERE {live}"""
    for fingerprint, hash, index_hash, spans_hash in query(folder, subindexes):
        for name, expected in (("index.faiss", index_hash), ("chunks.npy", spans_hash)):
            path = folder / "embeddings" / fingerprint / hash[:2] / hash / name
            if not path.is_file() or hash_of(path.read_bytes()) != expected:
                found.append(f"{name} of {hash} is missing or damaged")
    wrong = "SELECT hash FROM documents d WHERE refcount <> (SELECT count(*) FROM refs WHERE document_id = d.id)"
    found += [f"count of {hash} is wrong" for (hash,) in query(folder, wrong)]
    return found
