"""What the catalog knows to be stored: documents, texts and sub-indexes, as rows.

Plain functions on a transaction. Who references what is `refcount`'s; the files are `cas`'s and `vectors`'s.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from docstore import moments
from docstore.database import Database, checked, records, row
from docstore.errors import IntegrityError
from docstore.ingest.extraction import SUFFIXES
from docstore.moments import NOW, spelled


class TextRow(NamedTuple):
    """A stored text."""

    id: int
    hash: str
    characters: int
    file_hash: str
    file_size: int
    condemned: bool
    """All its documents are doomed: its files may be gone, it must be published afresh."""


class SubindexRow(NamedTuple):
    """A stored sub-index."""

    chunks: int
    index_hash: str
    index_size: int
    spans_hash: str
    spans_size: int


class DocumentRow(NamedTuple):
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


_FEW = 4096  # to bind one by one; SQLite takes 32,766 at most, unless it was built to take more

# Columns by name, never `*`: a damaged schema is then SQLite's error, not a missing value.
_DOCUMENT_NAMES = ("id", "hash", "media_type", "size", "pages", "stored_at", "refcount", "doomed")
_DOCUMENT = ", ".join(f"d.{name}" for name in _DOCUMENT_NAMES)
_TEXT_ID = len(_DOCUMENT_NAMES)  # its place: the columns of the text follow
_SUBINDEX_NAMES = ("chunks", "index_hash", "index_size", "spans_hash", "spans_size")
_SUBINDEX = ", ".join(f"s.{name}" for name in _SUBINDEX_NAMES)
_TEXT_NAMES = ("id", "hash", "characters", "file_hash", "file_size", "condemned")
_TEXT = """
    t.id, t.hash, t.characters, t.file_hash, t.file_size,
    NOT EXISTS (SELECT 1 FROM documents d WHERE d.text_id = t.id AND d.doomed = 0)"""


def find_text(db: Database, hash: str) -> TextRow | None:
    """The text of this hash, condemned or not."""
    return find_texts(db, [hash]).get(hash)


def find_texts(db: Database, hashes: Collection[str]) -> dict[str, TextRow]:
    """The texts of some hashes, condemned or not."""
    if not hashes:
        return {}
    among, values = _among(hashes)
    found = records(db, _TEXT_NAMES, f"SELECT {_TEXT} FROM texts t WHERE t.hash {among}", *values)
    return {text.hash: text for text in map(_text, found)}


def find_document(db: Database, hash: str) -> DocumentRow | None:
    """The document of this hash, doomed or not."""
    return find_documents(db, [hash]).get(hash)


def find_documents(db: Database, hashes: Collection[str]) -> dict[str, DocumentRow]:
    """The documents of some hashes, doomed or not."""
    among, values = _among(hashes)
    documents = _documents(db, f"d.hash {among}", *values)
    return {document.hash: document for document in documents}


def documents_of_text(db: Database, text: TextRow) -> list[DocumentRow]:
    """All documents that share a text: there may be as many as there are documents."""
    return _documents(db, "d.text_id = ?", text.id)


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
    hashes = {text.id: text.hash for text in texts}
    among, values = _among(hashes)
    found = records(
        db, ("text_id", *_SUBINDEX_NAMES),
        f"""SELECT s.text_id, {_SUBINDEX} FROM subindexes s
            WHERE s.text_id {among} AND s.pipeline_id = (SELECT id FROM pipelines WHERE fingerprint = ?)""",
        *values, fingerprint,
    )  # fmt: skip
    # In a damaged catalog a row may be found where it does not belong.
    return {hashes[text]: _subindex(rest) for text, *rest in found if text in hashes}


def subindexes_of_text(db: Database, text: TextRow) -> list[tuple[str, SubindexRow]]:
    """All sub-indexes of a text, with the fingerprints of their pipelines."""
    found = records(
        db, ("fingerprint", *_SUBINDEX_NAMES),
        f"""SELECT p.fingerprint, {_SUBINDEX} FROM subindexes s JOIN pipelines p ON p.id = s.pipeline_id
           WHERE s.text_id = ?""",
        text.id,
    )  # fmt: skip
    return [(fingerprint, _subindex(values)) for fingerprint, *values in found]


def insert_text(db: Database, hash: str, characters: int, file_hash: str, file_size: int) -> TextRow:
    """Inserts a text that no document has yet."""
    made = db.execute(  # without RETURNING, which takes as long again
        "INSERT INTO texts (hash, characters, file_hash, file_size) VALUES (?, ?, ?, ?)",
        (hash, characters, file_hash, file_size),
    )
    return TextRow(int(made.lastrowid or 0), hash, characters, file_hash, file_size, condemned=False)


def correct_text(db: Database, text: TextRow, file_hash: str, file_size: int) -> TextRow:
    """Corrects the row of a text whose lost file was written again."""
    db.execute("UPDATE texts SET file_hash = ?, file_size = ? WHERE id = ?", (file_hash, file_size, text.id))
    return text._replace(file_hash=file_hash, file_size=file_size, condemned=False)


def put_pipeline(db: Database, fingerprint: str, description: str) -> int:
    """The id of a pipeline, which is inserted when nothing was stored under it before."""
    pipeline = row(db, "SELECT id FROM pipelines WHERE fingerprint = ?", fingerprint) or row(
        db,
        f"INSERT INTO pipelines (fingerprint, description, created_at) VALUES (?, ?, {NOW}) RETURNING id",
        fingerprint, description,
    )  # fmt: skip
    assert pipeline is not None
    return int(pipeline["id"])


def delete_subindex(db: Database, text: TextRow, pipeline: int) -> None:
    """Deletes a sub-index that was lost. Deleted and inserted rather than upserted: the totals' triggers then need to
    know only those two."""
    db.execute("DELETE FROM subindexes WHERE text_id = ? AND pipeline_id = ?", (text.id, pipeline))


def insert_subindex(
    db: Database, text: TextRow, pipeline: int, new: SubindexRow, computed: int, digests: Sequence[int]
) -> None:
    """Inserts a sub-index that is new.

    Args:
        computed: vectors that were computed for it.
        digests: of its chunks, by which their vectors are found again.
    """
    db.execute(
        "INSERT INTO subindexes VALUES (?, ?, ?, ?, ?, ?, ?)",
        (text.id, pipeline, new.chunks, new.index_hash, new.index_size, new.spans_hash, new.spans_size),
    )
    if copied := new.chunks - computed:
        db.execute("INSERT INTO copies (text_id, pipeline_id, vectors) VALUES (?, ?, ?)", (text.id, pipeline, copied))
    db.executemany(
        "INSERT INTO chunks (text_id, pipeline_id, chunk, digest) VALUES (?, ?, ?, ?)",
        [(text.id, pipeline, chunk, digest) for chunk, digest in enumerate(digests)],
    )


def insert_document(
    db: Database, hash: str, media_type: str, size: int, text: TextRow, pages: int | None
) -> DocumentRow:
    """Inserts a document that nothing references yet."""
    now = spelled(moments.now())
    made = db.execute(
        """INSERT INTO documents (hash, media_type, size, text_id, pages, stored_at, unreferenced_at)
           VALUES (?, ?, ?, ?, ?, ?, ?)""",
        (hash, media_type, size, text.id, pages, now, now),
    )
    return DocumentRow(int(made.lastrowid or 0), hash, media_type, size, pages, now, 0, False, text)


def delete_document(db: Database, document: DocumentRow) -> None:
    """Deletes a document's row. Foreign keys refuse while anything references it."""
    db.execute("DELETE FROM documents WHERE id = ?", (document.id,))


def delete_text(db: Database, text: TextRow) -> None:
    """Deletes a text and its sub-indexes. Foreign keys refuse while a document has it."""
    db.execute("DELETE FROM subindexes WHERE text_id = ?", (text.id,))
    db.execute("DELETE FROM texts WHERE id = ?", (text.id,))


def digests_left(db: Database, text: TextRow, most: int) -> int:
    """How many digests go with a condemned text, counted up to `most`; 0 for a text that stays."""
    if not text.condemned:
        return 0
    query = "SELECT 1 FROM chunks WHERE text_id = ? LIMIT ?"
    return len(db.execute(query, (text.id, most)).fetchall())


def forget_digests(db: Database, text: TextRow, most: int) -> None:
    """Deletes some digests of a condemned text, each of which lies on a page of its own in their index. They are hints
    that no sub-index needs, and the text stays condemned."""
    db.execute(
        """DELETE FROM chunks WHERE (text_id, pipeline_id, chunk) IN
           (SELECT text_id, pipeline_id, chunk FROM chunks WHERE text_id = ? LIMIT ?)""",
        (text.id, most),
    )


def _among(values: Collection[object]) -> tuple[str, Collection[object]]:
    """A condition, and what to bind to it."""
    if len(values) <= _FEW:  # to set up a virtual table takes longer than to look one document up
        return f"IN ({', '.join('?' * len(values))})", values
    return "IN (SELECT value FROM json_each(?))", [json.dumps(list(values))]


def _text(found: Sequence[Any]) -> TextRow:
    id, hash, characters, file_hash, file_size, condemned = found
    return TextRow(id, hash, characters, file_hash, file_size, bool(condemned))


def _documents(db: Database, where: str, *arguments: Any) -> list[DocumentRow]:
    # One statement: where a document alone is looked up, a second for its text takes as long as the first.
    query = f"SELECT {_DOCUMENT}, {_TEXT} FROM documents d LEFT JOIN texts t ON t.id = d.text_id WHERE {where}"
    found = db.execute(query, arguments).fetchall()
    for each in found:
        if each[_TEXT_ID] is None:  # before the types are checked: this says more
            raise _lie(each, "has no text")
    return list(map(_document, checked((*_DOCUMENT_NAMES, *_TEXT_NAMES), found)))


def _document(found: Sequence[Any]) -> DocumentRow:
    id, hash, media_type, size, pages, stored_at, count, doomed, *text = found
    if media_type not in SUFFIXES:
        raise _lie(found, f"is of a type {media_type!r} that docstore never stores")
    return DocumentRow(id, hash, media_type, size, pages, stored_at, count, bool(doomed), _text(text))


def _lie(found: Sequence[Any], what: str) -> IntegrityError:
    return IntegrityError(f"The catalog says that document {found[1]} {what}: it is damaged. Run `docstore repair`, or "
                          "restore a backup.")  # fmt: skip


def _subindex(found: Sequence[Any]) -> SubindexRow:
    if None in found:
        raise IntegrityError("The catalog lacks a part of what it says of a sub-index: it is damaged. Run `docstore "
                             "repair`, or restore a backup.")  # fmt: skip
    return SubindexRow(*found)
