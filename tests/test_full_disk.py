"""A disk without a free byte: a collection commits little at a time, and what drops references leaves room for it."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from docstore import DocStore, StorageError, Workspace, catalog_log
from docstore.lifecycle import collect
from docstore.reserve import RESERVE, SIZE, Reserve
from tests.clock import HOUR, LATE, Clock
from tests.folders import query

CHUNKS = 400


@pytest.fixture
def full(store: DocStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk where the reserve was given up, and less is left of it than a collection takes."""
    (folder / RESERVE).unlink()
    monkeypatch.setattr(Reserve, "fill", lambda _: None)
    monkeypatch.setattr(Reserve, "_fits", lambda _self, _size: False)


def test_a_collection_commits_little_at_a_time(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a store of many chunks each digest of a document lies on a page of its own: a log of megabytes."""
    alice.add("\n\n".join(f"Chunk {number} " + "word " * 150 for number in range(CHUNKS)).encode())
    kept = alice.add(b"What stays.")
    with contextlib.closing(sqlite3.connect(folder / "catalog.db")) as catalog, catalog:
        ((text, pipeline),) = catalog.execute(
            "SELECT text_id, pipeline_id FROM subindexes JOIN documents USING (text_id) WHERE hash = ?", (kept.hash,)
        ).fetchall()
        strangers = ((text, pipeline, number, int.from_bytes(os.urandom(6))) for number in range(1, 200_000))
        catalog.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?)", strangers)
    for document in alice.documents():
        if document.hash != kept.hash:
            assert document.chunks >= CHUNKS
            alice.remove(document.hash)
    logs: list[int] = []
    empty, fits = catalog_log.empty, False
    monkeypatch.setattr(Reserve, "_fits", lambda _self, _size: fits)

    def emptied(connection: sqlite3.Connection) -> bool:
        logs.append((folder / "catalog.db-wal").stat().st_size)
        return empty(connection)

    monkeypatch.setattr(catalog_log, "empty", emptied)
    with store._parts.database.frugal():
        logs.clear()
        assert store.collect().documents == 1
    assert max(logs) <= SIZE // 4
    assert query(folder, "SELECT count(DISTINCT text_id) FROM chunks") == [(1,)]
    assert [each.hash for each in alice.documents()] == [kept.hash]
    # Where something has become free again it need not.
    for number in range(90):
        alice.remove(alice.add(b"Note %d." % number).hash)
    fits = True
    monkeypatch.setattr(collect, "_HOLD_SECONDS", 60.0)  # however busy this machine is
    with store._parts.database.frugal():
        logs.clear()
        assert store.collect().documents == 90
    assert len(logs) < 25


@pytest.mark.usefixtures("full")
def test_digests_of_a_text_that_another_document_has_stay(store: DocStore, alice: Workspace, folder: Path) -> None:
    text = "\n\n".join(f"Chunk {number} " + "word " * 150 for number in range(60))
    twin = alice.add(text.replace("\n", "\r\n").encode())
    gone = alice.add(text.encode())
    (digests,) = query(folder, "SELECT count(*) FROM chunks")
    alice.remove(gone.hash)
    with store._parts.database.frugal():
        assert store.collect().documents == 1
    assert query(folder, "SELECT count(*) FROM chunks") == [digests]
    assert alice.search("Chunk 7", k=1)[0].document == twin.hash


@pytest.mark.usefixtures("full")
def test_references_are_dropped_while_what_had_them_can_be_collected(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = [alice.add(b"Note %d." % number).hash for number in range(4)]
    for name in ("due", "other"):
        store.workspace(name, ttl=HOUR, sliding=False).link(hashes[0])
    clock = Clock(monkeypatch)
    with store._parts.database.frugal():
        alice.remove(hashes[0])  # others have it: nothing to collect
        alice.remove(hashes[1])
        for dropping in (
            lambda: alice.remove(hashes[2]),
            lambda: alice.remove_many(hashes),
            lambda: store.delete_workspace("other"),
        ):
            with pytest.raises(StorageError, match=r"fewer than 524,288 bytes are free .* Collect first"):
                dropping()
        clock.advance(HOUR + LATE)
        with pytest.raises(StorageError, match="Collect first"):
            store.expire(grace=timedelta(0))
        assert len(alice) == 2
        assert store.collect().documents == 1
        alice.remove(hashes[2])
        assert store.collect().documents == 1
        assert set(store.expire(grace=timedelta(0)).deleted) == {"due", "other"}
    assert store.collect().documents == 1
    assert [each.hash for each in alice.documents()] == [hashes[3]]
    assert store.verify().ok


def test_many_are_dropped_a_few_at_a_time(store: DocStore, alice: Workspace, folder: Path) -> None:
    hashes = [alice.add(b"Note %d." % number).hash for number in range(20)]
    (folder / RESERVE).unlink()
    versions = []
    with store._parts.database.frugal():
        before = query(folder, "SELECT count(*) FROM refs")
        with pytest.MonkeyPatch.context() as patch:
            real = catalog_log.empty

            def emptied(connection: sqlite3.Connection) -> bool:
                versions.append(connection.execute("SELECT count(*) FROM refs").fetchone()[0])
                return real(connection)

            patch.setattr(catalog_log, "empty", emptied)
            assert alice.remove_many(hashes) == 20
    assert before == [(20,)]
    assert {first - second for first, second in pairwise(versions)} <= {0, 4, 8}


def test_what_fits_is_asked_of_the_disk_itself(tmp_path: Path) -> None:
    """What it says is free leaves out quotas, and what root may use besides."""
    reserve = Reserve(tmp_path, readonly=False)
    assert reserve._fits(SIZE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        assert not reserve._fits(SIZE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
