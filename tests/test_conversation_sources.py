"""Sources of messages: they show their texts to who may read the documents, as long as these are there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docstore import (
    Conversation,
    ConversationNotFound,
    DocStore,
    IntegrityError,
    InvalidArgument,
    Workspace,
    WorkspaceNotFound,
    passages,
)
from docstore.testing import HashEmbedder
from tests.folders import files, hash_of, query
from tests.samples import SNOW

SHIPS = ("The ships of the fleet lie in the harbour. Ünïcode ☂ before it. " * 40).encode()


def test_sources_show_their_texts_while_the_document_is_there(
    store: DocStore, folder: Path, alice: Workspace, chat: Conversation
) -> None:
    alice.add(SHIPS, name="ships.txt")
    hits = alice.search("ships in the harbour", k=2)
    message = chat.append("assistant", "In the harbour.", hits=hits)
    seen = [(each.document, each.name, each.chunk, each.start, each.end, each.page, each.score, each.text)
            for each in message.sources]  # fmt: skip
    assert seen == [
        (hit.document, hit.name, hit.chunk, hit.start, hit.end, hit.page, hit.score, hit.text) for hit in hits
    ]
    assert chat.messages() == [message]
    store._parts.memory._values.clear()
    assert chat.messages() == [message]
    assert "harbour" not in "".join(sources for (sources,) in query(folder, "SELECT sources FROM messages"))
    alice.remove(hits[0].document)
    (gone,) = chat.messages()
    assert {(each.name, each.text) for each in gone.sources} == {("was ships.txt", None)}
    store.collect()
    assert chat.messages() == [gone]
    alice.add(SHIPS, name="back.txt")
    assert chat.messages() == [message]  # what it was called then


def test_a_source_that_is_included_shows_while_the_grant_lasts(alice: Workspace, bob: Workspace) -> None:
    alice.add(SNOW, name="snow.txt")
    bob.include(alice)
    chat = bob.conversation("chat")
    message = chat.append("assistant", "Under snow.", hits=bob.search("snow", k=1))
    assert [(each.name, each.text) for each in message.sources] == [("snow.txt", SNOW.decode())]
    assert chat.messages() == [message]
    bob.exclude(alice)
    assert [(each.name, each.text) for each in chat.messages()[0].sources] == [("was snow.txt", None)]


def test_a_hit_of_somebody_elses_document_shows_nothing(alice: Workspace, bob: Workspace) -> None:
    alice.add(SNOW, name="snow.txt")
    hits = alice.search("snow", k=1)
    chat = bob.conversation("chat")
    message = chat.append("assistant", "Under snow.", hits=hits)
    assert [(each.name, each.text) for each in message.sources] == [("was snow.txt", None)]
    assert chat.messages() == [message]


def test_a_hit_that_is_gone_before_it_is_appended(store: DocStore, alice: Workspace, chat: Conversation) -> None:
    alice.add(SNOW, name="snow.txt")
    hits = alice.search("snow", k=1)
    alice.remove(hits[0].document)
    store.collect()
    assert chat.append("assistant", "Under snow.", hits=hits).sources[0].text is None
    alice.add(SNOW)
    wrong_place = replace(hits[0], start=1)
    assert chat.append("assistant", "Under snow.", hits=[wrong_place]).sources[0].text is None


def test_a_document_that_is_collected_while_its_text_is_read(
    store: DocStore, alice: Workspace, chat: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add(SNOW, name="snow.txt")
    chat.append("assistant", "Under snow.", hits=alice.search("snow", k=1))
    store._parts.memory._values.clear()
    read = passages.read
    calls: list[int] = []

    def then_gone(files: Any, memory: Any, scope: int, places: Iterable[passages.Place]) -> dict[passages.Place, str]:
        wanted = list(places)
        calls.append(len(wanted))
        if len(calls) == 1:
            alice.remove(hash_of(SNOW))
            store.collect()
        return read(files, memory, scope, wanted)

    monkeypatch.setattr(passages, "read", then_gone)
    assert [each.name for each in chat.messages()[0].sources] == ["was snow.txt"]
    assert calls == [1, 0]


def test_a_lost_text_is_damage_and_no_gap(store: DocStore, folder: Path, alice: Workspace, chat: Conversation) -> None:
    alice.add(SNOW)
    hits = alice.search("snow", k=1)
    chat.append("assistant", "Under snow.", hits=hits)
    store._parts.memory._values.clear()
    (path,) = files(folder, "texts")
    (folder / path).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        chat.messages()
    with pytest.raises(IntegrityError, match="missing"):
        chat.export()
    chat.append("assistant", "What was said is not lost for it.", hits=hits)
    store.repair()
    assert [each.content for each in chat.messages()] == ["Under snow.", "What was said is not lost for it."]


@pytest.mark.parametrize(
    "change",
    [{"document": "abcd"}, {"name": ""}, {"chunk": "0"}, {"score": float("nan")}, {"score": "high"}, {"page": 1.5}],
)
def test_hits_that_no_search_gives_are_refused(alice: Workspace, chat: Conversation, change: dict[str, Any]) -> None:
    alice.add(SNOW)
    (hit,) = alice.search("snow")
    with pytest.raises(InvalidArgument):
        chat.append("user", "x", hits=[replace(hit, **change)])
    with pytest.raises(InvalidArgument, match="too many"):
        chat.append("user", "x", hits=[hit] * 20_000)
    assert chat.messages() == []
    strange = chat.append("user", "x", hits=[replace(hit, chunk=10**30)])
    assert strange.sources[0].text is None and chat.messages() == [strange]


def test_where_bytes_are_demanded_a_source_tells_nothing_of_others(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=True) as store:
        alice, mallory = store.workspace("alice"), store.workspace("mallory")
        alice.add(SNOW)
        held = replace(alice.search("snow")[0], name="x")
        unknown = replace(held, document=hash_of(b"what nobody has"))
        shown = mallory.conversation("probe").append("user", "x", hits=[held, unknown])
        assert {(each.name, each.text) for each in shown.sources} == {("was x", None)}
        assert mallory.conversation("probe").messages() == [shown]


def test_sources_of_a_workspace_that_is_gone_are_no_reason_for_another_error(store: DocStore, alice: Workspace) -> None:
    alice.add(b"Five days of leave.")
    conversation, hits = alice.conversation("leave"), alice.search("leave")
    store.delete_workspace("alice")
    with pytest.raises((ConversationNotFound, WorkspaceNotFound)):
        conversation.append("assistant", "Five.", hits=hits)
