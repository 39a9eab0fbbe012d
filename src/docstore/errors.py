"""Every error the library raises, in one hierarchy rooted at `DocStoreError`.

Each message says what failed, why, and what to do next. Errors of SQLite, FAISS, pypdf and the operating
system are translated at the border where they arise; the original stays reachable as `__cause__`.
"""

from __future__ import annotations

from typing import Literal

REPAIR = "Run `docstore repair`, which restores it or says what to do."
"""What to do about a stored piece that is damaged or lost."""

UnreadableReason = Literal["missing", "empty", "corrupt", "encrypted", "unsupported", "no-text", "limit"]


class DocStoreError(Exception):
    """Base of every error that docstore raises on purpose."""


class InvalidArgument(DocStoreError, ValueError):
    """A caller passed something that has no meaning here: a bad `k`, name, metadata or vector."""


class DocumentNotFound(DocStoreError, LookupError):
    """No such document, or not in this workspace. Both read alike, so that nobody can probe for hashes."""


def not_stored(hash: str) -> DocumentNotFound:
    """What to raise of a document that the store does not hold."""
    return DocumentNotFound(f"The store has no document {hash}: nobody added it, or it was collected. Add its bytes.")


def not_referenced(workspace: str, hash: str) -> DocumentNotFound:
    """What to raise of a document that a workspace does not have, whoever else has it."""
    return DocumentNotFound(f"The workspace {workspace!r} has no document {hash}. workspace.documents() lists those it "
                            "has.")  # fmt: skip


class WorkspaceNotFound(DocStoreError, LookupError):
    """No workspace has this name, or it was deleted after this handle on it was made."""


class WorkspaceExists(DocStoreError):
    """Another workspace has the name that one should get."""


class ConversationNotFound(DocStoreError, LookupError):
    """The conversation was deleted, or its workspace was, after this handle on it was made; or it is not there."""


class UnreadableDocument(DocStoreError):
    """A source that cannot be stored as a document.

    `reason` is one of `missing`, `empty`, `corrupt`, `encrypted`, `unsupported`, `no-text` or `limit`, for
    programs to branch on; `name` is the source as the caller named it.
    """

    def __init__(self, name: str, reason: UnreadableReason, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.reason: UnreadableReason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[UnreadableDocument], tuple[str, UnreadableReason, str], dict[str, object]]:
        # An exception is copied, and crosses from process to process, by calling its class with the message alone.
        return type(self), (self.name, self.reason, self.detail), self.__dict__


class EmbeddingError(DocStoreError):
    """The embedder failed, could not be loaded, or returned something other than its contract says."""


class PipelineMismatch(DocStoreError):
    """The workspace holds documents that have no vectors under the pipeline this store was opened with."""


class IntegrityError(DocStoreError):
    """Stored bytes no longer match their hash, or the catalog contradicts itself."""


LimitedBy = Literal["documents", "logical_bytes", "physical_bytes", "keep_free"]


class QuotaExceeded(DocStoreError):
    """A document was refused: a limit on a workspace or on the store would be exceeded. Nothing was changed.

    `limited_by` says which: `documents` or `logical_bytes` of the workspace, `physical_bytes` of the store, or
    `keep_free` of its disk. `used`, `wanted` and `limit` are documents or bytes; `used` is None where it would tell of
    what others hold, and all are None where the database itself had to refuse.
    """

    def __init__(
        self,
        message: str,
        limited_by: LimitedBy | None = None,
        used: int | None = None,
        wanted: int | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(message)
        self.limited_by: LimitedBy | None = limited_by
        self.used = used
        self.wanted = wanted
        self.limit = limit


class QuotaWarning(UserWarning):
    """Adding came near to a limit: it crossed the share of it that `warn_at` says. Once for each crossing."""


class StorageError(DocStoreError):
    """The disk or SQLite refused: full, not permitted, input/output error. The step that failed changed nothing that
    anybody sees. What `add_many`, `link_many`, `collect`, `expire` or `repair` had committed before stays."""


class StoreLocked(DocStoreError):
    """Another process, or thread, held the catalog's write lock for longer than the timeout; or, with `readonly=True`,
    somebody opened a catalog that nobody had open, and changed it while it was read without locks."""


class StoreVersionError(DocStoreError):
    """The folder is not a store; or a newer docstore wrote it; or an older one did, and it was opened for reading."""


class StoreReadOnly(DocStoreError):
    """A change was asked of a store that was opened with `readonly=True`."""


def read_only(folder: object) -> StoreReadOnly:
    """What to raise where a change is asked of a store that was opened for reading."""
    return StoreReadOnly(f"{folder} was opened with readonly=True. Open it without to change it.")


class LinkForbidden(DocStoreError):
    """`link`, `link_many` or `workspace_for` on a store that was opened with `demand_bytes=True`. Says nothing of
    whether it holds the document."""


class StoreClosed(DocStoreError):
    """The store was used after `close()`."""
