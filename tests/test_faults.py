"""What callers are told, and what is left, when a system call fails or is the last one. `tests.faults.run` does all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from docstore import DocStore, StorageError
from docstore.archive import ARCHIVE
from docstore.testing import HashEmbedder
from tests.faults.operations import OPERATIONS
from tests.faults.run import WHAT, Job, job, line, run
from tests.folders import files, problems
from tests.syscalls.interpose import unavailable

needs_shim = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")


SHORT = ("collect-dry", "documents", "read", "include", "exclude", "expire-after", "limit-store")
"""Operations that end before their twelfth call, or soon after."""


def jobs_of(what: str) -> list[Job]:
    """For every operation some calls, chosen by name: other calls for other operations and errors, always the same."""
    every = {"SIGKILL": 128, "ENOLCK": 1}.get(what, 96)
    jobs = []
    for operation in OPERATIONS:
        among = min(every, 2 if what == "SIGKILL" else 7) if operation in SHORT else every
        for forever in (False, True) if what not in ("EINTR", "SIGKILL", "ENOLCK") else (False,):
            first = 1 + zlib.crc32(f"{operation} {what} {forever}".encode()) % among
            jobs.append(job(operation, what, forever, every, first))
    return jobs


@needs_shim
@pytest.mark.parametrize("what", WHAT)
def test_a_spoiled_call_gives_a_clear_error_and_changes_nothing(what: str) -> None:
    found = list(run(jobs_of(what)))
    print("\n".join(map(line, found)))
    spoiled = {each["operation"] for each in found if each["faults"]}
    assert spoiled if what == "ENOLCK" else spoiled.issuperset(SHORT)  # few take a lock
    causes = {each["cause"]: each["fault"] for one in found for each in one["problems"]}
    assert not causes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    if not sys.platform.startswith("linux") or os.getuid() != 0:
        pytest.skip("only root can mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.decode()}")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(folder: Path) -> None:
    """Takes the last byte of the file system."""
    with open(folder / "ballast", "ab", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                pass
    assert os.statvfs(folder).f_bavail == 0


@pytest.mark.parametrize("packed", [False, True], ids=["files", "packed"])
@pytest.mark.parametrize("reopened", [False, True], ids=["open before", "opened on the full disk"])
def test_collect_and_remove_work_on_a_full_disk(small_disk: Path, reopened: bool, packed: bool) -> None:
    folder = small_disk / "store"
    documents = [bytes(f"document {number} ", "ascii") * 2000 for number in range(20)]
    store = DocStore(folder, embedder=HashEmbedder())
    alice = store.workspace("alice")
    added = alice.add_many(documents).added if packed else [alice.add(data) for data in documents]
    hashes = [document.hash for document in added]
    assert (folder / ARCHIVE).exists() == packed
    if reopened:
        store.close()
    fill(small_disk)
    if reopened:
        store = DocStore(folder, embedder=HashEmbedder())
        alice = store.workspace("alice")
    with store:
        for hash in hashes[:-1]:
            alice.remove(hash)
        assert store.collect().documents == len(hashes) - 1
        assert os.statvfs(folder).f_bavail > 0
        assert [document.hash for document in alice.documents()] == [hashes[-1]]
        assert store.verify().ok
        with store.read(hashes[-1]) as file:
            assert file.read() == documents[-1]
    assert not problems(folder)
    assert len(files(folder, "documents")) == 1


def test_expiring_works_on_a_full_disk(small_disk: Path) -> None:
    folder = small_disk / "store"
    with DocStore(folder, embedder=HashEmbedder()) as store:
        for number in range(6):
            chat = store.workspace(f"chat {number}", ttl=timedelta(seconds=1), sliding=False)
            chat.add_many([bytes(f"document {each} of chat {number} ", "ascii") * 100 for each in range(6)])
        store.workspace("alice").limit(documents=1)
        store.limit(keep_free=0.5, physical_bytes=1)
        time.sleep(1.1)
        fill(small_disk)
        assert len(store.expire().expired) == 6
        assert len(store.expire(grace=timedelta(0)).deleted) == 6
        assert store.collect().documents == 36
        assert os.statvfs(folder).f_bavail > 0
        assert store.verify().ok
    assert not problems(folder)


def test_adding_to_a_full_disk_says_so_and_changes_nothing(small_disk: Path) -> None:
    folder = small_disk / "store"
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(b"a document that is there")
        before = files(folder)
        fill(small_disk)
        with pytest.raises(StorageError, match="ree space"):
            alice.add(b"a document that has no room " * 1000)
        (small_disk / "ballast").unlink()
        assert files(folder) == before
        assert store.verify().ok
        alice.add(b"a document that has no room " * 1000)


def test_conversations_on_a_full_disk(small_disk: Path) -> None:
    with DocStore(small_disk / "store", embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        kept, going = alice.conversation("kept"), alice.conversation("going")
        kept.append("user", "This stays.")
        for _ in range(16):
            going.append("user", "This goes. " * 6_000)
        fill(small_disk)
        with pytest.raises(StorageError, match="ree space"):
            going.append("user", "There is no room for this. " * 30_000)
        assert len(going.messages()) == 16
        going.delete()
        store.collect()
        assert os.statvfs(small_disk).f_bavail > 0
        (small_disk / "ballast").unlink()
        assert [each.content for each in kept.messages()] == ["This stays."]
        assert store.verify().ok
    assert not problems(small_disk / "store")
