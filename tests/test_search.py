"""Search: exact, merged, filtered before the top k, the same every time, and of this moment."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import DocStore, DocumentNotFound, Hit, InvalidArgument, Workspace, subindexes
from docstore.mmr import maximal_marginal_relevance
from docstore.testing import HashEmbedder
from tests.folders import hash_of
from tests.oracle import private_index

WORDS = ["red", "green", "blue", "fox", "dog", "tax", "law", "moon"]
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join)


@pytest.mark.parametrize("codec", ["float16", "float32"])
@given(
    texts=st.lists(words, max_size=25, unique=True),
    queries=st.lists(words, min_size=1, max_size=25),
    k=st.integers(1, 60),
)
def test_merged_search_equals_one_index(
    tmp_path_factory: pytest.TempPathFactory, codec: Any, texts: list[str], queries: list[str], k: int
) -> None:
    # Small chunks and few words: many documents of many chunks, and many equal scores.
    with DocStore(
        tmp_path_factory.mktemp("store"), embedder=HashEmbedder(), codec=codec, chunk_size=40, chunk_overlap=10
    ) as store:
        workspace = store.workspace("alice")
        workspace.add_many([text.encode() for text in texts])
        by_hash = {hash_of(text.encode()): text for text in texts}
        expected = private_index(by_hash, queries, k, codec, 40, 10)
        together = workspace.search_many(queries, k)
        for query, hits, (ranking, scores) in zip(queries, together, expected, strict=True):
            assert [(hit.document, hit.chunk) for hit in hits] == ranking
            assert [hit.score for hit in hits] == [float(score) for score in scores]
            assert workspace.search(query, k) == hits


def test_what_is_collected_while_it_is_read_is_not_missed(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = alice.add(b"red fox", name="fox").hash
    alice.add(b"red dog", name="dog")
    real = subindexes._codes
    calls = 0

    def collects_first(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            alice.remove(going)
            store.collect()
        return real(*arguments)

    monkeypatch.setattr(subindexes, "_codes", collects_first)
    assert names(alice.search("red")) == {"dog"}
    assert calls > 1


@pytest.fixture
def library(alice: Workspace) -> dict[str, str]:
    """Names to hashes."""
    texts: dict[str, tuple[str, dict[str, Any]]] = {
        "fox": ("red fox in the snow", {"year": 2023, "tags": ["animal"], "open": True}),
        "dog": ("red dog in the sun", {"year": 2024, "tags": ["animal", "pet"], "open": False}),
        "tax": ("tax law of the land", {"year": 2024, "open": 1}),
        "moon": ("blue moon over red land", {}),
    }
    return {name: alice.add(text.encode(), name=name, metadata=meta).hash for name, (text, meta) in texts.items()}


def names(hits: list[Any]) -> set[str]:
    return {hit.name for hit in hits}


def test_a_hit_is_like_any_other_value(alice: Workspace, library: dict[str, str]) -> None:
    (hit,) = alice.search("red fox in the snow", k=1)
    assert hit == Hit("red fox in the snow", hit.score, library["fox"], "fox", chunk=0, start=0, end=19, page=None)
    assert repr(hit) == repr(dataclasses.replace(hit)) and hash(hit) == hash(dataclasses.replace(hit))
    assert pickle.loads(pickle.dumps(hit)) == copy.deepcopy(hit) == Hit(**dataclasses.asdict(hit)) == hit  # noqa: S301
    assert [type(value) for value in dataclasses.astuple(hit)] == [str, float, str, str, int, int, int, type(None)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        hit.text = "another"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        hit.other = 1  # type: ignore[attr-defined]


def test_filters_act_before_the_top_k(alice: Workspace, library: dict[str, str]) -> None:
    assert alice.search("red fox", k=1)[0].name == "fox"
    assert names(alice.search("red fox", k=1, documents=[library["tax"]])) == {"tax"}
    assert names(alice.search("red fox", k=9, documents=[library["tax"], library["dog"]])) == {"tax", "dog"}
    assert names(alice.search("red fox", k=1, where={"year": 2024})) == {"dog"}
    assert names(alice.search("red fox", k=9, where={"year": 2024, "open": 1})) == {"tax"}
    assert names(alice.search("red fox", k=9, where={"open": True})) == {"fox"}
    assert names(alice.search("red fox", k=9, where={"tags": ["animal"]})) == {"fox"}
    assert alice.search("red fox", where={"year": "2024"}) == []
    assert alice.search("red fox", where={"missing": None}) == []
    assert alice.search("red fox", documents=[]) == []
    assert names(alice.search("x", k=9, documents=[library["tax"], library["fox"]], where={"year": 2024})) == {"tax"}
    assert names(alice.search_many(["red", "law"], k=1, where={"year": 2024})[1]) == {"tax"}


def test_a_document_that_is_not_here_is_an_error(alice: Workspace, bob: Workspace, library: dict[str, str]) -> None:
    other = bob.add(b"bob's own").hash
    for hash in (other, "0" * 64):
        with pytest.raises(DocumentNotFound, match="This workspace has no document"):
            alice.search("red", documents=[hash])


@pytest.mark.parametrize("k", [0, -1, 1.5, "5", None, True])
def test_bad_k(alice: Workspace, library: dict[str, str], k: Any) -> None:
    with pytest.raises(InvalidArgument, match="k is"):
        alice.search("red", k)


@pytest.mark.parametrize("query", ["", "   ", None, 7])
def test_bad_queries(alice: Workspace, query: Any) -> None:
    with pytest.raises(InvalidArgument, match="must be text"):
        alice.search(query)


@pytest.mark.parametrize(
    "vector", [[1.0] * 63, [0.0] * 64, [float("nan")] * 64, "text", [[1.0] * 64] * 2, [None] * 64, [float("inf")] * 64]
)
def test_bad_vectors(alice: Workspace, library: dict[str, str], vector: Any) -> None:
    with pytest.raises(InvalidArgument):
        alice.search_vector(vector)


def test_by_vector_and_many(alice: Workspace, library: dict[str, str], embedder: HashEmbedder) -> None:
    vector = embedder.embed(["red fox"])[0]
    assert alice.search_vector(vector * 17, k=3) == alice.search("red fox", k=3)
    assert alice.search_vector(vector.tolist(), k=3) == alice.search("red fox", k=3)
    assert alice.search_many(["red fox", "law"], k=3) == [alice.search("red fox", k=3), alice.search("law", k=3)]
    assert alice.search_many([]) == []
    with pytest.raises(InvalidArgument, match="takes a list"):
        alice.search_many("red fox")


def test_an_empty_workspace_finds_nothing(alice: Workspace) -> None:
    assert alice.search("anything") == []
    assert alice.search_many(["a", "b"]) == [[], []]
    assert alice.search("anything", mmr=True) == []


def test_fewer_chunks_than_k(alice: Workspace, library: dict[str, str]) -> None:
    assert len(alice.search("red", k=1_000_000)) == 4


def reference_mmr(query: Any, candidates: Any, lambda_mult: float, k: int) -> list[int]:
    """As LangChain defines it, written out: the first is the nearest; then argmax of the weighted difference."""

    def cosine(a: Any, b: Any) -> float:
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    picked = [int(np.argmax([cosine(query, each) for each in candidates]))]
    while len(picked) < min(k, len(candidates)):
        rest = [index for index in range(len(candidates)) if index not in picked]
        scores = [
            lambda_mult * cosine(query, candidates[index])
            - (1 - lambda_mult) * max(cosine(candidates[index], candidates[other]) for other in picked)
            for index in rest
        ]
        picked.append(rest[int(np.argmax(scores))])
    return picked


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 12), st.floats(0, 1))
def test_mmr_is_langchains(seed: int, count: int, k: int, lambda_mult: float) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((count + 1, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query, candidates = vectors[0], vectors[1:]
    candidates = candidates[np.argsort(-(candidates @ query))]
    assert maximal_marginal_relevance(query, candidates, k, lambda_mult) == reference_mmr(
        query, candidates, lambda_mult, k
    )


def test_mmr_prefers_what_is_new(alice: Workspace) -> None:
    for text in (b"red fox runs", b"red fox  runs", b"red fox runs\n\n", b"red moon"):
        alice.add(text)
    plain = [hit.text.strip() for hit in alice.search("red fox runs", k=2)]
    diverse = [hit.text.strip() for hit in alice.search("red fox runs", k=2, mmr=True, lambda_mult=0.3)]
    assert "red moon" not in plain
    assert diverse[1] == "red moon"
    assert alice.search("red fox runs", k=3, mmr=True, lambda_mult=1.0) == alice.search("red fox runs", k=3)
    assert len(alice.search("red fox runs", k=4, mmr=True, fetch_k=1)) == 4
    for bad in ({"fetch_k": 0}, {"lambda_mult": -0.1}, {"lambda_mult": 1.1}):
        with pytest.raises(InvalidArgument, match=r"lambda_mult|fetch_k"):
            alice.search("red", mmr=True, **bad)


def test_a_change_by_another_store_is_seen_by_the_next_search(folder: Path, alice: Workspace) -> None:
    alice.add(b"red fox", name="fox")
    assert names(alice.search("red")) == {"fox"}
    with DocStore(folder, embedder=HashEmbedder()) as other:
        elsewhere = other.workspace("alice")
        hash = elsewhere.add(b"red dog", name="dog").hash
        assert names(alice.search("red")) == {"fox", "dog"}
        elsewhere.add(b"red dog", name="hound")
        assert names(alice.search("red")) == {"fox", "hound"}
        elsewhere.remove(hash)
        other.collect()
        assert names(alice.search("red")) == {"fox"}


def test_the_cache_stays_within_its_budget(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(), cache_bytes=10_000) as store:
        for number in range(20):
            workspace = store.workspace(f"w{number}")
            workspace.add(f"text {number} ".encode() * 2000)
            workspace.search("text")
        assert sum(kept.nbytes for kept in store._parts.memory._values.values()) <= 10_000
        assert store.workspace("w0").search("text", k=1)[0].text.startswith("text 0")


def test_searches_and_changes_in_many_threads(store: DocStore, alice: Workspace) -> None:
    fixed = {alice.add(f"red number {number}".encode()).hash for number in range(10)}
    errors: list[BaseException] = []
    stop = threading.Event()

    def change(number: int) -> None:
        try:
            while not stop.is_set():
                hash = alice.add(f"red visitor {number}".encode()).hash
                alice.remove(hash)
                store.collect()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    def search() -> None:
        try:
            for _ in range(150):
                hits = alice.search("red", k=100)
                assert fixed <= {hit.document for hit in hits}
                assert all(hit.text.startswith("red ") for hit in hits)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    changers = [threading.Thread(target=change, args=(number,)) for number in range(2)]
    searchers = [threading.Thread(target=search) for _ in range(3)]
    for thread in changers + searchers:
        thread.start()
    for thread in searchers:
        thread.join()
    stop.set()
    for thread in changers:
        thread.join()
    assert errors == []
