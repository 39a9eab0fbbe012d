"""Callbacks that callers pass: what one raises comes out as it is.

On its way it passes code that takes an `OSError` for one of the store's disk, and tries again where that is full.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Aside(BaseException):
    """Ends an operation whose callback has raised. No `Exception`: nothing on the way may take it for its own."""


class Callback(Generic[_P]):
    """A callback, called by the thread that is in `during`."""

    def __init__(self, callback: Callable[_P, object]) -> None:
        self._callback = callback
        self._raised: list[Exception] = []

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Calls it. What it raises ends `during`, and comes out there."""
        try:
            self._callback(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  (whatever a caller comes up with)
            self._raised.append(error)
            raise _Aside from None

    def during(self, act: Callable[[], _T]) -> _T:
        """Does what calls the callback. Raises what that does, and what the callback raised."""
        with suppress(_Aside):
            return act()
        raise self._raised.pop()
