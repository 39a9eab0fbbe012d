"""The add protocol: how documents come in, alone or many at once, against any number of others doing the same.

Work goes in rounds. Each round first asks the catalog, in one write transaction, what every pending document still
needs; the answer is one of `Step`. What is stored already is referenced in that same transaction. What is not is
claimed there, so that of all who want it one does the work and the others wait. Then, without any lock, the work:
copying and extracting; embedding, with chunks of many documents in the embedder's batches, while other documents are
still being extracted; syncing the files that this made. Last, one write transaction publishes: it looks again,
renames files into place, syncs their directories, and commits rows and references. See
docs/architecture/adding.md for why each order is the one that is safe.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from enum import Enum, auto

from docstore import claims, contents
from docstore import texts as text_files
from docstore.callbacks import Callback
from docstore.contents import DocumentRow, SubindexRow, TextRow
from docstore.database import Database
from docstore.durable import Publication, storage_errors
from docstore.errors import DocStoreError, IntegrityError, not_stored
from docstore.ingest.admission import Admission, Verdict
from docstore.ingest.build import batches, build
from docstore.ingest.extraction import SUFFIXES
from docstore.ingest.incoming import Incoming
from docstore.ingest.known import Known
from docstore.ingest.pipeline import StagedSubindex
from docstore.ingest.prepare import Preparation
from docstore.ingest.reuse import finder
from docstore.ingest.target import Target
from docstore.parts import Parts
from docstore.reap import reap
from docstore.scratch import Scratch
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

_POLL_SECONDS = 0.02  # between two looks at somebody else's claim: as long as embedding one chunk takes
_MOST_VAIN = 50  # transactions in which a document could not be published
_ENOUGH_CHARACTERS = 100_000  # extracted before these are embedded; with fewer, tiny documents take many rounds
_SOME = 32  # documents planned in a round while some have to wait until others are published
_COMMIT_SECONDS = 1.0  # of embedding that a crash may cost, or one batch of it


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


class Addition:
    """One call of `add`, `add_many`, `link` or `replace`, on one group of documents."""

    def __init__(
        self, parts: Parts, target: Target, scratch: Scratch, progress: Callable[[Incoming, int], None]
    ) -> None:
        """
        Args:
            progress: called with a document and the chunks embedded since the last call; also when it is finished.
        """
        self._parts = parts
        self._target = target
        self._scratch = scratch
        self._tell = Callback(progress)
        self._fingerprint = parts.pipeline.fingerprint
        self._embeddings = parts.embeddings(self._fingerprint)
        self._admission = Admission(parts)
        self._incoming: list[Incoming] = []
        self._find = finder(parts, target.donors)
        self._built: list[Incoming] = []  # embedded, not published yet: small ones are, many at once
        self._published = time.monotonic()
        # True while publishing, and for good once that has failed: files may then be in place without rows. So the
        # claims are left behind: that their owner is dead tells the next collection to look for such files.
        self._unsure = False

    def run(self, incoming: list[Incoming]) -> None:
        """Adds documents; afterwards each has its `outcome`. Raises what is not one document's own failure."""
        try:
            self._tell.during(lambda: self._run(incoming))
        except BaseException:
            if not self._unsure:
                with contextlib.suppress(DocStoreError):
                    self._release(incoming)
            raise

    @property
    def warnings(self) -> list[str]:
        """Limits that this came near to."""
        return self._admission.warnings

    def _run(self, incoming: list[Incoming]) -> None:
        self._incoming = incoming
        preparing = Preparation(self._parts.extractor, self._scratch)
        with storage_errors("adding a document"), preparing as preparation:
            ready = incoming
            while ready or preparation.items or self._built:
                self._go_on(ready, preparation)
                # The rest is extracted while this is embedded.
                self._settle(preparation.wait(_ENOUGH_CHARACTERS))
                away = preparation.items.union(self._built)
                ready = [item for item in incoming if item.outcome is None and item not in away]
                if self._admission.has_waiting:  # little room is left: most would only wait again
                    begun = [item for item in ready if item.held]  # takes room until it is done
                    ready = begun + [item for item in ready if not item.held][:_SOME]

    def _go_on(self, ready: list[Incoming], preparation: Preparation) -> None:
        work: dict[Step, list[Incoming]] = {step: [] for step in Step}
        for item, step in zip(ready, self._plan(ready), strict=True):
            work[step].append(item)
        preparation.start(work[Step.PREPARE])
        self._publish(work[Step.PUBLISH])
        for batch in batches(work[Step.EMBED], self._parts):
            build(batch, self._parts, self._scratch, self._tell, self._find)
            self._built += batch
            if time.monotonic() - self._published > _COMMIT_SECONDS:
                self._publish_built()
        away = preparation.items
        if not away:
            self._publish_built()
        self._settle([item for item in ready if item not in away])
        if len(work[Step.WAIT]) == len(ready) and not away:
            time.sleep(_POLL_SECONDS)

    def _publish_built(self) -> None:
        built, self._built = self._built, []
        self._publish([item for item in built if item.outcome is None])
        self._published = time.monotonic()
        self._settle(built)

    def _settle(self, items: list[Incoming]) -> None:
        """Releases the claims of documents that failed, and reports those that are finished."""
        self._release([item for item in items if isinstance(item.outcome, DocStoreError)])
        for item in items:
            if item.outcome is not None and not item.reported:
                item.reported = True
                item.let_go()
                self._tell(item, 0)

    # -- first transaction: what is there, what is claimed --------------------------------------------------------

    def _plan(self, pending: list[Incoming]) -> list[Step]:
        with self._parts.write(by=self._target.workspace) as db, self._parts.archive.reading():
            self._target.require(db)
            self._admission.look(db, self._target.workspace, self._incoming)
            self._admission.has_waiting = False
            alone = {item for item in pending if self._target.must_bring(db, item.hash)}
            known = Known(db, self._fingerprint, [item for item in pending if item not in alone])
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
            may_prepare = item.held or self._claim(db, item, claims.document_key(item.hash))
            return Step.PREPARE if may_prepare else Step.WAIT
        else:
            # Also a lost or condemned one: extraction gave the text, and publishing replaces what is stored.
            text = known.text(item.text_hash)
        vectors = None if text is None else self._vectors(known, text)
        if stored is not None and vectors is not None:
            self._refer(db, item, stored, vectors)
            return Step.DONE
        if vectors is not None or item.subindex is not None:
            return Step.PUBLISH
        key = claims.embedding_key(self._fingerprint, item.text_hash)
        return Step.EMBED if self._claim(db, item, key) else Step.WAIT

    def _packed_names(self, known: Known) -> list[str]:
        """What the pieces of all that is known would be called in the archive."""
        documents = [self._parts.documents.packed_name(each.hash, each.suffix) for each in known.documents]
        texts = [self._parts.texts.packed_name(each.hash, text_files.SUFFIX) for each in known.texts]
        packed_name, suffixes = self._embeddings.packed_name, (INDEX_SUFFIX, SPANS_SUFFIX)
        return documents + texts + [packed_name(each.hash, suffix) for each in known.texts for suffix in suffixes]

    def _next_step_alone(self, db: Database, item: Incoming) -> Step:
        """As if nobody had the document: what others hold must show neither in the answer nor in how long it takes."""
        if item.blob is not None and item.subindex is not None:
            return Step.PUBLISH
        if not self._claim(db, item, claims.document_key(item.hash)):  # only this group can have it: see _claim
            return Step.WAIT
        return Step.PREPARE if item.blob is None else Step.EMBED

    def _is_live(self, document: DocumentRow) -> bool:
        """Whether a document can be referenced as it is. A row whose file was lost is not deduplicated onto."""
        return (
            not document.doomed
            and self._parts.documents.intact(document.hash, document.suffix, document.size)
            and self._parts.text_is_intact(document.text)
        )

    def _vectors(self, known: Known, text: TextRow) -> SubindexRow | None:
        row = known.subindex(text)
        return row if row is not None and self._parts.subindex_is_intact(text, self._fingerprint, row) else None

    def _claim(self, db: Database, item: Incoming, key: str) -> bool:
        if self._parts.demand_bytes:
            # A key of this operation's own, so nobody waits for anybody: a wait would tell that others add the same.
            # The claim then only tells a collection when its owner has died.
            key = f"{key}:{self._scratch.token}"
        if key in item.held:
            return True
        # Two documents of one group may need the same: the claim is then held by our own, living operation, and the
        # second finds the result in the next round.
        if not claims.claim(db, key, self._scratch.token, self._parts.owner_is_alive):
            return False
        item.held.add(key)
        return True

    # -- last transaction: publish --------------------------------------------------------------------------------

    def _publish(self, items: list[Incoming]) -> None:
        if not items:
            return
        with storage_errors("writing temporary files"):
            publication = Publication([piece for item in items for piece in item.staged], self._parts.archive)
        self._unsure = True
        with self._parts.write() as db:
            try:
                self._target.require(db)
                self._admission.look(db, self._target.workspace, self._incoming)
                known = Known(db, self._fingerprint, items)
                with storage_errors("publishing a document"):
                    for item in items:
                        self._publish_one(db, known, item, publication)
                    # Rows below this line may be committed: every file they name is durable (invariant 1).
                    publication.sync()
                self._admission.published(db)
            except BaseException:
                publication.undo()
                raise
            # When COMMIT itself fails nothing is undone: after a failed fsync the commit may yet turn out to be on the
            # disk, and its rows must then find their files.
        self._unsure = False
        self._admission.committed()
        for item in items:
            if item.outcome is None:
                self._count_vain(item)

    def _count_vain(self, item: Incoming) -> None:
        """Gives up in the end. What others change under our hands costs a few rounds; of a catalog that contradicts
        itself there would be no end."""
        item.vain += 1
        if item.vain == _MOST_VAIN:
            item.outcome = IntegrityError(
                f"{item.label} cannot be stored: what the catalog says of it changed {_MOST_VAIN} times, or "
                "contradicts itself. Run `docstore verify`."
            )

    def _publish_one(self, db: Database, known: Known, item: Incoming, publication: Publication) -> None:
        document = known.document(item.hash)
        if item.blob is None and (document is None or document.doomed):
            # A link, or an add whose document was there: removed and collected since we looked. Look again.
            return
        if document is not None and document.doomed:
            self._reap(db, known, [document])
            document = None
        if document is not None and document.text.hash != item.text_hash:
            self._keep_text(db, item, document.text)
            return
        item.outcome = self._admission.publication(db, known, item, document)
        if item.outcome is not None:
            return
        published = self._publish_text(db, known, item, publication)
        if published is None:
            return
        text, vectors = published
        if document is None or not self._parts.documents.intact(document.hash, document.suffix, document.size):
            document = self._publish_blob(db, item, document, text, publication)
            known.add_document(document)
        self._refer(db, item, document, vectors)

    def _reap(self, db: Database, known: Known, documents: list[DocumentRow]) -> None:
        # Its unlinks are not synced before the commit: after a power cut a file may be back without a row.
        claims.request_sweep(db)
        reap(self._parts, db, documents, set())
        known.delete(documents)

    def _keep_text(self, db: Database, item: Incoming, text: TextRow) -> None:
        """The document is stored with another text than extraction gives now: another version of docstore added it."""
        if self._parts.text_is_intact(text):
            item.adopt(text.hash)
            claims.release(db, item.held, self._scratch.token)  # they are on the other text
            item.held.clear()
        else:
            item.outcome = IntegrityError(
                f"{item.label} is stored with text {text.hash}, which is lost, and extraction now gives another. "
                "Remove the document from every workspace, collect, and add it again."
            )

    def _publish_text(
        self, db: Database, known: Known, item: Incoming, publication: Publication
    ) -> tuple[TextRow, SubindexRow] | None:
        """Publishes what is lacking of text and sub-index. None where something that was stored in the first
        transaction is gone by now: the next round makes it."""
        text = known.text(item.text_hash)
        if text is not None and text.condemned:
            self._reap(db, known, contents.documents_of_text(db, text))
            text = None
        vectors = None if text is None else self._vectors(known, text)
        text_is_intact = text is not None and self._parts.text_is_intact(text)
        if not (vectors or item.subindex) or not (text_is_intact or item.text_file):
            return None
        if not text_is_intact:
            assert item.text_file is not None and item.text is not None
            new = item.text_file
            self._parts.texts.place(publication, new.path, item.text_hash, text_files.SUFFIX)
            stored = known.text(item.text_hash)  # also where no document has it any more
            if stored is None:
                text = contents.insert_text(db, item.text_hash, len(item.text.content), new.hash, new.size)
            else:
                text = contents.correct_text(db, stored, new.hash, new.size)
            known.put_text(text)
        assert text is not None
        if vectors is None:
            assert item.subindex is not None
            vectors = self._publish_subindex(db, known, text, item.subindex, publication)
        return text, vectors

    def _publish_subindex(
        self, db: Database, known: Known, text: TextRow, new: StagedSubindex, publication: Publication
    ) -> SubindexRow:
        self._embeddings.place(publication, new.index.path, text.hash, INDEX_SUFFIX)
        self._embeddings.place(publication, new.spans.path, text.hash, SPANS_SUFFIX)
        if known.pipeline is None:
            known.pipeline = contents.put_pipeline(db, self._fingerprint, self._parts.pipeline.description)
        if known.subindex(text) is not None:
            contents.delete_subindex(db, text, known.pipeline)
        contents.insert_subindex(db, text, known.pipeline, new.row, new.computed, new.digests)
        known.add_subindex(text, new.row)
        return new.row

    def _publish_blob(
        self, db: Database, item: Incoming, document: DocumentRow | None, text: TextRow, publication: Publication
    ) -> DocumentRow:
        assert item.blob is not None and item.extraction is not None
        media_type = document.media_type if document is not None else item.extraction.media_type
        self._parts.documents.place(publication, item.blob.path, item.hash, SUFFIXES[media_type])
        if document is not None:
            return document
        return contents.insert_document(db, item.hash, media_type, item.blob.size, text, item.extraction.pages)

    # -- both -----------------------------------------------------------------------------------------------------

    def _refer(self, db: Database, item: Incoming, document: DocumentRow, vectors: SubindexRow) -> None:
        item.outcome = self._admission.reference(db, item, document.size)
        if item.outcome is not None:
            return
        item.outcome = self._target.refer(db, item, document, vectors)
        if item.held:
            claims.release(db, item.held, self._scratch.token)

    def _release(self, items: list[Incoming]) -> None:
        held = {key for item in items for key in item.held}
        if held:
            with self._parts.write() as db:
                claims.release(db, held, self._scratch.token)
