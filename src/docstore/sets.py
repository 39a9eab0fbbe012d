"""Workspaces of document sets: the same documents, in any order, are one workspace, whoever asks for it.

The name says which documents belong: it is made of their hashes, and they are pinned. So nobody needs to be told of
it, and two who have the same files share the references too, and what searches keep in memory.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from docstore import arguments, pins, refcount
from docstore.database import Database, row
from docstore.errors import (
    DocStoreError,
    IntegrityError,
    InvalidArgument,
    LinkForbidden,
    QuotaWarning,
    StorageError,
    StoreReadOnly,
    WorkspaceNotFound,
)
from docstore.model import AnySource
from docstore.parts import Parts
from docstore.scratch import Scratch
from docstore.workspace import GROUP_BYTES, GROUP_DOCUMENTS

if TYPE_CHECKING:
    from docstore.ingest.source import Source
    from docstore.workspace import Workspace

_MOST_VAIN = 50  # times that somebody else's failure, or deletion, took the workspace away while we filled it


def name_of(hashes: Iterable[str]) -> str:
    """What the workspace of a set is called."""
    return f"set:{blake3(''.join(sorted(hashes)).encode()).hexdigest()}"


def workspace_for(parts: Parts, sources: Iterable[AnySource], open: Callable[[str], Workspace]) -> Workspace:
    """As `DocStore.workspace_for`.

    Args:
        open: gives the workspace of a name, made if it is missing.
    """
    refusal = "workspace_for takes a set of documents: pass a list of paths"
    sources = arguments.several(sources, (str, bytes, os.PathLike), refusal)
    if parts.demand_bytes:
        raise LinkForbidden("This store was opened with demand_bytes=True, and the workspace of a set shows who else "
                            "has the same. Use a workspace for each, and add the documents to it.")  # fmt: skip
    # What can be read only once is copied while it is hashed; a read-only store's folder is no place for that.
    with Scratch(_temporary() if parts.readonly else parts.tmp) as scratch:
        members = _hashed(sources, scratch)
        for _ in range(_MOST_VAIN):
            try:
                workspace = _filled(parts, members, open)
                if parts.readonly or _pinned(parts, workspace._id, members):
                    return workspace
            except WorkspaceNotFound:
                if parts.readonly:
                    raise
        raise IntegrityError("The workspace of the set was changed again and again while it was filled. Run `docstore "
                             "verify`, unless somebody did that on purpose.")  # fmt: skip


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise StorageError(f"{error.strerror}, and with readonly=True nothing is written to the store's. Set TMPDIR to "
                           "a folder that can be written to.") from error  # fmt: skip


def _hashed(sources: Iterable[AnySource], scratch: Scratch) -> dict[str, Source]:
    from docstore.ingest import source

    members: dict[str, Source] = {}
    for each in sources:
        read = source.read(each, scratch)
        members.setdefault(read.hash, read)
    if not members:
        raise InvalidArgument("workspace_for got no documents; a set has one at least")
    return members


def _filled(parts: Parts, members: dict[str, Source], open: Callable[[str], Workspace]) -> Workspace:
    name = name_of(members)
    with parts.database.read() as db:
        is_new = refcount.workspace_id(db, name) is None
    workspace = open(name)
    held = {each.hash for each in workspace.documents()}
    lacking = [each for hash, each in members.items() if hash not in held]
    if lacking and parts.readonly:
        raise StoreReadOnly("The set lacks documents, and the store was opened with readonly=True. Open it without.")
    try:
        # Each attempt is an operation of its own: what a failed one may have left is known by its dead owner.
        with Scratch(parts.tmp) as scratch:
            _add(parts, workspace._id, lacking, scratch)
    except BaseException:
        if is_new:
            with suppress(DocStoreError):  # what went wrong first is what the caller must know
                _leave(parts, name, members)
        raise
    return workspace


def _add(parts: Parts, id: int, sources: list[Source], scratch: Scratch) -> None:
    """Raises the first failure, once its group is done."""
    from docstore.ingest.add import Addition
    from docstore.ingest.grouping import groups
    from docstore.ingest.incoming import Incoming
    from docstore.ingest.target import ForSet

    # Copies, and as many at once as `add_many` takes: what a group stages is gone from memory with it.
    for group in groups(map(replace, sources), lambda each: each.size, GROUP_BYTES, GROUP_DOCUMENTS):
        items = [Incoming(each.hash, each, each.name, each.label) for each in group]
        addition = Addition(parts, ForSet(parts, id), scratch, lambda _item, _chunks: parts.accesses.note(id))
        addition.run(items)
        for each in addition.warnings:
            warnings.warn(each, QuotaWarning, stacklevel=5)  # whoever asked the store for the set
        for item in items:
            if isinstance(item.outcome, DocStoreError):
                raise item.outcome


def _pinned(parts: Parts, id: int, members: Collection[str]) -> bool:
    """Keeps new versions out of the set, which is made of these documents. False when it lacks one by now, as one does
    that was deleted meanwhile, and may have been made again."""
    with parts.write(by=id) as db:  # whoever asks for a set is about to use it
        if refcount.workspace_state(db, id) is None:
            return False
        pins.pin_all(db, id, members)  # those that were there: somebody may have let go of them
        return {document for document, _ in refcount.referenced_texts(db, id)}.issuperset(members)


def _leave(parts: Parts, name: str, members: dict[str, Source]) -> None:
    """Deletes the workspace that could not be filled, unless somebody has filled it, or uses it for something else."""
    with parts.write() as db:
        id = refcount.workspace_id(db, name)
        if id is None:
            return
        held = {document for document, _ in refcount.referenced_texts(db, id)}
        if held < members.keys() and not _is_used(db, id):
            refcount.delete_workspace(db, id)
    parts.forget(id)


def _is_used(db: Database, workspace: int) -> bool:
    query = """SELECT 1 FROM includes WHERE workspace_id = ? OR included_id = ?
               UNION ALL SELECT 1 FROM conversations WHERE workspace_id = ?"""
    return row(db, query, workspace, workspace, workspace) is not None
