"""The bytes of documents as they were added, opened for reading."""

from __future__ import annotations

from typing import BinaryIO

from docstore import contents
from docstore.contents import DocumentRow
from docstore.durable import storage_errors
from docstore.errors import IntegrityError, not_stored
from docstore.parts import Parts


def open_original(parts: Parts, hash: str) -> BinaryIO:
    """See `DocStore.read`."""
    found = _stored_now(parts, hash)
    with storage_errors("opening a document"):
        while True:
            try:
                return parts.documents.open(hash, found.suffix)
            except FileNotFoundError as error:
                before, found = found, _stored_now(parts, hash)
                # Another row: it was collected and added again between the two looks, so look at the new file.
                if (found.id, found.stored_at) == (before.id, before.stored_at):
                    raise IntegrityError(f"{error.filename} is missing. Add the document again to heal it.") from error


def require_stored(found: DocumentRow | None, hash: str) -> DocumentRow:
    """What was found of a document.

    Raises:
        DocumentNotFound: nothing was, or a collection is deleting it.
    """
    if found is None or found.doomed:
        raise not_stored(hash)
    return found


def _stored_now(parts: Parts, hash: str) -> DocumentRow:
    with parts.database.read() as db:
        return require_stored(contents.find_document(db, hash), hash)
