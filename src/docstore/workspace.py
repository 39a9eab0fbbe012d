"""Workspace: what one tenant can do. Everything here sees only the documents this workspace references."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import TYPE_CHECKING, Any

from docstore import refcount, replacements
from docstore.documents import document_of
from docstore.errors import (
    DocStoreError,
    DocumentNotFound,
    InvalidArgument,
    LinkForbidden,
    StoreReadOnly,
    UnreadableDocument,
    WorkspaceNotFound,
)
from docstore.metadata import encode
from docstore.model import AddReport, Document, Failure, Progress
from docstore.names import check_hash, check_name
from docstore.parts import Parts
from docstore.scratch import Scratch
from docstore.searching import Searchable

# What only adding needs is imported where it is used: a process that only searches answers sooner without it.
if TYPE_CHECKING:
    from docstore.ingest.incoming import Incoming
    from docstore.ingest.source import AnySource

_GROUP_DOCUMENTS = 512  # documents that share transactions, directory syncs and the embedder's batches
_GROUP_BYTES = 64 << 20  # and what they may weigh together, so that memory stays bounded


class Workspace(Searchable):
    """A named set of references to documents. Get one from `DocStore.workspace`. Safe for threads."""

    def __init__(self, parts: Parts, id: int, name: str, readonly: bool) -> None:
        self._parts = parts
        self._id = id
        self._readonly = readonly
        self.name = name

    def __repr__(self) -> str:
        return f"Workspace({self.name!r})"

    def __len__(self) -> int:
        """How many documents it references."""
        with self._parts.database.read() as db:
            state = refcount.workspace_state(db, self._id)
        if state is None:
            raise WorkspaceNotFound(f"The workspace {self.name!r} was deleted. store.workspace(name) makes it anew.")
        return max(0, state[1])  # a damaged count must not become a ValueError

    def __bool__(self) -> bool:
        return True  # a workspace without documents is still one

    def add(
        self, document: AnySource, *, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Document:
        """References a document, storing and embedding it first if nobody has before.

        Adding what the workspace has already changes nothing, except that a `name` or `metadata` given replaces
        what was there. What the store has already costs a read and a transaction.

        Args:
            document: a path, bytes or a binary file object (read from where it stands to its end).
            name: what this workspace calls it; by default the file's name.
            metadata: a JSON object of this workspace's own, for `where=` in searches. At most 64 KiB.

        Raises:
            UnreadableDocument: it is missing, empty, corrupt, encrypted, unsupported, has no text, or met a limit.
            EmbeddingError: the embedder failed.
            StorageError: the disk refused.
            StoreLocked: another process kept the catalog locked.
        """
        from docstore.ingest import source
        from docstore.ingest.incoming import Incoming

        if name is not None:
            check_name(name, "name")
        encoded = encode(metadata)
        with self._scratch() as scratch:
            read = source.read(document, scratch, name)
            incoming = Incoming(read.hash, read, read.name, read.label, name, encoded)
            return self._run(incoming, scratch)

    def add_many(
        self,
        documents: Iterable[AnySource],
        *,
        metadata: Mapping[str, Any] | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> AddReport:
        """Adds documents, faster than one by one: they share batches of the embedder and transactions.

        Goes on past documents that cannot be added, and reports each with its reason. Commits as it goes: when this
        raises (the disk is full, the progress callback raises), each document is there whole or not at all, and adding
        the same again does the rest.

        Args:
            documents: paths, bytes or binary file objects. May be a generator.
            metadata: what every one of these references gets; see `add`.
            progress: called after every document, and between batches of chunks.
        """
        if isinstance(documents, str | bytes | os.PathLike) or not isinstance(documents, Iterable):
            raise InvalidArgument("add_many takes many documents: pass a list, or one to add")
        encoded = encode(metadata)
        total = len(documents) if isinstance(documents, Sized) else None
        counter = _Counter(total, progress)
        outcomes: list[tuple[str, Document | DocStoreError]] = []
        remaining = iter(documents)
        while group := self._add_group(remaining, encoded, counter):
            outcomes += group
        return AddReport(
            added=tuple(each for _, each in outcomes if isinstance(each, Document) and not each.reused),
            reused=tuple(each for _, each in outcomes if isinstance(each, Document) and each.reused),
            failed=tuple(Failure(label, each) for label, each in outcomes if isinstance(each, DocStoreError)),
        )

    def _add_group(
        self, remaining: Iterator[AnySource], metadata: str | None, counter: _Counter
    ) -> list[tuple[str, Document | DocStoreError]]:
        from docstore.ingest import source
        from docstore.ingest.add import Addition
        from docstore.ingest.incoming import Incoming
        from docstore.ingest.target import ForWorkspace

        outcomes: list[tuple[str, Incoming | DocStoreError]] = []
        with self._scratch() as scratch:
            weight = 0
            for given in islice(remaining, _GROUP_DOCUMENTS):
                label = ""
                try:
                    label = source.label_of(given)
                    read = source.read(given, scratch)
                    outcomes.append((label, Incoming(read.hash, read, read.name, read.label, metadata=metadata)))
                    weight += read.size
                except (UnreadableDocument, InvalidArgument) as error:
                    outcomes.append((label or type(given).__name__, error))
                    counter.step(label, 1, 0)
                if weight >= _GROUP_BYTES:
                    break
            items = [each for _, each in outcomes if isinstance(each, Incoming)]
            Addition(self._parts, ForWorkspace(self._parts, self._id), scratch, counter.report).run(items)
        return [(label, _finished(each)) for label, each in outcomes]

    def link(self, hash: str, *, name: str | None = None, metadata: Mapping[str, Any] | None = None) -> Document:
        """References a document that the store holds, by its hash alone.

        Whoever can call this with a hash can read the document: hand it to applications, not to their users.
        `DocStore(…, demand_bytes=True)` forbids it.

        Raises:
            DocumentNotFound: the store does not hold it.
            LinkForbidden: the store demands the bytes.
        """
        from docstore.ingest.incoming import Incoming

        if name is not None:
            check_name(name, "name")
        check_hash(hash)
        if self._parts.demand_bytes:
            raise LinkForbidden("This store was opened with demand_bytes=True: add the document itself.")
        encoded = encode(metadata)
        with self._scratch() as scratch:
            return self._run(Incoming(hash, None, hash, hash, name, encoded), scratch)

    def remove(self, hash: str) -> None:
        """Drops this workspace's reference. The document goes when no workspace has one, with the next collection.

        Raises:
            DocumentNotFound: this workspace does not reference it.
        """
        check_hash(hash)
        self._parts.free_space(lambda: self._unrefer(hash))

    def _unrefer(self, hash: str) -> None:
        with self._parts.database.write() as db:
            if not refcount.unrefer(db, self._id, hash):
                raise DocumentNotFound(f"The workspace {self.name!r} has no document {hash}.")

    def pin(self, hash: str) -> None:
        """Keeps this version: `DocStore.replace` leaves the reference where it is. May be called twice.

        Raises:
            DocumentNotFound: this workspace does not reference it.
        """
        self._pin(hash, keep=True)

    def unpin(self, hash: str) -> None:
        """Lets the next replacement move the reference again. Does not move it to what has replaced it meanwhile.

        Raises:
            DocumentNotFound: this workspace does not reference it.
        """
        self._pin(hash, keep=False)

    def _pin(self, hash: str, *, keep: bool) -> None:
        check_hash(hash)
        with self._parts.database.write() as db:
            if not replacements.pin(db, self._id, hash, keep=keep):
                raise DocumentNotFound(f"The workspace {self.name!r} has no document {hash}.")

    def pinned(self) -> list[str]:
        """Hashes of the documents that it has pinned, sorted."""
        with self._parts.database.read() as db:
            return replacements.pinned(db, self._id)

    def documents(self) -> list[Document]:
        """The documents this workspace references, in the order their references were made."""
        with self._parts.database.read() as db:
            found = refcount.references(db, self._id, self._parts.pipeline.fingerprint)
            if not found and refcount.workspace_state(db, self._id) is None:
                raise WorkspaceNotFound(
                    f"The workspace {self.name!r} was deleted. store.workspace(name) makes it anew."
                )
        return [document_of(each) for each in sorted(found, key=lambda each: (each.added_at, each.name))]

    def _run(self, incoming: Incoming, scratch: Scratch) -> Document:
        from docstore.ingest.add import Addition
        from docstore.ingest.target import ForWorkspace

        target = ForWorkspace(self._parts, self._id)
        Addition(self._parts, target, scratch, lambda _item, _chunks: None).run([incoming])
        outcome = _finished(incoming)
        if isinstance(outcome, DocStoreError):
            raise outcome
        return outcome

    def _scratch(self) -> Scratch:
        if self._readonly:
            raise StoreReadOnly("The store was opened with readonly=True. Open it without to add documents.")
        return Scratch(self._parts.tmp)


class _Counter:
    """Turns steps of one addition into `Progress` over all groups."""

    def __init__(self, total: int | None, callback: Callable[[Progress], object] | None) -> None:
        self._total, self._callback = total, callback
        self._done = self._chunks = 0

    def report(self, item: Incoming, chunks: int) -> None:
        self.step(item.name or item.fallback_name, 1 if item.outcome is not None else 0, chunks)

    def step(self, label: str, documents: int, chunks: int) -> None:
        self._done += documents
        self._chunks += chunks
        if self._callback is not None:
            self._callback(Progress(self._done, self._total, self._chunks, label))


def _finished(item: Incoming | DocStoreError) -> Document | DocStoreError:
    if isinstance(item, DocStoreError):
        return item
    assert item.outcome is not None
    return item.outcome
