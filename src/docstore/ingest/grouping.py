"""Groups: of many items so many at once as share what is done for all of them, and no more than memory bears."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def groups(items: Iterable[_T], weigh: Callable[[_T], int], heavy: int, most: int = sys.maxsize) -> Iterator[list[_T]]:
    """Items in their order, in groups that end with the item that makes them heavy, or that many.

    >>> list(groups("aabaaaa", {"a": 1, "b": 5}.__getitem__, heavy=5, most=3))
    [['a', 'a', 'b'], ['a', 'a', 'a'], ['a']]
    """
    group: list[_T] = []
    weight = 0
    for item in items:
        group.append(item)
        weight += weigh(item)
        if weight >= heavy or len(group) == most:
            yield group
            group, weight = [], 0
    if group:
        yield group
