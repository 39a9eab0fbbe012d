"""The reserve: lent where the disk is full and for nothing else, filled again, and made whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from docstore import DocStore, StorageError, Workspace
from docstore.durable import storage_errors
from docstore.reserve import RESERVE, SIZE, Reserve
from docstore.testing import HashEmbedder
from tests.clock import HOUR, Clock


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_the_reserve_is_lent_and_filled_again(tmp_path: Path, code: int) -> None:
    reserve = Reserve(tmp_path, readonly=False)
    sizes: list[int] = []

    def needs_room() -> str:
        sizes.append(reserve.size())
        with storage_errors("deleting"):
            if reserve.size():
                raise OSError(code, "full")
        return "done"

    assert reserve.lend(needs_room) == "done"
    assert sizes == [SIZE, 0]
    assert reserve.size() == SIZE
    calls: list[int] = []

    def fails() -> None:
        calls.append(0)
        with storage_errors("deleting"):
            raise OSError(errno.EIO, "broken")

    with pytest.raises(StorageError, match="broken"):
        reserve.lend(fails)
    assert len(calls) == 1


def test_where_somebody_else_took_what_was_lent_it_is_tried_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, readonly=False)
    sizes: list[int] = []

    def needs_room() -> str:
        sizes.append(reserve.size())
        if len(sizes) < 4:
            reserve.fill()  # as another process does when it is done
            with storage_errors("deleting"):
                raise OSError(errno.ENOSPC, "full")
        return "done"

    assert reserve.lend(needs_room) == "done"
    assert sizes == [SIZE, 0, 0, 0]


def test_the_reserve_has_room_for_what_the_log_makes_the_catalog_grow_by(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a disk that a bulk addition has filled lets nothing be deleted any more."""
    documents = [b"Note %d." % number for number in range(1500)]

    def unmoved() -> int:
        with store._parts.database.read() as db:
            ((pages,),) = db.execute("PRAGMA page_count").fetchall()
        return int(pages) * 4096 - (folder / "catalog.db").stat().st_size

    sizes = []
    for first in range(0, len(documents), 100):
        alice.add_many(documents[first : first + 100])
        sizes.append(unmoved())
    store.workspace("bob").add_many(documents)
    sizes.append(unmoved())
    assert max(sizes) <= SIZE // 2
    assert (folder / "catalog.db").stat().st_size > SIZE
    # And what would make it grow by more needs the room at once.
    real = os.statvfs
    monkeypatch.setattr(
        os, "statvfs", lambda path: SimpleNamespace(f_bavail=SIZE // 4096, f_frsize=real(path).f_frsize)
    )
    with pytest.raises(StorageError, match="disk is full"), store._parts.database.write() as db:
        db.execute("CREATE TABLE large AS SELECT randomblob(1000000)")
    with store._parts.database.write() as db:
        db.execute("CREATE TABLE small AS SELECT randomblob(1000)")
        db.execute("DROP TABLE small")


def test_a_reserve_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        Reserve(tmp_path, readonly=False).fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / RESERVE).exists()


def test_where_room_cannot_be_asked_for_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where no store could be opened."""
    monkeypatch.delattr(os, "posix_fallocate")
    Reserve(tmp_path, readonly=False).fill()
    assert (tmp_path / RESERVE).stat().st_size == SIZE
    assert Reserve(tmp_path, readonly=False)._fits(SIZE)
    (tmp_path / RESERVE).unlink()
    test_a_reserve_that_does_not_fit_leaves_nothing(tmp_path)
    with DocStore(tmp_path / "store", embedder=HashEmbedder()) as store:
        store.workspace("alice").add(b"A note.")


def test_where_opening_took_the_reserve_what_is_left_is_for_what_frees_space(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = alice.add(b"A note.").hash
    (folder / RESERVE).unlink()
    real = os.statvfs

    def nearly_full(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=SIZE // real(path).f_frsize, f_frsize=real(path).f_frsize)

    monkeypatch.setattr(os, "statvfs", nearly_full)
    growing: list[Callable[[], object]] = [
        lambda: alice.add(b"Another."),
        lambda: alice.conversation("talk"),
        lambda: store.workspace("bob"),
        lambda: alice.link(hash, name="renamed"),
    ]
    for grow in growing:
        with pytest.raises(StorageError, match=r"disk is full.*free space: 4,194,304 bytes"):
            grow()
    assert not (folder / RESERVE).exists()
    monkeypatch.setattr(Reserve, "fill", lambda _: None)  # it would fail, on a disk that is full
    reserve = Reserve(folder, readonly=False)
    # Whoever is lent it is not asked, however it went meanwhile.
    reserve.lend(lambda: reserve.lend(lambda: reserve.require(0)))
    with pytest.raises(StorageError, match="disk is full"):
        reserve.require(0)
    alice.remove(hash)
    assert store.collect().documents == 1
    monkeypatch.undo()
    alice.add(b"Another.")
    assert (folder / RESERVE).stat().st_size == SIZE


def test_frugality_lasts_until_the_last_that_wants_it(store: DocStore) -> None:
    """Else a removal that ends lets a collection beside it grow the log."""
    database = store._parts.database
    with database.frugal():
        with database.frugal():
            pass
        assert database.is_frugal
    assert not database.is_frugal


def _full_once() -> Callable[[object], None]:
    """Fails as a full disk does, when it is called first."""
    fails = iter([True])

    def fail(_: object) -> None:
        if next(fails, False):
            raise OSError(errno.ENOSPC, "full")

    return fail


def test_a_collection_that_is_tried_again_reports_what_both_tries_deleted(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = [alice.add(b"Note %d." % number) for number in range(70)]  # more than one group
    for note in notes:
        alice.remove(note.hash)
    preview = store.collect(dry_run=True)
    deleted: list[object] = []
    fail = _full_once()
    monkeypatch.setattr("docstore.lifecycle.collect.time.sleep", lambda _: fail(_) if deleted else None)
    report = store.collect(progress=deleted.append)
    assert (report.documents, report.bytes) == (preview.documents, preview.bytes) == (70, report.bytes)
    assert store.stats().documents == 0


def test_an_expiry_that_is_tried_again_reports_what_both_tries_took(
    store: DocStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, names = Clock(monkeypatch), {f"chat {number}" for number in range(3)}
    for name in names:
        store.workspace(name, ttl=HOUR, sliding=False)
    clock.advance(2 * HOUR)
    monkeypatch.setattr("docstore.lifecycle.expire.time.sleep", _full_once())  # between groups
    report = store.expire(grace=timedelta(0))
    assert set(report.expired) == set(report.deleted) == names
