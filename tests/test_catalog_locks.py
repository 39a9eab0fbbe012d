"""The catalog's locks, transactions and snapshots, and what a forked child may use: forced, not waited for."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, StoreLocked, Workspace, schema
from docstore.database import CatalogDatabase
from docstore.lifecycle import catalog
from docstore.testing import HashEmbedder
from tests.folders import files, query
from tests.races import first

NOTE = b"A note."


def open_store(folder: Path, timeout: float = 60.0, **options: Any) -> DocStore:
    return DocStore(folder, embedder=HashEmbedder(), timeout=timeout, **options)


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


# -- fork -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def child(run: Callable[[], bool]) -> Iterator[None]:
    """Forks, runs something in the child while the block runs here, and expects it to return True within 10 s."""
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        code = 1
        try:
            signal.alarm(10)
            code = 0 if run() else 2
        finally:
            os._exit(code)
    try:
        yield
    finally:
        assert os.waitpid(pid, 0)[1] == 0


def open_catalogs() -> list[str]:
    """The catalogs that this process has open."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            targets.append(str(descriptor.readlink()))
    return [each for each in targets if each.endswith("catalog.db")]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names descriptors through /proc")
def test_a_child_has_no_connection_of_its_parent(folder: Path) -> None:
    with open_store(folder) as store:
        store.workspace("alice")
        gc.collect()  # what other tests left behind
        others = [each for each in open_catalogs() if not each.startswith(str(folder))]
        with child(lambda: open_catalogs() == others and store.workspaces() == ["alice"]):
            pass
        assert store.workspaces() == ["alice"]


def test_what_a_child_commits_outlives_its_parents_store(folder: Path) -> None:
    # The parent is the last that SQLite knows to have the catalog open, and takes the log away when it closes it.
    with open_store(folder) as store:
        store.workspace("alice").add(NOTE)
        closed, go_on = os.pipe()[::-1]

        def commit() -> bool:
            found = store.workspaces() == ["alice"]
            os.read(go_on, 1)
            store.workspace("bob").add(b"Another note.")
            return found

        with child(commit):
            time.sleep(0.2)
            store.close()
            os.write(closed, b"x")
    with open_store(folder) as store:
        assert store.workspaces() == ["alice", "bob"]
        assert len(store.workspace("bob").documents()) == 1
        assert store.verify().ok
    os.close(closed)
    os.close(go_on)


def test_a_child_forked_while_locks_are_held_can_use_the_store(folder: Path) -> None:
    with open_store(folder, timeout=3) as store, open_store(folder, timeout=3, readonly=True) as reader:
        alice = store.workspace("alice")
        alice.add(NOTE)
        frozen = reader._parts.database._frozen
        assert frozen is not None
        database = store._parts.database
        for lock in (database._writing, store._parts.memory._guard, frozen._guard):
            with lock:
                pid = child(lambda: bool(store.workspace("bob").name and alice.search("note") and reader.workspaces()))
                with pid:
                    pass


# -- the schema -------------------------------------------------------------------------------------------------------


def test_counts_and_totals_follow_every_change(folder: Path) -> None:
    def sound(store: DocStore) -> None:
        with store._parts.database.read() as db:
            assert catalog.problems(db) == []

    with open_store(folder) as store, DocStore(folder, embedder=HashEmbedder(32)) as second:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        sound(store)
        hash = alice.add(NOTE + b"\n").hash
        bob.add(NOTE + b"\n")
        bob.add(NOTE + b"\r\n")
        sound(store)
        second.workspace("alice").link(hash)
        sound(store)
        with store._parts.database.write() as db:
            db.execute("UPDATE texts SET file_size = file_size + 7")
        sound(store)
        with store._parts.database.write() as db:
            db.execute("UPDATE texts SET file_size = file_size - 7")
        alice.remove(hash)
        sound(store)
        store.delete_workspace("bob")
        sound(store)
        assert store.collect().documents == 2
        sound(store)
    assert files(folder) == []


@pytest.fixture
def raw(folder: Path, alice: Workspace) -> Iterator[sqlite3.Connection]:
    """What any program may open, on a store with two documents."""
    alice.add_many([NOTE, b"Another note."])
    connection = sqlite3.connect(folder / "catalog.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ([], "DELETE FROM workspaces"),
        ([], "DELETE FROM documents"),
        (["DELETE FROM refs", "DELETE FROM subindexes"], "DELETE FROM texts"),
        (["DELETE FROM refs", "DELETE FROM documents"], "DELETE FROM texts"),
        ([], "DELETE FROM pipelines"),
    ],
)
def test_nothing_that_is_pointed_to_can_be_deleted(raw: sqlite3.Connection, before: list[str], refused: str) -> None:
    for statement in before:
        raw.execute(statement)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        raw.execute(refused)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE documents SET refcount = 0",
        "UPDATE documents SET unreferenced_at = '2000-01-01'",
        "UPDATE documents SET refcount = -1, unreferenced_at = NULL",
    ],
)
def test_a_count_and_its_time_agree(raw: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        raw.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE refs SET document_id = 2 WHERE document_id = 1",
        "UPDATE refs SET workspace_id = 2",
        "UPDATE documents SET hash = replace(hash, 'a', 'b')",
        "UPDATE documents SET text_id = 2 WHERE id = 1",
        "UPDATE documents SET size = size + 1",
    ],
)
def test_identities_do_not_change(raw: sqlite3.Connection, statement: str) -> None:
    raw.execute("INSERT INTO workspaces (name, created_at) VALUES ('bob', '')")
    raw.execute("DELETE FROM refs WHERE document_id = 2")
    with pytest.raises(sqlite3.IntegrityError, match=r"cannot change|immutable"):
        raw.execute(statement)


def test_a_store_that_was_just_begun_can_be_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a second process meets, or finds after a kill, between the first's reserve and its catalog.
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CatalogDatabase, "_create", dies)
        with pytest.raises(KeyboardInterrupt):
            open_store(folder)
    open_store(folder).close()
