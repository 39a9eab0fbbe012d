"""A model against the store: random histories of several workspaces, checked after every step.

The model is plain dictionaries. After each step: counts equal references (invariant 3), referenced files are there
and hash right (4), nothing unreferenced survives a collection (5), every workspace finds exactly its own documents
and those of what it includes (6) in the order of one index over the same chunks (7), no chunk is embedded twice (8),
and failed operations change nothing (9). Conversations equal lists kept beside them, and show the texts of what is
still there. A replacement moves all that is not pinned, and its rollback restores what was.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from docstore import (
    DocStore,
    DocumentNotFound,
    EmbeddingError,
    InvalidArgument,
    StorageError,
    UnreadableDocument,
    Workspace,
    WorkspaceNotFound,
    durable,
)
from docstore.testing import HashEmbedder
from tests.folders import apparent_bytes, files, hash_of, problems, query
from tests.oracle import chunks_of, private_index

WORKSPACES = ["alice", "bob", "carol", "Ünïcode ☂ \\ ../x"]

_WORDS = ["lorem", "ipsum", "dolor", "sit", "amet", "store", "hash", "chunk", "vector", "count"]
_TEXTS = [" ".join(_WORDS[(i * step + step) % 10] for i in range(length)) + "\n" for step, length in
          [(1, 3), (2, 40), (3, 300), (4, 700), (7, 120), (9, 5)]]  # fmt: skip
# Each text in two spellings: different bytes, the same text once line ends are normalised.
DOCUMENTS = {data: text for text in _TEXTS for data in (text.encode(), text.replace("\n", "\r\n").encode())}
TEXT_OF = {hash_of(data): text for data, text in DOCUMENTS.items()}
UNREADABLE = [b"", b"  \n ", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"%PDF-1.7 nothing follows"]

documents = st.sampled_from(list(DOCUMENTS))
workspaces = st.sampled_from(WORKSPACES)
CHATS = st.sampled_from(["first chat", "second chat"])

Cited = tuple[str, str, str]
"""Hash, name and text of a chunk that an answer used."""


@pytest.fixture(autouse=True)
def two_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is added singly becomes files, of two or more documents the pieces are packed."""
    monkeypatch.setattr(durable, "_FEW", 4)


class BreakableEmbedder(HashEmbedder):
    """Fails while told to."""

    broken = False

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        if self.broken:
            raise RuntimeError("out of memory")
        return super().embed(texts)


class Histories(RuleBasedStateMachine):
    """Random histories."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "store"
        self.embedder = BreakableEmbedder()
        self.store = DocStore(self.folder, embedder=self.embedder)
        self.references: dict[str, dict[str, str]] = {}
        self.grants: set[tuple[str, str]] = set()
        self.conversations: dict[tuple[str, str], list[tuple[str, list[Cited]]]] = {}
        self.stored: set[str] = set()
        self.pins: set[tuple[str, str]] = set()
        self.replaced: set[tuple[str, str]] = set()
        self.embeddings = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder.parent)

    def _expect_stored(self, hash: str) -> None:
        stored = {chunk for each in self.stored for chunk in chunks_of(TEXT_OF[each])}
        self.embeddings += len(set(chunks_of(TEXT_OF[hash])) - stored)
        self.stored.add(hash)

    @rule(workspace=workspaces, data=documents, name=st.none() | st.sampled_from(["a.txt", "b.md"]))
    def add(self, workspace: str, data: bytes, name: str | None) -> None:
        hash = hash_of(data)
        known = TEXT_OF[hash] in {TEXT_OF[each] for each in self.stored}
        document = self.store.workspace(workspace).add(data, name=name)
        names = self.references.setdefault(workspace, {})
        names[hash] = name or names.get(hash, "untitled")
        self._expect_stored(hash)
        assert (document.hash, document.name, document.reused) == (hash, names[hash], known)

    @rule(workspace=workspaces, batch=st.lists(documents | st.sampled_from(UNREADABLE), max_size=6))
    def add_many(self, workspace: str, batch: list[bytes]) -> None:
        report = self.store.workspace(workspace).add_many(batch)
        self.references.setdefault(workspace, {})
        good = [hash_of(data) for data in batch if data in DOCUMENTS]
        for hash in good:
            self.references[workspace].setdefault(hash, "untitled")
            self._expect_stored(hash)
        assert sorted(each.hash for each in report.added + report.reused) == sorted(good)
        assert len(report.failed) == len(batch) - len(good)

    @rule(workspace=workspaces, data=documents)
    def link(self, workspace: str, data: bytes) -> None:
        hash = hash_of(data)
        handle = self.store.workspace(workspace)
        names = self.references.setdefault(workspace, {})
        if hash in self.stored:
            assert handle.link(hash).reused
            names.setdefault(hash, hash)
        else:
            with pytest.raises(DocumentNotFound):
                handle.link(hash)

    @rule(workspace=workspaces, data=documents)
    def remove(self, workspace: str, data: bytes) -> None:
        handle = self.store.workspace(workspace)
        if self.references.setdefault(workspace, {}).pop(hash_of(data), None) is None:
            with pytest.raises(DocumentNotFound):
                handle.remove(hash_of(data))
        else:
            handle.remove(hash_of(data))
            self.pins.discard((workspace, hash_of(data)))

    @rule(workspace=workspaces, batch=st.lists(documents, max_size=4))
    def remove_many(self, workspace: str, batch: list[bytes]) -> None:
        names = self.references.setdefault(workspace, {})
        gone = {hash for data in batch if (hash := hash_of(data)) in names}
        assert self.store.workspace(workspace).remove_many(hash_of(data) for data in batch) == len(gone)
        for hash in gone:
            del names[hash]
            self.pins.discard((workspace, hash))

    @rule(workspace=workspaces)
    def delete_workspace(self, workspace: str) -> None:
        if workspace in self.references:
            self.store.delete_workspace(workspace)
            del self.references[workspace]
            self.grants = {grant for grant in self.grants if workspace not in grant}
            self.pins = {each for each in self.pins if each[0] != workspace}
            self.conversations = {key: said for key, said in self.conversations.items() if key[0] != workspace}

    @rule(workspace=workspaces, other=workspaces)
    def include(self, workspace: str, other: str) -> None:
        mine, theirs = self._workspace(workspace), self._workspace(other)
        if workspace == other:
            with pytest.raises(InvalidArgument):
                mine.include(theirs)
        else:
            mine.include(theirs)
            self.grants.add((workspace, other))

    @rule(workspace=workspaces, other=workspaces)
    def exclude(self, workspace: str, other: str) -> None:
        mine, theirs = self._workspace(workspace), self._workspace(other)
        if (workspace, other) in self.grants:
            mine.exclude(theirs)
            self.grants.remove((workspace, other))
        else:
            with pytest.raises(WorkspaceNotFound):
                mine.exclude(theirs)

    @rule(workspace=workspaces, other=workspaces)
    def link_many(self, workspace: str, other: str) -> None:
        mine, theirs = self._workspace(workspace), self._workspace(other)
        assert not mine.link_many(theirs.documents()).failed
        for hash, name in self.references[other].items():
            self.references[workspace].setdefault(hash, name)

    @rule(batch=st.sets(documents, min_size=1, max_size=3))
    def workspace_for(self, batch: set[bytes]) -> None:
        made = self.store.workspace_for(sorted(batch)).name
        names = self.references.setdefault(made, {})
        for hash in map(hash_of, batch):
            names.setdefault(hash, "untitled")
            self._expect_stored(hash)
            self.pins.add((made, hash))
        assert made == self.store.workspace_for(sorted(batch, reverse=True)).name

    @rule(workspace=workspaces, name=CHATS, asked=st.sampled_from(["lorem store", "vector hash count"]))
    def say(self, workspace: str, name: str, asked: str) -> None:
        hits = self._workspace(workspace).search(asked, k=2)
        self.embedder.embedded -= 1
        message = self.store.workspace(workspace).conversation(name).append("assistant", asked, hits=hits)
        said = self.conversations.setdefault((workspace, name), [])
        said.append((asked, [(hit.document, hit.name, hit.text) for hit in hits]))
        assert message.number == len(said)

    @rule(workspace=workspaces, name=CHATS)
    def forget(self, workspace: str, name: str) -> None:
        self._workspace(workspace).conversation(name).delete()
        self.conversations.pop((workspace, name), None)

    @rule(workspace=workspaces, name=CHATS, other=CHATS)
    def rename(self, workspace: str, name: str, other: str) -> None:
        conversation = self._workspace(workspace).conversation(name)
        said = self.conversations.setdefault((workspace, name), [])
        if name != other and (workspace, other) in self.conversations:
            with pytest.raises(InvalidArgument):
                conversation.rename(other)
        else:
            conversation.rename(other)
            del self.conversations[workspace, name]
            self.conversations[workspace, other] = said

    def _workspace(self, name: str) -> Workspace:
        self.references.setdefault(name, {})
        return self.store.workspace(name)

    def _covered(self, workspace: str) -> dict[str, str]:
        """What a search of a workspace may find, and what it calls that."""
        included = [each for each in self._by_age() if (workspace, each) in self.grants]
        found: dict[str, str] = {}
        for each in [workspace, *included]:
            found = self.references[each] | found
        return found

    def _by_age(self) -> list[str]:
        return [name for (name,) in query(self.folder, "SELECT name FROM workspaces ORDER BY id")]

    @rule(workspace=workspaces, data=documents, keep=st.booleans())
    def pin(self, workspace: str, data: bytes, keep: bool) -> None:
        reference = workspace, hash_of(data)
        handle = self.store.workspace(workspace)
        act = handle.pin if keep else handle.unpin
        if reference[1] not in self.references.setdefault(workspace, {}):
            with pytest.raises(DocumentNotFound):
                act(reference[1])
            return
        act(reference[1])
        (self.pins.add if keep else self.pins.discard)(reference)

    @rule(old=documents, new=documents)
    def replace(self, old: bytes, new: bytes) -> None:
        a, b = hash_of(old), hash_of(new)
        if a == b or a not in self.stored:
            with pytest.raises(InvalidArgument if a == b else DocumentNotFound):
                self.store.replace(a, new)
            return
        before = self.embeddings
        self._expect_stored(b)
        moving = {name for name, held in self.references.items() if a in held and (name, a) not in self.pins}
        done = self.store.replace(a, new)
        assert set(done.moved) == moving
        assert set(done.stayed) == {name for name, held in self.references.items() if a in held} - moving
        assert done.embedded == self.embeddings - before
        for name in moving:
            self.references[name].setdefault(b, self.references[name].pop(a))
            self.references[name].pop(a, None)
        self.replaced.add((a, b))
        assert self.store.history(b)[-1].hash in {b, *(each.hash for each in self.store.history(a))}

    @rule(old=documents, new=documents)
    def replace_and_roll_back(self, old: bytes, new: bytes) -> None:
        a, b = hash_of(old), hash_of(new)
        if a == b or a not in self.stored or (a, b) in self.replaced:
            return
        self._expect_stored(b)
        before = {name: self.store.workspace(name).documents() for name in self.references}
        moved = self.store.replace(a, new).moved
        assert self.store.rollback(b).moved == moved
        after = {name: self.store.workspace(name).documents() for name in self.references}
        for name, held in before.items():  # documents of one moment have no order
            assert sorted(after[name], key=repr) == sorted(held, key=repr)

    @rule()
    def collect(self) -> None:
        going = self.stored - self._referenced()
        preview = self.store.collect(dry_run=True)
        report = self.store.collect()
        assert report.documents == preview.documents == len(going)
        assert report.bytes == preview.bytes
        assert report.leftovers == 0
        self.stored -= going
        self._assert_no_leak()

    @rule()
    def collect_within_grace(self) -> None:
        assert self.store.collect(timedelta(hours=1)).documents == 0

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = DocStore(self.folder, embedder=self.embedder)

    @rule(workspace=workspaces, data=st.sampled_from(UNREADABLE))
    def add_unreadable(self, workspace: str, data: bytes) -> None:
        self.references.setdefault(workspace, {})
        with pytest.raises(UnreadableDocument):
            self.store.workspace(workspace).add(data)

    @rule(workspace=workspaces, data=documents)
    def add_with_a_broken_embedder(self, workspace: str, data: bytes) -> None:
        self.references.setdefault(workspace, {})
        handle = self.store.workspace(workspace)
        self.embedder.broken = True
        try:
            stored = {chunk for each in self.stored for chunk in chunks_of(TEXT_OF[each])}
            if not stored.issuperset(chunks_of(TEXT_OF[hash_of(data)])):
                with pytest.raises(EmbeddingError):
                    handle.add(data)
        finally:
            self.embedder.broken = False

    @rule(workspace=workspaces, data=documents)
    def add_on_a_full_disk(self, workspace: str, data: bytes) -> None:
        self.references.setdefault(workspace, {})
        handle = self.store.workspace(workspace)
        if hash_of(data) in self.stored:
            return

        def full(_path: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        before = self.embedder.embedded
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(durable, "sync_directory", full)
            with pytest.raises(StorageError, match="No space left"):
                handle.add(data)
        self.embeddings += self.embedder.embedded - before

    def _referenced(self) -> set[str]:
        return {hash for names in self.references.values() for hash in names}

    def _assert_no_leak(self) -> None:
        texts = {TEXT_OF[hash] for hash in self.stored}
        assert len(files(self.folder, "documents")) == len(self.stored)
        assert len(files(self.folder, "texts")) == len(texts)
        assert len(files(self.folder, "embeddings")) == 2 * len(texts)
        assert files(self.folder, "tmp") == []

    @invariant()
    def counts_are_references(self) -> None:
        for hash in TEXT_OF:
            count = sum(hash in names for names in self.references.values())
            assert self.store.refcount(hash) == count
        stats = self.store.stats()
        assert stats.references == sum(map(len, self.references.values()))
        assert stats.documents == len(self.stored)
        assert stats.workspaces == len(self.references)
        assert stats.physical_bytes == apparent_bytes(self.folder)

    @invariant()
    def files_match_the_catalog(self) -> None:
        assert problems(self.folder) == []
        assert self.store.verify().problems == ()

    @invariant()
    def pins_are_kept(self) -> None:
        for name in self.references:
            pinned = {hash for workspace, hash in self.pins if workspace == name}
            assert set(self.store.workspace(name).pinned()) == pinned

    @invariant()
    def nothing_is_embedded_twice(self) -> None:
        assert self.embedder.embedded == self.embeddings

    @invariant()
    def workspaces_hold_their_own(self) -> None:
        assert self.store.workspaces() == sorted(self.references)
        for workspace, names in self.references.items():
            found = self.store.workspace(workspace).documents()
            assert {each.hash: each.name for each in found} == names

    @invariant()
    def search_equals_one_private_index(self) -> None:
        queries = ["lorem store", "vector hash count"]
        self.embedder.embedded -= sum(len(queries) for _ in self.references)
        for workspace in self.references:
            names = self._covered(workspace)
            expected = private_index({hash: TEXT_OF[hash] for hash in names}, queries, 7)
            found = self.store.workspace(workspace).search_many(queries, 7)
            for hits, (ranking, scores) in zip(found, expected, strict=True):
                assert [(hit.document, hit.chunk) for hit in hits] == ranking
                assert [hit.score for hit in hits] == [float(score) for score in scores]
                for hit in hits:
                    assert hit.text == TEXT_OF[hit.document][hit.start : hit.end]
                    assert hit.name == names[hit.document]

    @invariant()
    def conversations_are_what_was_said(self) -> None:
        for workspace in self.references:
            found = self.store.workspace(workspace).conversations()
            assert {each.name: each.messages for each in found} == {
                name: len(said) for (owner, name), said in self.conversations.items() if owner == workspace
            }
            assert self.store.workspace(workspace).includes() == [
                each for each in self._by_age() if (workspace, each) in self.grants
            ]
        for (workspace, name), said in self.conversations.items():
            covered = self._covered(workspace)
            messages = self.store.workspace(workspace).conversation(name).messages()
            assert [each.content for each in messages] == [content for content, _ in said]
            for message, (_, cited) in zip(messages, said, strict=True):
                assert [(each.document, each.name, each.text) for each in message.sources] == [
                    (hash, called, text) if hash in covered else (hash, f"was {called}", None)
                    for hash, called, text in cited
                ]


TestHistories = Histories.TestCase
