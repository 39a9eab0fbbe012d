"""What the catalog knows to be stored: documents, texts and sub-indexes, as rows.

Plain functions on a transaction. Who references what is `refcount`'s; the files are `cas`'s and `vectors`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from docstore.database import Database, row, rows
from docstore.errors import IntegrityError
from docstore.ingest.extract import SUFFIXES
from docstore.schema import NOW


@dataclass(frozen=True, slots=True)
class TextRow:
    """A stored text."""

    id: int
    hash: str
    characters: int
    file_hash: str
    file_size: int
    condemned: bool
    """All its documents are doomed: its files may be gone, it must be published afresh."""


@dataclass(frozen=True, slots=True)
class SubindexRow:
    """A stored sub-index."""

    chunks: int
    index_hash: str
    index_size: int
    spans_hash: str
    spans_size: int


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A stored document."""

    id: int
    hash: str
    media_type: str
    size: int
    pages: int | None
    stored_at: str
    refcount: int
    doomed: bool
    text: TextRow

    @property
    def suffix(self) -> str:
        """The ending of the blob's file."""
        return SUFFIXES[self.media_type]


# Columns by name, never `*`: a damaged schema is then SQLite's error, not a missing key.
_DOCUMENT = "id, hash, media_type, size, pages, stored_at, refcount, doomed, text_id"
_SUBINDEX = "s.chunks, s.index_hash, s.index_size, s.spans_hash, s.spans_size"
_TEXT = """
    t.id, t.hash, t.characters, t.file_hash, t.file_size,
    NOT EXISTS (SELECT 1 FROM documents d WHERE d.text_id = t.id AND d.doomed = 0) AS condemned"""


def find_text(db: Database, hash: str) -> TextRow | None:
    """The text of this hash, condemned or not."""
    found = row(db, f"SELECT {_TEXT} FROM texts t WHERE t.hash = ?", hash)
    return None if found is None else _text(found)


def find_document(db: Database, hash: str) -> DocumentRow | None:
    """The document of this hash, doomed or not."""
    found = row(db, f"SELECT {_DOCUMENT} FROM documents WHERE hash = ?", hash)
    return None if found is None else _document(db, found)


def documents_of_text(db: Database, text: TextRow) -> list[DocumentRow]:
    """All documents that share a text: there may be as many as there are documents."""
    return [_document(db, found) for found in rows(db, f"SELECT {_DOCUMENT} FROM documents WHERE text_id = ?", text.id)]


def is_last_of_text(db: Database, document: DocumentRow) -> bool:
    """Whether no other document has this one's text."""
    query = "SELECT 1 FROM documents WHERE text_id = ? AND id <> ? LIMIT 1"
    return row(db, query, document.text.id, document.id) is None


def is_first_of_text(db: Database, document: DocumentRow) -> bool:
    """Whether it is the first of the documents with its text that are not doomed."""
    query = "SELECT 1 FROM documents WHERE text_id = ? AND doomed = 0 AND id < ? LIMIT 1"
    return row(db, query, document.text.id, document.id) is None


def find_subindex(db: Database, text: TextRow, fingerprint: str) -> SubindexRow | None:
    """The sub-index of a text under a pipeline."""
    found = row(
        db,
        f"""SELECT {_SUBINDEX} FROM subindexes s JOIN pipelines p ON p.id = s.pipeline_id
           WHERE s.text_id = ? AND p.fingerprint = ?""",
        text.id, fingerprint,
    )  # fmt: skip
    return None if found is None else _subindex(found)


def subindexes_of_text(db: Database, text: TextRow) -> list[tuple[str, SubindexRow]]:
    """All sub-indexes of a text, with the fingerprints of their pipelines."""
    found = rows(
        db,
        f"""SELECT {_SUBINDEX}, p.fingerprint FROM subindexes s JOIN pipelines p ON p.id = s.pipeline_id
           WHERE s.text_id = ?""",
        text.id,
    )
    return [(each["fingerprint"], _subindex(each)) for each in found]


def put_text(db: Database, hash: str, characters: int, file_hash: str, file_size: int) -> TextRow:
    """Inserts a text, or corrects the row of one whose lost file was written again."""
    (put,) = rows(
        db,
        """INSERT INTO texts (hash, characters, file_hash, file_size) VALUES (?, ?, ?, ?)
           ON CONFLICT (hash) DO UPDATE SET file_hash = excluded.file_hash, file_size = excluded.file_size
           RETURNING id, characters""",
        hash, characters, file_hash, file_size,
    )  # fmt: skip
    return TextRow(put["id"], hash, put["characters"], file_hash, file_size, condemned=False)


def put_subindex(db: Database, text: TextRow, fingerprint: str, description: str, new: SubindexRow) -> None:
    """Inserts a sub-index and, when it is the first under it, the pipeline. Replaces the row of one that was lost."""
    pipeline = row(db, "SELECT id FROM pipelines WHERE fingerprint = ?", fingerprint) or row(
        db,
        f"INSERT INTO pipelines (fingerprint, description, created_at) VALUES (?, ?, {NOW}) RETURNING id",
        fingerprint, description,
    )  # fmt: skip
    assert pipeline is not None
    # Delete and insert rather than upsert: the totals' triggers then need to know only those two.
    db.execute("DELETE FROM subindexes WHERE text_id = ? AND pipeline_id = ?", (text.id, pipeline["id"]))
    db.execute(
        "INSERT INTO subindexes VALUES (?, ?, ?, ?, ?, ?, ?)",
        (text.id, pipeline["id"], new.chunks, new.index_hash, new.index_size, new.spans_hash, new.spans_size),
    )


def insert_document(
    db: Database, hash: str, media_type: str, size: int, text: TextRow, pages: int | None
) -> DocumentRow:
    """Inserts a document that nothing references yet."""
    (new,) = rows(
        db,
        f"""INSERT INTO documents (hash, media_type, size, text_id, pages, stored_at, unreferenced_at)
            VALUES (?, ?, ?, ?, ?, {NOW}, {NOW}) RETURNING id, stored_at""",
        hash, media_type, size, text.id, pages,
    )  # fmt: skip
    return DocumentRow(new["id"], hash, media_type, size, pages, new["stored_at"], 0, False, text)


def delete_document(db: Database, document: DocumentRow) -> None:
    """Deletes a document's row. Foreign keys refuse while anything references it."""
    db.execute("DELETE FROM documents WHERE id = ?", (document.id,))


def delete_text(db: Database, text: TextRow) -> None:
    """Deletes a text and its sub-indexes. Foreign keys refuse while a document has it."""
    db.execute("DELETE FROM subindexes WHERE text_id = ?", (text.id,))
    db.execute("DELETE FROM texts WHERE id = ?", (text.id,))


def _text(found: dict[str, Any]) -> TextRow:
    return TextRow(**{**found, "condemned": bool(found["condemned"])})


def _document(db: Database, found: dict[str, Any]) -> DocumentRow:
    text = row(db, f"SELECT {_TEXT} FROM texts t WHERE t.id = ?", found["text_id"])
    if text is None or found["media_type"] not in SUFFIXES:
        lie = "has no text" if text is None else f"is of a type {found['media_type']!r} that docstore never stores"
        raise IntegrityError(f"The catalog says that document {found['hash']} {lie}: it is damaged. Run "
                             "`docstore repair`, or restore a backup.")  # fmt: skip
    return DocumentRow(
        found["id"], found["hash"], found["media_type"], found["size"], found["pages"], found["stored_at"],
        found["refcount"], bool(found["doomed"]), _text(text),
    )  # fmt: skip


def _subindex(found: dict[str, Any]) -> SubindexRow:
    if None in found.values():
        raise IntegrityError("The catalog lacks a part of what it says of a sub-index: it is damaged. Run `docstore "
                             "repair`, or restore a backup.")  # fmt: skip
    return SubindexRow(**{name: value for name, value in found.items() if name != "fingerprint"})
