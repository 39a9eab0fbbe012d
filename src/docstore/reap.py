"""Reaping: what takes a doomed document off the disk. Collections do it, and an add that meets one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from docstore import contents, versions
from docstore.cas import ContentStore
from docstore.contents import DocumentRow, TextRow
from docstore.database import Database
from docstore.parts import Parts
from docstore.texts import SUFFIX
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX


def reap(parts: Parts, db: Database, documents: Iterable[DocumentRow], touched: set[Path]) -> int:
    """Deletes doomed documents, files before rows, and their texts when no other document has them.

    Under the write lock. Returns the bytes of the files, and adds the directories they were in to `touched`. A crash in
    between leaves the rows, still doomed: unlinking what is gone already is no error, so running it again completes it.
    """
    freed = 0
    for document in documents:
        assert document.doomed
        freed += document.size
        _unlink(parts.documents, document.hash, document.suffix, touched)
        # A condemned text's files may go, and its row after the last of its documents' rows.
        last = contents.is_last_of_text(db, document)
        freed += _unlink_text(parts, db, document.text, touched) if last else 0
        contents.delete_document(db, document)
        versions.forget(db, document.hash)
        if last:
            contents.delete_text(db, document.text)
    return freed


def _unlink_text(parts: Parts, db: Database, text: TextRow, touched: set[Path]) -> int:
    freed = text.file_size
    _unlink(parts.texts, text.hash, SUFFIX, touched)
    for fingerprint, subindex in contents.subindexes_of_text(db, text):
        _unlink(parts.embeddings(fingerprint), text.hash, INDEX_SUFFIX, touched)
        _unlink(parts.embeddings(fingerprint), text.hash, SPANS_SUFFIX, touched)
        freed += subindex.index_size + subindex.spans_size
    return freed


def _unlink(files: ContentStore, hash: str, suffix: str, touched: set[Path]) -> None:
    files.unlink(hash, suffix)
    touched.add(files.path(hash, suffix).parent)
