"""What the searches of a workspace cover: the documents that it references, and those of the workspaces it includes.

Plain functions on a transaction. A document that several of them reference is covered once, as the first of them has
it: the workspace itself, then the others by id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from docstore import lifetimes, refcount
from docstore.database import Database, records
from docstore.refcount import FROM_REFERENCES, JOINED

_K = TypeVar("_K")
_T = TypeVar("_T")

Ids = npt.NDArray[np.int64]
"""Of documents, in the catalog, rising."""

Members = tuple[Ids, ...]
"""The documents that each of some workspaces references."""

Names = Callable[[], set[tuple[int, str | None]]]
"""Gives the ids of documents, each with what it is called."""


class Owner(NamedTuple):
    """A workspace whose references are searched."""

    id: int
    version: int
    references: int


class CoveredRow(NamedTuple):
    """A document that is searched, with what a view reads of it, under one pipeline."""

    id: int
    """Of the document, in the catalog. Another's, once it was collected."""
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
    owner: int
    """The workspace that references it: of several the first."""


_NAMES = ("document_id", "hash", "hash", "name", "pages", "chunks", "index_hash", "index_size", "spans_hash",
          "spans_size")  # fmt: skip
_COLUMNS = """r.document_id, d.hash, t.hash, r.name, d.pages,
    s.chunks, s.index_hash, s.index_size, s.spans_hash, s.spans_size"""
_ROWS = f"SELECT {_COLUMNS} {FROM_REFERENCES}"
# One statement for all owners: of a workspace that includes thousands, as access rules have it, asking each takes
# longer than the answer. From the side of the documents, which are few, and each reference by its key, as `CROSS JOIN`
# keeps it: what it costs must not tell how many others reference a document.
_SOME = """
    FROM json_each(?) wanted CROSS JOIN documents d ON d.{} = wanted.value
    CROSS JOIN json_each(?) owner CROSS JOIN refs r ON r.workspace_id = owner.value AND r.document_id = d.id"""


_FIRST: Callable[[Any], int] = itemgetter(0)
_NONE: Ids = np.empty(0, np.int64)
_A_STATEMENT = 20  # references that are looked up in the time of a statement
_NO_ID = 1 << 62  # what no catalog comes to, unless it is damaged


def find_owners(db: Database, workspace: int) -> list[Owner]:
    """The workspace and those it includes. Nothing when it was deleted or is expired."""
    found = records(
        db, ("id", "version", "refs"),
        """SELECT id, version, refs FROM workspaces WHERE id = ? AND expired_at IS NULL UNION ALL
           SELECT w.id, w.version, w.refs FROM includes i JOIN workspaces w ON w.id = i.included_id
           WHERE i.workspace_id = ? AND w.expired_at IS NULL""",
        workspace, workspace,
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


def owner_of(db: Database, workspace: int, document: str) -> int | None:
    """Whose reference to a document, by its hash, a search of the workspace goes by: its own, or of those it includes
    the first. Its own is found however many it includes."""
    if refcount.has_reference(db, workspace, document):
        return workspace
    found = records(
        db, ("included_id",),
        """SELECT i.included_id FROM documents d CROSS JOIN includes i ON i.workspace_id = ?
           CROSS JOIN refs r ON r.workspace_id = i.included_id AND r.document_id = d.id
           CROSS JOIN workspaces w ON w.id = i.included_id AND w.expired_at IS NULL
           WHERE d.hash = ? ORDER BY i.included_id LIMIT 1""",
        workspace, document,
    )  # fmt: skip
    return found[0][0] if found else None


def first_of(owners: list[Owner], read: Callable[[int], dict[_K, _T]]) -> dict[_K, _T]:
    """What each workspace says, by document; of two, what the first says."""
    found = read(owners[-1].id)
    for owner in owners[-2::-1]:
        found.update(read(owner.id))
    return found


def texts_of(db: Database, owners: list[Owner]) -> tuple[dict[tuple[str, str], tuple[int, str]], Members]:
    """All documents as `refcount.referenced_texts` has those of one workspace, and who references which."""
    members = {}

    def read(owner: int) -> dict[tuple[str, str], tuple[int, str]]:
        found = refcount.referenced_texts(db, owner)
        members[owner] = _rising(found.values())
        return found

    return first_of(owners, read), tuple(members[owner.id] for owner in owners)


def all_rows(db: Database, owners: list[Owner], fingerprint: str) -> tuple[list[CoveredRow], Members]:
    """Rows of all documents that are covered; and who references which."""
    members = {}

    def read(owner: int) -> dict[str, CoveredRow]:
        found = _all(db, owner, fingerprint)
        members[owner] = _rising(found)
        return {row.document: row for row in found}

    return list(first_of(owners, read).values()), tuple(members[owner.id] for owner in owners)


def rows_of(db: Database, owners: list[Owner], fingerprint: str, documents: set[str]) -> list[CoveredRow]:
    """Rows of those of some documents, by their hashes, that are covered."""
    # In one pass over all that each references, where that takes less time than looking up each.
    if (len(documents) - _A_STATEMENT) * len(owners) < sum(owner.references for owner in owners):
        return _some(db, owners, fingerprint, "hash", list(documents))
    found = first_of(owners, lambda owner: {row.document: row for row in _all(db, owner, fingerprint)})
    return [row for document, row in found.items() if document in documents]


def rows_with(db: Database, owners: list[Owner], fingerprint: str, ids: Ids) -> list[CoveredRow]:
    """Rows of those documents of some ids that are covered."""
    return _some(db, owners, fingerprint, "id", ids.tolist())


def metadata_with(db: Database, owners: list[Owner], ids: Ids) -> dict[str, str]:
    """The metadata of those documents of some ids that are covered, by hash, as `refcount.metadata_of` has it."""
    query = f"SELECT r.workspace_id, d.hash, r.metadata {_SOME.format('id')}"
    found = records(db, ("workspace_id", "hash", "metadata"), query, json.dumps(ids.tolist()), _spelled(owners))
    return {document: metadata for _, document, metadata in _last_first(owners, found)}


def _some(db: Database, owners: list[Owner], fingerprint: str, column: str, values: list[Any]) -> list[CoveredRow]:
    """Rows of covered documents that have one of some values in a column."""
    if not values:
        return []
    query = f"SELECT r.workspace_id, {_COLUMNS} {_SOME.format(column)} {JOINED}"
    names = "workspace_id", *_NAMES
    found = records(db, names, query, json.dumps(values), _spelled(owners), fingerprint)
    of_each = {row[1]: CoveredRow._make((*row[1:], row[0])) for row in _last_first(owners, found)}
    return list(of_each.values())


def _spelled(owners: list[Owner]) -> str:
    return json.dumps([owner.id for owner in owners])


def _last_first(owners: list[Owner], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows that begin with the id of their owner: those of the first last, so that in a dictionary they remain."""
    place = {owner.id: -number for number, owner in enumerate(owners)}
    return sorted(rows, key=lambda row: place[row[0]])


def _all(db: Database, workspace: int, fingerprint: str) -> list[CoveredRow]:
    return [CoveredRow._make((*row, workspace)) for row in records(db, _NAMES, _ROWS, fingerprint, workspace)]


def _rising(rows: Iterable[tuple[Any, ...]]) -> Ids:
    """The ids that some rows begin with."""
    return np.sort(np.fromiter(map(_FIRST, rows), np.int64))


class Changes(NamedTuple):
    """What was referenced anew, no longer, or otherwise since a moment."""

    touched: Ids
    """Of the documents, each once; and perhaps of some that did not change."""
    members: Members
    """Of now."""
    are_all: bool
    """Whether nothing else changed: all other metadata are what they were."""


def changes(
    db: Database, owners: list[Owner], before: Sequence[tuple[int, int]], members: Members, called: Names
) -> Changes | None:
    """What changed since the owners had these members. None where only a look at all of them says it.

    A version grows by one with each reference that is made, dropped or changed. So where it grew by as many as come or
    go, or by one more, no reference was dropped and made again, which takes two: what is referenced then and now was
    referenced all the time, and is the same document. Otherwise an id might be that of another, since ids of collected
    documents are used again.

    Args:
        before: (id, version) of the owners at that moment.
        called: what was covered then.
    """
    if [owner.id for owner in owners] != [id for id, _ in before]:
        return None
    found = [
        _difference(db, owner, ids, owner.version - version, called, is_first=owner is owners[0])
        for owner, (_, version), ids in zip(owners, before, members, strict=True)
    ]
    settled = [each for each in found if each is not None]
    if len(settled) < len(found):
        return None
    touched = np.unique(np.concatenate([some for some, _, _ in settled]))
    # Of many it takes longer to look up each.
    is_most = len(touched) > sum(owner.references for owner in owners)
    if is_most:
        return None
    return Changes(touched, tuple(ids for _, ids, _ in settled), all(are_all for *_, are_all in settled))


def _difference(
    db: Database, owner: Owner, ids: Ids, steps: int, called: Names, *, is_first: bool
) -> tuple[Ids, Ids, bool] | None:
    """Which documents were touched in so many steps, which there are now, and whether that explains all steps."""
    if steps == 0:
        return _NONE, ids, True
    if steps == 1 and (one := _the_one(db, owner.id, ids)) is not None:
        return (*one, True)
    now = _rising(records(db, _NAMES[:1], "SELECT document_id FROM refs WHERE workspace_id = ?", owner.id))
    touched = np.setxor1d(now, ids, assume_unique=True)
    if len(touched) == steps:
        return touched, now, True
    if len(touched) + 1 == steps:  # and one name, or metadata; if it is a name, that is not what it was
        query = "SELECT document_id, name FROM refs WHERE workspace_id = ?"
        renamed = set(records(db, ("document_id", "name"), query, owner.id)) - called()
        both = np.union1d(touched, _rising(renamed))
        # What an included workspace lends may be covered under an earlier owner's name, and then always seems renamed.
        return both, now, is_first and len(both) > len(touched)
    return None


def _the_one(db: Database, workspace: int, ids: Ids) -> tuple[Ids, Ids] | None:
    """The same where one document came or went in one step: its id is the difference of the sums; no other is read."""
    query = "SELECT count(*), coalesce(sum(document_id), 0) FROM refs WHERE workspace_id = ?"
    ((count, total),) = db.execute(query, (workspace,)).fetchall()
    change = total - int(ids.sum()) if isinstance(total, int) else 0
    id = abs(change)
    if not 0 < id < _NO_ID:
        return None
    place = int(np.searchsorted(ids, id))
    was_there = place < len(ids) and ids[place] == id
    if count == len(ids) + 1 and change > 0 and not was_there:
        return np.array([id]), np.insert(ids, place, id)
    if count == len(ids) - 1 and change < 0 and was_there:
        return np.array([id]), np.delete(ids, place)
    return None
