"""A store altered on disk, catalog and hashes included: every call is a result or an error of ours, nothing else."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from docstore import DocStore, DocStoreError, IntegrityError
from docstore.testing import HashEmbedder
from tests.folders import files, lie_in
from tests.hostile import tampering
from tests.hostile.contained import Contained
from tests.hostile.judge import judge
from tests.hostile.stored import DOCUMENTS, VERSIONS, Victim

LONG = os.environ.get("DOCSTORE_TESTS") == "long"
_T = TypeVar("_T")

# What once was wrong stays in the short form; of the rest, some.
FOUND = ("no JSON", "metadata list", "metadata deep", "metadata digits", "media_type up", "claims.owner outside",
         "owner NUL",
         "added_at future", "name not UTF-8", "nothing in totals", "nothing in texts", "no documents.refcount",
         "ignores, BEFORE DELETE ON documents", "ignores, BEFORE UPDATE OF doomed", "totals is a view", "flips 11",
         "flips 38", "catalog empty", "of objects", "of void", "of lengths", "to 4294967295", "a zip", "ntotal of 1099",
         "of 4 GB, 100 each", "d of -1")  # fmt: skip


def some(cases: Iterable[tuple[str, _T]], every: int) -> list[tuple[str, _T]]:
    """All cases with DOCSTORE_TESTS=long; else those that once failed, and one of so many others."""
    listed = list(cases)
    return [case for number, case in enumerate(listed)
            if LONG or number % every == 0 or any(part in case[0] for part in FOUND)]  # fmt: skip


def cases(listed: list[tuple[str, _T]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [each for _, each in listed], ids=[name for name, _ in listed])


@pytest.fixture(scope="module")
def contained() -> Iterator[Contained]:
    with Contained() as contained:
        yield contained


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return Victim.build(tmp_path_factory.mktemp("victim") / "original")


def assert_safe(contained: Contained, victim: Victim, work: Path, tamper: Callable[[Victim], None]) -> None:
    complaints, _ = judge(contained, victim, work / "copy", tamper)
    assert complaints == []


def test_a_sound_store_passes(contained: Contained, victim: Victim, tmp_path: Path) -> None:
    complaints, outcome = judge(contained, victim, tmp_path / "copy", lambda _: None, adds=True)
    assert complaints == []
    assert {name: how for name, how in outcome.answer["ended"].items() if how != "a result"} == {
        "rollback": "InvalidArgument",  # of what took no other's place
        "search, documents=": "DocumentNotFound",  # in a workspace without them
        "link to embed again": "DocumentNotFound",  # they were replaced, removed and collected
    }


@cases(some(tampering.sql(), 12))
def test_catalogs_with_hostile_rows(contained: Contained, victim: Victim, tmp_path: Path, case: list[str]) -> None:
    assert_safe(contained, victim, tmp_path, lambda copy: copy.execute(*case))


@cases(some(tampering.catalogs(), 12))
def test_catalogs_with_hostile_bytes(
    contained: Contained, victim: Victim, tmp_path: Path, case: Callable[[Victim], None]
) -> None:
    assert_safe(contained, victim, tmp_path, case)


@cases(some(tampering.indexes(), 12))
def test_indexes_whose_hash_was_put_right(contained: Contained, victim: Victim, tmp_path: Path, case: bytes) -> None:
    assert_safe(contained, victim, tmp_path, lambda copy: copy.replace(".faiss", case))


@cases(some(tampering.spans(), 6))
def test_spans_whose_hash_was_put_right(contained: Contained, victim: Victim, tmp_path: Path, case: bytes) -> None:
    assert_safe(contained, victim, tmp_path, lambda copy: copy.replace(".npy", case))


@cases(some(tampering.texts(), 8))
def test_texts_whose_hash_was_put_right(contained: Contained, victim: Victim, tmp_path: Path, case: bytes) -> None:
    assert_safe(contained, victim, tmp_path, lambda copy: copy.replace(".zst", case))


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 36)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _forbidden(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize("change", [_directory, _pipe, _endless, _sparse, _loop, _forbidden])
@pytest.mark.parametrize("name", [".txt", ".zst", "index.faiss", "chunks.npy"])
def test_files_that_are_none(
    contained: Contained, victim: Victim, tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    """A named pipe never ends, a sparse file takes no disk and all memory: look at what it is before reading."""
    assert_safe(contained, victim, tmp_path, lambda copy: change(copy.published(name)))


@pytest.mark.parametrize("name", [".txt", ".zst", "index.faiss", "chunks.npy"])
@pytest.mark.parametrize("change", ["flip", "cut", "grow", "empty", "swap"])
def test_changed_files_are_found(victim: Victim, tmp_path: Path, name: str, change: str) -> None:
    """Without the hash put right: verify names the file, and no search returns other text than was stored."""
    copy = victim.copy(tmp_path / "copy")
    path = copy.published(name)
    data = path.read_bytes()
    others = [copy.folder / each for each in files(copy.folder) if each.name.endswith(name)]
    path.write_bytes({
        "flip": data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
        "cut": data[:-1], "grow": data + b"\0", "empty": b"",
        "swap": next((each.read_bytes() for each in others if each.read_bytes() != data), b"another"),
    }[change])  # fmt: skip
    with DocStore(copy.folder, embedder=HashEmbedder()) as store:
        assert str(path.relative_to(copy.folder)) in {problem.path for problem in store.verify().problems}
        stored = "".join(each.decode() for each in (*DOCUMENTS, *VERSIONS))
        for workspace in store.workspaces():
            try:
                hits = store.workspace(workspace).search("lorem ipsum", k=100)
            except IntegrityError:
                continue
            assert all(hit.text.strip() in stored for hit in hits)


def test_an_emptied_catalog_does_not_delete_documents(victim: Victim, tmp_path: Path) -> None:
    """Beside documents it is a damaged store and not a new one: collecting would delete them all."""
    copy = victim.copy(tmp_path / "copy")
    before = files(copy.folder, "documents")
    (copy.folder / "catalog.db").write_bytes(b"")
    try:
        with DocStore(copy.folder, embedder=HashEmbedder()) as store:
            store.verify()
            store.collect()
    except DocStoreError:
        pass
    assert files(copy.folder, "documents") == before


def test_a_catalog_beside_itself_is_not_followed(victim: Victim, tmp_path: Path) -> None:
    """SQLite's own ATTACH and links: a view on another database is of no use to whoever made it."""
    copy = victim.copy(tmp_path / "copy")
    (copy.folder / "documents").rename(copy.root / "moved")
    (copy.folder / "documents").symlink_to(copy.root / "outside")
    outside = copy.outside()
    with DocStore(copy.folder, embedder=HashEmbedder()) as store:
        for name in store.workspaces():
            store.delete_workspace(name)
        store.collect()
        store.verify()
    assert copy.outside() == outside
    shutil.rmtree(copy.root)


def test_every_tampering_applies(victim: Victim) -> None:
    """A statement that SQLite refuses would leave a test of nothing."""
    with closing(sqlite3.connect(victim.folder / "catalog.db")) as original:
        for name, statements in tampering.sql():
            with closing(sqlite3.connect(":memory:")) as copy:
                original.backup(copy)
                try:
                    lie_in(copy, *statements)
                except sqlite3.Error as error:
                    pytest.fail(f"{name}: {error}")
