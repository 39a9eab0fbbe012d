"""The k best rows of a snapshot for each query: row by row, by matrix product for many, or after a coarser scan.

Scores always come from the same kernel of FAISS, which scores every code on its own. So they do not show which way was
taken, nor what else was asked for or is stored.
"""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np

from docstore import rounded, sketches
from docstore.rounded import Rounded
from docstore.segments import Snapshot
from docstore.selections import Rows, Selection
from docstore.sketches import Piece, deviation, rotate
from docstore.vectors import Vectors, decode, scan, scan_each, scan_some

Best = tuple[Vectors, Rows]
"""Scores, falling, and rows."""

_SPARE = 8  # more than asked for: equal scores at the k-th place then show, instead of being cut by accident
_FURTHER = 64  # times as many, when that is too few: up to some thousands, a scan takes no longer for it
_FEW = 0.25  # of the rows: copying and scanning so many takes as long as scanning all, or all sketches

_MANY = 16  # queries for which decoding all rows for a matrix product pays
_DECODING = 8  # queries whose scan takes as long as to decode the rows
_WORTH = 12_000  # scores of the queries beyond those: for fewer, a scan takes no longer than scoring what is found
_TOGETHER = 256  # queries in one product
_BLOCK = 2048  # rows in one product: they and their scores stay in the processor's cache
_COPIED = 4096  # rows that are scored in one call, of some queries together; a query that has more is scored alone
_GROUP = 16  # rows, far from one another, of which only the best counts when a first floor is set
_MOST = 1 << 22  # rows kept before their exact scores are known: more means that nearly all rows score the same

_MOST_OF_MANY = _BLOCK // _GROUP  # best rows: beyond, a product keeps so many that one query after another is faster

_NEAR = 64  # nearest of rounded rows that are scored: some 10 may be among the 5 best, at most 20 of what was tried

_DEVIATIONS = 4  # between the k-th score and the best estimate not looked at: what is missed is then 1 in 30,000
_DOUBLINGS = 3  # of candidates, when they were too few: where it would take more, all are scanned in less time
_MOST_CANDIDATES = 16  # one of so many rows, likewise
_FEWEST = 1000  # rows for each of the best: with fewer, what the sketches find is so much that to scan all is faster
_SPREAD = 4  # standard deviations of how many of them lie in a part of the rows


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
    selection: Selection | None,
    candidates: int | None,
    covered: int | None = None,
) -> list[Best]:
    """The k best rows for each query, by falling inner product, and all others that score as the k-th.

    Args:
        queries: shape (m, dimension), normalised.
        selection: which documents take part; None for all.
        candidates: how many rows of a large snapshot are scored exactly; None for as many as they ask for.
        covered: how many of its rows the workspace covers, whatever a filter selects of them; None for all. These
            decide whether it is large: what others have in the same segment must not show.
    """
    total = len(snapshot.codes)
    population = total if selection is None else selection.population
    pays = len(queries) >= _MANY and (len(queries) - _DECODING) * population >= _WORTH
    if pays and population >= 4 * k and k <= _MOST_OF_MANY:
        found = [_by_product(snapshot, queries[first : first + _TOGETHER], k, selection)
                 for first in range(0, len(queries), _TOGETHER)]  # fmt: skip
        return [best for some in found for best in some]
    if population >= _FEW * total and k <= population // 100:
        if (total if covered is None else covered) >= sketches.FROM:
            few = candidates is not None or k <= population // _FEWEST
            if few and (pieces := snapshot.sketcher.pieces(snapshot.codes)) is not None:
                snapshot.rounder.drop()
                return [
                    _in_two_stages(snapshot, pieces, each[np.newaxis], k, selection, candidates) for each in queries
                ]
        elif rounded.FROM <= total < sketches.FROM and (some := snapshot.rounder.of(snapshot.codes)) is not None:
            return _by_rounded(snapshot, some, queries, k, selection)
    return _each(snapshot, queries, k, selection)


# -- row by row -------------------------------------------------------------------------------------------------------


def _each(snapshot: Snapshot, queries: Vectors, k: int, selection: Selection | None) -> list[Best]:
    """Of few rows a copy is scanned. Where most are selected, all are scanned, and the others passed over: that takes
    less time than to copy, and half of what it takes FAISS to ask for each row."""
    if selection is not None and selection.population < _FEW * len(snapshot.codes):
        return _best_of(snapshot, queries, k, selection.rows, None)
    return _best_of(snapshot, queries, k, None, selection)


def _best_of(
    snapshot: Snapshot, queries: Vectors, k: int, some: Rows | None, selection: Selection | None
) -> list[Best]:
    """By scanning some rows, or all for None, and passing over those that are not selected."""
    total = len(snapshot.codes) if some is None else len(some)
    population = total if selection is None else selection.population
    if population == 0:
        return [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in queries]
    k = min(k, population)
    # As many more as are passed over, where these are spread evenly; where they are not, `_settle` goes on.
    reach = min((k + _SPARE) * total // population, total)
    scores, rows = _scan(snapshot, queries, reach, some)
    if selection is None:
        # For all queries at once: mostly few score as the k-th does, and nothing is left to settle.
        counts = (scores >= scores[:, k - 1 : k]).sum(axis=1)
        if reach == total or counts.max() < reach:
            return [(scores[number, :best], rows[number, :best]) for number, best in enumerate(counts.tolist())]
    return [
        _settle(snapshot, queries[number : number + 1], k, some, selection, best)
        for number, best in enumerate(zip(scores, rows, strict=True))
    ]


def _settle(
    snapshot: Snapshot, query: Vectors, k: int, some: Rows | None, selection: Selection | None, best: Best
) -> Best:
    """Goes on from what a scan gave, until nothing that was not fetched can be among the k best."""
    total = len(snapshot.codes) if some is None else len(some)
    while True:
        scores, rows = best
        kept = slice(None) if selection is None else selection.has(rows)
        found, numbers = scores[kept], rows[kept]
        # FAISS may return any of equal scores, so go on until the last one is worse than the k-th.
        if len(scores) == total or (len(found) >= k and scores[-1] < found[k - 1]):
            return _cut(found, numbers, k)
        if selection is not None:
            return _asked(snapshot, query, k, selection)
        more = _scan(snapshot, query, min(_FURTHER * len(scores), total), some)
        best = more[0][0], more[1][0]


def _asked(snapshot: Snapshot, query: Vectors, k: int, selection: Selection) -> Best:
    """By having FAISS ask for each row whether it is selected. That takes two scans, wherever the best rows of all lie;
    to pass over those that are not selected may mean very many, and to copy most rows would take ten scans."""
    bits, population = selection.bits(len(snapshot.codes)), selection.population
    k = min(k, population)
    reach = min(k + _SPARE, population)
    while True:
        (scores,), (rows,) = scan(snapshot.index, query, reach, bits)
        if reach == population or scores[-1] < scores[k - 1]:
            return _cut(scores, rows, k)
        reach = min(_FURTHER * reach, population)


def _scan(snapshot: Snapshot, queries: Vectors, reach: int, some: Rows | None) -> tuple[Vectors, Rows]:
    if some is None:
        return scan(snapshot.index, queries, reach)
    return scan_some(snapshot.codes, some, snapshot.dimension, snapshot.codec, queries, reach)


def _cut(scores: Vectors, rows: Rows, k: int) -> Best:
    best = scores >= scores[min(k, len(scores)) - 1]
    return scores[best], rows[best]


# -- by matrix product ------------------------------------------------------------------------------------------------


def _by_product(snapshot: Snapshot, queries: Vectors, k: int, selection: Selection | None) -> list[Best]:
    """For many queries. The product's last bits depend on its shape, so it only says which rows may be among the best;
    their scores are then made as any search makes them."""
    # No product of unit vectors, in whatever order it is summed, is further from the true one than half of this.
    margin = 2 * snapshot.dimension * float(np.finfo(np.float32).eps)
    found = _Found(len(queries), k, margin)
    rows = None if selection is None else selection.rows
    room = np.empty((0 if rows is None else min(len(rows), _BLOCK), snapshot.codes.shape[1]), np.uint8)
    for first in range(0, len(snapshot.codes) if rows is None else len(rows), _BLOCK):
        if rows is None:
            block = snapshot.codes[first : first + _BLOCK]
        else:
            some = rows[first : first + _BLOCK]
            block = np.take(snapshot.codes, some, axis=0, out=room[: len(some)], mode="clip")
        found.add(first, queries @ decode(block, snapshot.dimension, snapshot.codec).T)
        if len(found) > _MOST:
            return _each(snapshot, queries, k, selection)
    of, some = found.rows()
    return _best_of_each(snapshot, queries, k, of, some if rows is None else rows[some])


def _best_of_each(snapshot: Snapshot, queries: Vectors, k: int, of: Rows, some: Rows) -> list[Best]:
    """As `_best_of`, of k or more rows of its own for each query.

    Args:
        of: for each row of `some` the number of the query, rising.
    """
    ends = np.cumsum(np.bincount(of, minlength=len(queries))).tolist()
    bounds, reach = [0, *ends], k + _SPARE
    best: list[Best] = []

    def alone(query: int) -> Best:
        own = some[bounds[query] : bounds[query + 1]]
        return _best_of(snapshot, queries[query : query + 1], k, own, None)[0]

    while (first := len(best)) < len(queries):
        begin = bounds[first]
        last = bisect_right(ends, begin + _COPIED, first)
        if last == first:
            best.append(alone(first))
            continue
        own = slice(begin, bounds[last])
        scores, rows = scan_each(
            snapshot.codes, some[own], of[own] - first, snapshot.dimension, snapshot.codec, queries[first:last], reach
        )
        counts = (scores >= scores[:, k - 1 : k]).sum(axis=1).tolist()
        # Where all that was fetched scores as the k-th or better, there may be more that does.
        best += [(scores[number, :count], rows[number, :count]) if count < reach else alone(first + number)
                 for number, count in enumerate(counts)]  # fmt: skip
    return best


class _Found:
    """Rows that may be among the k best of each query, out of blocks of scores."""

    def __init__(self, queries: int, k: int, margin: float) -> None:
        self._k, self._margin = k, margin
        self._floor = np.full(queries, -np.inf, np.float32)
        self._some: list[tuple[Rows, Rows, Vectors]] = []
        self._count = self._settled = 0

    def __len__(self) -> int:
        return self._settled

    def add(self, first: int, scores: Vectors) -> None:
        """Scores of shape (queries, rows), of the rows from `first` on."""
        if first == 0 and scores.shape[1] >= _GROUP * self._k:
            # The k-th of the groups' best is no greater than the k-th of all, and found in a tenth of the time.
            groups = scores[:, : scores.shape[1] // _GROUP * _GROUP].reshape(len(scores), _GROUP, -1)
            kth = np.partition(groups.max(axis=1), -self._k, axis=1)[:, -self._k] - self._margin
            self._floor = np.maximum(self._floor, kth)
        places = np.flatnonzero(scores >= self._floor[:, np.newaxis])
        queries, rows = np.divmod(places, scores.shape[1])
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

    def rows(self) -> tuple[Rows, Rows]:
        """The number of the query, rising, and the row: of each that may be among its k best."""
        # Of one block and twice as many as are wanted: to score all takes less time than to rank them first.
        if len(self._some) > 1 or self._count > 2 * self._k * len(self._floor):
            self._settle()
        queries, rows, _ = self._some[0]
        return queries, rows


# -- by rounded vectors -----------------------------------------------------------------------------------------------


def _by_rounded(snapshot: Snapshot, some: Rounded, queries: Vectors, k: int, selection: Selection | None) -> list[Best]:
    """What is nearest when rounded is scored exactly, and so is all where that might miss one of the best."""
    total = len(snapshot.codes)
    population = total if selection is None else selection.population
    near = some.nearest(queries, max(_NEAR, 4 * k) * total // population)
    return [
        _certain_best(snapshot, some.rows, queries[number : number + 1], k, selection, rows, bound)
        or _each(snapshot, queries[number : number + 1], k, selection)[0]
        for number, (rows, bound) in enumerate(zip(*near, strict=True))
    ]


def _certain_best(
    snapshot: Snapshot, last: int, query: Vectors, k: int, selection: Selection | None, rows: Rows, bound: float
) -> Best | None:
    """The best of some rows, and of those that came after what is rounded, if no other can be one of them."""
    total = len(snapshot.codes)
    if last > total:  # the segment has grown since
        rows = rows[rows < total]
    elif last < total:  # and its last rows are not rounded
        rows = np.concatenate([rows, np.arange(last, total)])
    if selection is not None:
        rows = rows[selection.has(rows)]
    best = None
    if len(rows) >= k:
        (scores,), (rows,) = _scan(snapshot, query, len(rows), rows)
        best = _cut(scores, rows, k) if scores[k - 1] > bound else None
    snapshot.rounder.tell(best is not None)
    return best


# -- in two stages ----------------------------------------------------------------------------------------------------


def _in_two_stages(
    snapshot: Snapshot,
    pieces: tuple[Piece, ...],
    query: Vectors,
    k: int,
    selection: Selection | None,
    candidates: int | None,
) -> Best:
    """What the sketches find is scored exactly. Unless a number of candidates is asked for, there are as many as it
    takes for the worst estimate among them to be far below the k-th score."""
    total = len(snapshot.codes)
    population = total if selection is None else selection.population
    rotated = rotate(query)
    # Where half of the rows are selected, the k best of them are among the 2k best of all.
    wanted = candidates_for(total, k) if candidates is None else max(candidates, k)
    count = min(wanted * total // population, total) if sketches.fit(rotated) else total
    while count < total:
        rows, worst, fall = _estimated_best(snapshot, pieces, rotated, count, selection)
        (scores,), (rows,) = _scan(snapshot, query, len(rows), rows)
        kth = float(scores[k - 1]) if len(scores) >= k else -math.inf
        lacking = worst + _DEVIATIONS * deviation(snapshot.dimension) - kth
        if lacking <= 0 or (candidates is not None and len(scores) >= min(k, population)):
            return _cut(scores, rows, k)
        if selection is not None and 2 * population < total:
            return _asked(snapshot, query, k, selection)  # which takes no longer than one more look
        if lacking > _DOUBLINGS * fall:
            break  # a query that nothing is near to, or what is near is not selected
        count <<= max(math.ceil(lacking / fall), 1)
        if count > total // _MOST_CANDIDATES:
            break
    return _each(snapshot, query, k, selection)[0]


def _estimated_best(
    snapshot: Snapshot, pieces: tuple[Piece, ...], rotated: Vectors, count: int, selection: Selection | None
) -> tuple[Rows, float, float]:
    """Selected rows by their estimated scores; the worst estimate among all that were looked at; and how much worse it
    is than that of half as many."""
    estimates, rows = _best_estimates(pieces, rotated, count)
    middle = len(estimates) // 2
    worst, half = np.partition(estimates, (0, middle))[[0, middle]].tolist()
    rows = rows[rows < len(snapshot.codes)]  # the segment may have grown since
    without = np.arange(sketches.covered(pieces), len(snapshot.codes))  # the last, which have no sketches
    rows = np.concatenate([rows, without])
    return (rows if selection is None else rows[selection.has(rows)]), worst, half - worst


def _best_estimates(pieces: tuple[Piece, ...], rotated: Vectors, count: int) -> Best:
    """The best estimates of all pieces, and their rows, in any order."""
    largest = pieces[0]
    best = largest.best(rotated, count)
    for piece in pieces[1:]:
        # At first as many as there are if what is near lies anywhere, and some to spare: FAISS keeps as many as it is
        # asked for in order while it scans, which for all of them takes longer than to scan a small piece.
        expected = count * (piece.last - piece.first) // (largest.last - largest.first) + 1
        asked = min(expected + _SPREAD * math.isqrt(expected), count)
        some = piece.best(rotated, asked)
        together = _best_of_both(best, some, count)
        if asked < count and some[0][-1] >= together[0].min():  # then what comes next there may be too
            together = _best_of_both(best, piece.best(rotated, count), count)
        best = together
    return best


def _best_of_both(one: Best, other: Best, count: int) -> Best:
    estimates, rows = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    if len(estimates) <= count:
        return estimates, rows
    best = np.argpartition(estimates, -count)[-count:]
    return estimates[best], rows[best]
