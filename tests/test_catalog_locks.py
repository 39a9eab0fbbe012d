"""The catalog's locks, transactions and snapshots: forced, not waited for."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from docstore import DocStore, StoreLocked, Workspace, schema
from docstore.database import CatalogDatabase
from tests.folders import query
from tests.packing import open_store
from tests.races import first

NOTE = b"A note."


def test_one_writer_at_a_time(folder: Path) -> None:
    with open_store(folder) as one, open_store(folder, timeout=0.05) as two:
        with one._parts.database.write(), pytest.raises(StoreLocked), two._parts.database.write():
            pass
        with two._parts.database.write():
            pass


def test_a_writer_waits_for_another(folder: Path) -> None:
    with open_store(folder) as one, open_store(folder) as two, ThreadPoolExecutor(1) as pool:
        with one._parts.database.write():
            waiting = pool.submit(two.workspace, "alice")
            time.sleep(0.2)
            assert not waiting.done()
        assert waiting.result(timeout=10).name == "alice"


def test_threads_of_one_store_queue_before_sqlite(folder: Path) -> None:
    with open_store(folder, timeout=0.05) as store, ThreadPoolExecutor(1) as pool:
        with store._parts.database.write():
            waiting = pool.submit(store.workspace, "alice")
            with pytest.raises(StoreLocked, match="A thread of this process"):
                waiting.result(timeout=10)
        assert store.workspace("alice").name == "alice"


def test_a_store_that_is_made_while_it_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.exists
    made: list[str] = []

    def exists(path: Path, **options: Any) -> bool:
        if path == folder / "documents" and not made:
            made.append("")
            (folder / "catalog.db").touch()  # the other process's first step
            with open_store(folder) as other:
                made.append(other.workspace("alice").add(NOTE).hash)
        return real(path, **options)

    monkeypatch.setattr(Path, "exists", exists)
    with open_store(folder) as store:
        assert store.refcount(made[1]) == 1


@pytest.mark.parametrize("is_new", [False, True], ids=["opened with", "made later"])
def test_compacting_waits_for_no_writer(folder: Path, is_new: bool) -> None:
    with open_store(folder, timeout=20) as store, contextlib.closing(
        sqlite3.connect(folder / "catalog.db", isolation_level=None)
    ) as other:  # fmt: skip
        for statement in ("CREATE TABLE x (y)", "INSERT INTO x VALUES (zeroblob(200000))", "DROP TABLE x"):
            other.execute(statement)  # leaves pages to give back
        other.execute("BEGIN IMMEDIATE")
        if is_new:
            store._parts.database._pool.forget()
        began = time.monotonic()
        store._parts.database.compact()
        assert time.monotonic() - began < 10
        other.execute("ROLLBACK")


@contextlib.contextmanager
def _holding(folder: Path, begin: str) -> Iterator[threading.Event]:
    """Somebody in the catalog, until half a second after the event is set."""
    done = threading.Event()
    with contextlib.closing(
        sqlite3.connect(folder / "catalog.db", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute(begin)
        other.execute("SELECT count(*) FROM workspaces").fetchall()

        def leave() -> None:
            assert done.wait(10)
            time.sleep(0.5)
            other.execute("ROLLBACK")

        with ThreadPoolExecutor(1) as pool:
            leaving = pool.submit(leave)
            yield done
            leaving.result(20)


def test_a_collection_waits_a_moment_for_those_who_read(folder: Path) -> None:
    """Or what was deleted stays in the log until somebody collects again."""
    with open_store(folder) as store:
        store.workspace("alice")
        with _holding(folder, "BEGIN") as leave:
            store.workspace("bob")
            leave.set()
            store.collect()
            assert (folder / "catalog.db-wal").stat().st_size == 0


def test_a_collection_waits_a_moment_for_those_who_write(folder: Path) -> None:
    with open_store(folder) as store:
        chat = store.workspace("alice").conversation("long")
        for number in range(20):
            chat.append("user", f"{number}" * 100_000)
        chat.delete()
        size = (folder / "catalog.db").stat().st_size
        with _holding(folder, "BEGIN IMMEDIATE") as leave:
            leave.set()
            store._parts.database.compact()
        assert (folder / "catalog.db").stat().st_size < size // 2


def test_threads_and_processes_are_waited_for_as_long_together(folder: Path) -> None:
    with (
        open_store(folder) as other,
        open_store(folder, timeout=1) as store,
        ThreadPoolExecutor(1) as pool,
        other._parts.database.write(),
    ):
        before = pool.submit(store.workspace, "alice")
        time.sleep(0.5)
        began = time.monotonic()
        with pytest.raises(StoreLocked):
            store.workspace("bob")  # half of its time for the thread before it
        assert time.monotonic() - began < 1.3
        with pytest.raises(StoreLocked):
            before.result(20)


def test_emptying_the_log_waits_for_no_reader(folder: Path) -> None:
    with open_store(folder, timeout=20) as store, contextlib.closing(
        sqlite3.connect(folder / "catalog.db", isolation_level=None)
    ) as reader:  # fmt: skip
        store.workspace("alice")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM workspaces").fetchall()
        began = time.monotonic()
        with store._parts.database.frugal():
            store.workspace("bob")
        assert time.monotonic() - began < 10
        assert store.workspaces() == ["alice", "bob"]


def test_on_a_full_disk_the_log_does_not_grow_beside_a_reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the room that emptying it takes: when the reader has ended, nothing could be deleted any more."""
    with open_store(folder, timeout=2) as store, contextlib.closing(
        sqlite3.connect(folder / "catalog.db", isolation_level=None, check_same_thread=False)
    ) as reader:  # fmt: skip
        store.workspace("alice")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM workspaces").fetchall()
        store.workspace("bob")
        nearly_full = SimpleNamespace(f_bavail=100, f_frsize=4096)
        monkeypatch.setattr(os, "statvfs", lambda _: nearly_full)
        with store._parts.database.frugal():
            with pytest.raises(StoreLocked, match="disk is full, and somebody who reads"):
                store.delete_workspace("alice")
            ending = threading.Timer(0.5, reader.execute, ["ROLLBACK"])  # who reads for a moment is waited for
            ending.start()
            store.delete_workspace("alice")
            ending.join()
        assert store.workspaces() == ["bob"]


def test_creating_waits_for_another_who_creates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    other = sqlite3.connect(folder / "catalog.db", isolation_level=None)
    real = CatalogDatabase._connect

    def connect(self: CatalogDatabase) -> sqlite3.Connection:
        def lock_first(statement: str) -> None:
            if statement == "PRAGMA journal_mode = WAL" and not done and not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")  # SQLite refuses the change of mode at once, whatever the timeout

        connection = real(self)
        connection.set_trace_callback(lock_first)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(CatalogDatabase, "_connect", connect)
        done = first(patch, time, "sleep", lambda: other.execute("COMMIT"))
        CatalogDatabase(folder / "catalog.db", readonly=False, timeout=5).close()
    assert done
    other.close()


def test_a_schema_is_made_in_one_transaction(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    real = CatalogDatabase._connect

    def connect(self: CatalogDatabase) -> sqlite3.Connection:
        connection = real(self)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(CatalogDatabase, "_connect", connect)
    open_store(folder).close()
    made = [at for at, each in enumerate(statements) if each.strip().startswith("CREATE TABLE pipelines")]
    begun = [at for at, each in enumerate(statements) if each == "BEGIN IMMEDIATE"]
    assert len(made) == 1 and len(begun) == 1
    assert begun[0] < made[0]
    assert statements[begun[0] :].index("COMMIT") > statements[begun[0] :].index(statements[made[0]])


def test_what_failed_is_rolled_back(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(NOTE)

    def fail() -> None:
        with store._parts.database.write() as db:
            db.execute("DELETE FROM refs")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    store.workspace("another transaction, committed")
    assert query(folder, "SELECT count(*) FROM refs") == [(1,)]
    assert query(folder, "SELECT count(*) FROM workspaces") == [(2,)]


_RECOVERING = """
import fcntl, pathlib, sys
with open(sys.argv[1], "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, 1, 120)  # SQLite's lock for writing, and the one for recovering
    fcntl.lockf(index, fcntl.LOCK_EX, 1, 122)
    index.write(bytes(96))  # the header, as it is while it is written
    index.flush()
    print("recovering", flush=True)
    sys.stdin.read()
"""
"""Another process that rebuilds the index of the log, as the first does that opens a catalog after a crash."""


@pytest.mark.parametrize("act", [DocStore.workspaces, lambda store: store.workspace("alice")])
def test_who_reads_or_writes_waits_for_who_recovers(folder: Path, act: Callable[[DocStore], object]) -> None:
    with open_store(folder) as store, open_store(folder, timeout=0.1) as hasty, ThreadPoolExecutor(1) as pool:
        command = [sys.executable, "-c", _RECOVERING, str(folder / "catalog.db-shm")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin is not None and other.stdout is not None
            assert other.stdout.readline() == b"recovering\n"
            waiting = pool.submit(act, store)
            with pytest.raises(StoreLocked):
                act(hasty)
            assert not waiting.done()
            other.stdin.close()
        waiting.result(timeout=10)
        act(hasty)


def test_opening_waits_for_another_who_creates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    look = schema.is_foreign
    with contextlib.closing(
        sqlite3.connect(folder / "catalog.db", isolation_level=None, check_same_thread=False)
    ) as other:

        def while_the_other_creates(connection: sqlite3.Connection) -> bool:
            monkeypatch.setattr(schema, "is_foreign", look)
            other.execute("BEGIN EXCLUSIVE")
            creating = threading.Timer(0.2, other.execute, ["COMMIT"])
            creating.start()
            try:
                return look(connection)
            finally:
                creating.join()

        monkeypatch.setattr(schema, "is_foreign", while_the_other_creates)
        open_store(folder).close()


def test_on_a_full_disk_the_log_is_emptied_before_and_after_every_transaction(store: DocStore, folder: Path) -> None:
    log = folder / "catalog.db-wal"
    store.workspace("alice")
    assert log.stat().st_size
    with store._parts.database.frugal():
        assert not log.stat().st_size
        store.workspace("bob")
        assert not log.stat().st_size
    store.workspace("carol")
    assert log.stat().st_size


def test_a_read_is_of_one_moment(folder: Path) -> None:
    with open_store(folder) as store, open_store(folder) as other:
        with store._parts.database.read() as db:
            assert db.execute("SELECT count(*) FROM workspaces").fetchone() == (0,)
            other.workspace("alice")
            assert db.execute("SELECT count(*) FROM workspaces").fetchone() == (0,)
        assert store.workspaces() == ["alice"]


def test_replacing_a_reference_counts_the_one_that_goes(store: DocStore, alice: Workspace) -> None:
    hash = alice.add(NOTE).hash
    with store._parts.database.write() as db:
        db.execute("REPLACE INTO refs SELECT * FROM refs")
    assert store.refcount(hash) == len(alice) == store.stats().references == 1


class Watched(list[sqlite3.Connection]):
    """A pool that lets somebody else act where a thread could be interrupted."""

    def __init__(self, given: list[sqlite3.Connection]) -> None:
        super().__init__(given)
        self.when_looked_at: Callable[[], None] | None = None
        self.when_given_back: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        found = len(self) > 0
        act, self.when_looked_at = self.when_looked_at, None
        if act is not None:
            act()
        return found

    def append(self, connection: sqlite3.Connection) -> None:
        act, self.when_given_back = self.when_given_back, None
        if act is not None:
            act()
        super().append(connection)


def test_two_threads_take_the_last_idle_connection(folder: Path) -> None:
    with open_store(folder) as store, ThreadPoolExecutor(1) as pool:
        database = store._parts.database
        pooled = Watched(database._pool._idle)
        database._pool._idle = pooled
        inside, go_on = threading.Event(), threading.Event()

        def read() -> None:
            with database.read():
                inside.set()
                assert go_on.wait(20)

        def begin() -> None:
            pool.submit(read)
            inside.wait(0.3)

        pooled.when_looked_at = begin
        with database.read() as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
        go_on.set()


def test_a_connection_in_use_closes_with_the_store(folder: Path) -> None:
    store = open_store(folder)
    database = store._parts.database
    pooled = Watched(database._pool._idle)
    database._pool._idle = pooled
    closing = threading.Thread(target=store.close)

    def close() -> None:
        closing.start()
        closing.join(0.3)

    pooled.when_given_back = close
    with database.read():
        pass
    closing.join()
    assert list(pooled) == []


def test_a_store_that_was_just_begun_can_be_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a second process meets, or finds after a kill, between the first's reserve and its catalog.
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CatalogDatabase, "_create", dies)
        with pytest.raises(KeyboardInterrupt):
            open_store(folder)
    open_store(folder).close()


def test_connections_that_many_threads_used_at_once_are_closed(store: DocStore, alice: Workspace) -> None:
    together = threading.Barrier(30)

    def look(_: int) -> int:
        with store._parts.database.read() as db:
            together.wait(10)
            return len(db.execute("SELECT 1").fetchall())

    with ThreadPoolExecutor(30) as pool:
        assert sum(pool.map(look, range(30))) == 30
    assert 0 < len(store._parts.database._pool._idle) <= 16
