"""What test_syscalls runs under the shim: `python -m tests.syscalls.scenario NAME FOLDER`. Prints JSON."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docstore import DocStore, StorageError
from docstore.testing import HashEmbedder
from tests.crash.disk import Disk
from tests.syscalls.interpose import Interposer, Kind


def record(calls: Interposer, folder: Path) -> dict[str, Any]:
    """A store's life, replayed on the simulated disk, beside what the file system holds."""
    calls.track(folder)
    calls.record()
    events = []
    with DocStore(folder / "store", embedder=HashEmbedder()) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        for count in (4, 5):  # the first become files, the others are packed
            alice.add_many([f"{count} documents, {number} of some length".encode() * 90 for number in range(count)])
        gone = bob.add(b"a document that goes")
        bob.remove(gone.hash)
        store.collect()
        bob.add(b"another document")
        events += calls.take_log()
        open_store = _compare(folder, replayed(events, folder))
    events += calls.take_log()
    seen = {(event.kind.name, Path(event.path).name) for event in events if event.path.endswith("-wal")}
    return {
        "while open": open_store,
        "when closed": _compare(folder, replayed(events, folder)),
        "write-ahead log": sorted(name for name, _ in seen),
    }


def replayed(events: list[Any], folder: Path) -> dict[str, bytes]:
    """All files, if every operation reached the medium."""
    disk = Disk(str(folder))
    for event in events:
        disk.apply(event)
    image = disk.image(disk.pending)
    return {path: content.data for path, content in image.files} | dict.fromkeys(image.directories, b"")


def _compare(folder: Path, expected: dict[str, bytes]) -> dict[str, Any]:
    found = {
        str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.name.endswith("-shm")
    }
    differ = sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
    return {"files": len(found), "differ": differ}


def fail_once(calls: Interposer, folder: Path) -> dict[str, Any]:
    """The first sync of a staged file fails; adding again succeeds."""
    with DocStore(folder / "store", embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        calls.track(folder)
        calls.fail(1, errno.ENOSPC, kinds=[Kind.SYNC], path="/tmp/")
        try:
            alice.add(b"a document")
            error = ""
        except StorageError as failure:
            error = str(failure)
        fired = calls.fired
        return {"error": error, "fired": fired, "again": alice.add(b"a document").name}


def fail_forever(calls: Interposer, folder: Path) -> dict[str, Any]:
    """From the second write on, none succeeds."""
    calls.track(folder)
    calls.fail(2, errno.EIO, kinds=[Kind.WRITE], forever=True)
    path = folder / "file"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    errors = []
    for _ in range(3):
        try:
            os.write(fd, b"12")
        except OSError as error:
            errors.append(error.errno)
    os.close(fd)
    return {"errors": errors, "size": path.stat().st_size, "fired": calls.fired}


def relative(calls: Interposer, folder: Path) -> dict[str, Any]:
    """Calls by relative paths and by descriptors of directories, as shutil.rmtree makes them; and outside."""
    calls.track(folder)
    calls.record()
    os.chdir(folder)
    Path("inner").mkdir()
    fd = os.open("inner", os.O_RDONLY)
    os.close(os.open("../inner/file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.unlink("file", dir_fd=fd)
    Path("../outside").write_bytes(b"nobody's business")
    calls.short_write(1)
    Path("short").write_bytes(b"1234")
    names = [(event.kind.name, os.path.relpath(event.path, folder)) for event in calls.take_log()]
    return {"names": names, "reads": calls.count(Kind.READ), "written": calls.count(Kind.WRITE)}


def kill_before(calls: Interposer, folder: Path) -> dict[str, Any]:
    """Dies instead of renaming."""
    return _die(calls, folder, after=False)


def kill_after(calls: Interposer, folder: Path) -> dict[str, Any]:
    """Dies having renamed."""
    return _die(calls, folder, after=True)


def _die(calls: Interposer, folder: Path, after: bool) -> dict[str, Any]:
    (folder / "old").touch()
    calls.track(folder)
    calls.kill(1, kinds=[Kind.RENAME], after=after)
    (folder / "old").rename(folder / "new")
    return {}


if __name__ == "__main__":
    scenarios: dict[str, Callable[[Interposer, Path], dict[str, Any]]] = {
        each.__name__: each for each in (record, fail_once, fail_forever, relative, kill_before, kill_after)
    }
    print(json.dumps(scenarios[sys.argv[1]](Interposer(), Path(sys.argv[2]))))
