"""Search in one workspace: the current view, filters, ranking, and the text of the hits.

A search is of one moment: the workspace's version is read first, and the view is of that version. Files may be
collected while they are being read, if another process drops the last reference meanwhile; the version has then
changed, and the search starts again on what the workspace references now.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from docstore import passages, refcount
from docstore.durable import storage_errors
from docstore.errors import (
    DocumentNotFound,
    IntegrityError,
    InvalidArgument,
    PipelineMismatch,
    WorkspaceNotFound,
)
from docstore.ingest.pipeline import normalise
from docstore.metadata import encode
from docstore.model import Hit
from docstore.parts import Parts
from docstore.refcount import ReferenceRow
from docstore.vectors import (
    INDEX_SUFFIX,
    SPANS_SUFFIX,
    Vectors,
    decode_index,
    decode_spans,
    maximal_marginal_relevance,
)
from docstore.views import Chunk, Codes, Spans, View

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents take part. Acts before the top k are chosen."""

    documents: frozenset[str] | None = None
    """Hashes; None for all of the workspace's."""
    where: Mapping[str, Any] | None = None
    """Metadata keys and the JSON values they must have; None for any."""

    @classmethod
    def of(cls, documents: Iterable[str] | None, where: Mapping[str, Any] | None) -> Filter:
        """The filter, from what a caller passed.

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
        encoded = encode(where)
        return cls(documents, None if encoded is None else json.loads(encoded))

    def mask(self, view: View) -> npt.NDArray[np.bool_] | None:
        """The rows of a view that pass, or None when all do."""
        if self.documents is None and self.where is None:
            return None
        if self.documents is not None:
            unknown = self.documents - {each.document for each in view.references}
            if unknown:
                raise DocumentNotFound(f"This workspace has no document {min(unknown)}. `documents` takes hashes of "
                                       "what the workspace references.")  # fmt: skip
        return view.mask(self._accepts)

    def _accepts(self, reference: ReferenceRow) -> bool:
        if self.documents is not None and reference.document not in self.documents:
            return False
        return all(
            key in reference.metadata and _same(reference.metadata[key], value)
            for key, value in (self.where or {}).items()
        )


def _same(stored: Any, wanted: Any) -> bool:
    # In JSON true is not 1, but 1 is 1.0; Python thinks all three equal.
    return bool(stored == wanted) and isinstance(stored, bool) == isinstance(wanted, bool)


@dataclass(frozen=True, slots=True)
class Diversity:
    """Parameters of maximal marginal relevance."""

    fetch_k: int
    lambda_mult: float

    @classmethod
    def of(cls, fetch_k: int, lambda_mult: float) -> Diversity:
        """The parameters, from what a caller passed.

        Raises:
            InvalidArgument: they are out of range.
        """
        if isinstance(lambda_mult, bool) or not isinstance(lambda_mult, float | int) or not 0 <= lambda_mult <= 1:
            raise InvalidArgument(f"lambda_mult is {lambda_mult!r}; it must be a number from 0 to 1")
        return cls(_count("fetch_k", fetch_k), float(lambda_mult))


def _count(name: str, value: Any) -> int:
    try:
        count = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise InvalidArgument(f"{name} is {value!r}; it must be a whole number of at least 1")
    return count


def find(
    parts: Parts, workspace: int, queries: Vectors, k: int, filter: Filter, diversity: Diversity | None
) -> list[list[Hit]]:
    """The k best hits for each query vector, shape (n, dimension) float32."""
    k = _count("k", k)
    queries = _checked(queries, parts.pipeline.dimension)
    # Where bytes are demanded, nobody's search may be faster because of what somebody else has read.
    scope = workspace if parts.demand_bytes else 0
    return _with_view(parts, workspace, partial(_find, parts, scope, queries, k, filter, diversity))


def _checked(queries: Vectors, dimension: int) -> Vectors:
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise InvalidArgument(f"A query vector has shape {queries.shape[1:]}; this store's vectors have shape "
                              f"({dimension},)")  # fmt: skip
    return normalise(queries, InvalidArgument, "The query is")


def _find(
    parts: Parts, scope: int, queries: Vectors, k: int, filter: Filter, diversity: Diversity | None, view: View
) -> list[list[Hit]]:
    allowed = filter.mask(view)
    if diversity is None:
        found = view.index.search(queries, k, allowed)
    else:
        found = [
            _diversified(view, query, scores, rows, k, diversity.lambda_mult)
            for query, (scores, rows) in zip(
                queries, view.index.search(queries, max(k, diversity.fetch_k), allowed), strict=True
            )
        ]
    passages_of = _read_passages(parts, scope, view, np.unique(np.concatenate([rows for _, rows in found])))
    return [
        [_hit(*passages_of[row], score) for score, row in zip(scores.tolist(), rows.tolist(), strict=True)]
        for scores, rows in found
    ]


def _diversified(
    view: View, query: Vectors, scores: Vectors, rows: npt.NDArray[np.int64], k: int, lambda_mult: float
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    picked = maximal_marginal_relevance(query, view.index.vectors(rows), k, lambda_mult)
    return scores[picked], rows[picked]


def _read_passages(parts: Parts, scope: int, view: View, rows: npt.NDArray[np.int64]) -> dict[int, tuple[Chunk, str]]:
    """What some rows are, with their texts. Rows rise, which keeps those of one text together."""
    found: dict[int, tuple[Chunk, str]] = {}
    numbered = zip(rows.tolist(), view.chunks(rows), strict=True)
    for text, group in groupby(numbered, key=lambda each: each[1].reference.text):
        chunks = dict(group)
        spans = [(chunk.first_byte, chunk.last_byte) for chunk in chunks.values()]
        pieces = passages.read(parts.texts, parts.memory, scope, text, spans)
        found.update((row, (chunk, piece)) for (row, chunk), piece in zip(chunks.items(), pieces, strict=True))
    return found


def _hit(chunk: Chunk, text: str, score: float) -> Hit:
    reference = chunk.reference
    page = None if reference.pages is None else chunk.page
    return Hit(text, score, reference.document, reference.name, chunk.number, chunk.start, chunk.end, page)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a workspace references at one moment."""

    version: int
    cached: View | None
    """The view last used, of this or an older version."""
    references: list[ReferenceRow]
    """Read only when the cached view is not of this version."""

    @property
    def view(self) -> View | None:
        return self.cached if self.cached is not None and self.cached.version == self.version else None


def _with_view(parts: Parts, workspace: int, use: Callable[[View], _T]) -> _T:
    while True:
        moment = _look(parts, workspace)
        try:
            with storage_errors("reading a stored document"):
                try:
                    return use(moment.view or _merge(parts, workspace, moment))
                except FileNotFoundError as error:
                    raise IntegrityError(
                        f"{error.filename} is missing, which the catalog says is stored. Run `docstore verify` to see "
                        "what is affected, then add the document again."
                    ) from error
        except IntegrityError:
            # Unless somebody changed the workspace meanwhile, and what was read had been collected.
            if _look(parts, workspace).version == moment.version:
                raise


def _look(parts: Parts, workspace: int) -> _Moment:
    with parts.database.read() as db:
        state = refcount.workspace_state(db, workspace)
        if state is None:
            raise WorkspaceNotFound("This workspace was deleted. Get it again with store.workspace(name).")
        cached = parts.memory.get(("view", workspace))
        if cached is not None and cached.version == state[0]:
            return _Moment(state[0], cached, [])
        return _Moment(state[0], cached, refcount.references(db, workspace, parts.pipeline.fingerprint))


def _merge(parts: Parts, workspace: int, moment: _Moment) -> View:
    _require_vectors(moment.references)
    old = moment.cached
    subindexes = [(old and old.subindex(each.text)) or _load(parts, each) for each in moment.references]
    view = View(moment.version, moment.references, subindexes, parts.pipeline.dimension, parts.pipeline.codec)
    parts.memory.put(("view", workspace), view)
    return view


def _require_vectors(references: list[ReferenceRow]) -> None:
    lacking = [each for each in references if each.chunks is None]
    if lacking:
        raise PipelineMismatch(
            f"{len(lacking)} of {len(references)} documents of this workspace ({lacking[0].name!r} is one) have no "
            "vectors under the embedder, codec and chunk sizes this store was opened with. Open it with those they "
            "were added with, or link each again, workspace.link(hash), to embed it under these."
        )


def _load(parts: Parts, reference: ReferenceRow) -> tuple[Codes, Spans]:
    assert reference.index_hash is not None and reference.index_size is not None
    assert reference.spans_hash is not None and reference.spans_size is not None
    files = parts.embeddings(parts.pipeline.fingerprint)
    # The hashes are those of this reference's row, and the check is on the bytes that are decoded (invariant 10).
    index = files.read_checked(reference.text, INDEX_SUFFIX, reference.index_hash, reference.index_size)
    spans = decode_spans(files.read_checked(reference.text, SPANS_SUFFIX, reference.spans_hash, reference.spans_size))
    codes = decode_index(index, parts.pipeline.dimension, parts.pipeline.codec)
    if not len(codes) == len(spans) == reference.chunks:
        raise IntegrityError(f"The index of text {reference.text} has {len(codes)} vectors, {len(spans)} spans and a "
                             f"row that says {reference.chunks}. Run `docstore verify`.")  # fmt: skip
    return codes, spans
