"""Workspace: what one tenant can do. Everything here sees only the documents this workspace references."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import TYPE_CHECKING, Any

import docstore
from docstore import arguments, refcount
from docstore.errors import (
    DocStoreError,
    InvalidArgument,
    LinkForbidden,
    QuotaWarning,
    UnreadableDocument,
    read_only,
)
from docstore.metadata import encode
from docstore.model import AnySource, NewDocument
from docstore.names import check_hash, check_name
from docstore.parts import Parts
from docstore.scratch import Scratch
from docstore.workspace_documents import Holding
from docstore.workspace_includes import Lending
from docstore.workspace_limits import Bounded
from docstore.workspace_references import Referring
from docstore.workspace_search import Searchable

# What only adding needs is imported where it is used: a process that only searches answers sooner without it.
if TYPE_CHECKING:
    from docstore.ingest.incoming import Incoming

GROUP_DOCUMENTS = 512  # documents that share transactions, directory syncs and the embedder's batches
GROUP_BYTES = 64 << 20  # and what they may weigh together, so that memory stays bounded
_GROUP_SECONDS = 5.0  # to wait for more of them: what a slow generator gave is found soon, and not lost with it


class Workspace(Holding, Referring, Searchable, Lending, Bounded):
    """A named set of references to documents. Get one from `DocStore.workspace`. Safe for threads.

    Besides what each method says it raises, all raise WorkspaceNotFound when it was deleted or has expired, StoreClosed
    after `close`, and IntegrityError when the catalog is damaged; those that change anything, StoreReadOnly,
    StorageError and StoreLocked.
    """

    def __init__(self, parts: Parts, id: int, name: str) -> None:
        self._parts = parts
        self._id = id
        self.name = name

    def __repr__(self) -> str:
        return f"Workspace({self.name!r})"

    def __len__(self) -> int:
        """How many documents it references."""
        with self._parts.database.read() as db:
            _, references = refcount.require_workspace(db, self._id)
        return max(0, references)  # a damaged count must not become a ValueError

    def __bool__(self) -> bool:
        return True  # a workspace without documents is still one

    def add(
        self, document: AnySource, *, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> docstore.Document:
        """References a document, storing and embedding it first if nobody has before.

        Adding what the workspace has already changes nothing, except that a `name` or `metadata` given replaces
        what was there. What the store has already costs a read and a transaction.

        Args:
            document: a path, bytes or a binary file object (read from where it stands to its end).
            name: what this workspace calls it, in 1,000 characters at most; by default the file's name.
            metadata: a JSON object of this workspace's own, for `where=` in searches. At most 64 KiB, 32 levels deep.

        Raises:
            QuotaExceeded: a limit of the workspace or the store forbids it.
            UnreadableDocument: it is missing, empty, corrupt, encrypted, unsupported, has no text, or met a limit.
            EmbeddingError: the embedder failed.
            InvalidArgument: it is no document, or `name` or `metadata` is not what it must be.
            StorageError: the disk refused.
            StoreLocked: another process kept the catalog locked.
        """
        from docstore.ingest.incoming import hashed

        with self._scratch() as scratch:
            # The workspace must not expire meanwhile.
            incoming = hashed(NewDocument(document, name, metadata), scratch, before_long=self._use)
            return self._run(incoming, scratch)

    def add_many(
        self,
        documents: Iterable[AnySource | NewDocument],
        *,
        metadata: Mapping[str, Any] | None = None,
        progress: Callable[[docstore.Progress], object] | None = None,
    ) -> docstore.AddReport:
        """Adds documents, faster than one by one: they share batches of the embedder and transactions.

        Goes on past documents that cannot be added, and reports each with its reason. Commits as it goes: when this
        raises (the disk is full, the progress callback raises), each document is there whole or not at all, and adding
        the same again does the rest. When `documents` raises, what it gave before is added first.

        Args:
            documents: paths, bytes or binary file objects, which must stay open and as they are until this returns; or
                a `NewDocument` for each that has a name or metadata of its own. May be a generator, also a slow one:
                once five seconds have passed, what it gave is added when it gives the next one.
            metadata: what every one of these references gets that brings none of its own; see `add`.
            progress: called after every document, and between batches of chunks. It waits for ever if it adds a
                document that this call has not stored yet.

        Raises:
            InvalidArgument: `documents` is one document (an open file too), or `metadata` is not what it must be.
            StorageError: the disk refused; what was committed before stays.
            StoreLocked: another process kept the catalog locked; likewise.
        """
        refusal = "add_many takes many documents: pass a list, or one to add"
        documents = arguments.several(documents, (str, bytes, os.PathLike), refusal)
        encoded = encode(metadata)
        self._require()
        total = len(documents) if isinstance(documents, Sized) else None
        counter = _Counter(total, progress, self._use)
        outcomes: list[tuple[str, docstore.Document | DocStoreError]] = []
        remaining = iter(documents)
        while group := self._add_group(remaining, encoded, counter):
            outcomes += group
        report = _report(outcomes)
        try:
            for each in counter.warnings:
                warnings.warn(each, QuotaWarning, stacklevel=2)
        finally:  # where warnings are errors, they must not hide the caller's own
            if counter.broken is not None:
                stored = len(report.added) + len(report.reused)
                counter.broken.add_note(
                    f"Of what it gave before, docstore added {stored} and refused {len(report.failed)}."
                )
                raise counter.broken
        return report

    def _add_group(
        self, remaining: Iterator[AnySource | NewDocument], metadata: str | None, counter: _Counter
    ) -> list[tuple[str, docstore.Document | DocStoreError]]:
        from docstore.ingest.incoming import Incoming, hashed, label_of

        outcomes: list[tuple[str, Incoming | DocStoreError]] = []
        self._use()  # as in `add`: the caller's generator may take long, and so may hashing
        with self._scratch() as scratch:
            weight = 0
            for given in counter.group(remaining):
                wanted = given if isinstance(given, NewDocument) else NewDocument(given)
                label = ""
                try:
                    label = label_of(wanted)
                    item = hashed(wanted, scratch, metadata=metadata)
                    outcomes.append((label, item))
                    weight += item.source.size if item.source else 0
                except (UnreadableDocument, InvalidArgument) as error:
                    outcomes.append((label or type(wanted.source).__name__, error))
                    counter.step(label, 1, 0)
                if weight >= GROUP_BYTES:
                    break
            items = [each for _, each in outcomes if isinstance(each, Incoming)]
            counter.warnings += self._run_all(items, scratch, counter.report)
        return [(label, _told(each)) for label, each in outcomes]

    def link(
        self, hash: str, *, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> docstore.Document:
        """References a document that the store holds, by its hash alone.

        Whoever can call this with a hash can read the document: hand it to applications, not to their users.
        `DocStore(…, demand_bytes=True)` forbids it.

        Args:
            name: what this workspace calls it; by default the hash.
            metadata: as for `add`.

        Raises:
            DocumentNotFound: the store does not hold it.
            LinkForbidden: the store demands the bytes.
            QuotaExceeded: a limit of the workspace forbids it.
            EmbeddingError: it has no vectors under this store's pipeline yet, and the embedder failed.
            InvalidArgument: `hash`, `name` or `metadata` is not what it must be.
        """
        from docstore.ingest.incoming import Incoming

        if name is not None:
            name = check_name(name, "name")
        self._require_linking([hash])
        encoded = encode(metadata)
        with self._scratch() as scratch:
            return self._run(Incoming(hash, None, hash, hash, name, encoded), scratch)

    def link_many(self, documents: Iterable[str | docstore.Document]) -> docstore.AddReport:
        """References documents that the store holds, faster than `link` for each: `bob.link_many(alice.documents())`.

        Goes on past what the store does not hold, and reports each. Commits every some hundred documents.

        Args:
            documents: hashes, or a `Document` each, whose name a new reference then takes over, without its metadata.

        Raises:
            InvalidArgument: one is neither; nothing was changed.
            LinkForbidden: the store demands the bytes.
        """
        from docstore.ingest.incoming import Incoming

        refusal = "link_many takes many documents: pass a list, or one hash to link"
        documents = arguments.several(documents, (str, docstore.Document), refusal)
        named = [(each.hash, each.name) if isinstance(each, docstore.Document) else (each, None) for each in documents]
        self._require_linking(hash for hash, _ in named)
        self._require()
        items = [Incoming(hash, None, name or hash, hash) for hash, name in named]
        with self._scratch() as scratch:
            near_limits = self._run_all(items, scratch, self._note)
        for each in near_limits:
            warnings.warn(each, QuotaWarning, stacklevel=2)
        return _report([(each.label, _told(each)) for each in items])

    # -- what is said in it -------------------------------------------------------------------------------------------

    def conversation(self, name: str) -> docstore.Conversation:
        """The conversation of this name, created if there is none. It goes with the workspace.

        Raises:
            WorkspaceNotFound: the workspace was deleted.
            ConversationNotFound: there is none and the store is read-only.
        """
        from docstore.conversations import open_conversation

        return open_conversation(self._parts, self._id, name)

    def conversations(self) -> list[docstore.ConversationInfo]:
        """All conversations of this workspace, the one with the latest message first."""
        from docstore.conversations import list_conversations

        return list_conversations(self._parts, self._id)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _run(self, incoming: Incoming, scratch: Scratch) -> docstore.Document:
        for each in self._run_all([incoming], scratch, self._note):
            warnings.warn(each, QuotaWarning, stacklevel=3)
        outcome = _finished(incoming)
        if isinstance(outcome, DocStoreError):
            raise outcome
        return outcome

    def _run_all(self, items: list[Incoming], scratch: Scratch, report: Callable[[Incoming, int], None]) -> list[str]:
        """Adds them. Returns what to warn of."""
        from docstore.ingest.add import Addition
        from docstore.ingest.target import ForWorkspace

        target = ForWorkspace(self._parts, self._id)
        near_limits: list[str] = []
        for start in range(0, len(items), GROUP_DOCUMENTS):
            addition = Addition(self._parts, target, scratch, report)
            addition.run(items[start : start + GROUP_DOCUMENTS])
            near_limits += addition.warnings
        return near_limits

    def _note(self, _item: Incoming, chunks: int) -> None:
        if chunks:  # to finish a document is an access by itself
            self._use()

    def _use(self) -> None:
        """It must not expire while something is done with it."""
        self._parts.accesses.note(self._id)

    def _require(self) -> None:
        """What refuses to add some documents (a store that is closed, for one) must refuse to add none too."""
        with self._parts.database.read() as db:
            refcount.require_workspace(db, self._id)

    def _require_linking(self, hashes: Iterable[str]) -> None:
        for hash in hashes:
            check_hash(hash)
        if self._parts.demand_bytes:
            raise LinkForbidden("This store was opened with demand_bytes=True: add the document itself.")

    def _scratch(self) -> Scratch:
        if self._parts.readonly:
            raise read_only(self._parts.folder)
        return Scratch(self._parts.tmp)


class _Counter:
    """Turns steps of one addition into `Progress` over all groups."""

    def __init__(
        self, total: int | None, callback: Callable[[docstore.Progress], object] | None, use: Callable[[], object]
    ) -> None:
        """
        Args:
            use: called with every step: a workspace must not expire while documents are being added to it.
        """
        self._total, self._callback, self._use = total, callback, use
        self._done = self._chunks = 0
        self.warnings: list[str] = []
        """Limits that the groups so far came near to."""
        self.broken: Exception | None = None
        """What the caller's documents raised, if they did."""

    def group(self, remaining: Iterator[AnySource | NewDocument]) -> Iterator[AnySource | NewDocument]:
        """Documents that are added together: as many as come within some seconds, or before the caller's raise."""
        began = 0.0
        for number in range(GROUP_DOCUMENTS):
            if self.broken is not None or (number and time.monotonic() - began > _GROUP_SECONDS):
                return
            try:
                given = next(remaining)
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001  (whatever a caller's generator comes up with)
                self.broken = error
                return
            began = began or time.monotonic()
            yield given

    def report(self, item: Incoming, chunks: int) -> None:
        self.step(item.name or item.fallback_name, 1 if item.outcome is not None else 0, chunks)

    def step(self, label: str, documents: int, chunks: int) -> None:
        self._done += documents
        self._chunks += chunks
        self._use()
        if self._callback is not None:
            from docstore.reports import Progress

            self._callback(Progress(self._done, self._total, self._chunks, label))


def _report(outcomes: list[tuple[str, docstore.Document | DocStoreError]]) -> docstore.AddReport:
    from docstore.reports import AddReport, Failure

    return AddReport(
        added=tuple(each for _, each in outcomes if isinstance(each, docstore.Document) and not each.reused),
        reused=tuple(each for _, each in outcomes if isinstance(each, docstore.Document) and each.reused),
        failed=tuple(Failure(label, each) for label, each in outcomes if isinstance(each, DocStoreError)),
    )


def _finished(item: Incoming | DocStoreError) -> docstore.Document | DocStoreError:
    if isinstance(item, DocStoreError):
        return item
    assert item.outcome is not None
    return item.outcome


def _told(item: Incoming | DocStoreError) -> docstore.Document | DocStoreError:
    """As `_finished`, for one document of many. Errors lose their tracebacks, whose frames would keep all that was
    added together in memory for as long as the report lives."""
    outcome = _finished(item)
    error: BaseException | None = outcome if isinstance(outcome, DocStoreError) else None
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ if error.__cause__ is not None else error.__context__
    return outcome
