"""Expiry: who leaves when, what stays meanwhile, what comes back, and that nobody who is used leaves."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from docstore import (
    DocStore,
    InvalidArgument,
    StoreReadOnly,
    Workspace,
    WorkspaceExists,
    WorkspaceInfo,
    WorkspaceNotFound,
    lifetimes,
)
from docstore.lifecycle import expire
from docstore.testing import HashEmbedder
from tests.clock import DAY, HOUR, LATE, NOTE, Clock, expire_now
from tests.folders import execute, files, hash_of, problems, query


@pytest.fixture
def chat(store: DocStore) -> Workspace:
    chat = store.workspace("chat", ttl=HOUR)
    chat.add(NOTE, name="note.txt", metadata={"year": 2024})
    return chat


# -- when ---------------------------------------------------------------------------------------------------------


def test_without_a_time_to_live_nothing_expires(store: DocStore, alice: Workspace, clock: Clock) -> None:
    clock.advance(1000 * DAY)
    assert expire_now(store) == ((), ())
    info = alice.info()
    assert (info.ttl, info.expires_at, info.expired_at) == (None, None, None)


USES: dict[str, Callable[[Workspace], object]] = {
    "search": lambda chat: chat.search("key"),
    "search_vector": lambda chat: chat.search_vector([1.0] * HashEmbedder().dimension),
    "search_many": lambda chat: chat.search_many(["key"]),
    "add": lambda chat: chat.add(b"Another note."),
    "add_many": lambda chat: chat.add_many([b"Another note."]),
    "read": lambda chat: chat.read(chat.documents()[0].hash).close(),
    "link": lambda chat: chat.link(chat.documents()[0].hash),
    "remove": lambda chat: chat.remove(chat.documents()[0].hash),
}


@pytest.mark.parametrize("use", USES)
def test_every_use_begins_a_sliding_time_anew(store: DocStore, chat: Workspace, clock: Clock, use: str) -> None:
    clock.advance(HOUR)
    USES[use](chat)
    clock.advance(HOUR)
    assert expire_now(store) == ((), ())
    clock.advance(LATE)
    assert expire_now(store) == (("chat",), ())


def test_every_other_change_is_a_use_too(store: DocStore, alice: Workspace, chat: Workspace, clock: Clock) -> None:
    for change in (
        partial(chat.include, alice),
        partial(chat.exclude, alice),
        partial(chat.limit, documents=9),
        partial(chat.conversation, "talk"),
    ):
        clock.advance(HOUR)
        change()
        clock.advance(HOUR)
        assert expire_now(store) == ((), ())


def test_whoever_asks_for_a_set_uses_it(store: DocStore, clock: Clock) -> None:
    store.workspace_for([NOTE]).expire_after(HOUR)
    clock.advance(HOUR)
    assert len(store.workspace_for([NOTE])) == 1
    clock.advance(HOUR)
    assert expire_now(store) == ((), ())


def test_a_fixed_time_does_not_care_for_uses(store: DocStore, clock: Clock) -> None:
    chat = store.workspace("chat", ttl=HOUR, sliding=False)
    info = chat.info()
    assert info.expires_at == info.created_at + HOUR
    clock.advance(HOUR - timedelta(seconds=5))
    chat.add(NOTE)
    assert expire_now(store) == ((), ())
    clock.advance(timedelta(seconds=6))
    assert expire_now(store) == (("chat",), ())


def test_looking_is_no_use(store: DocStore, chat: Workspace, clock: Clock) -> None:
    clock.advance(HOUR + LATE)
    assert chat.documents() and len(chat) and chat.info()
    assert store.workspace("chat", ttl=DAY).info().ttl == HOUR, "a ttl is for what is created"
    assert expire_now(store) == (("chat",), ())


@pytest.mark.parametrize("sliding", [True, False])
def test_a_time_to_live_can_be_changed(store: DocStore, chat: Workspace, clock: Clock, sliding: bool) -> None:
    clock.advance(HOUR)
    chat.expire_after(2 * HOUR, sliding=sliding)
    info = chat.info()
    assert (info.ttl, info.sliding) == (2 * HOUR, sliding)
    assert info.expires_at is not None and abs(info.expires_at - clock.now() - 2 * HOUR) < timedelta(seconds=5)
    clock.advance(2 * HOUR - timedelta(seconds=5))
    assert expire_now(store) == ((), ())
    clock.advance(LATE + timedelta(seconds=5))
    chat.expire_after(None)
    assert expire_now(store) == ((), ())
    chat.expire_after(timedelta(seconds=1), sliding=False)
    clock.advance(timedelta(seconds=1))
    assert expire_now(store) == (("chat",), ())


def test_the_stores_default(folder: Path, clock: Clock) -> None:
    with DocStore(folder, embedder=HashEmbedder(), default_ttl=HOUR, default_sliding=False) as store:
        store.workspace("chat")
        store.workspace("long", ttl=DAY)
        clock.advance(HOUR)
        assert expire_now(store) == (("chat",), ())
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.workspace("new").info().ttl is None


@pytest.mark.parametrize("ttl", [0, 3600, "1h", timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=999),
                                 timedelta(days=36_501)])  # fmt: skip
def test_what_is_no_time_to_live_is_refused(store: DocStore, alice: Workspace, ttl: Any, tmp_path: Path) -> None:
    for refuse in (
        lambda: store.workspace("new", ttl=ttl),
        lambda: alice.expire_after(ttl),
        lambda: DocStore(tmp_path / "another", default_ttl=ttl),
    ):
        with pytest.raises(InvalidArgument, match="ttl"):
            refuse()
    assert store.workspaces() == ["alice"]


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), 3600, None])
def test_what_is_no_grace_period_is_refused(store: DocStore, grace: Any) -> None:
    with pytest.raises(InvalidArgument, match="grace"):
        store.expire(grace=grace)


# -- what it means ------------------------------------------------------------------------------------------------


def test_an_expired_workspace_is_gone_and_its_documents_are_not(
    store: DocStore, chat: Workspace, clock: Clock, folder: Path
) -> None:
    document = chat.documents()[0]
    clock.advance(HOUR + LATE)
    assert expire_now(store) == (("chat",), ())
    uses: list[Callable[[], object]] = [
        *(partial(USES[name], chat) for name in ("search", "search_vector", "search_many", "add", "add_many")),
        chat.documents, chat.__len__, chat.info, lambda: chat.expire_after(DAY),
        lambda: chat.remove(document.hash), lambda: chat.link(document.hash),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(WorkspaceNotFound, match=r"'chat' expired at .*store\.undelete\('chat'\)"):
            use()
    assert store.workspaces() == []
    assert [(each.name, each.documents) for each in store.expired()] == [("chat", 1)]
    stats = store.stats()
    assert (stats.workspaces, stats.expired, stats.references, stats.documents) == (0, 1, 1, 1)
    assert store.refcount(document.hash) == 1
    assert store.collect().documents == 0
    assert store.verify().ok and problems(folder) == []
    with pytest.raises(WorkspaceNotFound):
        store.delete_workspace("chat")


def test_undelete_restores_all(store: DocStore, chat: Workspace, clock: Clock) -> None:
    before, hits = chat.documents(), chat.search("key")
    created = chat.info().created_at
    clock.advance(HOUR + LATE)
    store.expire()
    clock.advance(6 * DAY)
    assert expire_now(store) == ((), ())
    back = store.undelete("chat")
    for handle in (back, chat):
        assert (handle.documents(), handle.search("key")) == (before, hits)
    assert (chat.info().created_at, store.workspaces(), store.expired()) == (created, ["chat"], [])
    assert store.stats().expired == 0
    assert expire_now(store) == ((), ()), "its time begins anew"
    clock.advance(HOUR + LATE)
    assert expire_now(store) == (("chat",), ())
    assert store.verify().ok


def test_a_fixed_time_begins_anew_too(store: DocStore, clock: Clock) -> None:
    store.workspace("chat", ttl=HOUR, sliding=False)
    clock.advance(HOUR)
    store.expire()
    store.undelete("chat")
    assert expire_now(store) == ((), ())
    clock.advance(HOUR)
    assert expire_now(store) == (("chat",), ())


def test_the_name_is_free_at_once(store: DocStore, chat: Workspace, clock: Clock) -> None:
    clock.advance(HOUR + LATE)
    store.expire()
    new = store.workspace("chat")
    assert new.documents() == []
    with pytest.raises(WorkspaceExists, match="new_name"):
        store.undelete("chat")
    old = store.undelete("chat", new_name="old chat")
    assert (old.name, len(old), store.workspaces()) == ("old chat", 1, ["chat", "old chat"])
    with pytest.raises(WorkspaceNotFound, match="No workspace 'chat' is expired"):
        store.undelete("chat")


def test_of_one_name_the_last_comes_back(store: DocStore, clock: Clock) -> None:
    for text in (b"first", b"second"):
        store.workspace("chat", ttl=HOUR).add(text)
        clock.advance(HOUR + LATE)
        assert expire_now(store) == (("chat",), ())
    assert [each.name for each in store.expired()] == ["chat", "chat"]
    assert store.undelete("chat").search("second", k=1)[0].text == "second"
    assert store.undelete("chat", new_name="before").search("first", k=1)[0].text == "first"


def test_after_the_grace_period_it_is_deleted_for_good(
    store: DocStore, chat: Workspace, bob: Workspace, clock: Clock, folder: Path
) -> None:
    shared = bob.add(b"A note of both.")
    chat.link(shared.hash)
    clock.advance(HOUR + LATE)
    assert expire_now(store, grace=DAY) == (("chat",), ())
    clock.advance(DAY)
    assert expire_now(store, grace=DAY) == ((), ("chat",))
    for gone in (lambda: store.undelete("chat"), lambda: chat.search("key")):
        with pytest.raises(WorkspaceNotFound):
            gone()
    assert store.stats().expired == 0 and store.expired() == []
    assert store.collect().documents == 1
    assert store.refcount(shared.hash) == 1
    assert len(files(folder, "documents")) == 1
    assert store.verify().ok and problems(folder) == []


def test_without_grace_all_goes_at_once(store: DocStore, chat: Workspace, clock: Clock) -> None:
    clock.advance(HOUR + LATE)
    assert expire_now(store, grace=timedelta(0)) == (("chat",), ("chat",))
    assert query(Path(store._parts.folder), "SELECT count(*) FROM workspaces") == [(0,)]


def test_more_than_fit_one_transaction(store: DocStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expire, "_BATCH", 2)
    monkeypatch.setattr(expire, "_HOLD_SECONDS", 0)
    names = tuple(f"chat {number}" for number in range(5))
    for name in names:
        store.workspace(name, ttl=HOUR)
    clock.advance(HOUR + LATE)
    assert expire_now(store, grace=timedelta(0)) == (names, names)


def test_only_those_that_are_over_are_looked_at(folder: Path, chat: Workspace) -> None:
    due = lifetimes._DUE.replace(":now", "''").replace(":merciful", "''")
    plan = query(folder, f"EXPLAIN QUERY PLAN {due}")
    assert [detail for *_, detail in plan] == ["SEARCH workspaces USING INDEX workspaces_expiring (expires_at<?)"]


def test_names_of_expired_workspaces_cannot_be_asked_for(store: DocStore, chat: Workspace, clock: Clock) -> None:
    clock.advance(HOUR + LATE)
    store.expire()
    (name,) = query(store._parts.folder, "SELECT name FROM workspaces")[0]
    for ask in (store.workspace, store.delete_workspace, store.undelete):
        with pytest.raises(InvalidArgument, match="kept for expired"):
            ask(name)


def test_verify_names_an_expired_workspace_as_people_do(
    store: DocStore, chat: Workspace, clock: Clock, folder: Path
) -> None:
    clock.advance(HOUR + LATE)
    store.expire()
    (folder / files(folder, "documents")[0]).write_bytes(b"damage")
    assert {each.workspaces for each in store.verify().problems} == {("chat (expired)",)}


def test_repair_corrects_the_number_of_expired(store: DocStore, chat: Workspace, clock: Clock, folder: Path) -> None:
    clock.advance(HOUR + LATE)
    store.expire()
    execute(folder, "UPDATE totals SET expired = 7")
    assert [each.detail for each in store.verify().problems] == ["the totals do not add up"]
    assert store.repair().ok and store.verify().ok
    assert store.stats().expired == 1


@pytest.mark.parametrize("column", ["accessed_at", "lives_from", "expired_at", "created_at"])
def test_a_flipped_byte_of_a_time_shows(store: DocStore, chat: Workspace, clock: Clock, column: str) -> None:
    chat.expire_after(HOUR)
    clock.advance(HOUR + LATE)
    store.expire()
    folder = store._parts.folder
    (stored,) = query(folder, f"SELECT {column} FROM workspaces")[0]
    store.close()
    with closing(sqlite3.connect(folder / "catalog.db")) as catalog:
        catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page, size) = catalog.execute("SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master "
                                       "WHERE name = 'workspaces'").fetchone()  # fmt: skip
    data = bytearray((folder / "catalog.db").read_bytes())
    at = data.index(stored.encode(), (page - 1) * size, page * size)
    data[at + 3] ^= 1
    (folder / "catalog.db").write_bytes(data)
    with DocStore(folder, embedder=HashEmbedder()) as damaged:
        assert not damaged.verify().ok


# -- other ways to open -------------------------------------------------------------------------------------------


@pytest.fixture
def expired(folder: Path, clock: Clock) -> Path:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("chat", ttl=HOUR).add(NOTE)
        store.workspace("due", ttl=HOUR).add(NOTE)
        clock.advance(HOUR + LATE)
        store.workspace("due").search("key")
        store.expire()
        clock.advance(HOUR + LATE)
    return folder


def test_a_readonly_store_writes_nothing(expired: Path) -> None:
    before = {path: path.read_bytes() for path in expired.rglob("*") if path.is_file()}
    with DocStore(expired, embedder=HashEmbedder(), readonly=True) as store:
        assert store.workspaces() == ["due"]
        assert [each.name for each in store.expired()] == ["chat"]
        assert store.workspace("due").search("key")
        assert store.expire(dry_run=True).expired == ("due",)
        for change in (store.expire, lambda: store.undelete("chat"), lambda: store.workspace("due").expire_after(DAY)):
            with pytest.raises(StoreReadOnly):
                change()
    assert {path: path.read_bytes() for path in expired.rglob("*") if path.is_file()} == before


def test_where_bytes_are_demanded_an_expired_workspace_shows_nothing(expired: Path) -> None:
    """What nobody but an expired workspace has, and what a living one has, is added like what nobody has."""
    with DocStore(expired, embedder=HashEmbedder(), demand_bytes=True) as store:
        assert not store.workspace("mallory").add(NOTE).reused
        infos: list[WorkspaceInfo] = [store.workspace("mallory").info()]
        assert infos[0].documents == 1


# -- what hangs on a workspace ------------------------------------------------------------------------------------


def test_what_an_expired_workspace_lent_is_not_covered_until_it_is_back(
    store: DocStore, alice: Workspace, chat: Workspace, clock: Clock
) -> None:
    alice.include(chat)
    assert alice.search("key")
    clock.advance(HOUR + LATE)
    expire_now(store)
    assert alice.search("key") == []
    assert alice.includes() == []
    store.undelete("chat")
    assert alice.includes() == ["chat"]
    assert alice.search("key")[0].name == "note.txt"


def test_a_handle_of_an_expired_workspace_says_so(
    store: DocStore, alice: Workspace, chat: Workspace, clock: Clock
) -> None:
    chat.conversation("talk")
    chat.include(alice)
    clock.advance(HOUR + LATE)
    assert expire_now(store) == (("chat",), ())
    for call in (partial(chat.conversation, "talk"), partial(chat.exclude, alice)):
        with pytest.raises(WorkspaceNotFound, match="expired"):
            call()


def test_what_was_said_in_an_expired_workspace_comes_back_with_it(
    store: DocStore, chat: Workspace, clock: Clock
) -> None:
    talk = chat.conversation("talk")
    talk.append("assistant", "Behind the door.", hits=chat.search("key"))
    clock.advance(HOUR + LATE)
    expire_now(store)
    for use in (talk.messages, talk.export, lambda: talk.append("user", "Still there?")):
        with pytest.raises(WorkspaceNotFound, match="expired"):
            use()
    (message,) = store.undelete("chat").conversation("talk").messages()
    assert message.sources[0].text == NOTE.decode()
    assert talk.messages() == [message]


def test_talking_is_a_use(store: DocStore, chat: Workspace, clock: Clock) -> None:
    talk = chat.conversation("talk")
    for _ in range(3):
        clock.advance(HOUR - LATE)
        talk.append("user", "Is this kept?")
        assert expire_now(store) == ((), ())


def test_an_expired_workspace_gets_new_versions_too(store: DocStore, chat: Workspace, clock: Clock) -> None:
    clock.advance(HOUR + LATE)
    expire_now(store)
    done = store.replace(hash_of(NOTE), b"The store room key is lost.")
    assert done.moved == ("chat (expired)",)
    assert store.undelete("chat").search("key")[0].text == "The store room key is lost."


def test_what_others_search_is_in_use(store: DocStore, alice: Workspace, chat: Workspace, clock: Clock) -> None:
    alice.include(chat)
    for _ in range(3):
        clock.advance(HOUR - LATE)
        alice.search("key")
        assert expire_now(store) == ((), ())
