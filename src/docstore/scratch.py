"""Work in progress: one folder under `tmp/` for each running operation, alive while its owner holds a lock.

The lock is `flock` on `tmp/<token>.lock`. The kernel drops it when the process dies, however it dies, so 'is the
owner alive' needs no heartbeat, no process id and no clock. The token also names the owner of claims in the
catalog.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import threading
from pathlib import Path

from docstore.durable import storage_errors
from docstore.errors import StorageError
from docstore.forking import in_child

_LOCK = ".lock"
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Scratch:
    """The temporary folder of one operation, made when first needed: an add of what is stored never needs it.

    Use as a context manager; leaving it removes the folder.
    """

    def __init__(self, tmp: Path) -> None:
        self._tmp = tmp
        self._numbers = itertools.count()
        self._opening = threading.Lock()
        self._held: tuple[int, Path, Path] | None = None
        """Descriptor and path of the lock, and the folder."""
        self._has_ended = False

    def _leave_parent(self) -> None:
        # The lock belongs to the open file, which a child shares: it would keep a dead parent's claims alive.
        if self._held is not None:
            os.close(self._held[0])
            self._held = None

    @property
    def token(self) -> str:
        """Names the folder, and the owner of claims."""
        return self._own()[1].name.removesuffix(_LOCK)

    def file(self) -> str:
        """A path in the folder that nothing uses yet. Text: of each document there are four."""
        return f"{self._own()[2]}/{next(self._numbers)}"

    def _own(self) -> tuple[int, Path, Path]:
        with self._opening:
            if self._has_ended:
                # After two interrupts a thread may still be at work for it: nobody would remove what it makes.
                raise StorageError("This operation was interrupted and has ended. Begin it again.")
            if self._held is None:
                with storage_errors("starting an operation"):
                    in_child(self._leave_parent)
                    self._tmp.mkdir(exist_ok=True)
                    fd, lock = _new_lock(self._tmp)
                    self._held = fd, lock, self._tmp / lock.name.removesuffix(_LOCK)
                    self._held[2].mkdir()
            return self._held

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended = True
        if self._held is None:
            return
        fd, lock, folder = self._held
        self._held = None  # a child forked from now on must not close what has the descriptor's number by then
        # The folder goes before its lock, so that no folder is ever without a lock that says whose it is. What cannot
        # be removed, the next collection sweeps; no failure here may hide what the operation itself ended with.
        try:
            with contextlib.suppress(OSError, ImportError):  # of `_remove`, while Python shuts down
                _remove(folder)
                lock.unlink(missing_ok=True)
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)  # else the claims would seem alive, and whoever wants the same would wait for ever


def _new_token() -> str:
    return os.urandom(16).hex()  # as `secrets.token_hex`, whose module takes as long to import as opening a store takes


def _new_lock(tmp: Path) -> tuple[int, Path]:
    while True:
        path = tmp / (_new_token() + _LOCK)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # others must see who lives
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and flock a sweeper may have taken the file for a dead owner's and unlinked it. Then our
            # lock is on a file without a name, which protects nothing: start again.
            if os.fstat(fd).st_nlink > 0:
                return fd, path
        except BlockingIOError:
            pass
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(fd)
            raise
        os.close(fd)


def is_alive(tmp: Path, token: str) -> bool:
    """Whether the operation that owns `token` still runs, in this or any other process."""
    if not _TOKEN.fullmatch(token):
        return False  # it comes from the catalog, and becomes part of a path
    try:
        fd = os.open(tmp / (token + _LOCK), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def sweep(tmp: Path) -> int:
    """Removes the folders of dead owners. Returns how many temporary files went. Never touches a live one's."""
    return sum(_remove_dead(tmp, token) for token in _tokens(tmp))


def count_dead(tmp: Path) -> int:
    """How many temporary files dead owners left."""
    return sum(len(_files(tmp / token)) for token in _tokens(tmp) if not is_alive(tmp, token))


def _tokens(tmp: Path) -> set[str]:
    return {entry.name.removesuffix(_LOCK) for entry in tmp.iterdir()} if tmp.is_dir() else set()


def _files(folder: Path) -> list[Path]:
    # os.walk, because its owner may be removing the folder meanwhile, over which rglob fails.
    return [Path(path, name) for path, _, names in os.walk(folder) for name in names]


def _remove_dead(tmp: Path, token: str) -> int:
    lock, folder = tmp / (token + _LOCK), tmp / token
    # O_CREAT: a folder whose lock file a power cut swallowed is dead, and gets a lock so that one sweeper has it.
    fd = os.open(lock, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    else:
        removed = len(_files(folder))
        _remove(folder)
        lock.unlink(missing_ok=True)
        return removed
    finally:
        os.close(fd)


def _remove(folder: Path) -> None:
    import shutil  # who only searches removes nothing

    shutil.rmtree(folder, ignore_errors=True)
