"""A folder that is exchanged under an open store, as when a backup is put in its place: nothing of either is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, InvalidArgument, StorageError, StoreClosed
from docstore.testing import HashEmbedder
from tests.folders import files


def _open(folder: Path, **options: Any) -> DocStore:
    return DocStore(folder, embedder=HashEmbedder(), **options)


@pytest.fixture
def backup(folder: Path, tmp_path: Path) -> Path:
    with _open(folder) as store:
        store.workspace("alice").add_many([f"thing {number}".encode() for number in range(30)])
        store.workspace("alice").add(b"on its own")
    shutil.copytree(folder, tmp_path / "backup")
    return tmp_path / "backup"


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.workspace("new"),
        lambda store: store.workspace("alice").add(b"another"),
        lambda store: store.workspace("alice").add_many([b"one", b"two"]),
        lambda store: store.workspace("alice").search("thing"),
        lambda store: store.workspace("alice").documents(),
        lambda store: store.delete_workspace("alice"),
        lambda store: store.collect(),
        lambda store: store.verify(),
        lambda store: store.repair(),
        lambda store: store.stats(),
    ],
)
def test_who_had_it_open_is_told_to_open_it_again(
    folder: Path, backup: Path, tmp_path: Path, act: Callable[[DocStore], object]
) -> None:
    with _open(folder) as old:
        assert len(old.workspace("alice").search("thing", k=3)) == 3
        old.workspace("alice").remove(old.workspace("alice").documents()[0].hash)  # to be collected, but not here
        folder.rename(tmp_path / "moved")
        shutil.copytree(backup, folder)
        before = files(folder)
        with pytest.raises(StorageError, match="another file"):
            act(old)
        assert files(folder) == before
    with _open(folder) as new:
        assert len(new.workspace("alice")) == 31 and new.verify().ok


def test_one_that_was_read_only_is_told_too(folder: Path, backup: Path, tmp_path: Path) -> None:
    """A workspace's number may be another's in the backup."""
    with _open(folder, readonly=True) as old:
        alice = old.workspace("alice")
        assert len(alice.search("thing", k=3)) == 3
        folder.rename(tmp_path / "moved")
        shutil.copytree(backup, folder)
        with pytest.raises(StorageError, match="another file"):
            alice.search("thing")


def test_what_was_moved_away_and_came_back_is_the_same(folder: Path, backup: Path, tmp_path: Path) -> None:
    with _open(folder) as store:
        folder.rename(tmp_path / "moved")
        with pytest.raises(StorageError, match="another file"):
            store.workspace("alice").add(b"another")
        assert not folder.exists()
        (tmp_path / "moved").rename(folder)
        assert store.workspace("alice").add(b"another").chunks == 1
        assert store.verify().ok


def test_a_workspace_of_before_the_exchange_is_lent_to_nobody(folder: Path, backup: Path, tmp_path: Path) -> None:
    """Its number may be somebody else's in the folder that is there now."""
    with _open(folder) as old:
        handbook = old.workspace("handbook")
        folder.rename(tmp_path / "moved")
        shutil.copytree(backup, folder)
        with _open(folder) as new:
            new.workspace("mallory").add(b"A secret.")
            bob = new.workspace("bob")
            for act in (bob.include, bob.exclude):
                with pytest.raises(StorageError, match="another file"):
                    act(handbook)
            assert bob.includes() == []
    with _open(folder) as new, pytest.raises(StoreClosed):
        new.workspace("bob").include(handbook)


def test_one_store_is_one_however_its_path_is_written(folder: Path, backup: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with _open(folder) as store, _open(tmp_path / "link") as same, _open(backup) as other:
        bob = store.workspace("bob")
        bob.include(same.workspace("alice"))
        assert len(bob.search("thing", k=40)) == 31
        with pytest.raises(InvalidArgument, match="another store"):
            bob.include(other.workspace("alice"))
