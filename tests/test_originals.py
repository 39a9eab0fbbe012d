"""The bytes of documents: who gets them, through a workspace or the store, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, DocumentNotFound, IntegrityError, InvalidArgument, Workspace, WorkspaceNotFound
from docstore.testing import HashEmbedder
from tests.clock import HOUR, Clock, expire_now
from tests.folders import hash_of
from tests.samples import pdf

NOTE = b"A note about nothing in particular."
OTHERS = b"What only Bob may read."


def test_read_gives_the_bytes_even_when_collected_meanwhile(store: DocStore, alice: Workspace) -> None:
    hash = alice.add(NOTE).hash
    with store.read(hash) as file, alice.read(hash) as same:
        alice.remove(hash)
        store.collect()
        assert file.read() == same.read() == NOTE
    with pytest.raises(DocumentNotFound):
        store.read(hash)
    with pytest.raises(DocumentNotFound):
        store.document(hash)
    assert store.refcount(hash) == 0


def test_a_workspace_gives_what_it_references(alice: Workspace) -> None:
    content = pdf(["One page.", "Another."])
    added = alice.add(content, name="two.pdf", metadata={"year": 2024})
    small = alice.add_many([NOTE, OTHERS]).added  # packed into one file
    assert alice.document(added.hash) == next(each for each in alice.documents() if each.hash == added.hash)
    assert alice.document(added.hash).metadata == {"year": 2024}
    with alice.read(added.hash) as file:
        assert file.read() == content
    for each, bytes_of in zip(small, (NOTE, OTHERS), strict=True):
        with alice.read(each.hash) as file:
            assert hash_of(file.read()) == each.hash == hash_of(bytes_of)


@pytest.mark.parametrize("use", [Workspace.document, lambda alice, asked: alice.read(asked).close()])
def test_what_others_have_is_as_what_nobody_has(
    alice: Workspace, bob: Workspace, use: Callable[[Workspace, str], Any]
) -> None:
    alice.add(NOTE)
    hash = bob.add(OTHERS).hash
    for each in (hash, hash_of(b"what nobody has")):
        with pytest.raises(DocumentNotFound, match=rf"^The workspace 'alice' has no document {each}\. "):
            use(alice, each)
    alice.add(OTHERS)
    use(alice, hash)
    alice.remove(hash)
    with pytest.raises(DocumentNotFound):
        use(alice, hash)
    with pytest.raises(InvalidArgument, match="no document hash"):
        use(alice, "../catalog.db")


def test_what_a_search_finds_in_an_included_workspace_can_be_read(store: DocStore, alice: Workspace) -> None:
    team, other = store.workspace("team"), store.workspace("other")
    hash = team.add(OTHERS, name="team's name").hash
    other.add(OTHERS, name="other's name")
    alice.include(other)
    alice.include(team)
    (hit,) = alice.search("Bob")
    assert alice.document(hit.document).name == hit.name == "team's name"  # the older of the two
    with alice.read(hit.document) as file:
        assert file.read() == OTHERS
    alice.add(OTHERS, name="alice's name")
    assert alice.document(hash).name == alice.search("Bob")[0].name == "alice's name"
    alice.remove(hash)
    alice.exclude(team)
    assert alice.document(hash).name == "other's name"
    alice.exclude(other)
    with pytest.raises(DocumentNotFound):
        alice.read(hash)


def test_an_included_workspace_that_is_expired_gives_nothing(store: DocStore, alice: Workspace, clock: Clock) -> None:
    team = store.workspace("team", ttl=HOUR, sliding=False)
    hash = team.add(OTHERS).hash
    alice.include(team)
    assert alice.document(hash).hash == hash
    clock.advance(HOUR)
    expire_now(store)
    for use in (alice.document, alice.read):
        with pytest.raises(DocumentNotFound):
            use(hash)


def test_a_workspace_that_is_gone_gives_nothing(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    hash = alice.add(NOTE).hash
    bob.add(NOTE)
    store.delete_workspace("alice")
    for use in (alice.document, alice.read):
        with pytest.raises(WorkspaceNotFound):
            use(hash)


def test_reading_what_is_included_uses_it(store: DocStore, alice: Workspace, bob: Workspace, clock: Clock) -> None:
    unused = store.workspace("unused", ttl=HOUR)
    hash = bob.add(OTHERS).hash
    bob.expire_after(HOUR)
    alice.include(unused)
    alice.include(bob)
    clock.advance(HOUR)
    alice.read(hash).close()
    clock.advance(HOUR)
    assert expire_now(store) == (("unused",), ())


def test_a_missing_file_is_damage(alice: Workspace, folder: Path) -> None:
    hash = alice.add(NOTE).hash
    (file,) = folder.glob(f"documents/**/{hash}*")
    file.unlink()
    with pytest.raises(IntegrityError, match=r"is missing\. Add the document again to heal it"):
        alice.read(hash)
    alice.add(NOTE)
    with alice.read(hash) as healed:
        assert healed.read() == NOTE


def test_a_store_without_writing_gives_bytes(store: DocStore, alice: Workspace, folder: Path) -> None:
    hash = alice.add(NOTE).hash
    store.close()
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as reader:
        with reader.workspace("alice").read(hash) as file:
            assert file.read() == NOTE
        assert reader.workspace("alice").document(hash).size == len(NOTE)
