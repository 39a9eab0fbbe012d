"""Temporary folders and their locks: forked children, threads, sweepers beside each other and beside the living."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from docstore import DocStore, StorageError, scratch
from docstore.scratch import Scratch
from tests.races import first

DEAD = "d" * 32


def test_a_folder_that_is_being_left_is_not_a_dead_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead: list[int] = []
    with monkeypatch.context() as patch:
        done = first(patch, shutil, "rmtree", lambda: dead.append(scratch.count_dead(tmp_path / "tmp")))
        with Scratch(tmp_path / "tmp") as mine:
            Path(mine.file()).write_bytes(b"work in progress")
    assert done and dead == [0]


def test_what_has_ended_makes_no_folder_any_more(tmp_path: Path) -> None:
    """For a thread that two interrupts left at work: it would be a living one's for as long as the process lives."""
    for began in (False, True):
        with Scratch(tmp_path / "tmp") as mine:
            if began:
                Path(mine.file()).write_bytes(b"work in progress")
        with pytest.raises(StorageError, match="was interrupted"):
            mine.file()
        assert not any((tmp_path / "tmp").glob("*"))


def test_one_sweeper_has_a_dead_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp = tmp_path / "tmp"
    (tmp / DEAD).mkdir(parents=True)
    (tmp / DEAD / "0").write_bytes(b"left by a crash")
    second: list[int] = []
    with monkeypatch.context() as patch:
        done = first(patch, shutil, "rmtree", lambda: second.append(scratch.sweep(tmp)))
        assert scratch.sweep(tmp) == 1
    assert done and second == [0]


def test_a_forked_child_has_no_part_in_its_parents_scratch(tmp_path: Path) -> None:
    tmp = tmp_path / "tmp"
    mine = Scratch(tmp)
    Path(mine.file()).write_bytes(b"work in progress")
    from_child, to_child = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        try:
            os.close(to_child[1])
            mine.__exit__()
            os.write(from_child[1], b".")
            os.read(to_child[0], 1)  # lives on until the parent closes its end
        finally:
            os._exit(0)
    os.close(from_child[1])  # else a child that dies without a word would be waited for
    os.close(to_child[0])
    assert os.read(from_child[0], 1) == b"."
    assert scratch.is_alive(tmp, mine.token)
    assert len(list((tmp / mine.token).iterdir())) == 1
    assert mine._held is not None
    os.close(mine._held[0])  # as when the parent dies
    assert not scratch.is_alive(tmp, mine.token)
    mine._held = None
    os.close(from_child[0])
    os.close(to_child[1])
    assert os.waitpid(pid, 0)[1] == 0


def test_threads_of_one_operation_share_its_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = scratch._new_lock
    both = threading.Barrier(2)

    def together(tmp: Path) -> tuple[int, Path]:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)  # with one thread at a time here, nobody comes
        return real(tmp)

    monkeypatch.setattr(scratch, "_new_lock", together)
    with Scratch(tmp_path / "tmp") as mine:
        with ThreadPoolExecutor(2) as pool:
            paths = [future.result() for future in [pool.submit(mine.file) for _ in range(2)]]
        assert len({Path(path).parent for path in paths}) == 1
        assert len(list((tmp_path / "tmp").glob("*.lock"))) == 1


def test_whatever_happens_the_lock_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    mine = Scratch(tmp_path / "tmp")
    token = mine.token
    with monkeypatch.context() as patch:
        first(patch, shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mine.__exit__()
    assert not scratch.is_alive(tmp_path / "tmp", token)


def test_others_may_see_who_lives(tmp_path: Path) -> None:
    """Another user's operation must wait for it, and clear up after it: as the umask lets them."""
    before = os.umask(0o022)
    try:
        with Scratch(tmp_path) as some:
            some.file()
            (lock,) = (each for each in tmp_path.iterdir() if each.is_file())
            assert lock.stat().st_mode & 0o777 == 0o644
            lock.chmod(0o444)
        assert not lock.exists()
    finally:
        os.umask(before)


def test_a_lock_that_was_swept_before_it_was_taken_is_not_trusted(
    folder: Path, store: DocStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    taken: list[int] = []

    def swept_first(fd: int, operation: int) -> None:
        taken.append(fd)
        if len(taken) == 1:  # between the creation of the lock file and its flock, another process sweeps
            assert scratch.sweep(folder / "tmp") == 0
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", swept_first)
    with Scratch(folder / "tmp") as mine:
        assert scratch.is_alive(folder / "tmp", mine.token)
        assert (folder / "tmp" / f"{mine.token}.lock").exists()


def test_a_dead_owners_temporary_files_are_swept_and_a_living_ones_spared(store: DocStore, folder: Path) -> None:
    tmp = folder / "tmp"
    living = Scratch(tmp)
    Path(living.file()).write_bytes(b"work in progress")
    (tmp / DEAD).mkdir()
    (tmp / DEAD / "0").write_bytes(b"left by a crash")
    (tmp / (DEAD + ".lock")).touch()
    (tmp / ("e" * 32)).mkdir()
    (tmp / ("e" * 32) / "0").write_bytes(b"left by a power cut that took the lock file")
    assert store.verify().leftovers == 2
    assert store.collect().leftovers == 2
    assert sorted(path.name for path in tmp.iterdir()) == sorted([living.token, living.token + ".lock"])
    with living:
        pass
    assert list(tmp.iterdir()) == []
