"""Versions: the methods of a `DocStore` that put one document in another's place, for all who reference it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import docstore
from docstore.errors import DocStoreError, InvalidArgument, QuotaWarning, not_stored, read_only
from docstore.model import AnySource
from docstore.names import check_hash
from docstore.parts import Parts
from docstore.scratch import Scratch


class Versioned:
    """A whole store, whose documents change."""

    _parts: Parts

    def replace(
        self, old: str, document: AnySource, *, progress: Callable[[docstore.Progress], object] | None = None
    ) -> docstore.Replacement:
        """Stores a new version of a document, and moves every reference to it, in one transaction.

        Each keeps its name, metadata and time. Workspaces that pinned the old version stay, as those of `workspace_for`
        do; one that has both keeps the new one alone. Chunks whose text is stored already are not embedded again. The
        old version stays until it is collected; until then `rollback` can bring it back.

        For whoever runs the application, with `demand_bytes=True` too: it changes what every workspace finds. Where
        nobody references the old version, the new one is stored all the same, and can be linked until it is collected.

        Args:
            old: hash of the document to replace.
            document: the new version: a path, bytes or a binary file object.
            progress: called between batches of chunks, and once more when all is done: what it raises then undoes
                nothing.

        Raises:
            DocumentNotFound: the store does not hold the old one.
            InvalidArgument: the new version has the same bytes.
            UnreadableDocument: the new version cannot be stored; see `Workspace.add`.
            QuotaExceeded: a limit of the store forbids it. Limits of workspaces do not.
            EmbeddingError: the embedder failed.
        """
        from docstore.ingest import source
        from docstore.ingest.add import Addition
        from docstore.ingest.incoming import Incoming
        from docstore.ingest.target import InPlaceOf

        check_hash(old)
        if self._parts.readonly:
            raise read_only(self._parts.folder)
        done = 0

        def report(item: Incoming, chunks: int) -> None:
            nonlocal done
            done += chunks
            if progress is not None:
                from docstore.reports import Progress

                progress(Progress(0 if item.outcome is None else 1, 1, done, item.fallback_name))

        with Scratch(self._parts.tmp) as scratch:
            read = source.read(document, scratch)
            if read.hash == old:
                raise InvalidArgument(f"{read.label} has the very bytes of {old}: there is nothing to replace.")
            target = InPlaceOf(old)
            incoming = Incoming(read.hash, read, read.name, read.label)
            addition = Addition(self._parts, target, scratch, report)
            addition.run([incoming])
        for each in addition.warnings:
            warnings.warn(each, QuotaWarning, stacklevel=2)
        if isinstance(incoming.outcome, DocStoreError):
            raise incoming.outcome
        return target.done

    def history(self, hash: str) -> list[docstore.Version]:
        """The versions that a document came from and that came of it, oldest first, whichever of them it is.

        Versions that were collected are listed too, as long as any of the line is stored.

        Raises:
            DocumentNotFound: the store does not hold it, nor any other version of it.
        """
        from docstore import versions

        with self._parts.database.read() as db:
            found = versions.history(db, check_hash(hash))
        if not found:
            raise not_stored(hash)
        return found

    def rollback(self, new: str) -> docstore.Rollback:
        """Undoes the last replacement that brought a document, in one transaction.

        The references that it moved go back, with the names and metadata they have now. Those that were pinned or
        dropped since stay as they are, and so do references that were made to the new version otherwise.

        Args:
            new: hash of the document that took the other's place.

        Raises:
            InvalidArgument: it took no document's place, or was itself replaced since, which can be rolled back first.
            DocumentNotFound: it was collected, or what it replaced was, even where somebody has added that again.
        """
        from docstore import replacements

        check_hash(new)
        with self._parts.write() as db:
            return replacements.move_back(db, new)
