"""Targets: what a document that comes in is for: a workspace that references it, or references to another document."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from docstore import pins, refcount, replacements
from docstore.contents import DocumentRow, SubindexRow, find_document
from docstore.database import Database
from docstore.documents import Document, document_of, stored_document
from docstore.errors import DocumentNotFound
from docstore.ingest.incoming import Incoming
from docstore.parts import Parts
from docstore.replacements import Replacement


class Target(Protocol):
    """What an addition is for. Every method is called in one of its write transactions."""

    @property
    def workspace(self) -> int:
        """The one whose limits count; 0: none's."""

    @property
    def donors(self) -> int | None:
        """The workspace whose documents alone may give vectors; None: all may."""

    def require(self, db: Database) -> None:
        """Raises if what it is for is gone. That the workspace is there, who reads its limits has found."""

    def must_bring(self, db: Database, hash: str) -> bool:
        """Whether a document must be treated as if nobody had it."""

    def refer(self, db: Database, item: Incoming, document: DocumentRow, vectors: SubindexRow) -> Document:
        """Makes the references, to a document that is stored or about to be, in the same transaction."""


class ForWorkspace:
    """One workspace references it."""

    def __init__(self, parts: Parts, workspace: int) -> None:
        self._demands = parts.demand_bytes
        self.workspace = workspace

    @property
    def donors(self) -> int | None:
        """Where bytes are demanded, how fast an add is must not tell of what others hold."""
        return self.workspace if self._demands else None

    def require(self, db: Database) -> None:
        """Nothing but the workspace."""

    def must_bring(self, db: Database, hash: str) -> bool:
        """Where bytes are demanded, and this workspace does not have the document yet."""
        if not self._demands:
            return False
        return not refcount.has_reference(db, self.workspace, hash)

    def refer(self, db: Database, item: Incoming, document: DocumentRow, vectors: SubindexRow) -> Document:
        """The reference."""
        avoided = 0 if item.embedded else vectors.chunks
        found = refcount.refer(
            db, self.workspace, document, vectors, item.name, item.fallback_name, item.metadata, avoided
        )
        outcome, reused = document_of(found), not item.embedded
        return outcome if outcome.reused == reused else replace(outcome, reused=reused)


class ForSet(ForWorkspace):
    """The workspace of a set references it."""

    def refer(self, db: Database, item: Incoming, document: DocumentRow, vectors: SubindexRow) -> Document:
        """The reference, pinned in the same transaction: a moment later a new version might have its place, and a
        document that is none of the set's would be found by all who asked for it."""
        reference = super().refer(db, item, document, vectors)
        pins.pin(db, self.workspace, document.hash, keep=True)
        return reference


class InPlaceOf:
    """Every reference to another document, but those that are pinned, moves to it."""

    workspace, donors = 0, None

    def __init__(self, old: str) -> None:
        self._old = old
        self.done: Replacement
        """What was done, once it is."""

    def require(self, db: Database) -> None:
        """The old document must be there."""
        self._find(db)

    def _find(self, db: Database) -> DocumentRow:
        old = find_document(db, self._old)
        if old is None or old.doomed:
            raise DocumentNotFound(f"The store has no document {self._old}, so nothing can take its place. Add the new "
                                   "one instead.")  # fmt: skip
        return old

    def must_bring(self, db: Database, hash: str) -> bool:
        """Nobody learns anything from it but who holds the store."""
        return False

    def refer(self, db: Database, item: Incoming, document: DocumentRow, vectors: SubindexRow) -> Document:
        """All references move, in the transaction that publishes the document."""
        moved, stayed = replacements.move(db, self._find(db), document)
        embedded = item.subindex.computed if item.subindex is not None else 0
        self.done = Replacement(self._old, document.hash, moved, stayed, vectors.chunks, embedded)
        return stored_document(document, vectors.chunks)
