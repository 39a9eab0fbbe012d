"""The order of syncs, renames, unlinks and commits is the protocol's: recorded from the real calls."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, StorageError, claims, durable
from docstore.database import CatalogDatabase
from docstore.testing import HashEmbedder
from tests.folders import execute, files, hash_of
from tests.packing import MANY

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


@pytest.mark.parametrize("count", [1, MANY])
def test_every_file_and_directory_is_durable_before_its_row_commits(
    folder: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(durable, "SMALL", 0)  # as if they were large: all are files, however many
    with DocStore(folder, embedder=HashEmbedder()) as store:
        events.clear()
        report = store.workspace("alice").add_many([b"document %d that must not be lost" % n for n in range(count)])
        assert len(report.added) == count
    row = position(events, "sql", "INSERT INTO documents")
    commit = position(events, "sql", "COMMIT", row)
    renames = [at for at, (what, _) in enumerate(events) if what == "rename"]
    assert len(renames) == 4 * count
    for at in renames:
        source, target = events[at][1].split("\0")
        assert position(events, "sync", source) < at, "the file's bytes, before it gets its name"
        assert ("sync", str(Path(target).parent)) in events[at:commit], "its directory, before the commit"
    made = {which for what, which in events if what == "mkdir" and not which.startswith(str(folder / "tmp"))}
    assert len(made) == 8 or count > 1  # documents/ab, texts/ab, embeddings/<pipeline>/ab/<hash>
    for directory in made:
        assert ("sync", str(Path(directory).parent)) in events[:commit], f"the entry of {directory}"


def test_files_are_synced_before_the_lock_is_taken(folder: Path, events: list[Event]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        events.clear()
        store.workspace("alice").add(b"a document")
    synced = [at for at, (what, which) in enumerate(events) if what == "sync" and which.startswith(str(folder / "tmp"))]
    assert len(synced) == 4
    assert not any(begin < at < commit for begin, commit in transactions(events) for at in synced)


@pytest.mark.parametrize("which", [0, -1])
def test_a_file_that_cannot_be_synced_is_not_published(
    folder: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    monkeypatch.setattr(durable, "SMALL", 0)
    syncs: list[str] = []

    def fails(path: str) -> None:
        syncs.append(path)
        if Path(path).name == str(range(4 * MANY)[which]):
            raise OSError(errno.EIO, "Input/output error")

    with DocStore(folder, embedder=HashEmbedder()) as store:
        with monkeypatch.context() as patch:
            patch.setattr(durable, "_sync_file_at", fails)
            with pytest.raises(StorageError, match="Input/output error"):
                store.workspace("alice").add_many([b"document %d" % number for number in range(MANY)])
        assert len(syncs) > 1
        assert len(store.workspace("alice")) == 0
        assert files(folder) == []
        assert not store.workspace("alice").add_many([b"document %d" % number for number in range(MANY)]).failed


def test_renames_and_unlinks_happen_under_the_write_lock(
    folder: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "SMALL", 0)
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


def test_nothing_is_more_public_than_the_umask_says(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        with DocStore(folder, embedder=HashEmbedder()) as store:
            alice = store.workspace("alice")
            alice.add(b"One that is a file.", name="one.txt")
            alice.add_many([b"Two that are", b"in the archive."])
            alice.conversation("chat").append("user", "What is private?")
            alice.search("file")
            entries = {path: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
        entries |= {path: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    finally:
        os.umask(before)
    assert len([path for path in entries if path.is_file()]) >= 5
    assert {path: oct(mode) for path, mode in entries.items() if mode & 0o077} == {}


def test_syncing_reaches_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.delattr(fcntl, "F_FULLFSYNC", raising=False)
    (tmp_path / "file").write_bytes(b"data")
    durable.sync_files([str(tmp_path / "file")])
    durable.sync_directory(tmp_path)
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


def test_a_file_is_whole_when_it_is_synced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, int] = {}
    placed: list[bool] = []
    real_sync, real_replace = durable.sync_file, os.replace

    def sync(fd: int) -> None:
        sizes[str(Path(f"/proc/self/fd/{fd}").readlink())] = os.fstat(fd).st_size
        real_sync(fd)

    def replace(source: str, target: str) -> None:
        placed.append(sizes[source] == Path(source).stat().st_size > 0)
        real_replace(source, target)

    monkeypatch.setattr(durable, "sync_file", sync)
    monkeypatch.setattr(os, "replace", replace)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add(b"a short document")
    assert placed == [True] * 4


def test_removals_are_durable_before_they_are_settled(folder: Path, events: list[Event]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        texts = [b"text %d" % number for number in range(40)]
        for text in texts:
            bob.add(text)
        alice.add(b"a neighbour")
        events.clear()
        store.delete_workspace("bob")
        store.collect()
    settled = position(events, "sql", "UPDATE totals SET sweeps_done")
    removed = [(at, Path(which)) for at, (what, which) in enumerate(events) if what == "unlink"]
    assert len(removed) == 4 * len(texts)
    for at, path in removed:
        left = next(parent for parent in path.parents if parent.is_dir())
        assert left != folder / "tmp"
        assert ("sync", str(left)) in events[at:settled], f"the removal of {path}"


def test_a_sweep_happens_under_the_write_lock(folder: Path, events: list[Event]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        orphan = folder / "documents" / "ab" / ("ab" * 32 + ".txt")
        orphan.parent.mkdir(parents=True)
        orphan.write_bytes(b"left by a crash")
        with store._parts.database.write() as db:
            claims.request_sweep(db)
        events.clear()
        assert store.collect().leftovers == 1
    unlinked = position(events, "unlink", str(orphan))
    asked = position(events, "sql", "SELECT d.id, d.hash, d.media_type")
    (transaction,) = [(begin, end) for begin, end in transactions(events) if begin < unlinked < end]
    assert transaction[0] < asked < unlinked


def test_a_sweep_makes_durable_what_others_removed(folder: Path, events: list[Event]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        hash = store.workspace("alice").add(b"a document").hash
        with store._parts.database.write() as db:
            claims.request_sweep(db)
        events.clear()
        store.collect()
    settled = position(events, "sql", "UPDATE totals SET sweeps_done")
    synced = {which for what, which in events[:settled] if what == "sync"}
    assert {str(folder / each) for each in (".", "documents", f"documents/{hash[:2]}", "texts")} <= synced


SHARED = [
    ("SELECT owner FROM claims", "UPDATE claims"),
    ("SELECT d.id, d.hash, d.media_type", "INSERT INTO documents"),
    ("INSERT INTO documents", "INSERT INTO refs"),
    ("SELECT hash FROM documents d", "UPDATE documents SET doomed"),
    ("SELECT hash FROM documents WHERE doomed", "DELETE FROM documents"),
]


@pytest.mark.parametrize(("check", "act"), SHARED)
def test_checks_share_a_transaction_with_what_rests_on_them(
    folder: Path, events: list[Event], check: str, act: str
) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        execute(folder, f"INSERT INTO claims VALUES ('document:{hash_of(b'a document')}', 'somebody who died')")
        alice.remove(alice.add(b"a document").hash)
        store.collect()
    statements = [" ".join(which.split()) for what, which in events if what == "sql"]
    acted = next(at for at, each in enumerate(statements) if each.startswith(act))
    begun = max(at for at, each in enumerate(statements[:acted]) if each == "BEGIN IMMEDIATE")
    assert any(each.startswith(check) for each in statements[begun:acted])
    looked = max(at for at, each in enumerate(statements[:acted]) if each.startswith(check))
    assert "COMMIT" not in statements[begun:acted] and begun < looked
    if act == "INSERT INTO documents":
        # What decides whether to publish is looked at in this transaction, not in one before.
        assert any(each.startswith("SELECT w.id IS NOT NULL AS is_there") for each in statements[begun:looked])


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize("damaged", ["documents", "texts", "embeddings", "rows"])
def test_what_a_repair_places_is_durable_before_its_commit(folder: Path, events: list[Event], damaged: str) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add(b"a document")
        if damaged == "rows":
            execute(folder, "DROP TRIGGER refs_insert")
            execute(folder, "INSERT INTO refs VALUES (1, 999, 'lost', '{}', 'x', 0)")
        for path in files(folder, damaged):
            damage(folder / path)
        events.clear()
        assert store.repair().repairs
    renames = [at for at, (what, _) in enumerate(events) if what == "rename"]
    assert renames
    for at in renames:
        target = Path(events[at][1].split("\0")[1])
        begin, commit = next((begin, end) for begin, end in transactions(events) if begin < at < end)
        assert ("sync", str(target.parent)) in events[at:commit]
        assert ("sync", str(folder)) in events[at:commit]
        if damaged == "documents":
            assert any(which.startswith("SELECT d.id, d.hash, d.media_type") for _, which in events[begin:at])
