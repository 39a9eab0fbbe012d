"""Every byte of a small store is flipped, one at a time: `verify` finds it, or it is a byte that says nothing.

Run in full with DOCSTORE_TESTS=long; else every 397th byte of the catalog, and every seventh of the other files.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from docstore import DocStore, DocStoreError, VerifyReport
from docstore.testing import HashEmbedder
from tests.folders import files
from tests.formats.make import fill

LONG = os.environ.get("DOCSTORE_TESTS") == "long"
SHARES = 16 if LONG else 1
"""Tests that the bytes of the catalog are divided among, for `pytest -n`."""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A store that nobody has open, of few bytes: a file is rewritten for each of them."""
    fill(tmp_path / "store")
    with DocStore(tmp_path / "store", embedder=HashEmbedder()) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        bob.include(alice)
        chat = bob.conversation("about the store room")
        chat.append("user", "Where is the key?", metadata={"tokens": 5})
        chat.append("assistant", "Behind the door.", hits=bob.search("key of the store room", k=2))
    return tmp_path / "store"


def flips(data: bytes, step: int, first: int = 0) -> Iterator[tuple[int, bytes]]:
    """Copies with one byte changed: all of its bits, or its lowest, which makes another digit or letter of it."""
    for position in range(first, len(data), step):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF if position // SHARES % 2 else 0x01
        yield position, bytes(damaged)


def put_catalog(folder: Path, data: bytes) -> None:
    """Replaces the catalog by a new file: SQLite remembers things about the inode of the old one in this process."""
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        (folder / name).unlink(missing_ok=True)
    (folder / "catalog.db").write_bytes(data)


def verified(folder: Path) -> VerifyReport | None:
    """The report, or None when the store refuses to open, or to be read, with an error of its own."""
    try:
        with DocStore(folder, embedder=HashEmbedder()) as store:
            return store.verify()
    except DocStoreError:
        return None


def contents(catalog: Path) -> list[str] | str:
    """All that any SQLite reads in it."""
    with closing(sqlite3.connect(f"{catalog.as_uri()}?immutable=1", uri=True)) as connection:
        try:
            return list(connection.iterdump())
        except (sqlite3.Error, UnicodeDecodeError) as error:
            return str(error)


def test_every_byte_of_every_file(small: Path) -> None:
    with DocStore(small, embedder=HashEmbedder()) as store:
        for path in files(small):
            whole = (small / path).read_bytes()
            for position, damaged in flips(whole, 1 if LONG else 7):
                (small / path).write_bytes(damaged)
                found = [each for each in store.verify().problems if each.path == str(path)]
                assert [each.kind for each in found] == ["damaged"], (path, position)
            (small / path).write_bytes(whole)
        assert store.verify().ok


@pytest.mark.parametrize("share", range(SHARES))
def test_every_byte_of_the_catalog(small: Path, share: int) -> None:
    catalog = small / "catalog.db"
    whole = catalog.read_bytes()
    said = contents(catalog)
    found = 0
    for position, damaged in flips(whole, SHARES if LONG else 397, share):
        put_catalog(small, damaged)
        report = verified(small)
        if report is not None and report.ok:
            # Not found: then it must be a byte of unused space, which says nothing. (Opening or verifying may have
            # written since: what matters is what the damaged file said.)
            put_catalog(small, damaged)
            assert contents(catalog) == said, position
        else:
            found += 1
    put_catalog(small, whole)
    assert found > 15
    report = verified(small)
    assert report is not None and report.ok


@pytest.mark.parametrize("cut", [0, 1, 100, 4096, 50_000])
def test_a_truncated_catalog(small: Path, cut: int) -> None:
    put_catalog(small, (small / "catalog.db").read_bytes()[:cut])
    report = verified(small)
    # SQLite takes an empty file for a new catalog, to which all documents would be leftovers.
    assert report is None or not report.ok
    assert len(files(small, "documents")) == 4


def test_swapped_files(small: Path) -> None:
    with DocStore(small, embedder=HashEmbedder()) as store:
        for below in ("documents", "texts", "embeddings"):
            first, second = [small / path for path in files(small, below)][:2]
            one, other = first.read_bytes(), second.read_bytes()
            first.write_bytes(other), second.write_bytes(one)
            assert {small / each.path for each in store.verify().problems} == {first, second}
            first.write_bytes(one), second.write_bytes(other)
        assert store.verify().ok


def test_extra_files(small: Path) -> None:
    (blob, *_) = files(small, "documents")
    extra = {
        "notes.txt": "foreign",
        "documents/readme": "foreign",
        "documents/ab/notes.txt": "foreign",
        str(blob.with_suffix(".bin")): "leftover",
        str(blob.with_name(blob.name.replace(blob.name[2:6], "0000"))): "leftover",
    }
    for name, kind in extra.items():
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        (small / name).write_bytes(b"extra")
        report = verified(small)
        assert report is not None
        if kind == "leftover":
            assert (report.ok, report.leftovers) == (True, 1), name
        else:
            assert [(each.kind, each.path) for each in report.problems] == [("foreign", name)]
        (small / name).unlink()
