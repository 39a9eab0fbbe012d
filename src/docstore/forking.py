"""What a forked child must do before it uses objects of its parent: locks may be held by threads it does not have."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from types import MethodType

# Names of methods by their objects. One assignment registers: a list would have to be pruned, and of two threads that
# prune and append at once, one would lose the other's.
_resets: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()


def in_child(reset: Callable[[], None]) -> None:
    """Calls a bound method in every child that is forked while its object lives. One method an object."""
    assert isinstance(reset, MethodType)
    _resets[reset.__self__] = reset.__name__


def _reset_all() -> None:
    for each, name in list(_resets.items()):
        getattr(each, name)()


os.register_at_fork(after_in_child=_reset_all)
