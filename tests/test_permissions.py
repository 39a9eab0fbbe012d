"""What may not be written, or is not there, for this user: refused at once, with nothing left that keeps others out."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from docstore import DocStore, StorageError
from docstore.testing import HashEmbedder
from tests.commands import SCRIPT
from tests.permissions import bound, run_bound

WRITES = """
import sys
from docstore import DocStore
DocStore(sys.argv[1]).workspace("new")
"""


@bound
def test_a_catalog_that_may_not_be_written_is_not_opened_for_writing(filled: Path) -> None:
    """SQLite would open it for reading, and its log, which is then this user's, would keep the owner from writing."""
    before = sorted(filled.iterdir())
    (filled / "catalog.db").chmod(0o444)
    done = run_bound(sys.executable, "-c", WRITES, filled)
    assert f"StorageError: {filled / 'catalog.db'} is not writable. Check permissions, or open" in done.stderr
    verified = run_bound(SCRIPT, "--store", filled, "verify")
    assert verified.returncode == 0 and "no problems" in verified.stdout, verified.stderr
    removed = run_bound(SCRIPT, "--store", filled, "rm", "alice", "--all", "--yes")
    assert removed.returncode == 5 and "is not writable" in removed.stderr
    assert sorted(filled.iterdir()) == before


@bound
def test_a_log_that_may_not_be_written_is_named(filled: Path) -> None:
    with DocStore(filled, embedder=HashEmbedder()) as store:
        store.workspace("another")
        copy = filled.parent / "copy"
        shutil.copytree(filled, copy)
    (copy / "catalog.db-wal").chmod(0o444)  # as where another user, of another umask, has the store open
    done = run_bound(sys.executable, "-c", WRITES, copy)
    assert "StorageError" in done.stderr and "-wal or -shm beside it" in done.stderr, done.stderr


def test_a_store_in_a_folder_that_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(StorageError, match="Check that the folder, or the current one, was not deleted"):
        DocStore("data", embedder=HashEmbedder())


def test_a_store_behind_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "not mounted")
    with pytest.raises(StorageError, match="see where it leads if it is a symbolic link"):
        DocStore(tmp_path / "link", embedder=HashEmbedder())


def test_a_set_of_a_readonly_store_where_nothing_temporary_can_be_written(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> NoReturn:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    with DocStore(filled, embedder=HashEmbedder(), readonly=True) as store:
        monkeypatch.setattr(tempfile, "gettempdir", refuse)
        with pytest.raises(StorageError, match=r"No usable temporary directory .* Set TMPDIR"):
            store.workspace_for([b"A note."])
