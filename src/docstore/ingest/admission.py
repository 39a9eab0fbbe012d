"""Admission: whether what an `Addition` brings fits the limits of its workspace and of the store.

Asked up to three times, each time under the write lock: before anything is made of a document; when its text is there,
so that nothing is embedded in vain; and before it is published or referenced, where the answer is final. A document
that fits by itself, but perhaps not beside those of its group that are still being worked on, waits for these: some of
them may yet fail.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from docstore import quotas, refcount
from docstore.contents import DocumentRow
from docstore.database import Database
from docstore.errors import QuotaExceeded
from docstore.ingest.incoming import Incoming
from docstore.ingest.known import Known
from docstore.parts import Parts
from docstore.quotas import StoreQuota, WorkspaceQuota


class Verdict(Enum):
    """What becomes of a document before anything is made of it."""

    GO = auto()
    WAIT = auto()
    REFUSED = auto()


class Admission:
    """The limits, as one addition to one workspace meets them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._workspace = 0
        self._own: WorkspaceQuota | None = None
        self._store: StoreQuota | None = None
        self._ahead = _Begun({})  # what is being worked on
        self._embedded = _Begun({})  # of that, what is embedded, or will be next
        self.has_waiting = False
        """Whether any that was asked for since this was last set had to wait until others are published, or fail."""
        self._crossed: list[str] = []  # in the transaction that is open
        self.warnings: list[str] = []
        """What to warn of."""

    def look(self, db: Database, workspace: int, items: list[Incoming]) -> None:
        """Reads the limits, in the transaction in which they will be asked for.

        Args:
            workspace: whose limits apply; 0: nobody's.

        Raises:
            WorkspaceNotFound: it was deleted, or is expired.
        """
        self._workspace = workspace
        self._crossed = []
        self._own, self._store = quotas.of_adder(db, workspace, self._parts.folder)
        begun = [item for item in items if item.held and item.outcome is None] if self._is_limited else []
        self._ahead = _Begun({item.hash: _weight(item) for item in begun})
        self._embedded = _Begun({item.hash: _weight(item) for item in begun if item.subindex is not None})

    @property
    def _secretive(self) -> bool:
        # Who replaces a document everywhere holds the store, and learns nothing.
        return self._parts.demand_bytes and self._workspace != 0

    @property
    def _is_limited(self) -> bool:
        return self._own is not None or self._store is not None

    def verdict(self, db: Database, known: Known, item: Incoming, stored: DocumentRow | None) -> Verdict:
        """Whether to go on with a document.

        Args:
            stored: its row, if it has one that may tell.
        """
        if not self._is_limited or (stored is None and item.source is None):
            return Verdict.GO
        weight = _Weight(stored.size, 0, 0) if stored is not None else _weight(item)
        if not item.held:
            return self._verdict(db, item, weight, self._ahead)
        if item.blob is None or item.subindex is not None:
            return Verdict.GO
        # Its text is there, so all that it takes is known but the exact number of its vectors; nothing is embedded yet.
        vectors = self._least_vectors(known, item)
        new = self._new_bytes(known, item, stored) + vectors
        return self._verdict(db, item, _Weight(weight.logical, new, _unwritten(item) + vectors), self._embedded)

    def _verdict(self, db: Database, item: Incoming, weight: _Weight, ahead: _Begun) -> Verdict:
        item.outcome = self._refusal(db, item, weight)
        if item.outcome is not None:
            return Verdict.REFUSED
        if item.hash not in ahead:
            if self._refusal(db, item, ahead.total.plus(weight), len(ahead)):
                self.has_waiting = True
                return Verdict.WAIT
            ahead.begin(item.hash, weight)
        return Verdict.GO

    def reference(self, db: Database, item: Incoming, size: int) -> QuotaExceeded | None:
        """Why a stored document may not be referenced now; None where it may, and then it counts as referenced."""
        if self._own is None or self._has(db, item):
            return None
        refusal = self._own.refusal(size)
        if refusal is None:
            before, self._own = self._own, self._own.plus(1, size)
            self._crossed += self._own.crossed(before, refcount.workspace_name(db, self._workspace))
            self._ahead.end(item.hash)
            self._embedded.end(item.hash)
        return refusal

    def publication(
        self, db: Database, known: Known, item: Incoming, document: DocumentRow | None
    ) -> QuotaExceeded | None:
        """Why what was made of a document may not be published and referenced; None where it may."""
        if not self._is_limited:
            return None
        size = document.size if document is not None else _weight(item).logical
        return self._refusal(db, item, _Weight(size, self._new_bytes(known, item, document), _unwritten(item)))

    def published(self, db: Database) -> None:
        """Looks what the publications of a transaction came to."""
        if self._store is not None:
            before, self._store = self._store, quotas.of_store(db, self._parts.folder)
            self._crossed += self._store.crossed(before)

    def committed(self) -> None:
        """The transaction is durable, and with it what is to be warned of."""
        self.warnings += self._crossed
        self._crossed = []

    def _refusal(self, db: Database, item: Incoming, weight: _Weight, others: int = 0) -> QuotaExceeded | None:
        has, own = self._has(db, item), self._own
        if own is not None and not has and (refusal := own.plus(others, 0).refusal(weight.logical)) is not None:
            return refusal
        if self._store is None or (weight.physical == 0 and (has or not self._secretive)):
            return None  # what is stored may be referenced however full the disk is
        # Others publish in the same transaction, or have since.
        store = quotas.of_store(db, self._parts.folder)
        return store.refusal(weight.physical, weight.unwritten, self._secretive)

    def _has(self, db: Database, item: Incoming) -> bool:
        return refcount.has_reference(db, self._workspace, item.hash)

    def _new_bytes(self, known: Known, item: Incoming, document: DocumentRow | None) -> int:
        """Bytes of the pieces that are not stored; where bytes are demanded, as if none were."""
        if self._secretive:
            return sum(each.size for each in item.staged)
        text = known.text(item.text_hash)
        is_new = text is None or text.condemned
        new = item.blob.size if document is None and item.blob is not None else 0
        if is_new and item.text_file is not None:
            new += item.text_file.size
        if item.subindex is not None and (text is None or is_new or known.subindex(text) is None):
            new += sum(each.size for each in item.subindex.staged)
        return new

    def _least_vectors(self, known: Known, item: Incoming) -> int:
        """Bytes of as many vectors as the text has at least, unless they are stored."""
        text = None if self._secretive else known.text(item.text_hash)
        if text is not None and not text.condemned and known.subindex(text) is not None:
            return 0
        return self._parts.pipeline.least_bytes(0 if item.text is None else len(item.text.content))


class _Weight(NamedTuple):
    """What a document takes, in bytes, as far as is known."""

    logical: int
    """Of the workspace."""
    physical: int
    """Of the store, once it is published."""
    unwritten: int
    """Of that, what is not on the disk yet."""

    def plus(self, other: _Weight, times: int = 1) -> _Weight:
        return _Weight._make(a + times * b for a, b in zip(self, other))


class _Begun:
    """Documents by hash, and what they come to: kept, since each of a group asks for it."""

    def __init__(self, weights: dict[str, _Weight]) -> None:
        self._weights = weights
        self.total = _Weight(*(sum(each) for each in zip(*weights.values()))) if weights else _Weight(0, 0, 0)

    def __contains__(self, hash: str) -> bool:
        return hash in self._weights

    def __len__(self) -> int:
        return len(self._weights)

    def begin(self, hash: str, weight: _Weight) -> None:
        self._weights[hash] = weight
        self.total = self.total.plus(weight)

    def end(self, hash: str) -> None:
        if (weight := self._weights.pop(hash, None)) is not None:
            self.total = self.total.plus(weight, -1)


def _weight(item: Incoming) -> _Weight:
    size = item.source.size if item.source is not None else 0
    staged = sum(each.size for each in item.staged)
    physical = max(size, staged)
    return _Weight(size, physical, physical - staged + _unwritten(item))


def _unwritten(item: Incoming) -> int:
    return sum(each.size for each in item.staged if each.data is not None)
