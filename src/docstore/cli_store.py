"""Opens the store that a command works on."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from docstore.errors import DocumentNotFound, StoreVersionError, WorkspaceNotFound

if TYPE_CHECKING:  # imported where used: `--help` and usage errors need neither FAISS nor SQLite
    from docstore.documents import Document
    from docstore.ingest.embed import Embedder
    from docstore.store import DocStore
    from docstore.workspace import Workspace

Access = Literal["read", "change", "create"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of every command."""

    folder: Path
    model: str | None
    timeout: float


def embedder_of(model: str | None) -> Embedder:
    """The model that `--model` names, or the default one."""
    from docstore.ingest.embed import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder() if model is None else SentenceTransformerEmbedder(model)


def opened(context: typer.Context, access: Access, *, embeds: bool = False) -> DocStore:
    """The store. Only `create` makes one where there is none: a mistyped folder must not look like an empty store.

    Args:
        embeds: whether vectors matter to the command. Any model but the default one is loaded to be identified.
    """
    from docstore.database import CATALOG
    from docstore.durable import storage_errors
    from docstore.store import DocStore

    settings: Settings = context.obj
    with storage_errors("opening the store"):
        if access != "create" and not (settings.folder / CATALOG).exists():
            raise StoreVersionError(f"{settings.folder} is no store. Check --store; `docstore add` creates a store.")
    embedder = embedder_of(settings.model) if embeds else None
    return DocStore(settings.folder, embedder=embedder, timeout=settings.timeout, readonly=access == "read")


def may_write(context: typer.Context) -> bool:
    """Whether the store may be opened for changes, by the permissions of its folder and catalog."""
    from docstore.database import CATALOG

    folder: Path = context.obj.folder
    return all(os.access(path, os.W_OK) for path in (folder, folder / CATALOG))


def existing(store: DocStore, name: str) -> Workspace:
    """The workspace, which `DocStore.workspace` would create."""
    if name not in store:
        raise WorkspaceNotFound(f"There is no workspace {name!r}. `docstore ls` lists those there are.")
    return store.workspace(name)


def covered(workspace: Workspace, hash: str) -> Document | None:
    """A document that its searches cover."""
    with suppress(DocumentNotFound):
        return workspace.document(hash)
    return None


def own(workspace: Workspace, hash: str) -> Document | None:
    """A document that it references itself."""
    return covered(workspace, hash) if hash in workspace else None
