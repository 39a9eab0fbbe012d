"""Isolation: no search ever returns, counts or names another workspace's document."""

from __future__ import annotations

import shutil
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import DocStore, DocumentNotFound
from docstore.testing import HashEmbedder
from tests.folders import hash_of

TEXTS = [f"shared word and own word{number}" for number in range(8)]
assignment = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 7), st.booleans()), max_size=30)


@given(assignment)
def test_no_search_returns_another_workspaces_document(steps: list[tuple[str, int, bool]]) -> None:
    folder = tempfile.mkdtemp()
    held: dict[str, set[str]] = {name: set() for name in "abc"}
    try:
        with DocStore(f"{folder}/store", embedder=HashEmbedder()) as store:
            for name, number, adds in steps:
                data = TEXTS[number].encode()
                workspace = store.workspace(name)
                if adds:
                    workspace.add(data, name=f"{name}'s name", metadata={"owner": name})
                    held[name].add(hash_of(data))
                elif hash_of(data) in held[name]:
                    workspace.remove(hash_of(data))
                    held[name].discard(hash_of(data))
                for each, hashes in held.items():
                    handle = store.workspace(each)
                    searches = [
                        handle.search("shared word", k=100),
                        handle.search("shared word", k=100, mmr=True, fetch_k=100),
                        handle.search("shared word", k=100, where={"owner": each}),
                        *handle.search_many(["shared", TEXTS[number]], k=100),
                    ]
                    for hits in searches:
                        assert {hit.document for hit in hits} == hashes
                        assert {hit.name for hit in hits} <= {f"{each}'s name"}
                    for hash in set().union(*held.values()) - hashes:
                        with pytest.raises(DocumentNotFound) as here:
                            handle.search("shared", documents=[hash])
                        with pytest.raises(DocumentNotFound) as nowhere:
                            handle.search("shared", documents=["0" * 64])
                        assert str(here.value).replace(hash, "") == str(nowhere.value).replace("0" * 64, "")
                        with pytest.raises(DocumentNotFound):
                            handle.remove(hash)
                    assert len(handle) == len(hashes)
    finally:
        shutil.rmtree(folder)
