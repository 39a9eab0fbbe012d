"""demand_bytes=True: an application may hand `add` to users who must not learn what others hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore, LinkForbidden
from docstore.testing import HashEmbedder
from tests.folders import files, hash_of, problems, query

NOTE = b"The store room key hangs behind the door.\n"
SAME_TEXT = b"The store room key hangs behind the door.\r\n"


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def store(folder: Path, embedder: HashEmbedder) -> Iterator[DocStore]:
    with DocStore(folder, embedder=embedder, demand_bytes=True) as store:
        yield store


def test_a_hash_is_not_enough(store: DocStore) -> None:
    document = store.workspace("alice").add(NOTE)
    messages = set()
    for hash in (document.hash, hash_of(b"what nobody has")):
        with pytest.raises(LinkForbidden) as error:
            store.workspace("mallory").link(hash)
        messages.add(str(error.value))
    assert len(messages) == 1
    assert store.refcount(document.hash) == 1


@pytest.mark.parametrize("data", [NOTE, SAME_TEXT])
def test_adding_what_another_has_looks_like_adding_what_nobody_has(
    store: DocStore, embedder: HashEmbedder, folder: Path, data: bytes
) -> None:
    first = store.workspace("alice").add(NOTE, name="a.txt")
    cost, stored = embedder.embedded, files(folder)
    second = store.workspace("mallory").add(data, name="a.txt")
    assert embedder.embedded == 2 * cost
    assert not first.reused and not second.reused
    assert len(files(folder)) == len(stored) + (data != NOTE)  # and still everything is stored once
    assert query(folder, "SELECT sum(avoided) FROM refs") == [(0,)]
    assert problems(folder) == []
    assert store.workspace("mallory").search("key")[0].document == hash_of(data)


def test_what_the_workspace_has_itself_costs_nothing_again(store: DocStore, embedder: HashEmbedder) -> None:
    alice = store.workspace("alice")
    alice.add(NOTE)
    cost = embedder.embedded
    assert alice.add(NOTE).reused
    assert embedder.embedded == cost


def test_many_at_once(store: DocStore, embedder: HashEmbedder, folder: Path) -> None:
    batch = [NOTE, SAME_TEXT, NOTE, b"Another note.", b""]
    for name in ("alice", "bob"):
        report = store.workspace(name).add_many(batch)
        assert (len(report.added), len(report.reused), len(report.failed)) == (3, 1, 1), name
    assert len(files(folder, "documents")) == 3
    assert query(folder, "SELECT count(*) FROM claims") == [(0,)]


def test_somebody_elses_living_claim_is_not_waited_for(folder: Path) -> None:
    class Slow(HashEmbedder):
        second = threading.Event()

        def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
            if self.embedded == 0:
                self.embedded += 1
                assert self.second.wait(10), "the second waits for the first"
            else:
                self.second.set()
            return super().embed(texts)

    with DocStore(folder, embedder=Slow(), demand_bytes=True) as store, ThreadPoolExecutor(2) as pool:
        adding = [pool.submit(store.workspace(name).add, NOTE) for name in ("alice", "mallory")]
        assert not any(each.result().reused for each in adding)
    assert problems(folder) == []
