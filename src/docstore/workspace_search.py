"""What can be searched: the methods of a `Workspace` that search it, and what they refuse."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from docstore.errors import InvalidArgument
from docstore.model import Hit
from docstore.names import require_unicode
from docstore.parts import Parts
from docstore.search import Diversity, Filter, Wanted, find


class Searchable:
    """The documents that one workspace references or includes, to search."""

    _parts: Parts
    _id: int

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        documents: Collection[str] | None = None,
        where: Mapping[str, Any] | None = None,
        mmr: bool = False,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        candidates: int | None = None,
    ) -> list[Hit]:
        """The k chunks nearest to a query by cosine, best first, exactly as one index over these documents gives: those
        the workspace references, and those of the workspaces it includes.

        Equal scores rank by document hash, then by position in the document. From 100,000 chunks on, and up to 1,536
        dimensions, a search is in two stages: codes of one bit a dimension choose candidates, whose scores are then
        exact. What it misses is measured in docs/benchmarks.md.

        Args:
            documents: hashes; only these documents take part.
            where: metadata keys and values; only documents whose metadata has them take part. Of all documents they are
                looked at once for each `where`, until the workspace changes.
            mmr: choose for diversity too, by maximal marginal relevance over the `fetch_k` nearest.
            fetch_k: candidates for mmr.
            lambda_mult: mmr's weight of relevance, from 0 (diversity alone) to 1 (relevance alone).
            candidates: where the workspace has 100,000 chunks or more, how many of them are scored exactly: more find
                more, and take longer; as many as it has make the search exact. None: a 350th, at least 400 and 20 k,
                and more where scores lie close together.

        Raises:
            InvalidArgument: an empty query, k below 1, or parameters out of range.
            DocumentNotFound: `documents` names one this workspace neither references nor includes.
            PipelineMismatch: some documents have no vectors under the embedder, codec and chunk sizes of this store.
            EmbeddingError: the embedder failed.
            IntegrityError: stored bytes are damaged.
        """
        wanted = Wanted.of(k, candidates, Diversity.of(mmr, fetch_k, lambda_mult))
        return find(self._parts, self._id, self._embed([query]), Filter.of(documents, where), wanted)[0]

    def search_vector(
        self,
        vector: npt.ArrayLike,
        k: int = 5,
        *,
        documents: Collection[str] | None = None,
        where: Mapping[str, Any] | None = None,
        mmr: bool = False,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        candidates: int | None = None,
    ) -> list[Hit]:
        """As `search`, for a vector of shape (dimension,); it is normalised here."""
        wanted = Wanted.of(k, candidates, Diversity.of(mmr, fetch_k, lambda_mult))
        query = _vectors(vector, 1)[np.newaxis]
        return find(self._parts, self._id, query, Filter.of(documents, where), wanted)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        documents: Collection[str] | None = None,
        where: Mapping[str, Any] | None = None,
        candidates: int | None = None,
    ) -> list[list[Hit]]:
        """As `search`, for many queries in one pass: one list of hits for each, in their order. For none, none.

        Where that takes less time, from 16 queries on for up to 128 hits each, every chunk is scored.
        The answer then is exact in a workspace of 100,000 chunks or more, too, whatever `candidates` says.
        """
        if isinstance(queries, str) or not isinstance(queries, Sequence):
            raise InvalidArgument("search_many takes a list of queries; for one, use search")
        if not queries:
            return []
        wanted = Wanted.of(k, candidates)
        return find(self._parts, self._id, self._embed(list(queries)), Filter.of(documents, where), wanted)

    def search_vectors(
        self,
        vectors: npt.ArrayLike,
        k: int = 5,
        *,
        documents: Collection[str] | None = None,
        where: Mapping[str, Any] | None = None,
        candidates: int | None = None,
    ) -> list[list[Hit]]:
        """As `search_many`, for vectors of shape (n, dimension)."""
        queries = _vectors(vectors, 2)
        wanted = Wanted.of(k, candidates)
        return find(self._parts, self._id, queries, Filter.of(documents, where), wanted) if len(queries) else []

    def _embed(self, queries: list[str]) -> npt.NDArray[np.float32]:
        for query in queries:
            if not isinstance(query, str) or not query.strip():
                raise InvalidArgument(f"A query is {query!r}; it must be text that is not empty")
            require_unicode(query, "A query")
        return self._parts.pipeline.embed_queries(queries)


def _vectors(given: npt.ArrayLike, dimensions: int) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused as that
            vectors = np.asarray(given, dtype=None if np.iscomplexobj(given) else np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"The query vector is not made of numbers: {error}") from error
    if np.iscomplexobj(vectors):
        raise InvalidArgument("The query vector is made of complex numbers; it must be of real ones")
    if dimensions == 2 and vectors.shape == (0,):
        return vectors.reshape(0, 0)  # an empty list: no query
    if vectors.ndim != dimensions:
        must = "one dimension" if dimensions == 1 else "two dimensions, (queries, dimension)"
        raise InvalidArgument(f"The query has shape {vectors.shape}; it must have {must}")
    return vectors
