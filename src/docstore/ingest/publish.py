"""The last transaction of a round of adding: looks again, renames files into place, syncs their directories, and
commits rows and references. The files themselves are synced before it begins.
"""

from __future__ import annotations

from docstore import claims, contents
from docstore import texts as text_files
from docstore.contents import DocumentRow, SubindexRow, TextRow
from docstore.database import Database
from docstore.durable import Publication, storage_errors
from docstore.errors import IntegrityError
from docstore.ingest.admission import Admission
from docstore.ingest.extraction import SUFFIXES
from docstore.ingest.holding import Holding
from docstore.ingest.incoming import Incoming
from docstore.ingest.known import Known
from docstore.ingest.pipeline import StagedSubindex
from docstore.ingest.target import Target
from docstore.parts import Parts
from docstore.reap import reap
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX

_MOST_VAIN = 50  # transactions in which a document could not be published


class Publisher:
    """Publishes what one addition has made."""

    def __init__(self, parts: Parts, target: Target, admission: Admission, holding: Holding) -> None:
        self._parts = parts
        self._target = target
        self._admission = admission
        self._holding = holding
        self._fingerprint = parts.pipeline.fingerprint
        self._embeddings = parts.embeddings(self._fingerprint)
        self.is_unsure = False
        """While it publishes, and for good once that has failed: files may then be in place without rows. So the claims
        are left behind: that their owner is dead tells the next collection to look for such files."""

    def publish(self, items: list[Incoming], group: list[Incoming]) -> None:
        """Places the pieces of documents, and commits their rows and references, or leaves all as it was.

        Args:
            group: all that the addition brings, of which some may be done or being worked on.
        """
        if not items:
            return
        with storage_errors("writing temporary files"):
            publication = Publication([piece for item in items for piece in item.staged], self._parts.archive)
        self.is_unsure = True
        with self._parts.write() as db:
            try:
                self._target.require(db)
                self._admission.look(db, self._target.workspace, group)
                known = Known(db, self._parts, items)
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
        self.is_unsure = False
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
        self.refer(db, item, document, vectors)

    def _reap(self, db: Database, known: Known, documents: list[DocumentRow]) -> None:
        # Its unlinks are not synced before the commit: after a power cut a file may be back without a row.
        claims.request_sweep(db)
        reap(self._parts, db, documents, set())
        known.delete(documents)

    def _keep_text(self, db: Database, item: Incoming, text: TextRow) -> None:
        """The document is stored with another text than extraction gives now: another version of docstore added it."""
        if self._parts.text_is_intact(text):
            item.adopt(text.hash)
            self._holding.give_up(db, item)  # they are on the other text
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
        vectors = None if text is None else known.intact_subindex(text)
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

    def refer(self, db: Database, item: Incoming, document: DocumentRow, vectors: SubindexRow) -> None:
        """Makes the reference to a document that is stored, or about to be, unless a limit forbids it."""
        item.outcome = self._admission.reference(db, item, document.size)
        if item.outcome is not None:
            return
        item.outcome = self._target.refer(db, item, document, vectors)
        self._holding.give_up(db, item)
