"""FrozenCatalog: what is read without locks is of one moment, beside whoever writes, and leaves no copy."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, Document, StorageError, StoreLocked, frozen
from docstore.testing import HashEmbedder

LATER = b"Another note."


@pytest.fixture
def filled(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add(b"The key hangs behind the door.")


def log(folder: Path) -> bytes:
    return (folder / "catalog.db-wal").read_bytes()


def assert_of_one_moment(catalog: frozen.FrozenCatalog) -> None:
    with catalog.connection() as copied:
        assert copied.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        held = copied.execute("SELECT count(*) FROM refs").fetchone()
        assert copied.execute("SELECT refs FROM totals").fetchone() == held
    catalog.close()


def test_a_log_that_is_begun_anew_while_it_is_copied(
    folder: Path, filled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.read_bytes
    begun: list[bytes] = []
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("carol")

        def read_bytes(path: Path) -> bytes:
            if path.name == "catalog.db-wal" and not begun:
                begun.append(real(path)[:32])
                writer.workspace("carol").add(LATER)
                writer.collect()  # moves all pages of the log to the file, which was copied before
                writer.workspace("dave")  # the new log has pages of workspaces and totals, and none of references
                assert real(path)[:32] != begun[0]
            return real(path)

        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        assert_of_one_moment(frozen.FrozenCatalog(folder / "catalog.db", 5))
    assert begun


def test_a_checkpoint_between_the_two_copies(folder: Path, filled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes
    acted: list[Document] = []
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.collect()
        writer.workspace("carol")

        def read_bytes(path: Path) -> bytes:
            data = real(path)
            if path.name == "catalog.db-wal" and not acted:
                # Whoever copied the log first would now find newer pages in the file than the log has.
                acted.append(writer.workspace("carol").add(LATER))
                with writer._parts.database._connection() as connection:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return data

        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        assert_of_one_moment(frozen.FrozenCatalog(folder / "catalog.db", 5))
    assert acted


def test_a_change_within_a_tick_of_the_clock(folder: Path, filled: None) -> None:
    catalog = folder / "catalog.db"
    now = time.time_ns() + 10**9
    files = [catalog, folder / "catalog.db-wal"]
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("carol")
        writer.collect()
        for file in files:
            os.utime(file, ns=(now, now))
        with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
            assert "dave" not in store.workspaces()
            size = catalog.stat().st_size
            writer.workspace("dave")
            writer.collect()
            for file in files:
                os.utime(file, ns=(now, now))
            assert catalog.stat().st_size == size and not log(folder)
            assert "dave" in store.workspaces()


def test_a_file_that_is_written_while_it_is_copied(folder: Path, filled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty log before and after: only the file's times say it."""
    catalog = folder / "catalog.db"
    torn: list[bytes] = []
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.collect()
        assert not log(folder)

        class Torn(sqlite3.Connection):
            def serialize(self, **options: Any) -> bytes:
                data = super().serialize(**options)
                if not torn:
                    writer.workspace("carol").add(LATER)
                    writer.collect()
                    torn.append(data[: len(data) // 2] + catalog.read_bytes()[len(data) // 2 :])
                    return torn[0]
                return data

        connect = sqlite3.connect

        def connect_torn(name: str, **options: Any) -> sqlite3.Connection:
            made: sqlite3.Connection = connect(name, **options | ({"factory": Torn} if "immutable=1" in name else {}))
            return made

        monkeypatch.setattr(sqlite3, "connect", connect_torn)
        monkeypatch.setattr(frozen, "_COPY_SECONDS", 5)
        assert_of_one_moment(frozen.FrozenCatalog(catalog, 5))
    assert torn


def test_whoever_reads_beside_a_writer_is_not_disturbed(
    folder: Path, filled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has just emptied the log will write again, and empty it into the file that is being read."""
    monkeypatch.setattr(frozen, "_COPY_SECONDS", 5)
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.collect()
        with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
            with store._parts.database.read() as db:
                before = db.execute("SELECT count(*) FROM workspaces").fetchone()
                writer.workspace("carol")
                writer.collect()
                assert db.execute("SELECT count(*) FROM workspaces").fetchone() == before
            assert "carol" in store.workspaces()


def test_where_a_copy_cannot_be_made_in_time_the_catalog_is_read_in_place(
    folder: Path, filled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer who collects all the time leaves no time for one; and without a log the file says all."""
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("carol")
        writer.collect()
        with DocStore(folder, embedder=HashEmbedder(), readonly=True, timeout=0) as store:
            assert "carol" in store.workspaces()
        monkeypatch.setattr(frozen, "_copy", lambda *_: None)
        with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
            assert "carol" in store.workspaces()


def test_without_a_folder_for_temporary_files_the_catalog_is_read_in_place(
    folder: Path, filled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "nothing"))
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("carol")
        writer.collect()
        with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
            assert "carol" in store.workspaces()
        writer.workspace("dave")
        with pytest.raises(StorageError, match="TMPDIR"):
            DocStore(folder, embedder=HashEmbedder(), readonly=True)


def test_an_interrupted_copy_leaves_nothing(
    folder: Path, filled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold everybody's names and messages."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    write = Path.write_bytes

    def interrupted(path: Path, data: bytes) -> int:
        write(path, data)
        raise KeyboardInterrupt

    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("carol")
        monkeypatch.setattr(Path, "write_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            DocStore(folder, embedder=HashEmbedder(), readonly=True)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("age", "is_whole", "is_settled"), [(1, True, False), (3, True, True), (1, False, True)])
def test_a_clock_that_counts_seconds_is_known_by_its_times(age: int, is_whole: bool, is_settled: bool) -> None:
    changed = (time.time_ns() // 10**9 - age) * 10**9 + (0 if is_whole else 1)
    state = frozen._State((1, 1, changed), None, changed)
    assert state.is_settled == is_settled


def test_what_is_changed_while_it_is_read_is_refused(folder: Path, filled: None) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.collect()
        for name in ("catalog.db", "catalog.db-wal"):  # nobody has written for a long time
            os.utime(folder / name, (1, 1))
        with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:

            def read() -> None:
                with store._parts.database.read():
                    writer.workspace("carol")
                    writer.collect()

            with pytest.raises(StoreLocked, match="changed while it was read"):
                read()
            assert "carol" in store.workspaces()
