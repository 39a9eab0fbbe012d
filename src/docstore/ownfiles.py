"""OwnFiles: what must not be opened as a document: the databases that a store of this process has open.

When a process closes any descriptor of a file, POSIX drops all locks that it holds on that file, SQLite's too
(https://sqlite.org/howtocorrupt.html, 2.2). Two processes then write at the same time, and what one of them has
committed is lost. An application that adds a folder comes to them where its store lies below that folder.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

BESIDE = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite makes beside a database."""

_ENDINGS = ("", *BESIDE)


class _Opened(Protocol):
    @property
    def path(self) -> os.PathLike[str]:
        """Of a database."""


_opened: weakref.WeakValueDictionary[int, _Opened] = weakref.WeakValueDictionary()
_names: set[str] = set()  # of all that were ever protected


def protect(opened: _Opened) -> None:
    """Keeps the files of a database from being opened, until `release` or as long as the object lives."""
    _opened[id(opened)] = opened
    _names.update(os.path.basename(opened.path) + ending for ending in _ENDINGS)  # noqa: PTH119


def release(closed: _Opened) -> None:
    """Lets its files be opened again: it has none of them open any more."""
    _opened.pop(id(closed), None)


def is_own(path: str, found: os.stat_result) -> bool:
    """Whether a file is one of them, by whatever name.

    Args:
        found: what the file system says of it.
    """
    # Nearly all files are ruled out by their name: every document that is added would pay ten times as much for a look.
    if found.st_nlink == 1 and path.rpartition("/")[2] not in _names and not os.path.islink(path):  # noqa: PTH114
        return False
    living = [each for reference in _opened.valuerefs() if (each := reference()) is not None]
    paths = {os.fspath(each.path) for each in living}
    return any(_is_same(path + ending, found) for path in paths for ending in _ENDINGS)


def _is_same(path: str, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), found)  # noqa: PTH116  (of a Path: each that is added asks)
    except OSError:
        return False
