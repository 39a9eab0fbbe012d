"""Healing: many documents that were damaged or doomed are added again in the time that new ones take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, contents
from docstore.lifecycle import collect as collect_module
from docstore.testing import HashEmbedder
from tests.folders import hash_of, problems
from tests.packing import change

# Two of each text, so that one of a group changes what was looked up for another.
_DOCUMENTS = [f"thing {number} of many{end}".encode() for number in range(40) for end in ("\n", "\r\n")]


@pytest.mark.parametrize("lost", ["texts/%", "documents/%", "embeddings/%", "%", ""])
def test_a_group_is_looked_up_once_however_many_are_lost(
    folder: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        first = store.workspace("alice").add_many(_DOCUMENTS)
        hashes = {each.hash for each in first.added + first.reused}
        if not lost:
            store.delete_workspace("alice")
            collect_module._doom(store._parts, "9999")
    change(folder, "DELETE FROM sqlar WHERE name LIKE ?", lost)
    looked: list[int] = []
    find = contents.find_documents

    def counted(db: Any, wanted: Any) -> Any:
        looked.append(len(wanted))
        return find(db, wanted)

    monkeypatch.setattr(contents, "find_documents", counted)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        bob = store.workspace("bob")
        report = bob.add_many(_DOCUMENTS)
        assert not report.failed and {each.hash for each in report.added + report.reused} == hashes
        assert len(_DOCUMENTS) <= sum(looked) <= 10 * len(_DOCUMENTS)  # a few for each transaction
        assert store.verify().ok
        assert len(bob.search("thing", k=99)) == len(_DOCUMENTS)
        assert store.collect().documents == 0
    assert problems(folder) == []


def test_a_lost_file_beside_a_doomed_document_of_its_shard(folder: Path) -> None:
    """The folder of both is removed when the one is reaped, after the other's damaged file was."""
    shards: dict[str, bytes] = {}
    while (damaged := shards.setdefault(hash_of(note := b"Note %d" % len(shards))[:2], note)) is note:
        pass
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(damaged)
        alice.remove(alice.add(note).hash)
        collect_module._doom(store._parts, "9999")
    for path in (folder / "documents").rglob("*.txt"):
        if hash_of(damaged) in path.name:
            path.write_bytes(b"")  # cut short
        else:
            path.unlink()
    with DocStore(folder, embedder=HashEmbedder()) as store:
        report = store.workspace("alice").add_many([damaged, note, *_DOCUMENTS])
        assert not report.failed
        assert store.verify().ok
    assert problems(folder) == []
