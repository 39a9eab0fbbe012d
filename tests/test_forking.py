"""What a forked child may use of a store that its parent opened, and what becomes of what it commits."""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import pytest

from docstore import StorageError, database
from tests.children import child
from tests.packing import open_store

NOTE = b"A note."


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


def test_every_thread_of_a_child_can_use_the_store(folder: Path) -> None:
    # The thread that forks holds locks while it does: that it may take them again proves nothing for others.
    with open_store(folder) as store:
        store.workspace("alice")

        def look() -> bool:
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(store.workspaces).result() == ["alice"]

        with child(look):
            pass


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
        database = store._parts.database
        with ThreadPoolExecutor(1) as another:  # thread: it would not wait for its own
            for lock in (database._writing, store._parts.memory._guard):
                assert another.submit(lock.acquire).result()
                with child(lambda: bool(store.workspace("bob").name and alice.search("note") and reader.workspaces())):
                    pass
                another.submit(lock.release).result()


def fork_inside(
    run: Callable[[], None], inside: threading.Event, done: threading.Event, in_child: Callable[[], bool]
) -> None:
    """Forks while a thread is at a place that it says by `inside`, and stays at until `done`."""
    with ThreadPoolExecutor(1) as another:
        running = another.submit(run)
        inside.wait()
        try:
            with child(in_child):
                pass
        finally:
            done.set()
        running.result()


@pytest.mark.parametrize("readonly", [False, True])
def test_a_child_may_not_write_what_a_thread_of_its_parent_was_reading(folder: Path, readonly: bool) -> None:
    """SQLite takes the thread's locks for the child's: the last other process deletes the log that the child writes."""
    with open_store(folder) as writer, open_store(folder, readonly=readonly) as store:
        writer.workspace("alice").add(NOTE)

        def refused() -> bool:
            with pytest.raises(StorageError, match="`spawn`"), open_store(folder):
                pass
            with pytest.raises(StorageError, match="`spawn`"):
                writer.workspace("bob")
            with open_store(folder, readonly=True) as reader:
                found = reader.workspace("alice").search("note")
                return reader.workspaces() == ["alice"] and len(found) == 1 and not reader._parts.database._pool._idle

        inside, done = threading.Event(), threading.Event()

        def read() -> None:
            with store._parts.database.read():
                inside.set()
                done.wait()

        fork_inside(read, inside, done, refused)
        with child(lambda: bool(writer.workspace("carol"))):
            pass
        assert store.workspaces() == ["alice", "carol"]


def test_a_child_forked_while_a_thread_opens_the_store_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(folder).close()
    inside, done = threading.Event(), threading.Event()
    really = database.CatalogDatabase._check_version

    def check_version(catalog: database.CatalogDatabase, connection: sqlite3.Connection) -> None:
        really(catalog, connection)
        inside.set()
        done.wait()

    def refused() -> bool:
        monkeypatch.undo()
        with pytest.raises(StorageError, match="`spawn`"):
            open_store(folder)
        return True

    monkeypatch.setattr(database.CatalogDatabase, "_check_version", check_version)
    fork_inside(lambda: open_store(folder).close(), inside, done, refused)


def test_a_child_is_refused_what_its_parent_left_idle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a store that another thread opens while the others are paused for the fork."""
    with open_store(folder) as store:
        store.workspace("alice")
        monkeypatch.setattr(store._parts.database._pool, "_close_idle", lambda: None)

        def refused() -> bool:
            with pytest.raises(StorageError, match="`spawn`"):
                store.workspace("bob")
            return True

        with child(refused):
            pass
        monkeypatch.undo()
        assert store.workspaces() == ["alice"]


def test_a_child_works_where_its_parent_had_several_threads_of_faiss(folder: Path) -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        with open_store(folder) as store:
            alice = store.workspace("alice")
            alice.add(NOTE)

            def works() -> bool:
                alice.add(b"Another note. " * 5000)
                return len(alice.search_many(["note", "other"])) == 2

            assert works()
            alice.remove(alice.add(b"Another note. " * 5000).hash)
            store.collect()
            with child(works):
                pass
    finally:
        faiss.omp_set_num_threads(before)
