"""Which of the pending operations reached the medium: the subsets that are tried, and how writes tear.

Of n pending operations a `Bounds` takes all 2^n subsets if n is small. Beyond that: every prefix of the order in which
they were made; all that lose at most `lose` of them; all that keep at most `keep`; and each write torn at the
boundaries of its 512-byte sectors, or there as size only, as the last that reached the medium. With `torn_alone` also
with all others kept. What these leave out (losing four and keeping four at once, two writes torn together) is tried at
random where `random` says how often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from random import Random

from tests.crash.disk import Choice, Operation, Write

SECTOR = 512
_VARIANTS = 1 << 20  # ids of torn writes: those of whole operations are smaller


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of what is legal is tried."""

    exhaustive: int
    """Up to so many pending operations all subsets are taken."""
    lose: int
    keep: int
    boundaries: int
    """At how many of its sector boundaries a write is torn, evenly chosen, each in two ways."""
    torn_alone: bool = False
    random: int = 0
    """Further subsets taken at random at each barrier, with random tears."""


BOUNDS = {
    "least": Bounds(exhaustive=2, lose=1, keep=0, boundaries=1),
    "light": Bounds(exhaustive=4, lose=1, keep=1, boundaries=1),
    "full": Bounds(exhaustive=6, lose=2, keep=2, boundaries=8, torn_alone=True),
    "deep": Bounds(exhaustive=8, lose=3, keep=3, boundaries=8, torn_alone=True),
    "random": Bounds(exhaustive=0, lose=0, keep=0, boundaries=1, random=40),
}


def choices(pending: list[Operation], bounds: Bounds, random: Random) -> Iterator[Choice]:
    """All that the bounds take, some of it more than once; always what lost everything and what lost nothing."""
    everything = tuple(pending)
    count = len(everything)
    for index, operation in enumerate(everything):
        yield everything[:index]
        for torn in tears(operation, bounds.boundaries):
            yield (*everything[:index], torn)
            if bounds.torn_alone:
                yield (*everything[:index], torn, *everything[index + 1 :])
    yield everything
    sizes = range(count + 1) if count <= bounds.exhaustive else range(bounds.keep + 1)
    for size in sizes:
        yield from combinations(everything, size)
    if count > bounds.exhaustive:
        for size in range(count - bounds.lose, count):
            yield from combinations(everything, size)
    for _ in range(bounds.random):
        yield _at_random(everything, random)


def tears(operation: Operation, boundaries: int) -> Iterator[Write]:
    """A write of which only the first sectors, or only the last, or only the new size of the file arrived."""
    if not isinstance(operation, Write) or not operation.data:
        return
    start, end = operation.offset, operation.offset + len(operation.data)
    inner = range((start // SECTOR + 1) * SECTOR, end, SECTOR)
    middle = inner[len(inner) // 2 :][:1]
    for at in middle if boundaries == 1 else inner[:: max(1, len(inner) // boundaries)]:
        yield _part(operation, 2 * at, start, at, "the end")
        yield _part(operation, 2 * at + 1, at, end, "the beginning")
    yield _part(operation, 2 * end, end, end, "all but the size")


def _part(whole: Write, variant: int, start: int, end: int, lost: str) -> Write:
    data = whole.data[start - whole.offset : end - whole.offset]
    label = f"{whole.label}, without {lost} ({start} to {end} arrived)"
    return Write(_VARIANTS * (whole.id + 1) + variant, whole.inode, start, data, label)


def _at_random(pending: Choice, random: Random) -> Choice:
    share = random.random()
    kept: list[Operation] = []
    for operation in pending:
        if random.random() < share:
            parts = list(tears(operation, 8)) if random.random() < 0.1 else []
            kept.append(random.choice(parts) if parts else operation)
    return tuple(kept)


def lost(pending: list[Operation], kept: Choice) -> list[str]:
    """For a reproducer: what did not reach the medium, and what did so in part."""
    whole = {operation.id for operation in kept}
    return [operation.label for operation in pending if operation.id not in whole] + [
        f"but: {operation.label}" for operation in kept if operation.id >= _VARIANTS
    ]
