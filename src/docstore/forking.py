"""What a forked child must do before it uses objects of its parent: locks may be held by threads it does not have."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

_resets: list[weakref.WeakMethod[Callable[[], None]]] = []


def in_child(reset: Callable[[], None]) -> None:
    """Calls a bound method in every child that is forked while its object lives."""
    _resets[:] = [each for each in _resets if each() is not None]
    _resets.append(weakref.WeakMethod(reset))


def _reset_all() -> None:
    for each in _resets:
        if (reset := each()) is not None:
            reset()


os.register_at_fork(after_in_child=_reset_all)
