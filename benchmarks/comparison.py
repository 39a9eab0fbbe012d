"""Comparisons: ours beside a peer's, measured in turns in one run, as rows of a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")
ROUNDS = 5
"""That are counted, unless a comparison says how many."""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: milliseconds, or megabytes, of each repetition."""

    what: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    peer: str

    def __str__(self) -> str:
        ratio = float(np.median(self.ours) / np.median(self.theirs))
        return f"| {self.what} | {_spread(self.ours)} {self.unit} | {self.peer}: {_spread(self.theirs)} | {ratio:.2f} |"


def _spread(values: Sequence[float]) -> str:
    low, median, high = np.percentile(values, [25, 50, 75])
    return digits(median) if low == high else f"{digits(median)} ({digits(low)} to {digits(high)})"


def digits(value: float) -> str:
    """Three significant ones, and no exponent: 1,370."""
    return f"{float(f'{value:.3g}'):,.12g}"


def milliseconds(act: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - began)


def in_turns(
    ours: Callable[[_T], object],
    theirs: Callable[[_T], object],
    cases: Iterable[_T],
    rounds: int = ROUNDS,
    between: Callable[[], object] = lambda: None,
) -> tuple[list[float], list[float]]:
    """Milliseconds of both, case by case, so that what else the machine does falls on both; the first round is not
    counted, nor what is done between one case and the next."""
    times: tuple[list[float], list[float]] = ([], [])
    some = list(cases)
    for round in range(rounds + 1):
        for case in some:
            pair = milliseconds(partial(ours, case)), milliseconds(partial(theirs, case))
            if round:
                for kept, value in zip(times, pair, strict=True):
                    kept.append(value)
            between()
    return times


def table(rows: Iterable[Row]) -> str:
    """The comparisons, as Markdown."""
    lines = "\n".join(map(str, rows))
    return f"| what | docstore | peer | ratio |\n|---|---|---|---|\n{lines}"
