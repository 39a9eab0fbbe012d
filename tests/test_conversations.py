"""Conversations: what was said stays, in order, whoever else writes; sources show texts while these are there."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from docstore import (
    Conversation,
    ConversationNotFound,
    DocStore,
    IntegrityError,
    InvalidArgument,
    Message,
    StoreReadOnly,
    Workspace,
    WorkspaceNotFound,
    conversations,
    messages,
)
from docstore.testing import HashEmbedder
from tests.folders import execute, hash_of, lie, problems, query
from tests.samples import SNOW


def said(chat: Conversation) -> list[tuple[int, str, str]]:
    return [(each.number, each.role, each.content) for each in chat.messages()]


def test_what_was_said_is_read_again(folder: Path, store: DocStore, alice: Workspace, chat: Conversation) -> None:
    question = chat.append("user", "Where do the ships lie?", metadata={"tokens": 6, "tags": ["a", None]})
    answer = chat.append("assistant", "")
    assert (question.number, answer.number, answer.sources) == (1, 2, ())
    assert abs(datetime.now(UTC) - question.at) < timedelta(minutes=1)
    assert chat.messages() == [question, answer]
    store.close()
    with DocStore(folder, embedder=HashEmbedder()) as again:
        assert again.workspace("alice").conversation("chat").messages() == [question, answer]


def test_whoever_asks_second_for_a_new_one_uses_up_no_id(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite counts the ids that it gives out, and the catalog the rows: what differs is damage to `verify`."""
    find, looks = conversations.find, []

    def too_early(db: sqlite3.Connection, workspace: int, name: str) -> int | None:
        looks.append(name)
        return None if len(looks) == 1 else find(db, workspace, name)

    alice.conversation("talk").append("user", "Hello.")
    monkeypatch.setattr(conversations, "find", too_early)
    assert len(alice.conversation("talk").messages()) == 1
    assert store.verify().ok


def test_pages(chat: Conversation) -> None:
    for number in range(1, 8):
        chat.append("user", f"message {number}")
    assert [each.number for each in chat.messages(limit=3)] == [1, 2, 3]
    assert [each.number for each in chat.messages(after=3, limit=3)] == [4, 5, 6]
    assert [each.number for each in chat.messages(after=6)] == [7]
    assert chat.messages(after=7) == []
    for wrong in ({"after": -1}, {"limit": 0}, {"after": True}, {"limit": "3"}, {"after": 1 << 64}):
        with pytest.raises(InvalidArgument):
            chat.messages(**wrong)


def test_the_list_has_the_latest_first(alice: Workspace, bob: Workspace) -> None:
    assert alice.conversations() == []
    first, second = alice.conversation("first"), alice.conversation("second")
    bob.conversation("first").append("user", "bob's own")
    second.append("user", "1")
    first.append("user", "2")
    first.append("user", "3")
    third = alice.conversation("third")
    third.append("user", "4")
    found = alice.conversations()
    assert {each.name: each.messages for each in found} == {"third": 1, "first": 2, "second": 1}
    assert [each.changed_at for each in found] == sorted((each.changed_at for each in found), reverse=True)
    assert alice.conversation("first").messages() == first.messages()


def test_renaming(alice: Workspace, chat: Conversation) -> None:
    other = alice.conversation("chat")
    chat.append("user", "1")
    chat.rename("Ships ☂")
    assert chat.name == "Ships ☂" and [each.name for each in alice.conversations()] == ["Ships ☂"]
    other.append("user", "2")  # an answer that took a while must not be lost because somebody gave the chat a title
    assert said(chat) == said(other) == [(1, "user", "1"), (2, "user", "2")]
    alice.conversation("taken")
    with pytest.raises(InvalidArgument, match="already"):
        chat.rename("taken")
    chat.rename("Ships ☂")
    assert alice.conversation("chat").messages() == []


def test_a_deleted_conversation_is_gone_for_all_who_hold_it(alice: Workspace, chat: Conversation) -> None:
    chat.append("user", "1")
    other = alice.conversation("chat")
    chat.delete()
    calls: list[Callable[[], object]] = [
        lambda: other.append("user", "2"), other.messages, lambda: other.rename("x"), other.delete, other.export,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ConversationNotFound):
            call()
    assert alice.conversations() == []
    again = alice.conversation("chat")
    assert again.messages() == []
    with pytest.raises(ConversationNotFound):
        other.messages()


def test_deleting_the_workspace_deletes_all_of_it(
    store: DocStore, folder: Path, alice: Workspace, bob: Workspace, chat: Conversation
) -> None:
    for number in range(30):
        chat.append("user", f"A secret of alice, number {number}. " * 400, metadata={"secret": "metasecret"})
    kept = bob.conversation("chat").append("user", "What bob says stays.")
    store.delete_workspace("alice")
    with pytest.raises(ConversationNotFound):
        chat.append("user", "more")
    with pytest.raises(WorkspaceNotFound):
        alice.conversation("chat")
    with pytest.raises(WorkspaceNotFound):
        alice.conversations()
    assert query(folder, "SELECT count(*) FROM messages") == [(1,)]
    store.collect()
    left = b"".join(path.read_bytes() for path in folder.glob("catalog.db*"))
    assert b"secret" not in left and b"What bob says" in left
    assert bob.conversation("chat").messages() == [kept]
    assert problems(folder) == []


@pytest.mark.parametrize("size", [10, 5_000, 1 << 20])
def test_no_byte_of_a_deleted_conversation_is_left_after_a_collection(
    store: DocStore, folder: Path, alice: Workspace, chat: Conversation, size: int
) -> None:
    others = [alice.conversation(f"other {number}") for number in range(3)]
    for number in range(12):
        chat.append("user", "sEcReT" + "x" * (size - 6))
        others[number % 3].append("user", "public" * 50)
    chat.delete()
    store.collect()
    assert b"sEcReT" not in b"".join(path.read_bytes() for path in folder.glob("catalog.db*"))
    assert [len(each.messages()) for each in others] == [4, 4, 4]


def test_threads_and_stores_never_lose_a_message(folder: Path, store: DocStore, chat: Conversation) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as second:
        handles = [chat, second.workspace("alice").conversation("chat")]

        def write(writer: int) -> list[Message]:
            return [handles[writer % 2].append(f"writer {writer}", str(number)) for number in range(25)]

        with ThreadPoolExecutor(8) as pool:
            written = [message for some in pool.map(write, range(8)) for message in some]
    found = chat.messages(limit=1000)
    assert [each.number for each in found] == list(range(1, 201))
    assert sorted(written, key=lambda each: each.number) == found
    for writer in range(8):
        assert [each.content for each in found if each.role == f"writer {writer}"] == [str(n) for n in range(25)]


def _write(folder: Path, writer: int) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        for number in range(20):
            store.workspace("alice").conversation("chat").append(f"writer {writer}", str(number))


def test_processes_never_lose_a_message(folder: Path, store: DocStore, chat: Conversation) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_write, args=(folder, writer)) for writer in range(3)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(60)
        assert each.exitcode == 0
    found = chat.messages(limit=1000)
    assert [each.number for each in found] == list(range(1, 61))
    assert len({(each.role, each.content) for each in found}) == 60


def test_the_export_is_json_of_one_moment(alice: Workspace, chat: Conversation) -> None:
    assert json.loads(chat.export())["messages"] == []
    alice.add(SNOW, name="snow.txt")
    for number in range(205):
        chat.append("user", f"message {number} ☂", metadata={"n": number})
    last = chat.append("assistant", "Under snow.", hits=alice.search("snow", k=1))
    exported = json.loads(chat.export())
    assert exported["name"] == "chat" and datetime.fromisoformat(exported["created_at"]) <= last.at
    assert [each["number"] for each in exported["messages"]] == list(range(1, 207))
    assert exported["messages"][7]["content"] == "message 7 ☂" and exported["messages"][7]["metadata"] == {"n": 7}
    assert exported["messages"][-1]["sources"][0]["text"] == SNOW.decode()
    assert exported["messages"][-1]["at"] == last.at.isoformat()
    alice.remove(hash_of(SNOW))
    assert json.loads(chat.export())["messages"][-1]["sources"][0]["name"] == "was snow.txt"


def test_what_is_said_while_it_is_exported_is_not_in_it(
    chat: Conversation, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(150):
        chat.append("user", f"message {number}")
    real, meanwhile = messages.page, iter(["one more", "and more", "and more"])
    with DocStore(folder, embedder=HashEmbedder()) as other:

        def page(*arguments: Any) -> Any:
            for text in meanwhile:
                other.workspace("alice").conversation("chat").append("user", text)
                break
            return real(*arguments)

        monkeypatch.setattr(messages, "page", page)
        exported = json.loads(chat.export())["messages"]
    monkeypatch.undo()
    assert [each["number"] for each in exported] == list(range(1, 151))
    assert len(chat.messages(limit=1000)) > 150


@pytest.mark.parametrize(
    ("role", "content", "more"),
    [
        ("", "x", {}), ("user", None, {}), ("user", b"x", {}), ("user", "a\0b", {}), ("user", "\ud800", {}),
        ("user", "ü" * (1 << 19) + "x", {}), ("user", "x", {"metadata": {"a": object()}}), ("user\0", "x", {}),
        ("user", "x", {"metadata": {"a": "x" * 70_000}}), ("user", "x", {"hits": "text"}), ("user", "x", {"hits": 7}),
        ("user", "x", {"hits": [7]}), (7, "x", {}),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_and_changes_nothing(
    chat: Conversation, role: Any, content: Any, more: Any
) -> None:
    with pytest.raises(InvalidArgument):
        chat.append(role, content, **more)
    assert chat.messages() == []
    chat.append("user", "ü" * (1 << 19))


def test_names(alice: Workspace) -> None:
    for wrong in ("", " ", 7, "a\0", "x" * 1001):
        with pytest.raises(InvalidArgument):
            alice.conversation(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument):
            alice.conversation("chat").rename(wrong)  # type: ignore[arg-type]


def test_a_readonly_store_reads_and_writes_nothing(
    folder: Path, store: DocStore, alice: Workspace, chat: Conversation
) -> None:
    alice.add(SNOW)
    message = chat.append("assistant", "Under snow.", hits=alice.search("snow", k=1))
    store.close()
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as reader:
        found = reader.workspace("alice").conversation("chat")
        assert found.messages() == [message] and json.loads(found.export())["messages"][0]["number"] == 1
        assert [each.name for each in reader.workspace("alice").conversations()] == ["chat"]
        with pytest.raises(ConversationNotFound):
            reader.workspace("alice").conversation("other")
        changes: list[Callable[[], object]] = [
            lambda: found.append("user", "x"), lambda: found.rename("x"), found.delete,
        ]  # fmt: skip
        for change in changes:
            with pytest.raises(StoreReadOnly):
                change()


DAMAGE = {
    "content": "UPDATE messages SET content = 'something else' WHERE number = 2",
    "role": "UPDATE messages SET role = 'x' WHERE number = 2",
    "time": "UPDATE messages SET said_at = '2026-01-01T00:00:00.000Z' WHERE number = 2",
    "metadata": """UPDATE messages SET metadata = '{"a":1}' WHERE number = 2""",
    "sources": "UPDATE messages SET sources = '[1]' WHERE number = 2",
    "checksum": "UPDATE messages SET checksum = upper(checksum) || '' WHERE number = 2",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_message_shows(
    folder: Path, store: DocStore, alice: Workspace, chat: Conversation, what: str
) -> None:
    for number in range(3):
        chat.append("user", f"message {number}")
    lie(folder, DAMAGE[what])
    with pytest.raises(IntegrityError, match="Message 2"):
        chat.messages()
    assert len(chat.messages(limit=1)) == len(chat.messages(after=2)) == 1
    (problem,) = store.verify().problems
    assert (problem.kind, problem.path, problem.workspaces) == ("damaged", "messages", ("alice",))
    assert "message 2 of conversation chat" in problem.detail
    assert [each.action for each in store.repair().repairs] == ["unrepaired"]
    chat.delete()
    assert store.verify().ok


def test_the_database_itself_keeps_messages_as_they_are(folder: Path, chat: Conversation) -> None:
    chat.append("user", "1")
    for sql in ("UPDATE messages SET content = 'x'",
                "INSERT INTO messages SELECT conversation_id, 3, role, said_at, checksum, metadata, sources, content "
                "FROM messages"):  # fmt: skip
        with pytest.raises(sqlite3.IntegrityError):
            execute(folder, sql)


CONTRADICTIONS = {
    "workspace": ("DELETE FROM workspaces WHERE name = 'alice'", {"conversations", "totals"}, True),
    "conversation": ("DELETE FROM conversations", {"messages"}, True),
    "message": ("DELETE FROM messages WHERE number = 1", {"messages"}, False),
    "sequence": ("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'conversations'", {"totals"}, True),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_contradicts_itself_is_found_and_what_can_be_corrected_is(
    folder: Path, store: DocStore, alice: Workspace, chat: Conversation, what: str
) -> None:
    chat.append("user", "What was said to nobody.")
    chat.append("user", "2")
    sql, tables, corrected = CONTRADICTIONS[what]
    execute(folder, sql)
    assert {each.path for each in store.verify().problems} <= tables
    assert not store.verify().ok
    report = store.repair()
    assert report.ok == corrected == store.verify().ok
    if what in ("workspace", "conversation"):
        kept = b"".join(path.read_bytes() for path in (folder / "quarantine").rglob("*") if path.is_file())
        assert b"What was said to nobody." in kept
