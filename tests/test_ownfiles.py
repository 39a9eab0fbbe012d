"""A store below the folder that is added to it: the databases that it has open are not opened as documents."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docstore import DocStore, UnreadableDocument
from docstore.testing import HashEmbedder
from tests.packing import notes


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if "tmp" not in path.relative_to(folder).parts)


def test_a_folder_with_the_store_in_it_is_added_without_its_databases(tmp_path: Path) -> None:
    (tmp_path / "handbook.txt").write_text("A handbook.")
    with DocStore(tmp_path / ".store", embedder=HashEmbedder()) as store:
        store.workspace("alice").add_many(notes())  # so that there is an archive
        report = store.workspace("bob").add_many(_files(tmp_path))
        refused = {Path(each.name).name: each.error for each in report.failed}
        assert refused.keys() >= {"catalog.db", "catalog.db-shm", "catalog.db-wal", "small.sqlar"}
        for name in ("catalog.db", "catalog.db-shm", "catalog.db-wal", "small.sqlar"):
            assert "a store that this process has open" in str(refused[name])
        assert "handbook.txt" in {each.name for each in report.added}


@pytest.mark.parametrize("made", [os.symlink, os.link], ids=["symlink", "hard link"])
def test_by_no_other_name_either(made: object, tmp_path: Path) -> None:
    with DocStore(tmp_path / "store", embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        for name in ("catalog.db", "catalog.db-shm"):
            made(tmp_path / "store" / name, tmp_path / f"other {name}")  # type: ignore[operator]
            with pytest.raises(UnreadableDocument, match="a store that this process has open"):
                alice.add(tmp_path / f"other {name}")
            with (
                DocStore(tmp_path / "another store", embedder=HashEmbedder()) as other,
                pytest.raises(UnreadableDocument, match="a store that this process has open"),
            ):
                other.workspace("alice").add(tmp_path / f"other {name}")


def test_what_another_process_commits_meanwhile_stays(tmp_path: Path) -> None:
    """Without locks it would take itself for the last who has the catalog open, and delete the log: both would then go
    on in logs of their own."""
    folder = tmp_path / ".store"
    program = f"""
from docstore import DocStore
from docstore.testing import HashEmbedder
with DocStore({str(folder)!r}, embedder=HashEmbedder()) as store:
    store.workspace("bob").add(b"Two.", name="theirs")
"""
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add_many(path for path in tmp_path.rglob("*") if path.is_file())
        for number in range(2):
            # Not a forked child: before a fork a store closes what is idle.
            subprocess.run([sys.executable, "-c", program.replace("Two", f"Two {number}")], check=True)
            alice.add(b"Three %d." % number, name="ours")
        assert len(store.workspace("bob").documents()) == 2
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert len(store.workspace("bob").documents()) == 2
        assert [each.name for each in store.workspace("alice").documents()].count("ours") == 2
        assert store.verify().ok


def test_once_it_is_closed_nothing_is_in_the_way(tmp_path: Path) -> None:
    with DocStore(tmp_path / "closed", embedder=HashEmbedder()) as closed:
        closed.workspace("alice")
    with DocStore(tmp_path / "store", embedder=HashEmbedder()) as store, pytest.raises(UnreadableDocument) as caught:
        store.workspace("alice").add(tmp_path / "closed" / "catalog.db")
    assert "has open" not in str(caught.value)
