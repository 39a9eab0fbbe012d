"""docstore: every document stored and embedded once, shared by reference, searched per workspace."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docstore.conversations import Conversation as Conversation
    from docstore.conversations import ConversationInfo as ConversationInfo
    from docstore.conversations import Message as Message
    from docstore.conversations import Source as Source
    from docstore.documents import Document as Document
    from docstore.errors import ConversationNotFound as ConversationNotFound
    from docstore.errors import DocStoreError as DocStoreError
    from docstore.errors import DocumentNotFound as DocumentNotFound
    from docstore.errors import EmbeddingError as EmbeddingError
    from docstore.errors import IntegrityError as IntegrityError
    from docstore.errors import InvalidArgument as InvalidArgument
    from docstore.errors import LinkForbidden as LinkForbidden
    from docstore.errors import PipelineMismatch as PipelineMismatch
    from docstore.errors import QuotaExceeded as QuotaExceeded
    from docstore.errors import QuotaWarning as QuotaWarning
    from docstore.errors import StorageError as StorageError
    from docstore.errors import StoreClosed as StoreClosed
    from docstore.errors import StoreLocked as StoreLocked
    from docstore.errors import StoreReadOnly as StoreReadOnly
    from docstore.errors import StoreVersionError as StoreVersionError
    from docstore.errors import UnreadableDocument as UnreadableDocument
    from docstore.errors import WorkspaceExists as WorkspaceExists
    from docstore.errors import WorkspaceNotFound as WorkspaceNotFound
    from docstore.ingest.embed import Embedder as Embedder
    from docstore.ingest.embed import SentenceTransformerEmbedder as SentenceTransformerEmbedder
    from docstore.ingest.limits import Limits as Limits
    from docstore.model import Hit as Hit
    from docstore.model import NewDocument as NewDocument
    from docstore.quotas import StoreQuota as StoreQuota
    from docstore.quotas import WorkspaceQuota as WorkspaceQuota
    from docstore.replacements import Replacement as Replacement
    from docstore.replacements import Rollback as Rollback
    from docstore.reports import AddReport as AddReport
    from docstore.reports import CollectReport as CollectReport
    from docstore.reports import ExpireReport as ExpireReport
    from docstore.reports import Failure as Failure
    from docstore.reports import Problem as Problem
    from docstore.reports import Progress as Progress
    from docstore.reports import Repair as Repair
    from docstore.reports import RepairReport as RepairReport
    from docstore.reports import StorageStats as StorageStats
    from docstore.reports import VerifyReport as VerifyReport
    from docstore.store import DocStore as DocStore
    from docstore.versions import Version as Version
    from docstore.workspace import Workspace as Workspace
    from docstore.workspace_info import WorkspaceInfo as WorkspaceInfo

__version__ = "0.2.0"

# Loaded when first used (PEP 562): the processes that only extract text start without FAISS, NumPy and SQLite.
_HOMES = {
    "docstore.conversations": ("Conversation", "ConversationInfo", "Message", "Source"),
    "docstore.documents": ("Document",),
    "docstore.errors": (
        "ConversationNotFound", "DocStoreError", "DocumentNotFound", "EmbeddingError", "IntegrityError",
        "InvalidArgument", "LinkForbidden", "PipelineMismatch", "QuotaExceeded", "QuotaWarning", "StorageError",
        "StoreClosed", "StoreLocked", "StoreReadOnly", "StoreVersionError", "UnreadableDocument", "WorkspaceExists",
        "WorkspaceNotFound",
    ),
    "docstore.ingest.embed": ("Embedder", "SentenceTransformerEmbedder"),
    "docstore.ingest.limits": ("Limits",),
    "docstore.model": ("Hit", "NewDocument"),
    "docstore.quotas": ("StoreQuota", "WorkspaceQuota"),
    "docstore.replacements": ("Replacement", "Rollback"),
    "docstore.reports": (
        "AddReport", "CollectReport", "ExpireReport", "Failure", "Problem", "Progress", "Repair", "RepairReport",
        "StorageStats", "VerifyReport",
    ),
    "docstore.store": ("DocStore",),
    "docstore.versions": ("Version",),
    "docstore.workspace": ("Workspace",),
    "docstore.workspace_info": ("WorkspaceInfo",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]  # noqa: PLE0604  (names, computed from the table above)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'docstore' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
