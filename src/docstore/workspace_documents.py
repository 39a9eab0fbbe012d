"""What a workspace has: the methods of a `Workspace` that list its documents, and give one, and its bytes."""

from __future__ import annotations

from typing import BinaryIO

import docstore
from docstore import refcount
from docstore.cas import is_hash
from docstore.covered import owner_of
from docstore.errors import not_referenced
from docstore.names import check_hash
from docstore.parts import Parts


class Holding:
    """One workspace, as it has documents."""

    _parts: Parts
    _id: int
    name: str

    def __contains__(self, document: object) -> bool:
        """Whether it references a document itself, a hash or a `Document`: `documents()` would list it."""
        hash = document.hash if isinstance(document, docstore.Document) else document
        with self._parts.database.read() as db:
            refcount.require_workspace(db, self._id)
            return is_hash(hash) and refcount.has_reference(db, self._id, hash)

    def documents(self) -> list[docstore.Document]:
        """The documents this workspace references, in the order in which they were added; of one millisecond, in which
        `add_many` adds several, in the order of their names."""
        from docstore.documents import document_of

        with self._parts.database.read() as db:
            refcount.require_workspace(db, self._id)
            found = refcount.references(db, self._id, self._parts.pipeline.fingerprint)
        return [document_of(each) for each in sorted(found, key=lambda each: (each.added_at, each.name))]

    def document(self, hash: str) -> docstore.Document:
        """A document that this workspace references, or that one does which it includes: such as a search finds here.
        What it is called, and its metadata, are those that hits and `where` go by.

        Raises:
            DocumentNotFound: neither does, whether or not others have it.
        """
        from docstore.documents import document_of

        return document_of(self._found(hash)[1])

    def read(self, hash: str) -> BinaryIO:
        """The bytes of such a document, as `DocStore.read` gives those of any: what to hand out to whoever may search
        this workspace. It uses the workspace, as a search does.

        Raises:
            DocumentNotFound: the workspace neither references nor includes it, whether or not others have it.
            IntegrityError: its file is missing.
        """
        from docstore.originals import open_original

        owner, _ = self._found(hash)
        self._parts.accesses.note(self._id, owner)
        return open_original(self._parts, hash)

    def _found(self, hash: str) -> tuple[int, refcount.ReferenceRow]:
        """The reference, and whose it is."""
        check_hash(hash)
        with self._parts.database.read() as db:
            refcount.require_workspace(db, self._id)
            owner = owner_of(db, self._id, hash)
            if owner is not None:
                found = refcount.reference(db, owner, hash, self._parts.pipeline.fingerprint)
                if found is not None:
                    return owner, found
        raise not_referenced(self.name, hash)
