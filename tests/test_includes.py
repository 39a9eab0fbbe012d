"""What a workspace lends another: searches cover it while the grant lasts, and nothing else changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from docstore import (
    DocStore,
    DocumentNotFound,
    Hit,
    InvalidArgument,
    StoreReadOnly,
    Workspace,
    WorkspaceNotFound,
    covered,
    database,
    search,
    segments,
)
from docstore.testing import HashEmbedder
from docstore.views import View
from tests.folders import execute, hash_of, problems, query

SHIPS = b"The ships of the fleet lie in the harbour."
SNOW = b"The mountains of the north lie under snow."
OWN = b"A note on ships that bob has for himself."


def found(workspace: Workspace, text: str = "ships") -> set[tuple[str, str]]:
    return {(hit.document, hit.name) for hit in workspace.search(text, k=100)}


def view_of(store: DocStore, workspace: Workspace) -> View:
    workspace.search("ships")
    view = store._parts.views.get(workspace._id)
    assert view is not None
    return view


def test_searches_cover_what_is_included_while_the_grant_lasts(alice: Workspace, bob: Workspace) -> None:
    ships = alice.add(SHIPS, name="ships.txt").hash
    own = bob.add(OWN, name="own.txt").hash
    assert found(bob) == {(own, "own.txt")}
    bob.include(alice)
    assert found(bob) == {(own, "own.txt"), (ships, "ships.txt")}
    snow = alice.add(SNOW, name="snow.txt").hash
    assert found(bob) == {(own, "own.txt"), (ships, "ships.txt"), (snow, "snow.txt")}
    assert found(alice) == {(ships, "ships.txt"), (snow, "snow.txt")}
    alice.remove(ships)
    assert found(bob) == {(own, "own.txt"), (snow, "snow.txt")}
    bob.exclude(alice)
    assert found(bob) == {(own, "own.txt")}
    assert bob.includes() == []


def test_what_is_included_is_not_ones_own(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    ships = alice.add(SHIPS).hash
    bob.include(alice)
    assert bob.documents() == [] and len(bob) == 0
    with pytest.raises(DocumentNotFound):
        bob.remove(ships)
    alice.remove(ships)
    assert store.collect().documents == 1  # a grant keeps nothing alive


def test_filters_act_on_what_is_included(alice: Workspace, bob: Workspace) -> None:
    ships = alice.add(SHIPS, metadata={"year": 2024}).hash
    snow = alice.add(SNOW, metadata={"year": 2025}).hash
    bob.add(OWN, metadata={"year": 2024})
    with pytest.raises(DocumentNotFound):
        bob.search("ships", documents=[ships])
    bob.include(alice)
    assert [hit.document for hit in bob.search("lie", documents=[snow])] == [snow]
    assert {hit.document for hit in bob.search("lie", where={"year": 2024})} == {ships, hash_of(OWN)}
    assert {hit.document for hit in bob.search("lie", where={"year": 2025})} == {snow}
    alice.add(SHIPS, metadata={"year": 2026})
    assert {hit.document for hit in bob.search("lie", where={"year": 2026})} == {ships}


def test_ones_own_name_and_metadata_come_first_then_the_older_workspaces(store: DocStore) -> None:
    first, bob, last = (store.workspace(name) for name in ("first", "bob", "last"))
    hash = last.add(SHIPS, name="last.txt", metadata={"by": "last"}).hash
    bob.include(last)
    assert found(bob) == {(hash, "last.txt")}
    first.add(SHIPS, name="first.txt", metadata={"by": "first"})
    bob.include(first)
    assert bob.includes() == ["first", "last"]
    assert found(bob) == {(hash, "first.txt")}
    assert bob.search("ships", where={"by": "last"}) == []
    assert len(bob.search("ships", where={"by": "first"})) == 1
    bob.add(SHIPS, name="bob.txt")
    assert found(bob) == {(hash, "bob.txt")}
    assert bob.search("ships", where={"by": "first"}) == []
    bob.remove(hash)
    assert found(bob) == {(hash, "first.txt")}


def test_a_grant_is_not_passed_on(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    carol = store.workspace("carol")
    hash = alice.add(SHIPS).hash
    bob.include(alice)
    carol.include(bob)
    assert found(carol) == set()
    alice.include(carol)  # in a circle
    assert {hit.document for hit in alice.search("ships")} == {hash}


def test_including_twice_is_including_once(folder: Path, alice: Workspace, bob: Workspace) -> None:
    bob.include(alice)
    (granted,) = query(folder, "SELECT * FROM includes")
    bob.include(alice)
    assert query(folder, "SELECT * FROM includes") == [granted]


def test_what_makes_no_sense_is_refused(store: DocStore, alice: Workspace, bob: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="itself"):
        alice.include(alice)
    with pytest.raises(InvalidArgument, match="no workspace"):
        alice.include("bob")  # type: ignore[arg-type]
    with DocStore(tmp_path / "other", embedder=HashEmbedder()) as other, pytest.raises(InvalidArgument, match="store"):
        alice.include(other.workspace("bob"))
    with pytest.raises(WorkspaceNotFound, match="does not include 'bob'"):
        alice.exclude(bob)
    store.delete_workspace("bob")
    with pytest.raises(WorkspaceNotFound, match="deleted"):
        alice.include(bob)
    with pytest.raises(WorkspaceNotFound, match="deleted"):
        bob.include(alice)
    with pytest.raises(WorkspaceNotFound, match="deleted"):
        bob.includes()


@pytest.mark.parametrize("deleted", ["alice", "bob"])
def test_deleting_a_workspace_ends_its_grants_both_ways(
    store: DocStore, folder: Path, alice: Workspace, bob: Workspace, deleted: str
) -> None:
    alice.add(SHIPS)
    bob.include(alice)
    alice.include(bob)
    bob.search("ships")
    store.delete_workspace(deleted)
    assert query(folder, "SELECT count(*) FROM includes") == [(0,)]
    again = store.workspace(deleted)
    assert again.includes() == [] and found(again) == set()
    assert found(bob if deleted == "alice" else alice) == (
        set() if deleted == "alice" else {(hash_of(SHIPS), "untitled")}
    )


def test_two_who_include_the_same_set_share_its_memory(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    shared = store.workspace("set")
    shared.add_many([f"page {number} of the set".encode() for number in range(40)])
    for each in (alice, bob):
        each.add(f"the note of {each.name}".encode())
        each.include(shared)
    segments = [view_of(store, each).shared for each in (alice, bob)]
    assert segments[0][0] is segments[1][0]
    # Alice's, who was first, has her note in it; bob passes over that one, and has his own beside it.
    assert [[len(segment.snapshot().keys) for segment in some] for some in segments] == [[41], [41, 1]]
    assert "the note of alice" not in {hit.text for hit in bob.search("note", k=100)}


def test_a_grant_by_another_process_is_seen_by_the_next_search(folder: Path, alice: Workspace, bob: Workspace) -> None:
    hash = alice.add(SHIPS).hash
    assert found(bob) == set()
    with DocStore(folder, embedder=HashEmbedder()) as other:
        other.workspace("bob").include(other.workspace("alice"))
        assert {hit.document for hit in bob.search("ships")} == {hash}
        other.workspace("bob").exclude(other.workspace("alice"))
        assert found(bob) == set()


def test_what_an_included_workspace_loses_while_it_is_read_is_not_damage(
    store: DocStore, alice: Workspace, bob: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ships, snow = alice.add(SHIPS).hash, alice.add(SNOW).hash
    bob.include(alice)
    looks = []
    look = search._look

    def then_collected(*arguments: object) -> object:
        moment = look(*arguments)  # type: ignore[arg-type]
        looks.append(moment)
        if len(looks) == 1:
            alice.remove(ships)
            store.collect()
        return moment

    monkeypatch.setattr(search, "_look", then_collected)
    assert {hit.document for hit in bob.search("lie")} == {snow}
    assert len(looks) == 2


def test_grants_and_searches_of_many_threads(store: DocStore, alice: Workspace) -> None:
    hash = alice.add(SHIPS).hash

    def grant_and_search(number: int) -> None:
        mine = store.workspace(f"w{number}")
        for _ in range(20):
            mine.include(alice)
            assert [hit.document for hit in mine.search("ships")] == [hash]
            mine.exclude(alice)
            assert mine.search("ships") == []

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(grant_and_search, range(8)))


def test_the_answer_is_that_of_one_workspace_with_all_of_it(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    texts = [f"text {number} tells of {number % 7} ships".encode() for number in range(60)]
    alice.add_many(texts[:40])
    bob.add_many(texts[30:])
    bob.include(alice)
    joint = store.workspace("joint")
    joint.add_many(texts)

    def ranking(hits: list[Hit]) -> list[tuple[str, int, float]]:
        return [(hit.document, hit.chunk, hit.score) for hit in hits]

    for text in ("ships", "text 5", "tells of 3"):
        assert ranking(bob.search(text, k=20)) == ranking(joint.search(text, k=20))
        assert ranking(bob.search(text, k=9, mmr=True)) == ranking(joint.search(text, k=9, mmr=True))


def test_a_readonly_store_searches_what_is_included_and_grants_nothing(
    folder: Path, store: DocStore, alice: Workspace, bob: Workspace
) -> None:
    hash = alice.add(SHIPS).hash
    bob.include(alice)
    store.close()
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as reader:
        mine, theirs = reader.workspace("bob"), reader.workspace("alice")
        assert mine.includes() == ["alice"]
        assert [hit.document for hit in mine.search("ships")] == [hash]
        with pytest.raises(StoreReadOnly):
            theirs.include(mine)
        with pytest.raises(StoreReadOnly):
            mine.exclude(theirs)


def test_where_bytes_are_demanded_a_grant_spares_nobody_the_embedding(folder: Path) -> None:
    """What a workspace may read it does not thereby have: adding it looks like adding what nobody has."""
    embedder = HashEmbedder()
    with DocStore(folder, embedder=embedder, demand_bytes=True) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        alice.add(SHIPS)
        cost = embedder.embedded
        bob.include(alice)
        assert view_of(store, alice).shared[0] is not view_of(store, bob).shared[0]
        embedder.embedded = cost
        assert not bob.add(SHIPS).reused and embedder.embedded == 2 * cost


def test_a_grant_to_nobody_is_found_and_ended(folder: Path, store: DocStore, alice: Workspace, bob: Workspace) -> None:
    bob.include(alice)
    execute(folder, "INSERT INTO includes VALUES (1, 99, '2026-01-01T00:00:00.000Z')")
    assert [each.path for each in store.verify().problems if each.kind == "reference"] == ["includes"]
    store.repair()
    assert store.verify().ok and bob.includes() == ["alice"]
    assert problems(folder) == []


def test_many_includes_are_asked_together(store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As access rules have it, with a workspace for each document: not a statement for each."""
    statements = 0
    records = database.records

    def counted(*arguments: Any) -> list[tuple[Any, ...]]:
        nonlocal statements
        statements += 1
        return records(*arguments)

    monkeypatch.setattr(covered, "records", counted)
    taken = []
    for count in (3, 30):
        reader = store.workspace(f"reader of {count}")
        for number in range(count):
            each = store.workspace(f"{count}: {number}")
            each.add(b"%d: ships of number %d" % (count, number), metadata={"number": number})
            reader.include(each)
        conversation = reader.conversation("talk")
        hits = reader.search("ships", k=5)
        reader.search("ships", where={"number": 1})
        each.add(b"%d: one ship more" % count, metadata={"number": 1})
        statements = 0
        assert len(reader.search("ships", k=100, where={"number": 1})) == 2
        conversation.append("assistant", "Here are some ships.", hits=hits)
        (message,) = conversation.messages()
        assert [source.text for source in message.sources] == [hit.text for hit in hits]
        taken.append(statements)
    assert taken[0] == taken[1]


def test_of_two_that_lend_one_document_the_older_counts_however_it_is_asked(
    store: DocStore, alice: Workspace, bob: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = store.workspace("first"), store.workspace("second")
    hash = first.add(SHIPS, name="first's", metadata={"whose": "first's"}).hash
    second.add(SHIPS, name="second's", metadata={"whose": "second's"})
    alice.include(second)
    alice.include(first)
    for few in (0, 1000):  # by one statement for each, or for all
        monkeypatch.setattr(covered, "_A_STATEMENT", few)
        alice.search("ships", where={"whose": "first's"})
        alice.add(SHIPS, name="alice's", metadata={"whose": "alice's"})
        assert (hash, "alice's") in found(alice)
        assert alice.search("ships", where={"whose": "first's"}) == []
        alice.remove(hash)
        assert (hash, "first's") in found(alice)
        assert [hit.name for hit in alice.search("ships", where={"whose": "first's"})] == ["first's"]
        conversation = alice.conversation(f"talk {few}")
        conversation.append("assistant", "Ships.", hits=alice.search("ships", documents=[hash]))
        assert [each.name for each in conversation.messages()[0].sources] == ["first's"]


def test_what_is_lent_later_is_in_memory_once(store: DocStore, alice: Workspace) -> None:
    """A shared workspace that grows, and many that include it, each with documents of its own."""
    alice.add_many([b"page %d of the handbook" % number for number in range(100)])
    readers = [store.workspace(f"reader {number}") for number in range(10)]
    for number, reader in enumerate(readers):
        reader.include(alice)
        reader.add(b"reader %d's own note" % number)
        reader.search("handbook")
    new = alice.add_many([b"page %d of the handbook, which is new" % number for number in range(100, 120)]).added
    for reader in readers:
        assert {hit.document for hit in reader.search("new", k=500)} >= {each.hash for each in new}
        # The first made the base, with its own note; each other's note is its tail.
        sizes = [len(part.snapshot.ends) for part in view_of(store, reader).parts]
        assert sizes == ([121] if reader is readers[0] else [121, 1])
    shared = {id(part.segment): len(part.snapshot.ends) for each in readers for part in view_of(store, each).parts}
    assert sum(shared.values()) == 120 + len(readers)
    for reader in readers:
        reader.exclude(alice)
        assert len(reader.search("handbook", k=500)) == 1


def test_what_is_lent_to_a_full_segment_is_each_ones_own(
    store: DocStore, alice: Workspace, bob: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_COPIED", 0)
    alice.add_many([b"page %d of the handbook" % number for number in range(100)])
    bob.include(alice)
    bob.search("handbook")
    alice.add_many([b"page %d of the handbook" % number for number in range(100, 110)])  # there is room for an eighth
    assert len(bob.search("handbook", k=500)) == 110 and len(view_of(store, bob).parts) == 1
    alice.add_many([b"page %d of the handbook" % number for number in range(110, 120)])
    assert len(bob.search("handbook", k=500)) == 120 and len(view_of(store, bob).parts) == 2
    assert len(alice.search("handbook", k=500)) == 120
