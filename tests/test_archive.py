"""Small pieces of many documents: packed into one file, and as durable, findable and removable as files are."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, StorageError, Workspace, durable
from docstore.archive import ARCHIVE, JOURNAL, Archive
from docstore.database import CatalogDatabase
from docstore.lifecycle import collect as collect_module
from tests.folders import apparent_bytes, files, packed, problems, query
from tests.packing import EMPTY, MANY, loose, notes, open_store
from tests.races import Killed

# -- where pieces are -------------------------------------------------------------------------------------------------


def test_many_small_pieces_are_rows_of_an_sqlite_archive(filled: Path) -> None:
    assert loose(filled) == []
    assert len(packed(filled)) == 4 * MANY
    assert problems(filled) == []
    with closing(sqlite3.connect(filled / ARCHIVE)) as archive:
        assert archive.execute("SELECT DISTINCT mode, sz - length(data) FROM sqlar").fetchall() == [(0o100644, 0)]
    with open_store(filled) as store:
        hits = store.workspace("alice").search("Note 3 tells of 9 ships.", k=1)
        assert hits[0].text == notes()[3].decode()
        with store.read(hits[0].document) as file:
            assert file.read() == notes()[3]
        assert store.verify().ok


def test_few_documents_and_large_pieces_stay_files(folder: Path, alice: Workspace) -> None:
    alice.add_many(notes(MANY - 1))
    assert len(loose(folder)) == 4 * (MANY - 1)
    large = b"A line of a long document.\n" * 3000
    alice.add_many([large, *notes(MANY, 100)])
    (blob,) = {path for path in loose(folder) if path.startswith("documents")} - {
        str(path) for path in files(folder) if (folder / path).is_file() and (folder / path).stat().st_size < 1000
    }
    assert (folder / blob).read_bytes() == large
    assert problems(folder) == []


def test_what_is_unpacked_is_as_good(filled: Path) -> None:
    for name, data in packed(filled).items():
        (filled / name).parent.mkdir(parents=True, exist_ok=True)
        (filled / name).write_bytes(data)
    (filled / ARCHIVE).unlink()
    with open_store(filled) as store:
        assert store.verify().ok
        alice = store.workspace("alice")
        assert len(alice.search("ships", k=9)) == MANY
        assert len(alice.add_many(notes()).reused) == MANY
        assert store.stats().embeddings_computed == MANY
        store.delete_workspace("alice")
        store.collect()
    assert files(filled) == []


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="is SQLite's command line")
def test_the_command_that_the_documentation_names_unpacks_it(filled: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"`(sqlite3 {re.escape(ARCHIVE)} [^`]+)`", page)
    pieces = packed(filled)
    subprocess.run(command.split(), cwd=filled, check=True)
    assert {name: (filled / name).read_bytes() for name in pieces} == pieces


def test_packed_pieces_are_found_and_not_made_again(filled: Path) -> None:
    with open_store(filled) as store:
        report = store.workspace("bob").add_many(notes())
        assert len(report.reused) == MANY
        assert store.stats().embeddings_computed == MANY
        assert store.workspace("carol").add(notes()[0]).reused
        assert store.stats().physical_bytes == apparent_bytes(filled)


def test_statistics_count_the_archive(filled: Path) -> None:
    with open_store(filled) as store:
        assert store.stats().physical_bytes == apparent_bytes(filled)
        store.workspace("alice").remove(store.workspace("alice").documents()[0].hash)
        store.collect()
        assert store.stats().physical_bytes == apparent_bytes(filled)


# -- removing ---------------------------------------------------------------------------------------------------------


def test_what_is_collected_leaves_no_byte(filled: Path) -> None:
    with open_store(filled) as store:
        alice = store.workspace("alice")
        gone, *kept = alice.documents()
        with store.read(gone.hash) as file:
            secret = file.read()
        assert secret in (filled / ARCHIVE).read_bytes()
        alice.remove(gone.hash)
        assert store.collect().documents == 1
        assert len(packed(filled)) == 4 * len(kept)
        assert secret not in (filled / ARCHIVE).read_bytes() + (filled / JOURNAL).read_bytes()
        store.delete_workspace("alice")
        assert store.collect().documents == len(kept)
        assert store.stats().physical_bytes == apparent_bytes(filled)
    assert packed(filled) == {}
    assert (filled / ARCHIVE).stat().st_size == EMPTY
    assert not (filled / JOURNAL).exists() or not (filled / JOURNAL).stat().st_size
    with closing(sqlite3.connect(filled / ARCHIVE)) as archive:
        assert archive.execute("PRAGMA freelist_count").fetchone() == (0,)
        assert archive.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_collection_makes_no_archive(folder: Path, store: DocStore, alice: Workspace) -> None:
    alice.remove(alice.add(b"a document").hash)
    store.collect()
    assert not (folder / ARCHIVE).exists()


# -- the order of commits ---------------------------------------------------------------------------------------------


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What catalog and archive are told, in order."""
    recorded: list[tuple[str, str]] = []
    real_catalog, real_archive = CatalogDatabase._connect, Archive._connect

    def catalog(self: CatalogDatabase) -> sqlite3.Connection:
        connection = real_catalog(self)
        connection.set_trace_callback(lambda statement: recorded.append(("catalog", statement)))
        return connection

    def archive(self: Archive) -> Any:
        connection = real_archive(self)
        connection.set_trace_callback(lambda statement: recorded.append(("archive", statement)))
        return connection

    monkeypatch.setattr(CatalogDatabase, "_connect", catalog)
    monkeypatch.setattr(Archive, "_connect", archive)
    return recorded


def transactions(statements: list[tuple[str, str]], what: str) -> list[tuple[int, int]]:
    begins = [at for at, each in enumerate(statements) if each == (what, "BEGIN IMMEDIATE")]
    return [(begin, statements.index((what, "COMMIT"), begin)) for begin in begins]


def test_the_archive_changes_inside_the_catalogs_transactions_and_commits_first(
    folder: Path, statements: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_module, "_HOLD_SECONDS", 60)  # all in one transaction, however slow the machine
    with open_store(folder) as store:
        store.workspace("alice").add_many(notes())
        store.delete_workspace("alice")
        store.collect()
    archived = transactions(statements, "archive")
    assert len(archived) == 2, "one to add, one to collect"
    for begin, commit in archived:
        assert any(first < begin and commit < last for first, last in transactions(statements, "catalog"))
    inserts = [at for at, (what, said) in enumerate(statements) if (what, said[:6]) == ("archive", "INSERT")]
    deletes = [at for at, (what, said) in enumerate(statements) if (what, said[:6]) == ("archive", "DELETE")]
    assert inserts and deletes
    for at in (*inserts, *deletes):
        assert any(begin < at < commit for begin, commit in archived)


def test_commits_of_the_archive_survive_power_cuts(folder: Path) -> None:
    with open_store(folder) as store:
        archive = store._parts.archive
        with store._parts.write():
            archive.put("documents/aa/" + "a" * 64 + ".txt", b"data")
            asked = ("synchronous", "journal_mode", "secure_delete", "auto_vacuum", "cache_spill", "trusted_schema")
            found = {name: archive._begun().execute(f"PRAGMA {name}").fetchone()[0] for name in asked}
    assert found == {"synchronous": 2, "journal_mode": "truncate", "secure_delete": 1, "auto_vacuum": 1,
                     "cache_spill": 0, "trusted_schema": 0}  # fmt: skip


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [False, True])
def test_a_publication_that_fails_is_undone(
    folder: Path, store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    real = durable.Publication.sync

    def fails(self: durable.Publication) -> None:
        if committed:
            real(self)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(durable.Publication, "sync", fails)
        with pytest.raises(StorageError):
            alice.add_many(notes())
    assert packed(folder) == {}
    assert len(alice) == 0
    assert len(alice.add_many(notes()).added) == MANY
    assert store.verify().ok


def test_what_a_crash_between_the_commits_left_is_swept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(folder) as store:
        alice = store.workspace("alice")
        alice.add_many(notes())
        real = durable.Publication.sync

        def dies(self: durable.Publication) -> None:
            real(self)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(durable.Publication, "sync", dies)
            patch.setattr(durable.Publication, "undo", lambda _: None)
            with pytest.raises(Killed):
                alice.add_many(notes(MANY, 100))
        assert len(packed(folder)) == 8 * MANY
        assert store.verify().leftovers == 4 * MANY
        assert store.collect().leftovers == 4 * MANY
        assert len(packed(folder)) == 4 * MANY
        assert store.verify().ok


def test_a_collection_that_was_killed_between_the_commits_is_finished(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(filled) as store:
        store.delete_workspace("alice")
        real = Archive.commit

        def dies(self: Archive) -> None:
            real(self)
            if self.deleted_bytes:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Archive, "commit", dies)
            patch.setattr(collect_module, "_HOLD_SECONDS", 60)  # all in one transaction, however slow the machine
            with pytest.raises(Killed):
                store.collect()
        assert packed(filled) == {}
        assert query(filled, "SELECT count(*) FROM documents WHERE doomed = 1") == [(MANY,)]
        assert store.collect().documents == MANY
    assert query(filled, "SELECT count(*) FROM documents") == [(0,)]


_DIES = """
import os, sys
from docstore import DocStore, sqlar as module
from docstore.testing import HashEmbedder
module.PRAGMAS = *(each for each in module.PRAGMAS if "cache_spill" not in each), "cache_size = 10"
store = DocStore(sys.argv[1], embedder=HashEmbedder())
with store._parts.write() as db:
    archive = store._parts.archive
    archive._begun().execute("DELETE FROM sqlar")
    for number in range(200):
        archive.put(f"documents/aa/{number:064}.txt", bytes(5000))
    archive.size("")  # which puts them
    os._exit(9)  # as kill -9 does: changed pages are in the file, what they were in the journal
"""


def test_what_a_killed_writer_left_halfway_is_taken_back(filled: Path, tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", _DIES, str(filled)], check=False).returncode == 9
    assert (filled / JOURNAL).stat().st_size
    before = (filled / ARCHIVE).read_bytes()
    with open_store(filled, readonly=True) as store, pytest.raises(StorageError, match="without readonly"):
        store.workspace("alice").search("ships")
    assert (filled / ARCHIVE).read_bytes() == before
    with open_store(filled) as store:
        assert len(store.workspace("alice").search("ships", k=9)) == MANY
        assert store.verify().ok
    assert problems(filled) == []
