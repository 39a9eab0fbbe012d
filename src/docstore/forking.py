"""What must be done around a fork: by a child before it uses objects of its parent, since locks may be held by threads
it does not have; and by a parent before it forks, where a child could not put things right.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from types import MethodType
from typing import TypeVar

# Names of methods by their objects. One assignment registers: a list would have to be pruned, and of two threads that
# prune and append at once, one would lose the other's.
_resets: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()


def in_child(reset: Callable[[], None]) -> None:
    """Calls a bound method in every child that is forked while its object lives. One method an object."""
    assert isinstance(reset, MethodType)
    _resets[reset.__self__] = reset.__name__


_pauses: weakref.WeakKeyDictionary[object, tuple[str, str]] = weakref.WeakKeyDictionary()


def around_fork(pause: Callable[[], None], resume: Callable[[], None]) -> None:
    """Calls a bound method before every fork while its object lives, and another of the same object after it, in the
    parent. One pair an object. The objects that were registered last are paused first: what they wait for may need the
    others."""
    assert isinstance(pause, MethodType) and isinstance(resume, MethodType) and pause.__self__ is resume.__self__
    _pauses[pause.__self__] = pause.__name__, resume.__name__


_T = TypeVar("_T")


def _registered(registry: weakref.WeakKeyDictionary[object, _T]) -> list[tuple[object, _T]]:
    # The references are copied in one step: to go through the dictionary fails when another thread registers something.
    living = [each for reference in registry.keyrefs() if (each := reference()) is not None]
    return [(each, registry[each]) for each in living]


_paused: list[tuple[object, str]] = []  # held, so that none of them goes before it is resumed


def _pause_all() -> None:
    for each, (pause, resume) in reversed(_registered(_pauses)):
        getattr(each, pause)()
        _paused.append((each, resume))


def _resume_all() -> None:
    while _paused:
        each, resume = _paused.pop()
        getattr(each, resume)()


def _reset_all() -> None:
    _paused.clear()
    for each, name in _registered(_resets):
        getattr(each, name)()


os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_reset_all)
