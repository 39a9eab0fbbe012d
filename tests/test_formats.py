"""Stores that released versions wrote are opened, migrated and whole; those of newer versions, and what is none, are
refused."""

from __future__ import annotations

import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import docstore
from docstore import DocStore, DocStoreError, IntegrityError, StoreVersionError
from docstore.migrations import MIGRATIONS
from docstore.testing import HashEmbedder
from tests.folders import execute, files, problems, query
from tests.formats import make

ARCHIVES = sorted((Path(__file__).parent / "formats").glob("*.tar.gz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store as a released version wrote it."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "store"


def test_every_release_but_the_present_one_has_an_archive() -> None:
    changelog = (Path(__file__).parent.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = {line.split()[1] for line in changelog.splitlines() if line.startswith("## ")}
    archived = {path.name.removesuffix(".tar.gz") for path in ARCHIVES}
    assert releases - archived <= {docstore.__version__}
    assert archived <= releases


def test_a_released_store_migrates_and_is_whole(released: Path) -> None:
    with DocStore(released, embedder=HashEmbedder()) as store:
        assert store.verify().problems == ()
        assert store.workspaces() == ["alice", "bob"]
        alice, bob = store.workspace("alice"), store.workspace("bob")
        assert {each.name: dict(each.metadata) for each in alice.documents()} == {
            "note.txt": {"year": 2024, "tags": ["keys", "doors"]},
            "report.html": {},
        }
        assert {hit.text.strip() for hit in bob.search("machine button", k=9)} >= set(make.MANUAL)
        assert alice.search("key", where={"year": 2024})[0].text == make.NOTE
        assert bob.add(make.REPORT.encode()).reused
        assert store.collect().documents == 1
        assert store.verify().problems == ()
    assert problems(released) == []
    assert query(released, "SELECT count(*) FROM _sqlite_migrations") == [(len(MIGRATIONS),)]


def test_a_migrated_store_is_like_a_new_one(released: Path, tmp_path: Path) -> None:
    DocStore(released, embedder=HashEmbedder()).close()
    DocStore(tmp_path / "new", embedder=HashEmbedder()).close()
    sql = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    assert query(released, sql) == query(tmp_path / "new", sql)
    with DocStore(released, embedder=HashEmbedder()) as store:
        for name in store.workspaces():
            store.delete_workspace(name)
        store.collect()
    assert files(released) == []


def test_an_older_store_is_not_migrated_by_a_reader(released: Path) -> None:
    before = {path: (released / path).read_bytes() for path in files(released)}, (released / "catalog.db").read_bytes()
    if len(query(released, "SELECT name FROM _sqlite_migrations")) < len(MIGRATIONS):
        with pytest.raises(StoreVersionError, match="Open it once without readonly"):
            DocStore(released, embedder=HashEmbedder(), readonly=True)
    after = {path: (released / path).read_bytes() for path in files(released)}, (released / "catalog.db").read_bytes()
    assert after == before


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_store_is_refused_and_untouched(folder: Path, readonly: bool) -> None:
    DocStore(folder, embedder=HashEmbedder()).close()
    execute(folder, "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
                    "VALUES ('docstore', 'm999_from_the_future', 'x')")  # fmt: skip
    before = (folder / "catalog.db").read_bytes()
    with pytest.raises(StoreVersionError, match=r"newer docstore.*m999.*Upgrade"):
        DocStore(folder, embedder=HashEmbedder(), readonly=readonly)
    assert (folder / "catalog.db").read_bytes() == before


def _migrate_further(folder: Path) -> None:
    """Does what a newer docstore may do while others have the store open."""
    execute(folder, "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
                    "VALUES ('docstore', 'm999_from_the_future', 'x')")  # fmt: skip
    execute(folder, "CREATE TABLE tags (document_id INTEGER)")
    execute(folder, "CREATE TRIGGER tags_insert AFTER INSERT ON refs BEGIN INSERT INTO tags VALUES (1); END")


@pytest.mark.parametrize("call", ["workspaces", "verify", "repair", "collect", "stats"])
def test_who_has_a_store_open_that_a_newer_version_migrates_is_told_so(folder: Path, call: str) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add(make.NOTE.encode())
        _migrate_further(folder)
        schema = query(folder, "SELECT sql FROM sqlite_master ORDER BY name")
        with pytest.raises(StoreVersionError, match=r"newer docstore.*m999.*start again"):
            getattr(store, call)()
        assert query(folder, "SELECT sql FROM sqlite_master ORDER BY name") == schema


@pytest.mark.parametrize("other", ["newer", "another program's", "no database"])
def test_nothing_is_written_to_a_folder_that_is_refused(folder: Path, other: str) -> None:
    if other == "newer":
        DocStore(folder, embedder=HashEmbedder()).close()
        _migrate_further(folder)
        (folder / "reserve").unlink()
    else:
        folder.mkdir(exist_ok=True)
        (folder / "catalog.db").touch()
        if other == "no database":
            (folder / "catalog.db").write_bytes(b"It was a dark and stormy night. " * 40)
        else:
            execute(folder, "CREATE TABLE birds (name)")
    before = sorted(folder.iterdir())
    with pytest.raises(DocStoreError):
        DocStore(folder, embedder=HashEmbedder())
    assert sorted(folder.iterdir()) == before


def test_another_programs_database_is_refused(folder: Path) -> None:
    folder.mkdir()
    execute(folder, "CREATE TABLE theirs (x)")
    with pytest.raises(StoreVersionError, match="another program"):
        DocStore(folder, embedder=HashEmbedder())
    assert query(folder, "SELECT name FROM sqlite_master") == [("theirs",)]


def test_what_is_no_database_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "catalog.db").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(IntegrityError, match="no SQLite database"):
        DocStore(folder, embedder=HashEmbedder())


def test_a_folder_with_other_files_is_refused(folder: Path) -> None:
    (folder / "documents").mkdir(parents=True)
    (folder / "documents" / "thesis.pdf").write_bytes(b"mine")
    with pytest.raises(StoreVersionError, match="Choose an empty or a new folder"):
        DocStore(folder, embedder=HashEmbedder())
    assert [path.name for path in folder.rglob("*")] == ["documents", "thesis.pdf"]


def test_an_empty_catalog_left_by_a_crash_is_completed(folder: Path) -> None:
    folder.mkdir()
    (folder / "catalog.db").touch()
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.workspace("alice").add(make.NOTE.encode()).hash


def test_many_may_create_one_store_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for attempt in range(25):  # each is a race that a wrong order of looks loses now and then
            folder = tmp_path / str(attempt)
            stores = list(pool.map(partial(DocStore, embedder=HashEmbedder()), [folder] * 8))
            for store in stores:
                store.close()
            applied = query(folder, "SELECT count(*) FROM _sqlite_migrations")
            assert applied == [(len(MIGRATIONS),)]
