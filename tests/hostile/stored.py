"""A small store to tamper with, and ways to tamper that also put the catalog's hashes right."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from docstore import DocStore, moments
from docstore.testing import HashEmbedder
from tests.folders import files, hash_of, lie, query

DOCUMENTS = [b"lorem ipsum %d \n" % number * 60 for number in range(3)] + [b"<html><p>dolor sit amet</html>"]

VERSIONS = (b"The first version.", b"The second version.")


@dataclass(frozen=True, slots=True)
class Victim:
    """A store with two workspaces, and beside it a folder with a file that nothing may touch."""

    root: Path

    @property
    def folder(self) -> Path:
        """The store's own."""
        return self.root / "store"

    @property
    def hashes(self) -> list[str]:
        """Of its documents."""
        return [hash_of(data) for data in DOCUMENTS]

    @classmethod
    def build(cls, root: Path) -> Victim:
        """Makes one in a new folder."""
        victim = cls(root)
        outside = root / "outside"
        for name in ("x.pdf", "x.txt", "x.lock", "x/index.faiss", "aa/x.zst"):
            (outside / name).parent.mkdir(parents=True, exist_ok=True)
            (outside / name).write_bytes(b"somebody else's " + name.encode())
        with DocStore(victim.folder, embedder=HashEmbedder()) as store:
            store.workspace("alice").add_many(DOCUMENTS[:3], metadata={"n": 1})
            store.workspace("bob").add(DOCUMENTS[3], name="page.html")
            store.workspace("bob").link(victim.hashes[0])
            store.workspace("carol").add(b"nobody has this one any more")
            store.delete_workspace("carol")
            _sessions(store, victim.hashes)
        query(victim.folder, "PRAGMA wal_checkpoint(TRUNCATE)")
        return victim

    def copy(self, root: Path) -> Victim:
        """The same in another folder."""
        shutil.copytree(self.root, root)
        return Victim(root)

    def outside(self) -> dict[str, bytes]:
        """Everything beside the store."""
        return {str(path): path.read_bytes() for path in sorted((self.root / "outside").rglob("*")) if path.is_file()}

    def execute(self, *statements: str) -> None:
        """Changes the catalog as somebody who may write the disk can: without checks, foreign keys and our triggers."""
        lie(self.folder, *statements)

    def published(self, name: str) -> Path:
        """The first published file of an ending."""
        return next(self.folder / path for path in files(self.folder) if path.name.endswith(name))

    def replace(self, name: str, data: bytes) -> None:
        """Puts other bytes into every file of an ending, and their hash and size into the catalog."""
        for path in files(self.folder):
            if path.name.endswith(name):
                (self.folder / path).write_bytes(data)
        self.execute(*_rehashed(name, data))


def _sessions(store: DocStore, hashes: list[str]) -> None:
    """What applications keep beside documents."""
    alice, bob = store.workspace("alice"), store.workspace("bob")
    bob.include(alice)
    bob.conversation("talk").append("assistant", "It is lorem.", hits=bob.search("lorem", k=2), metadata={"n": 1})
    alice.pin(hashes[1])
    alice.limit(documents=10)
    alice.expire_after(timedelta(days=1))
    store.replace(store.workspace("dora").add(VERSIONS[0]).hash, VERSIONS[1])
    store.workspace("gone", ttl=timedelta(seconds=1), sliding=False).link(hashes[0])
    with patch.object(moments, "now", lambda: datetime.now(UTC) + timedelta(minutes=1)):
        assert store.expire().expired == ("gone",)


def _rehashed(name: str, data: bytes) -> Iterable[str]:
    hash, size = hash_of(data), len(data)
    if name.endswith(".faiss"):
        return [f"UPDATE subindexes SET index_hash = '{hash}', index_size = {size}"]
    if name.endswith(".npy"):
        return [f"UPDATE subindexes SET spans_hash = '{hash}', spans_size = {size}"]
    if name.endswith(".zst"):
        return [f"UPDATE texts SET file_hash = '{hash}', file_size = {size}"]
    return [f"UPDATE documents SET size = {size}"]
