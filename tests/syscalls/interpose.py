"""Watching and spoiling the file system calls of a process: the Python side of interpose.c.

The shim must be loaded before libc's own functions are bound, so what is to be watched runs in a child process:

    done = run_interposed("tests.syscalls.scenario", [str(folder)])      # a subprocess.CompletedProcess

and there, in the module that was started:

    calls = Interposer()                # fails when this process was not started by run_interposed
    calls.track(folder)                 # everything below it, from now on, in this process only; None stops
    calls.record()                      # keep a log ...
    store.workspace("a").add(b"text")
    for event in calls.take_log(): ...  # ... and read it: kind, path, offset, data, in the order of their effects
    total = calls.count()               # tracked calls since track(); count(Kind.SYNC) for one kind

    calls.fail(7, errno.ENOSPC)                                       # the 7th tracked call from now fails, once
    calls.fail(1, errno.EIO, kinds=[Kind.SYNC], path="catalog.db-wal", forever=True)
    calls.short_write(1)                                              # writes only half of what it was given
    calls.kill(3, kinds=[Kind.RENAME], after=True)                    # SIGKILL once the 3rd rename was made
    calls.disarm()

`path` is a part of the full path. A plan counts only the calls it could spoil (its kinds, its path); `fired` says how
often it did. Not seen: writes through mmap (SQLite's -shm), calls libc makes on its own behalf (fopen, the inside of
opendir), and symbolic links are not followed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = (HERE / "interpose.c", HERE / "state.h")
ROOT = HERE.parent.parent


class Kind(IntEnum):
    """What a call does; the numbers are interpose.c's."""

    OPEN = 0
    CLOSE = 1
    READ = 2
    WRITE = 3
    SYNC = 4
    TRUNCATE = 5
    ALLOCATE = 6
    RENAME = 7
    LINK = 8
    UNLINK = 9
    MKDIR = 10
    RMDIR = 11
    STAT = 12
    LIST = 13
    LOCK = 14
    MAP = 15
    MARK = 16


_FAIL, _SHORT, _KILL_BEFORE, _KILL_AFTER = 1, 2, 3, 4
_HEAD = struct.Struct("=9q")


@dataclass(frozen=True, slots=True)
class Event:
    """One call, as it was made."""

    kind: Kind
    path: str
    """Of a descriptor: the path it was opened by. Of a rename or link: the old name. Of a mark: its text."""
    target: str
    """Of a rename or link: the new name."""
    handle: int
    """Which opening of a file it was on; a copy by `dup` has the same. 0 for calls on names."""
    offset: int
    """Of a write: where. Of a truncation or allocation: the file's new size."""
    result: int
    """What the call returned; for `open` the descriptor, negative for a failure."""
    error: int
    """errno of a failure, 0 otherwise."""
    flags: int
    """Of an open: O_CREAT and its kin."""
    data: bytes
    """Of a write: what was written."""


def unavailable() -> str:
    """Why nothing can be interposed here, or an empty string."""
    if not sys.platform.startswith("linux"):
        return "LD_PRELOAD and these calls are Linux's"
    return "" if _compiler() else "there is no C compiler (cc or gcc)"


def _compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")


def library() -> Path:
    """The compiled shim, made when its source changed."""
    compiler = _compiler()
    assert compiler is not None, "ask unavailable() first"
    key = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"docstore-interpose-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"interpose-{key}.so"
    if not built.exists():
        # Under a name of our own first: two test runs may compile at once.
        partial = built.with_suffix(f".{os.getpid()}")
        flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([compiler, *flags, "-o", partial, SOURCES[0], "-ldl", "-lpthread"], check=True)
        partial.replace(built)
    return built


def environment() -> dict[str, str]:
    """What a process needs to be interposed and to find this source tree."""
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    # A fixed hash seed: sets of paths are synced in the same order in every run, so faults hit the same call.
    added = {"LD_PRELOAD": str(library()), "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONHASHSEED": "0"}
    return {**os.environ, **added}


def run_interposed(module: str, arguments: Sequence[str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module arguments` under the shim; its output is captured."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False)


class Interposer:
    """The shim inside this process. See the module's first lines."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        try:
            names = ctypes.c_char_p.in_dll(self._library, "interpose_kinds").value
        except ValueError as error:
            raise RuntimeError("This process is not interposed: start it with run_interposed()") from error
        assert (names or b"").decode().upper().split() == [kind.name for kind in Kind]
        self._library.interpose_take.restype = ctypes.c_void_p
        self._library.interpose_count.restype = ctypes.c_uint64
        self._library.interpose_fired.restype = ctypes.c_uint64

    def track(self, folder: Path | None) -> None:
        """Watches what lies below `folder` from now on, forgetting counts, plan and log. None: watches nothing."""
        self._library.interpose_track(os.fsencode(folder.resolve()) if folder is not None else None)

    def record(self, *, everything: bool = False) -> None:
        """Starts an empty log of what changes the disk or syncs it; with `everything` of each tracked call."""
        self._library.interpose_record(2 if everything else 1)

    def mark(self, text: str) -> None:
        """Puts a line of our own into the log."""
        self._library.interpose_mark(text.encode())

    def take_log(self) -> list[Event]:
        """What was logged since `record` or the last time; recording goes on."""
        size = ctypes.c_size_t()
        taken = self._library.interpose_take(ctypes.byref(size))
        log = ctypes.string_at(taken, size.value) if taken else b""
        self._library.interpose_free(ctypes.c_void_p(taken))
        return _parse(log)

    def count(self, kind: Kind | None = None) -> int:
        """Tracked calls since `track`."""
        return int(self._library.interpose_count(-1 if kind is None else int(kind)))

    def fail(
        self, nth: int, error: int, *, kinds: Iterable[Kind] = Kind, path: str = "", forever: bool = False
    ) -> None:
        """The nth call from now of these kinds, on paths that contain `path`, fails; and all after it if `forever`."""
        self._arm(_FAIL, nth, kinds, error, forever, path)

    def short_write(self, nth: int, *, path: str = "", forever: bool = False) -> None:
        """The nth write from now writes only half."""
        self._arm(_SHORT, nth, (Kind.WRITE,), 0, forever, path)

    def kill(self, nth: int, *, kinds: Iterable[Kind] = Kind, path: str = "", after: bool = False) -> None:
        """SIGKILL before, or right after, the nth call from now."""
        self._arm(_KILL_AFTER if after else _KILL_BEFORE, nth, kinds, 0, False, path)

    def disarm(self) -> None:
        """No more faults."""
        self._arm(0, 0, (), 0, False, "")

    @property
    def fired(self) -> int:
        """How many calls the current plan has spoiled."""
        return int(self._library.interpose_fired())

    def set_clock(self, seconds: float) -> None:
        """What this process takes for the time of day from now on; 0 for the real one."""
        self._library.interpose_clock(ctypes.c_int64(int(seconds * 1_000_000)))

    def _arm(self, action: int, nth: int, kinds: Iterable[Kind], error: int, forever: bool, path: str) -> None:
        mask = sum(1 << kind for kind in set(kinds))
        self._library.interpose_arm(
            action, ctypes.c_uint64(nth), ctypes.c_uint64(mask), error, int(forever), os.fsencode(path)
        )


def _parse(log: bytes) -> list[Event]:
    events, at = [], 0
    while at < len(log):
        kind, error, handle, offset, result, flags, *lengths = _HEAD.unpack_from(log, at)
        at += _HEAD.size
        parts = []
        for length in lengths:
            parts.append(log[at : at + length])
            at += length
        path, target, data = parts
        events.append(
            Event(Kind(kind), os.fsdecode(path), os.fsdecode(target), handle, offset, result, error, flags, data)
        )
    return events
