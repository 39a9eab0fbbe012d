"""Accesses: when they are written, that nothing waits for that, and that nobody who is in use expires for it."""

from __future__ import annotations

import io
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore, DocumentNotFound, Workspace, accesses, lifetimes
from docstore.database import CatalogDatabase, Database
from docstore.lifecycle import expire
from docstore.testing import HashEmbedder
from tests.children import child
from tests.clock import DAY, HOUR, LATE, NOTE, Clock, expire_now
from tests.folders import hash_of, query


def written(folder: Path) -> list[Any]:
    return [moment for (moment,) in query(folder, "SELECT accessed_at FROM workspaces ORDER BY id")]


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each write transaction of any store."""
    begun: list[object] = []
    write = CatalogDatabase.write

    def counted(database: CatalogDatabase, **options: Any) -> AbstractContextManager[Database]:
        begun.append(database)
        return write(database, **options)

    monkeypatch.setattr(CatalogDatabase, "write", counted)
    return begun


def test_accesses_are_written_once_a_minute_and_at_the_end(folder: Path, clock: Clock) -> None:
    store = DocStore(folder, embedder=HashEmbedder())
    alice = store.workspace("alice")
    clock.advance(timedelta(seconds=50))
    alice.search("key")
    assert written(folder) == [None], "that it was created is written"
    clock.advance(timedelta(seconds=11))
    alice.search("key")
    first = written(folder)
    assert first != [None]
    clock.advance(timedelta(seconds=50))
    alice.search("key")
    assert written(folder) == first
    clock.advance(timedelta(seconds=11))
    alice.search("key")
    second = written(folder)
    assert second > first
    clock.advance(timedelta(seconds=30))
    alice.search("key")
    assert written(folder) == second
    store.close()
    assert written(folder) > second
    store.close()


def test_a_change_is_an_access_in_one_commit(
    store: DocStore, alice: Workspace, folder: Path, clock: Clock, commits: list[object]
) -> None:
    hash = store.workspace("bob").add(NOTE).hash
    changes: list[Callable[[], object]] = [
        lambda: alice.link(hash),
        lambda: alice.pin(hash),
        lambda: alice.remove(hash),
    ]
    for change in changes:
        clock.advance(HOUR)
        before = written(folder)[0]
        commits.clear()
        change()
        assert written(folder)[0] != before
        alice.search("right after it")
        assert len(commits) == 1


def test_a_change_that_fails_is_no_access(store: DocStore, alice: Workspace, folder: Path, clock: Clock) -> None:
    clock.advance(HOUR)
    with pytest.raises(DocumentNotFound):
        alice.remove(hash_of(NOTE))
    assert written(folder) == [None]
    alice.search("key")
    assert written(folder) != [None]


def test_a_search_does_not_wait_to_write_its_access(
    folder: Path,
    store: DocStore,
    alice: Workspace,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    commits: list[object],
) -> None:
    monkeypatch.setattr(accesses.Accesses, "_write_later", lambda *_: None)
    clock.advance(HOUR)
    with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        commits.clear()
        assert alice.search("key") == []
        assert written(folder) == [None]
        other.execute("ROLLBACK")
    assert alice.search("key") == []
    assert (written(folder), len(commits)) == ([None], 1), "not with every search"
    store.close()
    assert written(folder) != [None]


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_access_that_met_a_lock_is_written_soon(folder: Path, store: DocStore, clock: Clock) -> None:
    """By no other access: there may be none for long, and another process takes the workspace away."""
    chat = store.workspace("chat", ttl=2 * HOUR)
    clock.advance(2 * HOUR)
    with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        chat.search("key")
        other.execute("ROLLBACK")
    wait_for(lambda: written(folder) != [None])
    clock.advance(HOUR)
    with DocStore(folder, embedder=HashEmbedder()) as another:
        assert expire_now(another) == ((), ())
    wait_for(lambda: not any(each.name == "docstore accesses" for each in threading.enumerate()))


def test_a_search_does_not_fail_for_a_thread(
    folder: Path, store: DocStore, alice: Workspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock.advance(HOUR)
    with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            alice.search("key")
        clock.advance(timedelta(seconds=2))
        alice.search("key")
        other.execute("ROLLBACK")
    wait_for(lambda: written(folder) != [None])


@pytest.mark.parametrize("place", [(CatalogDatabase, "write"), (accesses, "islice")])
def test_the_thread_outlives_a_lack_of_memory(
    folder: Path, alice: Workspace, clock: Clock, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    does, refused = getattr(*place), threading.Event()

    def full(*args: Any, **options: Any) -> Any:
        if threading.current_thread().name == "docstore accesses" and not refused.is_set():
            refused.set()
            raise MemoryError
        return does(*args, **options)

    clock.advance(HOUR)
    monkeypatch.setattr(*place, full)
    with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        alice.search("key")
        assert refused.wait(20)
        other.execute("ROLLBACK")
    wait_for(lambda: written(folder) != [None])


def test_a_late_note_is_tried_for_as_long_as_it_is_not_in_vain(
    folder: Path, store: DocStore, alice: Workspace, clock: Clock
) -> None:
    with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None)) as other:
        clock.advance(HOUR)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            alice.search("key")
            clock.advance(LATE - timedelta(seconds=20))
            time.sleep(0.2)  # the thread looks
        other.execute("ROLLBACK")
    wait_for(lambda: written(folder) != [None])


def test_the_thread_ends_with_the_store(folder: Path, clock: Clock) -> None:
    store = DocStore(folder, embedder=HashEmbedder())
    alice = store.workspace("alice")
    clock.advance(HOUR)
    with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        alice.search("key")
        store.close()
        wait_for(lambda: not any(each.name == "docstore accesses" for each in threading.enumerate()))


def test_a_fork_waits_for_the_thread_and_not_the_other_way_round(
    folder: Path, store: DocStore, alice: Workspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child would inherit a connection that is in use."""
    clock.advance(HOUR)
    is_writing = threading.Event()
    note = lifetimes.note

    def slowly(db: Database, noted: dict[int, datetime]) -> None:
        is_writing.set()
        time.sleep(0.2)
        note(db, noted)

    with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        alice.search("key")
        monkeypatch.setattr(lifetimes, "note", slowly)
        other.execute("ROLLBACK")
    assert is_writing.wait(20)
    with child(lambda: store.workspaces() == ["alice"]):
        assert written(folder) != [None]


def test_a_clock_that_went_back_delays_no_access(folder: Path, store: DocStore, alice: Workspace, clock: Clock) -> None:
    clock.advance(-DAY)
    alice.search("key")
    assert written(folder) != [None]


def test_accesses_only_grow(store: DocStore, alice: Workspace, folder: Path, clock: Clock) -> None:
    clock.advance(HOUR)
    alice.search("key")
    (later,) = written(folder)
    clock.advance(-DAY)
    with DocStore(folder, embedder=HashEmbedder()) as another:
        another.workspace("alice").search("key")
    assert written(folder) == [later]


def test_what_another_process_searched_a_minute_ago_stays(folder: Path, clock: Clock) -> None:
    using = DocStore(folder, embedder=HashEmbedder())
    chat = using.workspace("chat", ttl=HOUR)
    chat.search("key")
    clock.advance(timedelta(seconds=59))
    chat.search("key")
    with DocStore(folder, embedder=HashEmbedder()) as expiring:
        clock.advance(HOUR)
        assert expire_now(expiring) == ((), ())
    using.close()


def test_what_this_process_searched_is_written_before_it_expires(store: DocStore, clock: Clock) -> None:
    chat = store.workspace("chat", ttl=timedelta(seconds=1))
    chat.search("key")
    clock.advance(timedelta(seconds=59))
    chat.search("key")
    clock.advance(accesses.MERCY)
    assert expire_now(store)[0] == ()
    clock.advance(timedelta(seconds=2))
    assert store.expire().expired == ("chat",)


def test_workspaces_in_use_never_expire(store: DocStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches and expiries at once, with a time to live that is over some times meanwhile."""
    monkeypatch.setattr(expire, "MERCY", timedelta(seconds=1))
    monkeypatch.setattr(accesses, "_EVERY", timedelta(milliseconds=100))
    chat = store.workspace("chat", ttl=timedelta(seconds=2))
    chat.add(NOTE)
    stop = threading.Event()

    def search() -> int:
        done = 0
        while not stop.is_set():
            assert chat.search("key")
            done += 1
        return done

    with ThreadPoolExecutor(3) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        try:
            ends = time.monotonic() + 5
            while time.monotonic() < ends:
                assert store.expire().expired == ()
        finally:
            stop.set()
        assert all(each.result() for each in searching)


def test_a_workspace_does_not_expire_while_what_is_added_is_read(store: DocStore, clock: Clock) -> None:
    chat = store.workspace("chat", ttl=HOUR)

    class Slow(io.RawIOBase):
        name = "slow.txt"

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            clock.advance(LATE / 2)
            assert store.expire().expired == ()
            return next(pieces, b"")

    pieces = iter([NOTE, b" and more"])
    clock.advance(HOUR)
    assert chat.add(Slow()).chunks == 1  # type: ignore[arg-type]


def test_a_workspace_does_not_expire_while_what_is_added_is_embedded(folder: Path, clock: Clock) -> None:
    class Slow(HashEmbedder):
        calls = 0

        def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
            self.calls += 1
            clock.advance(HOUR / 2)
            assert store.expire().expired == ()
            return super().embed(texts)

    embedder = Slow()
    with DocStore(folder, embedder=embedder, chunk_size=100, chunk_overlap=0) as store:
        chat = store.workspace("chat", ttl=HOUR)
        assert chat.add(" ".join(f"word{number}" for number in range(20_000)).encode()).chunks > 1000
    assert embedder.calls > 3


def test_what_is_included_is_noted_in_the_same_commit(
    store: DocStore, alice: Workspace, folder: Path, clock: Clock, commits: list[object]
) -> None:
    for number in range(5):
        alice.include(store.workspace(f"shared {number}"))
    clock.advance(HOUR)
    before = written(folder)
    commits.clear()
    alice.search("key")
    assert len(commits) == 1
    assert all(now != then for now, then in zip(written(folder), before, strict=True))
    alice.search("key")
    assert len(commits) == 1


def test_workspaces_that_were_used_long_ago_take_no_memory(
    store: DocStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesses, "_SOME", 10)
    noted = store._parts.accesses
    noted._most_due = 10
    for number in range(200):
        noted.note(number)
        clock.advance(HOUR)
    assert len(noted._due) <= 12


def test_workspaces_that_are_deleted_leave_no_note(store: DocStore, clock: Clock) -> None:
    noted = store._parts.accesses
    for number in range(5):
        chat = store.workspace(f"chat {number}")
        chat.add(NOTE)
        chat.search("key")
        store.delete_workspace(chat.name)
    assert not noted._noted and not noted._due


def test_what_nobody_uses_any_more_is_written_and_takes_no_memory(
    folder: Path, store: DocStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, commits: list[object]
) -> None:
    """A chat that is over is used by nobody, ever again."""
    monkeypatch.setattr(accesses, "_SOME", 10)
    monkeypatch.setattr(accesses, "_TOGETHER", 4)
    noted = store._parts.accesses
    chats = [store.workspace(f"chat {number}") for number in range(21)]
    for chat in chats:
        chat.search("key")
    clock.advance(timedelta(seconds=61))
    commits.clear()
    chats[0].search("key")
    wait_for(lambda: not noted._noted)
    assert len(commits) == 1 + 5  # four together: a writer waits for no more
    assert None not in written(folder)


def test_notes_that_are_written_at_the_end_hold_up_nobody_for_long(
    store: DocStore, monkeypatch: pytest.MonkeyPatch, commits: list[object]
) -> None:
    monkeypatch.setattr(accesses, "_TOGETHER", 4)
    for number in range(10):
        store.workspace(f"chat {number}").search("key")
    commits.clear()
    store.expire(dry_run=True)
    assert (len(commits), store._parts.accesses._noted) == (3, {})
