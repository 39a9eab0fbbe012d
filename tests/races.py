"""Sync points: let somebody else act, or the process die, exactly where it would do harm, on every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


class Killed(BaseException):
    """Stands for the process's end at one point."""


def first(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], object]) -> list[str]:
    """Lets `act` happen before the first call of a function. Returns what is no longer empty once it did."""
    real = getattr(owner, name)
    done: list[str] = []

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        if not done:
            done.append(name)
            act()
        return real(*arguments, **keywords)

    monkeypatch.setattr(owner, name, wrapped)
    return done
