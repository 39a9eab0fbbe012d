"""The first transaction of a round of adding: what each document needs next, by what the catalog says of it.

What is stored is referenced there and then; what is not is claimed, so that one of all who want it does the work.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from docstore import claims
from docstore import texts as text_files
from docstore.contents import DocumentRow, SubindexRow, TextRow
from docstore.database import Database
from docstore.errors import not_stored
from docstore.ingest.admission import Admission, Verdict
from docstore.ingest.holding import Holding
from docstore.ingest.incoming import Incoming
from docstore.ingest.known import Known
from docstore.ingest.target import Target
from docstore.parts import Parts
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX


class Step(Enum):
    """What a document needs next."""

    DONE = auto()
    """Referenced; nothing more."""
    PREPARE = auto()
    """Copy it and extract its text. We hold the claim on the document."""
    EMBED = auto()
    """Chunk and embed its text. We hold the claim on the embedding."""
    PUBLISH = auto()
    """Everything that was missing is staged."""
    WAIT = auto()
    """Somebody else is computing what it needs."""


class Planner:
    """Decides for one addition."""

    def __init__(
        self,
        parts: Parts,
        target: Target,
        admission: Admission,
        holding: Holding,
        refer: Callable[[Database, Incoming, DocumentRow, SubindexRow], None],
    ) -> None:
        """
        Args:
            refer: makes the reference to what is stored.
        """
        self._parts = parts
        self._target = target
        self._admission = admission
        self._holding = holding
        self._refer = refer
        self._fingerprint = parts.pipeline.fingerprint

    def plan(self, pending: list[Incoming], group: list[Incoming]) -> list[Step]:
        """The next step of each.

        Args:
            group: all that the addition brings, of which some may be done or being worked on.
        """
        with self._parts.write(by=self._target.workspace) as db, self._parts.archive.reading():
            self._target.require(db)
            self._admission.look(db, self._target.workspace, group)
            self._admission.has_waiting = False
            alone = {item for item in pending if self._target.must_bring(db, item.hash)}
            known = Known(db, self._parts, [item for item in pending if item not in alone])
            if len(pending) > 1:  # a document alone has four pieces, which to look for one by one takes no longer
                self._parts.archive.look_ahead(self._packed_names(known))
            steps = [self._admitted_step(db, known, item, item in alone) for item in pending]
        self._admission.committed()
        return steps

    def _admitted_step(self, db: Database, known: Known, item: Incoming, alone: bool) -> Step:
        match self._admission.verdict(db, known, item, None if alone else known.document(item.hash)):
            case Verdict.WAIT:
                return Step.WAIT
            case Verdict.REFUSED:
                return Step.DONE
        return self._next_step_alone(db, item) if alone else self._next_step(db, known, item)

    def _next_step(self, db: Database, known: Known, item: Incoming) -> Step:
        document = known.document(item.hash)
        stored = document if document is not None and self._is_live(document) else None
        if stored is not None:
            text: TextRow | None = stored.text
            item.adopt(stored.text.hash)
        elif item.source is None:
            item.outcome = not_stored(item.hash)
            return Step.DONE
        elif item.blob is None:
            # Whoever holds a claim must not wait for another one, whose holder may be waiting for ours. Extracting a
            # second time only takes time.
            may_prepare = item.held or self._holding.claim(db, item, claims.document_key(item.hash))
            return Step.PREPARE if may_prepare else Step.WAIT
        else:
            # Also a lost or condemned one: extraction gave the text, and publishing replaces what is stored.
            text = known.text(item.text_hash)
        vectors = None if text is None else known.intact_subindex(text)
        if stored is not None and vectors is not None:
            self._refer(db, item, stored, vectors)
            return Step.DONE
        if vectors is not None or item.subindex is not None:
            return Step.PUBLISH
        key = claims.embedding_key(self._fingerprint, item.text_hash)
        return Step.EMBED if self._holding.claim(db, item, key) else Step.WAIT

    def _packed_names(self, known: Known) -> list[str]:
        """What the pieces of all that is known would be called in the archive."""
        documents = [self._parts.documents.packed_name(each.hash, each.suffix) for each in known.documents]
        texts = [self._parts.texts.packed_name(each.hash, text_files.SUFFIX) for each in known.texts]
        packed_name, suffixes = self._parts.embeddings(self._fingerprint).packed_name, (INDEX_SUFFIX, SPANS_SUFFIX)
        return documents + texts + [packed_name(each.hash, suffix) for each in known.texts for suffix in suffixes]

    def _next_step_alone(self, db: Database, item: Incoming) -> Step:
        """As if nobody had the document: what others hold must show neither in the answer nor in how long it takes."""
        if item.blob is not None and item.subindex is not None:
            return Step.PUBLISH
        if not self._holding.claim(db, item, claims.document_key(item.hash)):  # only this group may have it
            return Step.WAIT
        return Step.PREPARE if item.blob is None else Step.EMBED

    def _is_live(self, document: DocumentRow) -> bool:
        """Whether a document can be referenced as it is. A row whose file was lost is not deduplicated onto."""
        return (
            not document.doomed
            and self._parts.documents.intact(document.hash, document.suffix, document.size)
            and self._parts.text_is_intact(document.text)
        )
