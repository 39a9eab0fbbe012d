"""The add protocol: how documents come in, alone or many at once, against any number of others doing the same.

Work goes in rounds. Each round first asks the catalog, in one write transaction, what every pending document still
needs; the answer is one of `Step`. What is stored already is referenced in that same transaction. What is not is
claimed there, so that of all who want it one does the work and the others wait. Then, without any lock, the work:
copying and extracting, then embedding, with chunks of many documents in the embedder's batches, then syncing the files
that this made. Last, one write transaction publishes: it looks again, renames files into place, syncs their
directories, and commits rows and references. See docs/architecture.md for why each order is the one that is safe.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum, auto

from sqlite_utils import Database

from docstore import claims, contents, refcount
from docstore import texts as text_files
from docstore.contents import DocumentRow, SubindexRow, TextRow
from docstore.documents import document_of
from docstore.durable import Publication, storage_errors
from docstore.errors import DocStoreError, DocumentNotFound, EmbeddingError, IntegrityError, WorkspaceNotFound
from docstore.ingest.extract import SUFFIXES
from docstore.ingest.incoming import Incoming
from docstore.ingest.pipeline import StagedSubindex
from docstore.ingest.prepare import prepare
from docstore.lifecycle.collect import reap
from docstore.parts import Parts
from docstore.scratch import Scratch
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

_POLL_SECONDS = 0.02  # how often a wait for somebody else's claim looks again; embedding one chunk takes as long


_MOST_VAIN = 50  # transactions in which a document could not be published
_BATCH_CHARACTERS = 250_000  # some 300 chunks: full batches for the embedder, and seconds, not minutes, to a commit
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
    """One call of `add`, `add_many` or `link`, on one group of documents."""

    def __init__(
        self, parts: Parts, workspace: int, scratch: Scratch, progress: Callable[[Incoming, int], None]
    ) -> None:
        """
        Args:
            progress: called with a document and the chunks embedded since the last call; also when it is finished.
        """
        self._parts = parts
        self._workspace = workspace
        self._scratch = scratch
        self._progress = progress
        self._fingerprint = parts.pipeline.fingerprint
        self._embeddings = parts.embeddings(self._fingerprint)
        # While publishing, and for ever after it failed: files may be in place without rows. The claims are then left
        # behind; their dead owner is what tells the next collection to look for such files.
        self._unsure = False

    def run(self, incoming: list[Incoming]) -> None:
        """Adds documents; afterwards each has its `outcome`. Raises what is not one document's own failure."""
        try:
            with storage_errors("adding a document"):
                self._run(incoming)
        except BaseException:
            if not self._unsure:
                with contextlib.suppress(DocStoreError):
                    self._release(incoming)
            raise

    def _run(self, incoming: list[Incoming]) -> None:
        while pending := [item for item in incoming if item.outcome is None]:
            steps = self._plan(pending)
            work: dict[Step, list[Incoming]] = {step: [] for step in Step}
            for item, step in zip(pending, steps, strict=True):
                work[step].append(item)
            prepare(work[Step.PREPARE], self._parts.extractor, self._scratch)
            self._publish(work[Step.PUBLISH])
            for built in self._embed_all(work[Step.EMBED]):
                self._publish([item for item in built if item.outcome is None])
                self._report(built)
            self._release([item for item in pending if isinstance(item.outcome, DocStoreError)])
            self._report(pending)
            if len(work[Step.WAIT]) == len(pending):
                time.sleep(_POLL_SECONDS)

    # -- first transaction: what is there, what is claimed --------------------------------------------------------

    def _plan(self, pending: list[Incoming]) -> list[Step]:
        with self._parts.database.write() as db:
            self._require_workspace(db)
            return [self._next_step(db, item) for item in pending]

    def _next_step(self, db: Database, item: Incoming) -> Step:
        if self._must_bring(db, item):
            return self._next_step_alone(db, item)
        document = contents.find_document(db, item.hash)
        stored = document if document is not None and self._is_live(document) else None
        if stored is not None:
            text: TextRow | None = stored.text
            item.adopt(stored.text.hash)
        elif item.source is None:
            item.outcome = DocumentNotFound(f"The store has no document {item.label}. Add its bytes first.")
            return Step.DONE
        elif item.blob is None:
            # Who holds a claim does not wait for another: it may be the one that the other's holder waits for. To
            # extract a second time is then only slow.
            may_prepare = item.held or self._claim(db, item, claims.document_key(item.hash))
            return Step.PREPARE if may_prepare else Step.WAIT
        else:
            # A lost or condemned one too: extraction gave the text, and publishing replaces what is stored.
            text = contents.find_text(db, item.text_hash)
        vectors = None if text is None else self._vectors(db, text)
        if stored is not None and vectors is not None:
            self._refer(db, item, stored, vectors)
            return Step.DONE
        if vectors is not None or item.subindex is not None:
            return Step.PUBLISH
        key = claims.embedding_key(self._fingerprint, item.text_hash)
        return Step.EMBED if self._claim(db, item, key) else Step.WAIT

    def _must_bring(self, db: Database, item: Incoming) -> bool:
        """Whether bytes are demanded, and this workspace does not have the document yet."""
        if not self._parts.demand_bytes:
            return False
        return refcount.reference(db, self._workspace, item.hash, self._fingerprint) is None

    def _next_step_alone(self, db: Database, item: Incoming) -> Step:
        """As if nobody had the document: what others hold must show neither in the answer nor in its time."""
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

    def _vectors(self, db: Database, text: TextRow) -> SubindexRow | None:
        row = contents.find_subindex(db, text, self._fingerprint)
        return row if row is not None and self._parts.subindex_is_intact(text, self._fingerprint, row) else None

    def _claim(self, db: Database, item: Incoming, key: str) -> bool:
        if self._parts.demand_bytes:
            # Nobody waits for anybody, which would tell that others have the same. The claim only tells a collection
            # that its owner died.
            key = f"{key}:{self._scratch.token}"
        if key in item.held:
            return True
        # Two documents of one group may need the same: the claim is then held by our own, living operation, and the
        # second finds the result in the next round.
        if not claims.claim(db, key, self._scratch.token, self._parts.owner_is_alive):
            return False
        item.held.add(key)
        return True

    # -- work without a lock --------------------------------------------------------------------------------------

    def _embed_all(self, items: list[Incoming]) -> Iterator[list[Incoming]]:
        """Yields what is embedded whenever a crash would cost too much of it."""
        built: list[Incoming] = []
        began = time.monotonic()
        for batch in _batches(items):
            self._embed(batch)
            built += batch
            if time.monotonic() - began > _COMMIT_SECONDS:
                yield built
                built, began = [], time.monotonic()
        if built:
            yield built

    def _embed(self, items: list[Incoming]) -> None:
        for item in items:
            if item.text is None:
                self._load_text(item)
        items = [item for item in items if item.outcome is None and item.text is not None]
        if not items:
            return
        try:
            self._embed_together(items)
        except EmbeddingError as error:
            if len(items) == 1:
                items[0].outcome = error
                return
            # Only the documents that the embedder cannot take should fail for it.
            for item in items:
                self._embed([item])

    def _embed_together(self, items: list[Incoming]) -> None:
        texts = [item.text.content for item in items if item.text is not None]
        built = self._parts.pipeline.build(texts, self._scratch, lambda chunks: self._progress(items[0], chunks))
        for item, subindex in zip(items, built, strict=True):
            item.subindex = subindex

    def _load_text(self, item: Incoming) -> None:
        """The stored text of a document that is there, for vectors that are not."""
        with self._parts.database.read() as db:
            text = contents.find_text(db, item.text_hash)
        if text is None or not self._parts.text_is_intact(text):
            return  # collected since we looked: the next round looks again
        try:
            with storage_errors("reading a stored text"):
                data = self._parts.texts.read_checked(text.hash, text_files.SUFFIX, text.file_hash, text.file_size)
            item.text = text_files.decompress(data, text.hash, text.characters)
        except DocStoreError as error:
            item.outcome = error

    # -- last transaction: publish --------------------------------------------------------------------------------

    def _publish(self, items: list[Incoming]) -> None:
        if not items:
            return
        with storage_errors("writing temporary files"):
            publication = Publication([piece for item in items for piece in item.staged], self._parts.archive)
        self._unsure = True
        with self._parts.write() as db:
            try:
                self._require_workspace(db)
                with storage_errors("publishing a document"):
                    for item in items:
                        self._publish_one(db, item, publication)
                    # Rows below this line may be committed: every file they name is durable (invariant 1).
                    publication.sync()
            except BaseException:
                publication.undo()
                raise
            # When COMMIT itself fails nothing is undone: after a failed fsync the commit may yet turn out to be on the
            # disk, and its rows must then find their files.
        self._unsure = False
        for item in items:
            if item.outcome is None:
                self._count_vain(item)

    def _count_vain(self, item: Incoming) -> None:
        """Others may change what we looked at, again and again; a catalog that contradicts itself would for ever."""
        item.vain += 1
        if item.vain == _MOST_VAIN:
            item.outcome = IntegrityError(
                f"{item.label} cannot be stored: what the catalog says of it changed {_MOST_VAIN} times, or "
                "contradicts itself. Run `docstore verify`."
            )

    def _publish_one(self, db: Database, item: Incoming, publication: Publication) -> None:
        document = contents.find_document(db, item.hash)
        if item.blob is None and (document is None or document.doomed):
            # A link, or an add whose document was there: removed and collected since we looked. Look again.
            return
        if document is not None and document.doomed:
            self._reap(db, [document])
            document = None
        if document is not None and document.text.hash != item.text_hash:
            self._keep_text(db, item, document.text)
            return
        published = self._publish_text(db, item, publication)
        if published is None:
            return
        text, vectors = published
        if document is None or not self._parts.documents.intact(document.hash, document.suffix, document.size):
            document = self._publish_blob(db, item, document, text, publication)
        self._refer(db, item, document, vectors)

    def _reap(self, db: Database, documents: list[DocumentRow]) -> None:
        # Its unlinks are not synced before the commit: after a power cut a file may be back without a row.
        claims.request_sweep(db)
        reap(self._parts, db, documents, set())

    def _keep_text(self, db: Database, item: Incoming, text: TextRow) -> None:
        """The document is known with another text than extraction gave now (by another version)."""
        if self._parts.text_is_intact(text):
            item.adopt(text.hash)
            claims.release(db, item.held)  # they are on the other text
            item.held.clear()
        else:
            item.outcome = IntegrityError(
                f"{item.label} is stored with text {text.hash}, which is lost, and extraction now gives another. "
                "Remove the document from every workspace, collect, and add it again."
            )

    def _publish_text(
        self, db: Database, item: Incoming, publication: Publication
    ) -> tuple[TextRow, SubindexRow] | None:
        """Text and sub-index. None when what was there in the first transaction is gone: the next round has it."""
        text = contents.find_text(db, item.text_hash)
        if text is not None and text.condemned:
            self._reap(db, contents.documents_of_text(db, text))
            text = None
        vectors = None if text is None else self._vectors(db, text)
        text_is_intact = text is not None and self._parts.text_is_intact(text)
        if not (vectors or item.subindex) or not (text_is_intact or item.text_file):
            return None
        if not text_is_intact:
            assert item.text_file is not None and item.text is not None
            new = item.text_file
            self._parts.texts.place(publication, new.path, item.text_hash, text_files.SUFFIX)
            text = contents.put_text(db, item.text_hash, len(item.text.content), new.hash, new.size)
        assert text is not None
        if vectors is None:
            assert item.subindex is not None
            vectors = self._publish_subindex(db, text, item.subindex, publication)
        return text, vectors

    def _publish_subindex(
        self, db: Database, text: TextRow, new: StagedSubindex, publication: Publication
    ) -> SubindexRow:
        self._embeddings.place(publication, new.index.path, text.hash, INDEX_SUFFIX)
        self._embeddings.place(publication, new.spans.path, text.hash, SPANS_SUFFIX)
        row = SubindexRow(new.chunks, new.index.hash, new.index.size, new.spans.hash, new.spans.size)
        contents.put_subindex(db, text, self._fingerprint, self._parts.pipeline.description, row)
        return row

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
        avoided = 0 if item.embedded else vectors.chunks
        refcount.refer(db, self._workspace, document, item.name, item.fallback_name, item.metadata, avoided)
        if item.held:
            claims.release(db, item.held)
        found = refcount.reference(db, self._workspace, document.hash, self._fingerprint)
        assert found is not None
        item.outcome = replace(document_of(found), reused=not item.embedded)

    def _require_workspace(self, db: Database) -> None:
        if refcount.workspace_state(db, self._workspace) is None:
            raise WorkspaceNotFound("This workspace was deleted. Get it again with store.workspace(name).")

    def _release(self, items: list[Incoming]) -> None:
        held = {key for item in items for key in item.held}
        if held:
            with self._parts.database.write() as db:
                claims.release(db, held)

    def _report(self, items: list[Incoming]) -> None:
        for item in items:
            if item.outcome is not None and not item.reported:
                item.reported = True
                self._progress(item, 0)


def _batches(items: list[Incoming]) -> Iterator[list[Incoming]]:
    """Documents whose texts together fill the embedder's batches, and whose work a crash may cost."""
    batch: list[Incoming] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += len(item.text.content) if item.text is not None else 0
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
