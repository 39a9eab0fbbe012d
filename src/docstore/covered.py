"""What the searches of a workspace cover: the documents that it references, and those of the workspaces it includes.

Plain functions on a transaction. A document that several of them reference is covered once, as the first of them has
it: the workspace itself, then the others by id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import NamedTuple, TypeVar

from docstore import lifetimes
from docstore.database import Database, records
from docstore.refcount import FROM_REFERENCES

_K = TypeVar("_K")
_T = TypeVar("_T")


class Owner(NamedTuple):
    """A workspace whose references are searched."""

    id: int
    version: int
    references: int


class CoveredRow(NamedTuple):
    """A document that is searched, with what a view reads of it, under one pipeline."""

    document: str
    """Hash of the document."""
    text: str
    """Hash of the text."""
    name: str
    pages: int | None
    chunks: int | None
    """None, as what follows, when the pipeline has not seen the text."""
    index_hash: str | None
    index_size: int | None
    spans_hash: str | None
    spans_size: int | None


_NAMES = ("hash", "hash", "name", "pages", "chunks", "index_hash", "index_size", "spans_hash", "spans_size")
_ROWS = f"""
    SELECT d.hash, t.hash, r.name, d.pages, s.chunks, s.index_hash, s.index_size, s.spans_hash, s.spans_size
    {FROM_REFERENCES}"""


def find_owners(db: Database, workspace: int) -> list[Owner]:
    """The workspace and those it includes. Nothing when it was deleted or is expired."""
    found = records(
        db, ("id", "version", "refs"),
        """SELECT id, version, refs FROM workspaces WHERE id = ?1 AND expired_at IS NULL UNION ALL
           SELECT w.id, w.version, w.refs FROM includes i JOIN workspaces w ON w.id = i.included_id
           WHERE i.workspace_id = ?1 AND w.expired_at IS NULL""",
        workspace,
    )  # fmt: skip
    if len(found) > 1:
        found.sort(key=lambda each: (each[0] != workspace, each[0]))
    return [Owner(*each) for each in found] if found and found[0][0] == workspace else []


def owners_of(db: Database, workspace: int) -> list[Owner]:
    """As `find_owners`.

    Raises:
        WorkspaceNotFound: the workspace was deleted, or is expired.
    """
    found = find_owners(db, workspace)
    if not found:
        raise lifetimes.gone(db, workspace)
    return found


def first_of(owners: list[Owner], read: Callable[[int], dict[_K, _T]]) -> dict[_K, _T]:
    """What each workspace says, by document; of two, what the first says."""
    found = read(owners[-1].id)
    for owner in owners[-2::-1]:
        found.update(read(owner.id))
    return found


def all_rows(db: Database, owners: list[Owner], fingerprint: str) -> list[CoveredRow]:
    """Of all documents."""
    return list(first_of(owners, lambda owner: {row.document: row for row in _all(db, owner, fingerprint)}).values())


def rows_of(db: Database, owners: list[Owner], fingerprint: str, documents: set[str]) -> list[CoveredRow]:
    """Of those of some documents that are covered."""
    found: dict[str, CoveredRow] = {}
    for id, _, references in owners:
        wanted = documents - found.keys()
        # In one pass over all of them, where that takes less time than looking up each.
        is_most = len(wanted) >= references
        rows = _all(db, id, fingerprint) if is_most else _some(db, id, fingerprint, wanted)
        found.update((each.document, each) for each in rows if each.document in wanted)
    return list(found.values())


def _all(db: Database, workspace: int, fingerprint: str) -> list[CoveredRow]:
    return list(map(CoveredRow._make, records(db, _NAMES, _ROWS, fingerprint, workspace)))


def _some(db: Database, workspace: int, fingerprint: str, documents: Collection[str]) -> list[CoveredRow]:
    if not documents:
        return []
    query = f"{_ROWS} AND d.hash IN (SELECT value FROM json_each(?))"
    return list(map(CoveredRow._make, records(db, _NAMES, query, fingerprint, workspace, json.dumps(list(documents)))))
