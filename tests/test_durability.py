"""The order of syncs, renames, unlinks and commits is the protocol's: recorded from the real calls."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, durable
from docstore.database import CatalogDatabase
from docstore.testing import HashEmbedder

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names descriptors through /proc")

Event = tuple[str, str]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """('sync' | 'mkdir' | 'rename' | 'unlink', path) and ('sql', statement), as they happen."""
    recorded: list[Event] = []
    real_sync, real_replace, real_unlink, real_mkdir = durable.sync_file, os.replace, Path.unlink, Path.mkdir
    real_connect = CatalogDatabase._connect

    def sync(fd: int) -> None:
        recorded.append(("sync", str(Path(f"/proc/self/fd/{fd}").readlink())))
        real_sync(fd)

    def replace(source: Path, target: Path) -> None:
        recorded.append(("rename", f"{source}\0{target}"))
        real_replace(source, target)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        recorded.append(("unlink", str(path)))
        real_unlink(path, missing_ok=missing_ok)

    def mkdir(path: Path, *arguments: Any, **keywords: Any) -> None:
        recorded.append(("mkdir", str(path)))
        real_mkdir(path, *arguments, **keywords)

    def connect(self: CatalogDatabase) -> sqlite3.Connection:
        connection = real_connect(self)
        connection.set_trace_callback(lambda statement: recorded.append(("sql", statement)))
        return connection

    monkeypatch.setattr(durable, "sync_file", sync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(CatalogDatabase, "_connect", connect)
    return recorded


def position(events: list[Event], kind: str, text: str, after: int = 0) -> int:
    """Index of the first event of a kind whose text begins so."""
    return next(i for i, (what, which) in enumerate(events) if i >= after and what == kind and which.startswith(text))


def transactions(events: list[Event]) -> list[tuple[int, int]]:
    """Where each write transaction begins and where its commit is."""
    begins = [i for i, event in enumerate(events) if event == ("sql", "BEGIN IMMEDIATE")]
    return [(begin, position(events, "sql", "COMMIT", begin)) for begin in begins]


def test_every_file_and_directory_is_durable_before_its_row_commits(folder: Path, events: list[Event]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        events.clear()
        store.workspace("alice").add(b"a document that must not be lost")
    row = position(events, "sql", "INSERT INTO documents")
    commit = position(events, "sql", "COMMIT", row)
    renames = [at for at, (what, _) in enumerate(events) if what == "rename"]
    assert len(renames) == 4
    for at in renames:
        source, target = events[at][1].split("\0")
        assert position(events, "sync", source) < at, "the file's bytes, before it gets its name"
        assert ("sync", str(Path(target).parent)) in events[at:commit], "its directory, before the commit"
    made = {which for what, which in events if what == "mkdir" and not which.startswith(str(folder / "tmp"))}
    assert len(made) == 8  # documents/ab, texts/ab, embeddings/<pipeline>/ab/<hash>
    for directory in made:
        assert ("sync", str(Path(directory).parent)) in events[:commit], f"the entry of {directory}"


def test_renames_and_unlinks_happen_under_the_write_lock(folder: Path, events: list[Event]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add_many([f"document {number}".encode() for number in range(5)])
        store.delete_workspace("alice")
        store.collect()
    published = [
        i
        for i, (what, which) in enumerate(events)
        if what in ("rename", "unlink") and str(folder / "tmp") not in which.split("\0")[-1]
    ]
    assert len(published) == 2 * 5 * 4
    for at in published:
        assert any(begin < at < commit for begin, commit in transactions(events))


def test_doom_is_committed_before_the_first_unlink(folder: Path, events: list[Event]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.remove(alice.add(b"a document").hash)
        events.clear()
        store.collect()
    doom = position(events, "sql", "UPDATE documents SET doomed = 1")
    unlink = position(events, "unlink", str(folder / "documents"))
    delete = position(events, "sql", "DELETE FROM documents")
    assert doom < position(events, "sql", "COMMIT", doom) < unlink < delete < position(events, "sql", "COMMIT", delete)


def test_the_sweep_lists_before_it_asks(folder: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    from docstore.cas import ContentStore
    from docstore.lifecycle.collect import orphans

    with DocStore(folder, embedder=HashEmbedder()) as store:
        hash = store.workspace("alice").add(b"a document").hash
        real = ContentStore.files

        def listed(self: ContentStore, shard: str) -> Any:
            yield from real(self, shard)
            events.append(("listed", shard))

        monkeypatch.setattr(ContentStore, "files", listed)
        events.clear()
        with store._parts.database.write() as db:
            assert orphans(store._parts, db, store._parts.documents, hash[:2]) == []
    assert position(events, "listed", hash[:2]) < position(events, "sql", "SELECT")


def test_a_new_stores_own_entry_is_synced(folder: Path, events: list[Event]) -> None:
    DocStore(folder, embedder=HashEmbedder()).close()
    synced = [which for what, which in events if what == "sync"]
    assert str(folder.parent) in synced
    assert str(folder) in synced
