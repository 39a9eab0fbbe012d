"""Search in one workspace: the current view, filters, ranking, and the text of the hits.

A search is of one moment: the versions of the workspace, and of what it includes, are read first, and the view is of
those. Files may be collected while they are being read, if another process drops the last reference meanwhile; a
version has then changed, and the search starts again on what is referenced now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

import numpy as np

from docstore import arguments, covered, refcount, subindexes
from docstore.cas import none_missing
from docstore.covered import Changes, CoveredRow, Owner
from docstore.database import Database
from docstore.differences import Step, called_in
from docstore.durable import storage_errors
from docstore.errors import (
    DocumentNotFound,
    IntegrityError,
    InvalidArgument,
)
from docstore.filter_cache import Chosen, Filtered
from docstore.hits import hits_of
from docstore.ingest.pipeline import normalise
from docstore.metadata import encode, matcher
from docstore.mmr import maximal_marginal_relevance
from docstore.model import Hit
from docstore.parts import Parts
from docstore.segments import Addition, Key
from docstore.vectors import Vectors
from docstore.views import Plan, Ranked, Versions, View

_T = TypeVar("_T")

_MANY_DOCUMENTS, _MANY_CHUNKS = 100, 4000  # for more, threads make views in turn: some ten milliseconds of work


class Filter(NamedTuple):
    """Which documents take part. Acts before the top k are chosen."""

    documents: frozenset[str] | None = None
    """Hashes; None for all that the workspace references or includes."""
    where: Mapping[str, Any] | None = None
    """Metadata keys and the JSON values they must have; None for any."""
    spelling: str = ""
    """Of `where`, the same for all that are equal."""

    @classmethod
    def of(cls, documents: Iterable[str] | None, where: Mapping[str, Any] | None) -> Filter:
        """What a caller passed, checked.

        Raises:
            InvalidArgument: it is no collection of hashes, or no metadata.
        """
        if documents is not None:
            if isinstance(documents, str) or not isinstance(documents, Iterable):
                raise InvalidArgument("`documents` takes a list of hashes")
            documents = list(documents)
            if not all(isinstance(each, str) for each in documents):
                raise InvalidArgument("`documents` takes hashes, which are text: for a Document, its `.hash`")
            documents = frozenset(documents)
        # Encoded and decoded, the values compare as stored ones do: a tuple is a list.
        encoded = encode(where, "where")
        return cls(documents, json.loads(encoded), encoded) if encoded is not None else cls(documents)

    def choose(self, view: View) -> Chosen | None:
        """Which documents of a view pass; None when all do."""
        if self.documents is None and not self.where:
            return None
        metadata = view.metadata or {}
        accepts = partial(_accepts, metadata, matcher(self.where or {}))
        if self.documents is None:
            return view.having(self.spelling, accepts)
        documents: Iterable[str] = self.documents
        if self.where:  # asked of those that are named, however many others there are
            documents = [each for each in documents if each not in metadata or accepts(each)]
        chosen, unknown = view.named(documents)
        if unknown:
            one = ascii(min(unknown))[1:-1]
            raise DocumentNotFound(f"This workspace has no document {one:.80}. `documents` takes hashes of what the "
                                   "workspace references or includes.")  # fmt: skip
        return chosen


def _accepts(metadata: Mapping[str, str], matches: Callable[[str], bool], document: str) -> bool:
    if (own := metadata.get(document)) is None:
        raise IntegrityError(f"The catalog has lost its row of document {document}, which this workspace "
                             "references. Run `docstore repair`, or restore a backup.")  # fmt: skip
    return matches(own)


class Diversity(NamedTuple):
    """Parameters of maximal marginal relevance."""

    fetch_k: int
    lambda_mult: float

    @classmethod
    def of(cls, mmr: bool, fetch_k: int, lambda_mult: float) -> Diversity | None:
        """What a caller passed, checked; None without `mmr`.

        Raises:
            InvalidArgument: they are out of range.
        """
        if not arguments.switch("mmr", mmr):
            return None
        return cls(arguments.whole("fetch_k", fetch_k, 1), arguments.number("lambda_mult", lambda_mult, 0, 1))


class Wanted(NamedTuple):
    """What a search is to give for each query."""

    k: int
    diversity: Diversity | None
    candidates: int | None
    """As for `nearest.nearest`."""

    @classmethod
    def of(cls, k: int, candidates: int | None, diversity: Diversity | None = None) -> Wanted:
        """What a caller passed, checked.

        Raises:
            InvalidArgument: a number is out of range.
        """
        few = None if candidates is None else arguments.whole("candidates", candidates, 1)
        return cls(arguments.whole("k", k, 1), diversity, few)


def find(parts: Parts, workspace: int, queries: Vectors, filter: Filter, wanted: Wanted) -> list[list[Hit]]:
    """The best hits for each query vector, shape (n, dimension) float32."""
    queries = _checked(queries, parts.pipeline.dimension)
    scope = parts.scope(workspace)
    return _with_view(parts, workspace, bool(filter.where), partial(_find, parts, scope, queries, filter, wanted))


def _checked(queries: Vectors, dimension: int) -> Vectors:
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise InvalidArgument(f"A query vector has shape {queries.shape[1:]}; this store's vectors have shape "
                              f"({dimension},)")  # fmt: skip
    return normalise(queries, InvalidArgument, "The query is")


def _find(parts: Parts, scope: int, queries: Vectors, filter: Filter, wanted: Wanted, view: View) -> list[list[Hit]]:
    chosen = filter.choose(view)
    if wanted.diversity is None:
        best = view.nearest(queries, wanted.k, chosen, wanted.candidates)
    else:
        best = [_diversified(view, query, wanted, wanted.diversity, chosen) for query in queries]
    hits = iter(hits_of(parts, scope, list(chain.from_iterable(best))))
    return [list(islice(hits, len(some))) for some in best]


def _diversified(
    view: View, query: Vectors, wanted: Wanted, diversity: Diversity, chosen: Chosen | None
) -> list[Ranked]:
    fetched = max(wanted.k, diversity.fetch_k)
    (near,) = view.nearest(query[np.newaxis], fetched, chosen, wanted.candidates)
    picked = maximal_marginal_relevance(query, view.vectors(near), wanted.k, diversity.lambda_mult)
    return [near[position] for position in picked]


class _Moment(NamedTuple):
    """What a workspace's searches cover at one moment."""

    versions: Versions
    old: View | None
    """The view last used, of these or other versions."""
    plan: Plan | Step | None
    """What the next view is made of, when the old one is not of these versions."""
    unread: Mapping[Key, CoveredRow]
    """What of it is to be read from files."""
    metadata: Mapping[str, str] | None = None
    """By document, when a filter asks for it, or has asked and what changed is known."""
    changed: frozenset[str] | None = None
    """Hashes of what came, went, or has other metadata than in the old view. None: that is not known."""

    @property
    def is_large(self) -> bool:
        """Whether much is to be read or copied for the next view."""
        if not isinstance(self.plan, Plan):
            return False
        chunks = sum(each.chunks or 0 for each in self.unread.values())
        return len(self.plan.lacking) > _MANY_DOCUMENTS or chunks > _MANY_CHUNKS


def _with_view(parts: Parts, workspace: int, with_metadata: bool, use: Callable[[View], _T]) -> _T:
    while True:
        made = parts.views.made
        moment = _look(parts, workspace, with_metadata)
        seen, is_large = moment.versions, moment.is_large
        parts.accesses.note(*[each for each, _ in seen])  # what is included too, whoever searches it
        try:
            with storage_errors("reading a stored document"), none_missing():
                with parts.views.making(parts.scope(workspace)) if is_large else nullcontext():
                    if is_large and parts.views.made != made:  # perhaps what this one lacks
                        moment = _look(parts, workspace, with_metadata)
                        seen = moment.versions
                    view = _view(parts, moment)
                    is_new = view is not moment.old
                    del moment  # what only the old view keeps must be gone before memory counts
                    if is_new:
                        parts.views.put(workspace, view)
                return use(view)
        except IntegrityError:
            # Unless somebody changed the workspace meanwhile, and what was read had been collected.
            if versions(parts, workspace) == seen:
                _require_all_vectors(parts, workspace)  # or nothing is damaged
                raise


def versions(parts: Parts, workspace: int) -> Versions:
    """What its searches cover now.

    Raises:
        WorkspaceNotFound: it was deleted.
    """
    with parts.database.read() as db:
        return _versions(covered.owners_of(db, workspace))


def _versions(owners: list[Owner]) -> Versions:
    return tuple([each[:2] for each in owners])


def _look(parts: Parts, workspace: int, with_metadata: bool) -> _Moment:
    with parts.database.read() as db:
        owners = covered.owners_of(db, workspace)
        versions = _versions(owners)
        old = parts.views.get(workspace)
        if old is not None and old.versions == versions:
            metadata = _metadata(db, owners) if with_metadata and old.metadata is None else None
            return _Moment(versions, old, None, {}, metadata)
        changed = _changed(parts, db, owners, old, with_metadata)
        return changed or _anew(parts, db, workspace, owners, old, with_metadata)


def _metadata(db: Database, owners: list[Owner]) -> dict[str, str]:
    return covered.first_of(owners, partial(refcount.metadata_of, db))


def _changed(parts: Parts, db: Database, owners: list[Owner], old: View | None, with_metadata: bool) -> _Moment | None:
    """What differs from the old view. None when the next is to be made anew."""
    if old is None or old.coverage is None:
        return None
    changes = covered.changes(db, owners, old.versions, old.coverage.members, partial(called_in, old))
    if changes is None:
        return None
    rows = covered.rows_with(db, owners, parts.pipeline.fingerprint, changes.touched)
    called = {(each.document, each.text): (each.id, each.name) for each in rows}
    borrowed = {(each.document, each.text): each.chunks or 0 for each in rows if each.owner != owners[0].id}
    step = Step.of(old, changes.touched, called, changes.members, borrowed)
    if step is None:
        return None
    lacking = set(step.lacking)
    unread = {key: each for each in rows if (key := (each.document, each.text)) in lacking}
    # Of what is in memory too: it may have been collected, and added again under another pipeline.
    _require_vectors(parts, db, rows, step.documents)
    metadata, changed = _described(db, owners, old.metadata, changes, step.changed, with_metadata)
    return _Moment(_versions(owners), old, step, unread, metadata, changed)


def _described(
    db: Database,
    owners: list[Owner],
    old: Mapping[str, str] | None,
    changes: Changes,
    changed: frozenset[str],
    with_metadata: bool,
) -> tuple[Mapping[str, str] | None, frozenset[str] | None]:
    """Metadata after some changes, as far as they are asked for or known, and whose are not those of before."""
    if old is not None and changes.are_all:  # also for a search that does not ask for it: the next may
        some = covered.metadata_with(db, owners, changes.touched)
        # What a document had before is in memory.
        some = {each: old[each] if old.get(each) == stored else stored for each, stored in some.items()}
        metadata = {**old, **some}
        for each in changed - some.keys():
            metadata.pop(each, None)
        return metadata, changed
    if not with_metadata:
        return None, None
    metadata = _metadata(db, owners)
    return metadata, None if old is None else changed.union(each for each, _ in metadata.items() - old.items())


def _anew(
    parts: Parts, db: Database, workspace: int, owners: list[Owner], old: View | None, with_metadata: bool
) -> _Moment:
    """What a view is made of that has nothing of the old one but documents."""
    plan, rows = _planned(parts, db, workspace, owners, old)
    _require_vectors(parts, db, rows, plan.documents)
    unread = {(each.document, each.text): each for each in rows}
    return _Moment(_versions(owners), old, plan, unread, _metadata(db, owners) if with_metadata else None)


def _planned(
    parts: Parts, db: Database, workspace: int, owners: list[Owner], old: View | None
) -> tuple[Plan, list[CoveredRow]]:
    """The plan, and what of it is to be read."""
    scope, fingerprint = parts.scope(workspace), parts.pipeline.fingerprint
    if not parts.views.has_any(scope):
        # As in a new process: all must be read, and one query says what, and what it is called.
        rows, members = covered.all_rows(db, owners, fingerprint)
        wanted = {(each.document, each.text): (each.id, each.name) for each in rows}
        return parts.views.plan(scope, wanted, members, old), rows
    wanted, members = covered.texts_of(db, owners)
    plan = parts.views.plan(scope, wanted, members, old)
    unread = {key[0] for key in plan.lacking if old is None or old.addition(key) is None}
    return plan, covered.rows_of(db, owners, fingerprint, unread)


def _require_vectors(parts: Parts, db: Database, read: Iterable[CoveredRow], documents: int) -> None:
    lacking = [each for each in read if each.chunks is None]
    if lacking:
        from docstore.mismatch import mismatch

        raise mismatch(db, lacking, documents, parts.pipeline)


def _require_all_vectors(parts: Parts, workspace: int) -> None:
    with parts.database.read() as db:
        rows, _ = covered.all_rows(db, covered.owners_of(db, workspace), parts.pipeline.fingerprint)
        _require_vectors(parts, db, rows, len(rows))


def _view(parts: Parts, moment: _Moment) -> View:
    view = moment.old
    if moment.plan is not None:
        dimension, codec = parts.pipeline.dimension, parts.pipeline.codec
        additions = partial(_additions, parts, moment)
        with parts.archive.reading():
            if isinstance(moment.plan, Step):
                view = moment.plan.build(moment.versions, additions, dimension, codec)
            else:
                view = parts.views.build(moment.plan, moment.versions, additions, dimension, codec)
    assert view is not None
    if moment.metadata is not None:
        filtered = Filtered.of(view.documents)
        if moment.changed is not None and moment.old is not None:
            filtered = moment.old.filtered.after(moment.changed, view.documents)
        view = view.described(moment.metadata, filtered)
    return view


def _additions(parts: Parts, moment: _Moment, keys: Sequence[Key]) -> list[Addition]:
    """What appends some documents: those that are to be read, and those that the old view has."""
    unread = [moment.unread[key] for key in keys if key in moment.unread]
    additions = subindexes.additions_of(parts, unread)
    for key in keys:
        if key not in moment.unread:
            addition = moment.old.addition(key) if moment.old is not None else None
            if addition is None:
                raise IntegrityError(f"The catalog references document {key[0]} and has no row of it that fits. Run "
                                     "`docstore repair`, or restore a backup.")  # fmt: skip
            additions.append(addition)
    return additions
