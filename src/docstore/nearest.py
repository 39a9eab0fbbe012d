"""The k best rows of a snapshot for each query: row by row, by matrix product for many queries, or in two stages.

Scores always come from the same kernel of FAISS, which scores every code on its own. So they do not show which way was
taken, nor what else was asked for or is stored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from docstore.segments import Rows, Snapshot
from docstore.sketches import Piece, covered, deviation, rotate
from docstore.vectors import Vectors, decode, scan, scan_some

Best = tuple[Vectors, Rows]
"""Scores, falling, and rows."""

_SPARE = 8  # more than asked for: equal scores at the k-th place then show, instead of being cut by accident

_MANY = 16  # queries for which decoding all rows for a matrix product pays
_WORTH = 1_000  # rows, of fewer than which a scan takes no longer than scoring what the product found
_RESCORED = 8  # queries whose candidates are scored together
_TOGETHER = 256  # queries in one product
_BLOCK = 2048  # rows in one product: they and their scores stay in the processor's cache
_GROUP = 16  # rows, far from one another, of which the best sets what the others must reach
_MOST = 1 << 22  # rows kept before their exact scores are known: more means that nearly all rows score the same

_LARGE = 100_000
"""Rows from which a search is in two stages. Below, exactness costs less than half a millisecond more."""
_DEVIATIONS = 4  # between the k-th score and the best estimate not looked at: what is missed is then 1 in 30,000
_WIDEN = 2  # times as many candidates, when they were too few


def candidates_for(rows: int, k: int) -> int:
    """How many rows are scored exactly at first, of so many, for the k best.

    A 350th: to score it takes a tenth of what the scan of the sketches takes. With a 500th, a third of the searches of
    250,000 rows has to look twice. See docs/benchmarks.md for the recall.
    """
    return max(rows // 350, 20 * k, 400)


def nearest(
    snapshot: Snapshot,
    queries: Vectors,
    k: int,
    alive: npt.NDArray[np.bool_] | None,
    allowed: npt.NDArray[np.bool_] | None,
    candidates: int | None,
) -> list[Best]:
    """The k best rows for each query, by falling inner product, and all others that score as the k-th.

    Args:
        queries: shape (m, dimension), normalised.
        alive: which documents take part, shape (documents,); None for all. Few are not: what is found is looked
            through, which costs less than to have FAISS ask for each row.
        allowed: which documents take part, when few do.
        candidates: how many rows of a large snapshot are scored exactly; None for as many as they ask for.
    """
    if allowed is not None:
        mask = np.repeat(allowed, np.diff(snapshot.ends, prepend=0))
        return _each(snapshot, queries, k, int(np.count_nonzero(mask)), None, mask)
    population = len(snapshot.codes) if alive is None else snapshot.rows_of(alive)
    if len(queries) >= _MANY and population >= max(_WORTH, 4 * k):
        found = [_by_product(snapshot, queries[first : first + _TOGETHER], k, alive)
                 for first in range(0, len(queries), _TOGETHER)]  # fmt: skip
        return [best for some in found for best in some]
    is_large = len(snapshot.codes) >= _LARGE and k <= len(snapshot.codes) // 100
    if is_large and (pieces := snapshot.sketcher.pieces(snapshot.codes)) is not None:
        return [_in_two_stages(snapshot, pieces, query[np.newaxis], k, population, alive, candidates)
                for query in queries]  # fmt: skip
    return _each(snapshot, queries, k, population, alive, None)


# -- row by row -------------------------------------------------------------------------------------------------------


def _each(
    snapshot: Snapshot,
    queries: Vectors,
    k: int,
    population: int,
    alive: npt.NDArray[np.bool_] | None,
    mask: npt.NDArray[np.bool_] | None,
) -> list[Best]:
    if population == 0:
        return [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in queries]
    # As many more as are not alive, where these are spread evenly; where they are not, `_settle` goes on.
    reachable = len(snapshot.codes) if mask is None else population
    k = min(k, population)
    reach = min((k + _SPARE) * reachable // population, reachable)
    return [
        _settle(snapshot, queries[number : number + 1], k, alive, mask, reachable, scores, rows)
        for number, (scores, rows) in enumerate(zip(*scan(snapshot.index, queries, reach, mask), strict=True))
    ]


def _settle(
    snapshot: Snapshot,
    query: Vectors,
    k: int,
    alive: npt.NDArray[np.bool_] | None,
    mask: npt.NDArray[np.bool_] | None,
    reachable: int,
    scores: Vectors,
    rows: Rows,
) -> Best:
    """Goes on from what a scan gave, until nothing that was not fetched can be among the k best."""
    while True:
        kept = slice(None) if alive is None else alive[snapshot.documents_of(rows)]
        found, numbers = scores[kept], rows[kept]
        # FAISS may return any of equal scores, so go on until the last one is worse than the k-th.
        if len(scores) == reachable or (len(found) >= k and scores[-1] < found[k - 1]):
            return _cut(found, numbers, k)
        more, where = scan(snapshot.index, query, min(2 * len(scores), reachable), mask)
        scores, rows = more[0], where[0]


def _cut(scores: Vectors, rows: Rows, k: int) -> Best:
    best = scores >= scores[min(k, len(scores)) - 1]
    return scores[best], rows[best]


# -- by matrix product ------------------------------------------------------------------------------------------------


def _by_product(snapshot: Snapshot, queries: Vectors, k: int, alive: npt.NDArray[np.bool_] | None) -> list[Best]:
    """For many queries. The product's last bits depend on its shape, so it only says which rows may be among the best;
    their scores are then made as any search makes them."""
    dead = None if alive is None else np.flatnonzero(np.repeat(~alive, np.diff(snapshot.ends, prepend=0)))
    # No product of unit vectors, in whatever order it is summed, is further from the true one than half of this.
    margin = 2 * snapshot.dimension * float(np.finfo(np.float32).eps)
    found = _Found(len(queries), k, margin)
    for first in range(0, len(snapshot.codes), _BLOCK):
        block = snapshot.codes[first : first + _BLOCK]
        scores = decode(block, snapshot.dimension, snapshot.codec) @ queries.T
        if dead is not None:
            some = slice(*np.searchsorted(dead, (first, first + _BLOCK)))
            scores[dead[some] - first] = -np.inf
        found.add(first, scores)
        if len(found) > _MOST:
            return _each(snapshot, queries, k, len(snapshot.codes) - (0 if dead is None else len(dead)), alive, None)
    candidates = found.rows()
    return [
        best
        for first in range(0, len(queries), _RESCORED)
        for best in _rescored(snapshot, queries[first : first + _RESCORED], candidates[first : first + _RESCORED], k)
    ]


def _rescored(snapshot: Snapshot, queries: Vectors, candidates: list[Rows], k: int) -> list[Best]:
    """The k best of each query's candidates. All are scored for all the queries: that costs less than an index for each
    query, and what is best among more rows is best among its own."""
    some = np.unique(np.concatenate(candidates))
    reach = min(k + _SPARE, len(some))
    found = scan_some(snapshot.codes, some, queries, reach, snapshot.dimension, snapshot.codec)
    return [
        # The last is worse than the k-th, or there may be more that score as that one does.
        _cut(scores, rows, k) if reach == len(some) or scores[-1] < scores[k - 1] else _all(snapshot, query, some, k)
        for query, scores, rows in zip(queries, *found, strict=True)
    ]


def _all(snapshot: Snapshot, query: Vectors, some: Rows, k: int) -> Best:
    scores, rows = scan_some(snapshot.codes, some, query[np.newaxis], len(some), snapshot.dimension, snapshot.codec)
    return _cut(scores[0], rows[0], k)


class _Found:
    """Rows that may be among the k best of each query, out of blocks of scores."""

    def __init__(self, queries: int, k: int, margin: float) -> None:
        self._k, self._margin = k, margin
        # Not minus infinity: that is the score of rows that take no part.
        self._floor = np.full(queries, np.finfo(np.float32).min)
        self._some: list[tuple[Rows, Rows, Vectors]] = []
        self._count = self._settled = 0

    def __len__(self) -> int:
        return self._settled

    def add(self, first: int, scores: Vectors) -> None:
        """Scores of shape (rows, queries), of the rows from `first` on."""
        if first == 0 and len(scores) >= _GROUP * self._k:
            # The k-th of the groups' best is no greater than the k-th of all, and found in a tenth of the time.
            groups = scores[: len(scores) // _GROUP * _GROUP].reshape(_GROUP, -1, scores.shape[1])
            kth = np.partition(groups.max(axis=0), -self._k, axis=0)[-self._k] - self._margin
            self._floor = np.maximum(self._floor, kth)
        places = np.flatnonzero(scores >= self._floor)
        rows, queries = np.divmod(places, scores.shape[1])
        self._some.append((queries, rows + first, scores.ravel()[places]))
        self._count += len(places)
        if self._count > 2 * self._settled + 16 * self._k * len(self._floor):
            self._settle()

    def _settle(self) -> None:
        """Raises the floors to what was found, and drops what is below."""
        queries, rows, scores = (np.concatenate(each) for each in zip(*self._some))
        order = np.lexsort((-scores, queries))
        queries, rows, scores = queries[order], rows[order], scores[order]
        bounds = np.searchsorted(queries, np.arange(len(self._floor) + 1))
        kth = bounds[:-1] + self._k - 1
        has_k = kth < bounds[1:]
        self._floor[has_k] = scores[kth[has_k]] - self._margin
        kept = scores >= self._floor[queries]
        self._some = [(queries[kept], rows[kept], scores[kept])]
        self._count = self._settled = int(np.count_nonzero(kept))

    def rows(self) -> list[Rows]:
        """Of each query."""
        self._settle()
        queries, rows, _ = self._some[0]
        return np.split(rows, np.searchsorted(queries, np.arange(1, len(self._floor))))


# -- in two stages ----------------------------------------------------------------------------------------------------


def _in_two_stages(
    snapshot: Snapshot,
    pieces: tuple[Piece, ...],
    query: Vectors,
    k: int,
    population: int,
    alive: npt.NDArray[np.bool_] | None,
    candidates: int | None,
) -> Best:
    """What the sketches find is scored exactly. Unless a number of candidates is asked for, there are as many as it
    takes for the worst estimate among them to be far below the k-th score."""
    total = len(snapshot.codes)
    rotated = rotate(query)
    count = min(candidates_for(total, k) if candidates is None else max(candidates, k), total)
    while count < total:
        rows, worst = _estimated_best(snapshot, pieces, rotated, count, alive)
        (scores,), (rows,) = scan_some(snapshot.codes, rows, query, len(rows), snapshot.dimension, snapshot.codec)
        is_sure = len(scores) >= k and scores[k - 1] - worst >= _DEVIATIONS * deviation(snapshot.dimension)
        if is_sure or (candidates is not None and len(scores) >= min(k, population)):
            return _cut(scores, rows, k)
        count = total if count * _WIDEN > total // 16 else count * _WIDEN
    return _each(snapshot, query, k, population, alive, None)[0]


def _estimated_best(
    snapshot: Snapshot, pieces: tuple[Piece, ...], rotated: Vectors, count: int, alive: npt.NDArray[np.bool_] | None
) -> tuple[Rows, float]:
    """Rows by their estimated scores, and the worst estimate among them."""
    found = [piece.best(rotated, count) for piece in pieces]
    estimates, rows = np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])
    if len(estimates) > count:
        best = np.argpartition(estimates, -count)[-count:]
        estimates, rows = estimates[best], rows[best]
    worst = float(estimates.min())
    rows = rows[rows < len(snapshot.codes)]  # the segment may have grown since
    rows = np.concatenate([rows, np.arange(covered(pieces), len(snapshot.codes))])  # and the last have no sketches
    return (rows if alive is None else rows[alive[snapshot.documents_of(rows)]]), worst
