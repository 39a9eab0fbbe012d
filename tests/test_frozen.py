"""FrozenCatalog: what is read without locks is of one moment, whoever writes meanwhile, and leaves no copy."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from docstore import DocStore, Document, StorageError, StoreLocked, frozen
from docstore.testing import HashEmbedder
from tests.children import child

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


def workspaces(catalog: frozen.FrozenCatalog) -> list[str]:
    with catalog.connection() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM workspaces ORDER BY name")]


def test_changes_are_seen(folder: Path, filled: None) -> None:
    catalog = frozen.FrozenCatalog(folder / "catalog.db", 5)
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        for number in range(6):
            writer.workspace(f"more-{number}")
            if number % 3:
                writer.collect()  # empties the log
            assert workspaces(catalog) == ["alice", *(f"more-{each}" for each in range(number + 1))]
    assert len(workspaces(catalog)) == 7
    catalog.close()


def test_a_child_forked_while_a_thread_looks(folder: Path, filled: None) -> None:
    catalog = frozen.FrozenCatalog(folder / "catalog.db", 5)
    assert workspaces(catalog) == ["alice"]
    with ThreadPoolExecutor(1) as another:  # thread: it would not wait for its own
        assert another.submit(catalog._guard.acquire).result()
        with child(lambda: workspaces(catalog) == ["alice"]):
            pass
        another.submit(catalog._guard.release).result()
    catalog.close()


def test_a_change_within_a_tick_of_the_clock(folder: Path, filled: None) -> None:
    path = folder / "catalog.db"
    now = time.time_ns() + 10**9
    files = [path, folder / "catalog.db-wal"]
    catalog = frozen.FrozenCatalog(path, 5)
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("carol")
        writer.collect()
        for file in files:
            os.utime(file, ns=(now, now))
        assert "dave" not in workspaces(catalog)
        size = path.stat().st_size
        writer.workspace("dave")
        writer.collect()
        for file in files:
            os.utime(file, ns=(now, now))
        assert path.stat().st_size == size and not log(folder)
        assert "dave" in workspaces(catalog)
    catalog.close()


def test_without_a_folder_for_temporary_files(folder: Path, filled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "nothing"))
    catalog = frozen.FrozenCatalog(folder / "catalog.db", 5)
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("carol")
        writer.collect()
        assert workspaces(catalog) == ["alice", "carol"]  # in place: there is nothing in the log
        writer.workspace("dave")
        with pytest.raises(StorageError, match="TMPDIR"):
            workspaces(catalog)


def test_a_copy_that_does_not_fit_leaves_nothing(
    folder: Path, filled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("more")  # so that there is a log
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        try:
            with pytest.raises(StorageError, match="TMPDIR"):
                workspaces(frozen.FrozenCatalog(folder / "catalog.db", 5))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.glob("docstore-*")) == []


def test_copies_are_removed(folder: Path, filled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    catalog = frozen.FrozenCatalog(folder / "catalog.db", 5)
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        for number in range(3):
            writer.workspace(f"more-{number}")
            assert f"more-{number}" in workspaces(catalog)
        assert len(list(tmp_path.glob("docstore-*"))) == 1
        catalog.close()
        assert list(tmp_path.glob("docstore-*")) == []


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
            workspaces(frozen.FrozenCatalog(folder / "catalog.db", 5))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("age", "is_whole", "is_settled"), [(1, True, False), (3, True, True), (1, False, True)])
def test_a_clock_that_counts_seconds_is_known_by_its_times(age: int, is_whole: bool, is_settled: bool) -> None:
    changed = (time.time_ns() // 10**9 - age) * 10**9 + (0 if is_whole else 1)
    state = frozen._State((1, 1, changed), None)
    assert state.is_settled == is_settled


def test_what_is_changed_while_it_is_read_is_refused(folder: Path, filled: None) -> None:
    catalog = frozen.FrozenCatalog(folder / "catalog.db", 5)
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.collect()

        def read() -> None:
            with catalog.connection():
                writer.workspace("carol")
                writer.collect()

        with pytest.raises(StoreLocked, match="changed while it was read"):
            read()
        assert "carol" in workspaces(catalog)
