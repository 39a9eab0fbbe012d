"""What the catalog knows to be stored: documents, texts and sub-indexes, as rows.

Plain functions on a transaction. Who references what is `refcount`'s; the files are `cas`'s and `vectors`'s.
"""

from __future__ import annotations

import json
from collections.abc import Collection
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


_AMONG = "IN (SELECT value FROM json_each(?))"

# Columns by name, never `*`: a damaged schema is then SQLite's error, not a missing key.
_DOCUMENT = "id, hash, media_type, size, pages, stored_at, refcount, doomed, text_id"
_SUBINDEX = "s.chunks, s.index_hash, s.index_size, s.spans_hash, s.spans_size"
_TEXT = """
    t.id, t.hash, t.characters, t.file_hash, t.file_size,
    NOT EXISTS (SELECT 1 FROM documents d WHERE d.text_id = t.id AND d.doomed = 0) AS condemned"""


def find_text(db: Database, hash: str) -> TextRow | None:
    """The text of this hash, condemned or not."""
    return find_texts(db, [hash]).get(hash)


def find_texts(db: Database, hashes: Collection[str]) -> dict[str, TextRow]:
    """The texts of some hashes, condemned or not."""
    found = rows(db, f"SELECT {_TEXT} FROM texts t WHERE t.hash {_AMONG}", json.dumps(list(hashes))) if hashes else []
    return {each["hash"]: _text(each) for each in found}


def find_document(db: Database, hash: str) -> DocumentRow | None:
    """The document of this hash, doomed or not."""
    return find_documents(db, [hash]).get(hash)


def find_documents(db: Database, hashes: Collection[str]) -> dict[str, DocumentRow]:
    """The documents of some hashes, doomed or not."""
    found = rows(db, f"SELECT {_DOCUMENT} FROM documents WHERE hash {_AMONG}", json.dumps(list(hashes)))
    return {document.hash: document for document in _documents(db, found)}


def documents_of_text(db: Database, text: TextRow) -> list[DocumentRow]:
    """All documents that share a text: there may be as many as there are documents."""
    return _documents(db, rows(db, f"SELECT {_DOCUMENT} FROM documents WHERE text_id = ?", text.id))


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
    return find_subindexes(db, [text], fingerprint).get(text.hash)


def find_subindexes(db: Database, texts: Collection[TextRow], fingerprint: str) -> dict[str, SubindexRow]:
    """The sub-indexes of some texts under a pipeline, by the texts' hashes."""
    if not texts:
        return {}
    found = rows(
        db,
        f"""SELECT {_SUBINDEX}, s.text_id FROM subindexes s
            WHERE s.text_id {_AMONG} AND s.pipeline_id = (SELECT id FROM pipelines WHERE fingerprint = ?)""",
        json.dumps([text.id for text in texts]), fingerprint,
    )  # fmt: skip
    hashes = {text.id: text.hash for text in texts}
    return {hashes[each["text_id"]]: _subindex(each) for each in found}


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


def put_pipeline(db: Database, fingerprint: str, description: str) -> int:
    """The id of a pipeline, which is inserted when nothing was stored under it before."""
    pipeline = row(db, "SELECT id FROM pipelines WHERE fingerprint = ?", fingerprint) or row(
        db,
        f"INSERT INTO pipelines (fingerprint, description, created_at) VALUES (?, ?, {NOW}) RETURNING id",
        fingerprint, description,
    )  # fmt: skip
    assert pipeline is not None
    return int(pipeline["id"])


def put_subindex(db: Database, text: TextRow, pipeline: int, new: SubindexRow) -> None:
    """Inserts a sub-index. Replaces the row of one that was lost."""
    # Delete and insert rather than upsert: the totals' triggers then need to know only those two.
    db.execute("DELETE FROM subindexes WHERE text_id = ? AND pipeline_id = ?", (text.id, pipeline))
    db.execute(
        "INSERT INTO subindexes VALUES (?, ?, ?, ?, ?, ?, ?)",
        (text.id, pipeline, new.chunks, new.index_hash, new.index_size, new.spans_hash, new.spans_size),
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
    return TextRow(
        found["id"], found["hash"], found["characters"], found["file_hash"], found["file_size"],
        bool(found["condemned"]),
    )  # fmt: skip


def _documents(db: Database, found: list[dict[str, Any]]) -> list[DocumentRow]:
    if not found:
        return []
    ids = json.dumps([each["text_id"] for each in found])
    texts = {each["id"]: _text(each) for each in rows(db, f"SELECT {_TEXT} FROM texts t WHERE t.id {_AMONG}", ids)}
    return [_document(each, texts.get(each["text_id"])) for each in found]


def _document(found: dict[str, Any], text: TextRow | None) -> DocumentRow:
    if text is None or found["media_type"] not in SUFFIXES:
        lie = "has no text" if text is None else f"is of a type {found['media_type']!r} that docstore never stores"
        raise IntegrityError(f"The catalog says that document {found['hash']} {lie}: it is damaged. Run "
                             "`docstore repair`, or restore a backup.")  # fmt: skip
    return DocumentRow(
        found["id"], found["hash"], found["media_type"], found["size"], found["pages"], found["stored_at"],
        found["refcount"], bool(found["doomed"]), text,
    )  # fmt: skip


def _subindex(found: dict[str, Any]) -> SubindexRow:
    if None in found.values():
        raise IntegrityError("The catalog lacks a part of what it says of a sub-index: it is damaged. Run `docstore "
                             "repair`, or restore a backup.")  # fmt: skip
    return SubindexRow(
        found["chunks"], found["index_hash"], found["index_size"], found["spans_hash"], found["spans_size"]
    )
