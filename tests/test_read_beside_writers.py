"""A store opened with readonly=True beside one that is open for writing: it reads snapshots, copies nothing, and keeps
nobody from writing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from docstore import DocStore, DocStoreError, frozen, readonly
from tests.packing import notes, open_store
from tests.permissions import bound, run_bound

LISTS = """
import sys
from docstore import DocStore
with DocStore(sys.argv[1], readonly=True) as store:
    print(*store.workspaces())
"""

WRITES = """
import sys
from docstore import DocStore
from docstore.testing import HashEmbedder
with DocStore(sys.argv[1], embedder=HashEmbedder()) as store:
    store.workspace("bob")
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def unfrozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads without locks fails."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the catalog is read without locks")

    monkeypatch.setattr(frozen.FrozenCatalog, "connection", refuse)


@contextmanager
def writer_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the store open for writing, and has pages in its log."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITES, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        yield process
        process.kill()


def crash(folder: Path) -> None:
    """Leaves a log and shared memory."""
    with writer_elsewhere(folder) as writer:
        writer.send_signal(signal.SIGKILL)


def is_shared(store: DocStore) -> bool:
    """Whether connections are SQLite's ordinary ones."""
    return bool(store._parts.database._pool._idle)


def test_a_read_is_of_one_moment_whatever_is_written_and_collected_meanwhile(filled: Path, unfrozen: None) -> None:
    with open_store(filled) as writer, open_store(filled, readonly=True) as store:
        with store._parts.database.read() as db:
            before = db.execute("SELECT count(*) FROM workspaces").fetchone()
            writer.workspace("carol").add_many(notes(first=1000))
            writer.delete_workspace("carol")
            writer.collect()
            writer.workspace("dave")
            assert db.execute("SELECT count(*) FROM workspaces").fetchone() == before
        assert "dave" in store.workspaces()


def test_totals_are_of_the_same_moment_as_what_they_count(filled: Path, unfrozen: None) -> None:
    stopped = threading.Event()

    def write() -> None:
        with open_store(filled) as writer:
            while not stopped.is_set():
                writer.workspace("bob").add_many(notes(first=500))
                writer.delete_workspace("bob")
                writer.collect()

    with writer_elsewhere(filled), open_store(filled, readonly=True) as store:
        writing = threading.Thread(target=write)
        writing.start()
        try:
            for _ in range(200):
                with store._parts.database.read() as db:
                    counted = db.execute("SELECT count(*) FROM refs").fetchone()
                    assert db.execute("SELECT refs FROM totals").fetchone() == counted
        finally:
            stopped.set()
            writing.join()
        assert is_shared(store)


def test_a_process_that_reads_may_write_too(filled: Path, unfrozen: None) -> None:
    """SQLite has one view of the shared memory for a process: to begin with reading must not make it read-only."""
    with writer_elsewhere(filled), open_store(filled, readonly=True) as store:
        assert store.workspaces() == ["alice", "bob"]
        with store._parts.database.read() as db, open_store(filled) as writer:
            writer.workspace("carol")
            assert db.execute("SELECT count(*) FROM workspaces").fetchone() == (2,)
        assert store.workspaces() == ["alice", "bob", "carol"]


def test_what_a_crash_left_is_read(filled: Path, unfrozen: None) -> None:
    crash(filled)
    before = {name: (filled / name).read_bytes() for name in ("catalog.db", "catalog.db-wal")}
    assert before["catalog.db-wal"]
    with open_store(filled, readonly=True) as store:
        assert store.workspaces() == ["alice", "bob"] and store.verify().ok
    assert before == {name: (filled / name).read_bytes() for name in before}


def test_a_writer_that_closes_leaves_the_log_to_who_reads_on(filled: Path, unfrozen: None) -> None:
    writer = open_store(filled)
    writer.workspace("bob")
    with open_store(filled, readonly=True) as store:
        assert store.workspaces() == ["alice", "bob"]
        writer.close()
        assert (filled / "catalog.db-wal").stat().st_size
        assert store.workspaces() == ["alice", "bob"]
        with open_store(filled) as another:
            another.workspace("carol")
        assert store.workspaces() == ["alice", "bob", "carol"]
    open_store(filled).close()
    assert not (filled / "catalog.db-wal").exists()


def test_a_writer_that_closes_just_before(filled: Path, unfrozen: None, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_store(filled)
    writer.workspace("bob")
    really = readonly.ReadOnlyCatalog._is_shared

    def just_before(catalog: readonly.ReadOnlyCatalog, path: Path) -> bool:
        found = really(catalog, path)
        writer.close()
        return found

    monkeypatch.setattr(readonly.ReadOnlyCatalog, "_is_shared", just_before)
    with open_store(filled, readonly=True) as store:
        assert store.workspaces() == ["alice", "bob"]
    open_store(filled).close()
    assert {each.name for each in filled.glob("catalog*")} == {"catalog.db"}


def write_protect(folder: Path) -> None:
    for each in (*folder.glob("catalog*"), *folder.glob("small*")):
        each.chmod(0o444)
    folder.chmod(0o555)


@bound
def test_who_may_only_read_reads_beside_who_writes(filled: Path, tmp_path: Path) -> None:
    with open_store(filled) as writer:
        writer.workspace("bob")
        write_protect(filled)
        before = {each.name: each.stat().st_mtime_ns for each in filled.iterdir()}
        done = run_bound("env", f"TMPDIR={tmp_path / 'nothing'}", sys.executable, "-c", LISTS, filled)
        assert done.stdout == "alice bob\n", done.stderr  # without a folder for copies
        assert {each.name: each.stat().st_mtime_ns for each in filled.iterdir()} == before
        filled.chmod(0o755)


@bound
def test_what_sqlite_could_only_read_after_writing_is_copied(filled: Path) -> None:
    with writer_elsewhere(filled):
        with (filled / "catalog.db-shm").open("r+b") as memory:  # as whoever dies in the middle of a commit leaves it
            memory.write(bytes(96))
        write_protect(filled)
        done = run_bound(sys.executable, "-c", LISTS, filled)
        filled.chmod(0o755)
    assert done.stdout == "alice bob\n", done.stderr


@bound
def test_who_may_not_write_the_catalog_makes_no_file_beside_it(filled: Path) -> None:
    """It would be theirs, and keep the owner from writing."""
    code = f"""
import sys
from docstore import DocStore, readonly
import pathlib
really = readonly.ReadOnlyCatalog._is_shared
def is_shared(catalog, path):
    found = really(catalog, path)
    for suffix in ("-wal", "-shm"):
        pathlib.Path(f"{{path}}{{suffix}}").unlink(missing_ok=True)
    return found
readonly.ReadOnlyCatalog._is_shared = is_shared
{LISTS}
"""
    with open_store(filled) as writer:
        writer.collect()
        (filled / "catalog.db").chmod(0o444)
        done = run_bound(sys.executable, "-c", code, filled)
        assert done.stdout == "alice\n", done.stderr
        assert {each.name for each in filled.glob("catalog*")} == {"catalog.db"}
        (filled / "catalog.db").chmod(0o644)


def test_over_a_network_it_is_read_without_locks(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no shared memory there."""
    with open_store(filled) as writer:
        writer.workspace("bob")
        monkeypatch.setattr(readonly, "is_network", lambda _: True)
        with open_store(filled, readonly=True) as store:
            assert store.workspaces() == ["alice", "bob"]
            assert not is_shared(store)


CLOSES = """
import fcntl, os, sys, time
catalog, *beside = (sys.argv[1] + suffix for suffix in ("", "-wal", "-shm"))
for each in beside:
    open(each, "w").close()
with open(catalog, "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 510, 0x40000002)  # the bytes of SQLite's shared locks, see its os.h
    print("closing", flush=True)
    time.sleep(1.5)
    for each in beside:
        os.unlink(each)
"""


@bound
def test_a_writer_that_is_closing_is_waited_for(filled: Path) -> None:
    """Whoever closes last holds a lock while log and shared memory go. After that nothing is lacking: they are gone."""
    with subprocess.Popen(
        [sys.executable, "-c", CLOSES, filled / "catalog.db"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "closing\n"
        write_protect(filled)
        done = run_bound(sys.executable, "-c", LISTS, filled)
        filled.chmod(0o755)
    assert done.stdout == "alice\n", done.stderr


def test_what_sqlite_says_in_vain_while_others_commit(
    filled: Path, unfrozen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To who may only read the shared memory, a few times in a million."""
    left = [sqlite3.SQLITE_READONLY_CANTINIT, sqlite3.SQLITE_READONLY_RECOVERY]

    class Hasty(sqlite3.Connection):
        def execute(self, sql: str, /, *arguments: Any) -> sqlite3.Cursor:
            if left and sql == "PRAGMA schema_version":
                error = sqlite3.OperationalError("attempt to write a readonly database")
                error.sqlite_errorcode = left.pop()
                raise error
            return super().execute(sql, *arguments)

    connect = sqlite3.connect
    with open_store(filled) as writer:
        writer.workspace("bob")
        monkeypatch.setattr(sqlite3, "connect", lambda *names, **options: connect(*names, **options, factory=Hasty))
        with open_store(filled, readonly=True) as store:
            assert store.workspaces() == ["alice", "bob"]
    assert not left


def test_the_log_of_a_catalog_that_was_lost_stays(filled: Path) -> None:
    """SQLite takes it for another's, and deletes it."""
    crash(filled)
    os.truncate(filled / "catalog.db", 0)
    before = (filled / "catalog.db-wal").read_bytes()
    with pytest.raises(DocStoreError):
        open_store(filled, readonly=True)
    assert before == (filled / "catalog.db-wal").read_bytes()


@bound
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(filled: Path, suffix: str) -> None:
    crash(filled)
    (filled / f"catalog.db{suffix}").unlink()
    os.mkfifo(filled / f"catalog.db{suffix}")
    done = run_bound(sys.executable, "-c", LISTS, filled)
    assert done.stdout == "alice bob\n" or "IntegrityError" in done.stderr, done.stderr


def test_what_shared_memory_is_linked_to_is_not_written(filled: Path, tmp_path: Path) -> None:
    crash(filled)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious" * 1000)
    (filled / "catalog.db-shm").unlink()
    os.link(victim, filled / "catalog.db-shm")
    with open_store(filled, readonly=True) as store:
        assert store.workspaces() == ["alice", "bob"]
    assert victim.read_bytes() == b"precious" * 1000


@bound
def test_a_log_with_a_damaged_beginning_is_not_read_again_and_again(filled: Path) -> None:
    crash(filled)
    with (filled / "catalog.db-wal").open("r+b") as log:
        log.write(b"xxxx")
    write_protect(filled)
    began = time.monotonic()
    done = run_bound(sys.executable, "-c", LISTS, filled)
    filled.chmod(0o755)
    assert done.stdout.startswith("alice"), done.stderr
    assert time.monotonic() - began < 8  # SQLite alone takes ten seconds


def test_a_copy_goes_when_the_catalog_is_shared(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    crash(filled)
    (filled / "catalog.db-shm").unlink()
    with open_store(filled, readonly=True) as store:
        assert store.workspaces() == ["alice", "bob"] and len(list(tmp_path.glob("docstore-*"))) == 1
        with writer_elsewhere(filled):
            assert store.workspaces() == ["alice", "bob"] and is_shared(store)
            assert not list(tmp_path.glob("docstore-*"))


def test_a_forked_child_takes_locks_of_its_own(filled: Path, unfrozen: None) -> None:
    with writer_elsewhere(filled), open_store(filled, readonly=True) as store:
        assert "bob" in store.workspaces() and is_shared(store)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if not is_shared(store) and "bob" in store.workspaces() else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert "bob" in store.workspaces()
