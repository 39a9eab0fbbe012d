"""Statistics: measured on the disk, kept by triggers, the same cost for any store."""

from __future__ import annotations

from pathlib import Path

import pytest

from docstore import DocStore, Workspace
from docstore.testing import HashEmbedder
from tests.folders import apparent_bytes, files
from tests.samples import pdf, with_title


def test_physical_bytes_are_what_the_disk_holds(
    store: DocStore, alice: Workspace, bob: Workspace, folder: Path
) -> None:
    assert store.stats().physical_bytes == apparent_bytes(folder)
    data = pdf(["some pages of text " * 50] * 3)
    alice.add(data)
    one = sum((folder / path).stat().st_size for path in files(folder))
    stats = store.stats()
    assert stats.physical_bytes == apparent_bytes(folder)
    assert stats.logical_bytes == one
    bob.add(data)
    stats = store.stats()
    assert stats.physical_bytes == apparent_bytes(folder)
    assert stats.logical_bytes == 2 * one
    assert stats.saved_bytes == stats.logical_bytes - stats.physical_bytes
    assert (stats.documents, stats.references, stats.workspaces) == (1, 2, 2)


def test_what_goes_while_it_is_measured_counts_nothing(
    store: DocStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite removes its log when the last of all processes closes it: between a look and the next."""
    store.close()
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as reader:
        monkeypatch.setattr(Path, "exists", lambda _: True)
        assert reader.stats().catalog_bytes == (folder / "catalog.db").stat().st_size


def test_embeddings_avoided(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    data = pdf([" ".join(f"word{number}" for number in range(page, page + 1000)) for page in (0, 1000)])
    chunks = alice.add(data).chunks
    assert (store.stats().chunks, store.stats().embeddings_computed, store.stats().embeddings_avoided) == (
        chunks,
        chunks,
        0,
    )
    bob.add(data)
    bob.add(data)
    assert store.stats().embeddings_avoided == chunks
    store.workspace("carol").link(bob.documents()[0].hash)
    assert store.stats().embeddings_avoided == 2 * chunks
    store.workspace("dave").add(with_title(data, "another title"))
    stats = store.stats()
    assert (stats.chunks, stats.embeddings_computed, stats.embeddings_avoided) == (chunks, chunks, 3 * chunks)
    for name in store.workspaces():
        store.delete_workspace(name)
    store.collect()
    stats = store.stats()
    assert (stats.documents, stats.references, stats.chunks, stats.logical_bytes) == (0, 0, 0, 0)
    assert (stats.embeddings_computed, stats.embeddings_avoided) == (chunks, 3 * chunks)
    alice_again = store.workspace("alice")
    alice_again.add(data)
    assert store.stats().embeddings_computed == 2 * chunks
