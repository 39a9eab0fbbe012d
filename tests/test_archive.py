"""Small pieces of many documents: packed into one file, and as durable, findable and removable as files are."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, IntegrityError, StorageError, StoreLocked, StoreVersionError, Workspace, durable, schema
from docstore import archive as archive_module
from docstore.archive import ARCHIVE, JOURNAL, Archive
from docstore.database import CatalogDatabase
from docstore.lifecycle import collect as collect_module
from docstore.testing import HashEmbedder
from tests.folders import apparent_bytes, execute, files, hash_of, packed, problems, query

MANY = 1 + durable._FEW // 4
"""Documents whose pieces are packed."""

EMPTY = 20_480
"""Bytes of an archive that holds nothing."""


def notes(count: int = MANY, first: int = 0) -> list[bytes]:
    return [f"Note {number} tells of {number * number} ships.".encode() for number in range(first, first + count)]


def open_store(folder: Path, **options: Any) -> DocStore:
    return DocStore(folder, embedder=HashEmbedder(), **options)


@pytest.fixture
def filled(folder: Path) -> Path:
    """A store with packed pieces, that nobody has open."""
    with open_store(folder) as store:
        store.workspace("alice").add_many(notes())
    return folder


def loose(folder: Path) -> list[str]:
    return [str(path) for path in files(folder) if (folder / path).is_file() and path.parts[0] != "tmp"]


def change(folder: Path, sql: str, *arguments: object) -> None:
    """Changes the archive behind the library's back."""
    with closing(sqlite3.connect(folder / ARCHIVE)) as archive, archive:
        archive.execute(sql, arguments)


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


def test_packed_pieces_are_found_and_not_made_again(filled: Path) -> None:
    with open_store(filled) as store:
        report = store.workspace("bob").add_many(notes())
        assert len(report.reused) == MANY
        assert store.stats().embeddings_computed == MANY
        assert store.workspace("carol").add(notes()[0]).reused
        assert store.stats().physical_bytes == apparent_bytes(filled)


def test_statistics_count_the_archive_and_cost_the_same_in_any_store(filled: Path) -> None:
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
    folder: Path, statements: list[tuple[str, str]]
) -> None:
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


class Killed(BaseException):
    """Stands for the death of the process."""


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
from docstore import DocStore, archive as module
from docstore.testing import HashEmbedder
module._PRAGMAS = *(each for each in module._PRAGMAS if "cache_spill" not in each), "cache_size = 10"
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


def test_a_store_that_is_read_only_is_not_written(filled: Path) -> None:
    before = {path: (filled / path).read_bytes() for path in (ARCHIVE, "catalog.db")}
    with open_store(filled, readonly=True) as store:
        assert len(store.workspace("alice").search("ships", k=9)) == MANY
        assert store.verify().ok
        assert store.stats().documents == MANY
    assert before == {path: (filled / path).read_bytes() for path in before}


def test_readers_and_writers_of_other_threads_and_processes_get_along(filled: Path) -> None:
    program = """
import sys
from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.test_archive import notes
with DocStore(sys.argv[1], embedder=HashEmbedder()) as store:
    own = store.workspace(sys.argv[2])
    for turn in range(4):
        assert not own.add_many(notes(12, 10 * int(sys.argv[2]))).failed
        for document in own.documents()[::2]:
            own.remove(document.hash)
        store.collect()
"""
    others = [subprocess.Popen([sys.executable, "-c", program, str(filled), str(name)]) for name in range(3)]
    with open_store(filled) as store:
        alice = store.workspace("alice")
        while any(each.poll() is None for each in others):
            store._parts.views.drop(alice._id)
            assert len(alice.search("ships", k=99)) == MANY
    assert [each.wait() for each in others] == [0, 0, 0]
    with open_store(filled) as store:
        assert store.verify().ok
    assert problems(filled) == []


def test_a_child_uses_no_connection_of_its_parent(filled: Path) -> None:
    with open_store(filled) as store:
        alice = store.workspace("alice")
        assert alice.search("ships")
        inside, go_on = threading.Event(), threading.Event()

        def write() -> None:
            with store._parts.write():
                store._parts.archive.put("documents/aa/" + "a" * 64 + ".txt", b"never committed")
                inside.set()
                go_on.wait(20)
                raise Killed

        def die_quietly() -> None:
            with pytest.raises(Killed):
                write()

        writing = threading.Thread(target=die_quietly)
        writing.start()
        inside.wait(20)
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            code = 1
            try:
                store._parts.views.drop(alice._id)
                code = 0 if len(alice.search("ships", k=9)) == MANY else 2
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        go_on.set()
        writing.join()
        assert len(packed(filled)) == 4 * MANY
        assert store.verify().ok


# -- loss and damage --------------------------------------------------------------------------------------------------


def test_a_lost_archive_is_lost_pieces_and_adding_heals(filled: Path) -> None:
    with open_store(filled) as store:
        assert store.workspace("alice").search("ships")
        (filled / ARCHIVE).unlink()
        report = store.verify()
        assert {each.kind for each in report.problems} == {"missing"}
        assert len(report.problems) == 4 * MANY
        assert not store.workspace("alice").add_many(notes()).failed
        assert store.verify().ok
    assert len(packed(filled)) == 4 * MANY


def test_a_lost_piece_may_come_back_as_a_file_and_a_lost_file_as_a_packed_piece(filled: Path) -> None:
    with open_store(filled) as store:
        alice = store.workspace("alice")
        first = notes()[0]
        hash = hash_of(first)
        name = f"documents/{hash[:2]}/{hash}.txt"
        change(filled, "UPDATE sqlar SET data = x'00', sz = 1 WHERE name = ?", name)
        alice.add(first)
        assert (filled / name).read_bytes() == first
        assert name not in packed(filled)
        (filled / name).write_bytes(b"cut")
        change(filled, "DELETE FROM sqlar")
        alice.add_many(notes())
        assert not (filled / name).exists()
        assert packed(filled)[name] == first
        assert store.verify().ok


def test_a_sweep_removes_the_copy_that_does_not_count(filled: Path) -> None:
    for name, data in packed(filled).items():
        (filled / name).parent.mkdir(parents=True, exist_ok=True)
        (filled / name).write_bytes(data)
    with open_store(filled) as store:
        assert store.verify().leftovers == 4 * MANY
        assert store.collect().leftovers == 4 * MANY
        assert packed(filled) == {}
        assert store.verify().ok


def test_a_piece_of_other_bytes_is_found_set_aside_and_healed(filled: Path) -> None:
    hash = hash_of(notes()[0])
    name = f"documents/{hash[:2]}/{hash}.txt"
    change(filled, "UPDATE sqlar SET data = ? WHERE name = ?", bytes(len(notes()[0])), name)
    with open_store(filled) as store:
        (problem,) = store.verify().problems
        assert (problem.kind, problem.path, problem.documents) == ("damaged", name, (hash,))
        (repair,) = store.repair().repairs
        assert repair.action == "quarantined"
        assert (filled / "quarantine" / name).read_bytes() == bytes(len(notes()[0]))
        assert name not in packed(filled)
        store.workspace("alice").add(notes()[0])
        assert store.verify().ok


def test_damaged_texts_and_vectors_are_restored(filled: Path) -> None:
    change(filled, "UPDATE sqlar SET data = zeroblob(length(data)) WHERE name NOT LIKE 'documents%'")
    with open_store(filled) as store:
        assert len(store.verify().problems) == 3 * MANY
        assert {each.action for each in store.repair().repairs} == {"restored"}
        assert store.verify().ok


LONG = os.environ.get("DOCSTORE_TESTS") == "long"


def test_every_byte_of_the_archive(filled: Path) -> None:
    """A flipped byte is noticed, or harmless; and after a repair and adding again, nothing is wrong."""
    whole = (filled / ARCHIVE).read_bytes()
    before = packed(filled)
    harmless = 0
    for position in range(0, len(whole), 37 if LONG else 1999):
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        (filled / ARCHIVE).write_bytes(damaged)
        (filled / JOURNAL).unlink(missing_ok=True)
        with open_store(filled) as store:
            report = store.verify()
            if report.ok:
                harmless += 1
                assert packed(filled) == before, position
                continue
            store.repair()
            assert not store.workspace("alice").add_many(notes()).failed, position
            report = store.verify()
            assert report.ok, (position, report)
        shutil.rmtree(filled / "quarantine", ignore_errors=True)
        for shard in ("documents", "texts", "embeddings"):
            shutil.rmtree(filled / shard, ignore_errors=True)
    assert harmless < len(whole) // (37 if LONG else 1999), "most of it means something"


@pytest.mark.parametrize("rest", [0, 1, 4096, 10_000])
def test_a_truncated_archive(filled: Path, rest: int) -> None:
    os.truncate(filled / ARCHIVE, rest)
    with open_store(filled) as store:
        assert not store.verify().ok
        store.repair()
        assert not store.workspace("alice").add_many(notes()).failed
        assert store.verify().ok


def test_what_can_be_read_of_a_damaged_archive_is_saved(filled: Path) -> None:
    with closing(sqlite3.connect(filled / ARCHIVE)) as archive:
        archive.execute("UPDATE held SET bytes = bytes + 1")
        archive.commit()
    with open_store(filled) as other, open_store(filled) as store:
        assert other.workspace("alice").search("ships")
        (problem,) = store.verify().problems
        assert (problem.kind, problem.path) == ("damaged", ARCHIVE)
        (repair,) = store.repair(dry_run=True).repairs
        assert repair.action == "restored"
        (repair,) = store.repair().repairs
        assert repair.action == "restored"
        assert not (filled / "quarantine").exists()
        assert store.verify().ok
        # The other has the old file open, and must not write to it.
        assert not other.workspace("bob").add_many(notes(MANY, 50)).failed
        assert other.verify().ok
        assert store.verify().ok
    assert len(packed(filled)) == 8 * MANY


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER theirs AFTER INSERT ON sqlar BEGIN DELETE FROM sqlar; END",
        "CREATE VIEW theirs AS SELECT 1",
        "DROP TRIGGER sqlar_insert",
    ],
)
def test_an_archive_whose_schema_was_changed_is_not_written(filled: Path, sql: str) -> None:
    change(filled, sql)
    with open_store(filled) as store:
        with pytest.raises(IntegrityError, match="repair"):
            store.workspace("bob").add_many(notes(MANY, 50))
        assert not store.verify().ok
        store.repair()
        assert store.verify().ok
        assert not store.workspace("bob").add_many(notes(MANY, 50)).failed


def test_a_view_in_place_of_the_table_is_not_read(filled: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS name, x'' AS data FROM n"
    change(filled, "ALTER TABLE sqlar RENAME TO other")
    change(filled, f"CREATE VIEW sqlar AS {endless}")
    with open_store(filled) as store, pytest.raises(IntegrityError, match="repair"):
        store.workspace("alice").search("ships")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "documents/ab/notes.txt", "", "embeddings/x/y"])
def test_strange_names_are_reported_and_become_no_paths(filled: Path, name: str) -> None:
    change(filled, "INSERT INTO sqlar VALUES (?, 1, 1, 1, x'00')", name)
    with open_store(filled) as store:
        (problem,) = store.verify().problems
        assert (problem.kind, problem.path) == ("foreign", ARCHIVE)
        execute(filled, "UPDATE totals SET sweeps_wanted = sweeps_wanted + 1")
        store.collect()
    assert packed(filled)[name] == b"\0"


def test_a_piece_that_grew_is_not_read_whole(filled: Path) -> None:
    change(filled, "UPDATE sqlar SET data = zeroblob(100000000) WHERE name LIKE '%index.faiss'")
    grown = next(name for name in packed(filled) if name.endswith("index.faiss"))
    with open_store(filled) as store:
        with pytest.raises(IntegrityError, match="repair"):
            store.workspace("alice").search("ships")
        with pytest.raises(IntegrityError, match="repair"):
            store._parts.archive.read(grown, 1000)


def test_packed_documents_beside_a_lost_catalog_are_not_forgotten(filled: Path) -> None:
    for path in filled.glob("catalog.db*"):
        path.unlink()
    (filled / "catalog.db").touch()
    with pytest.raises(IntegrityError, match="lost"):
        open_store(filled)


def test_who_does_not_know_of_archives_refuses(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name: each for name, each in schema.MIGRATIONS.items() if name != "m003_small_pieces_are_packed"}
    monkeypatch.setattr(schema, "MIGRATIONS", known)
    with pytest.raises(StoreVersionError, match="newer"):
        open_store(filled)


# -- many looks in one transaction ------------------------------------------------------------------------------------


def test_a_commit_waits_for_no_more_than_some_looks(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "_TOGETHER", 2)
    with open_store(filled) as store, open_store(filled, timeout=0.1) as other:
        archive = store._parts.archive
        names = archive.names(f"documents/{archive.below('documents')[0]}")
        with archive.reading():
            assert archive.size(names[0])
            with pytest.raises(StoreLocked), other._parts.write():
                other._parts.archive.put("documents/00/x", b"new")
            assert archive.size(names[0])  # the second look, which ends the transaction
            with other._parts.write():
                other._parts.archive.put("documents/00/x", b"new")
            assert archive.size("documents/00/x") == 3
        assert archive.size(names[0])


def test_a_look_that_fails_ends_the_transaction(filled: Path) -> None:
    with open_store(filled) as store, open_store(filled, timeout=0.1) as other:
        archive = store._parts.archive
        with archive.reading():
            assert archive.size("documents/00/none") is None
            with pytest.raises(IntegrityError):
                archive._rows("SELECT nothing")
            with other._parts.write():
                other._parts.archive.put("documents/00/x", b"new")
            assert archive.size("documents/00/x") == 3
