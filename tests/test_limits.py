"""Limits: exact whoever adds at once, checked before work is done in vain, and never in the way of making room."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from docstore import (
    DocStore,
    InvalidArgument,
    QuotaExceeded,
    QuotaWarning,
    StoreReadOnly,
    Workspace,
    WorkspaceNotFound,
    quotas,
)
from docstore.testing import HashEmbedder
from tests.clock import NOTE
from tests.folders import apparent_bytes, execute, files, lie, problems, query
from tests.limiting import NOTES, reasons


def file_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()
               and path.name != "reserve" and not path.name.startswith(("catalog.db", "small.sqlar")))  # fmt: skip


# -- of a workspace -----------------------------------------------------------------------------------------------


def test_documents_of_a_workspace(store: DocStore, alice: Workspace, bob: Workspace, embedder: HashEmbedder) -> None:
    alice.limit(documents=2, warn_at=1)
    alice.add(NOTES[0])
    with pytest.warns(QuotaWarning):
        alice.add(NOTES[1])
    stored = bob.add(NOTE).hash
    cost = embedder.embedded
    attempts: list[Callable[[], object]] = [
        lambda: alice.add(NOTES[2]), lambda: alice.add(NOTE), lambda: alice.link(stored)
    ]  # fmt: skip
    for add in attempts:
        with pytest.raises(QuotaExceeded, match=r"has 2 documents and may have 2\. .*workspace\.limit") as error:
            add()
        assert (error.value.limited_by, error.value.used, error.value.wanted, error.value.limit) == (
            "documents", 2, 1, 2,
        )  # fmt: skip
    assert embedder.embedded == cost, "nothing is embedded in vain"
    assert alice.add(NOTES[1], name="again").name == "again", "what it has is not one more"
    alice.remove(alice.documents()[0].hash)
    with pytest.warns(QuotaWarning):
        assert alice.link(stored).reused
    assert store.collect().documents == 1


def test_bytes_of_a_workspace(alice: Workspace, bob: Workspace) -> None:
    bob.add(NOTE)
    alice.limit(logical_bytes=len(NOTE) + 10)
    assert alice.quota() == quotas.WorkspaceQuota(0, None, 0, len(NOTE) + 10, 0.9)
    alice.add(NOTE)  # that bob has it too does not make it cheaper
    assert alice.quota().logical_bytes == len(NOTE)
    with pytest.raises(QuotaExceeded, match=rf"11 bytes, and .* have {len(NOTE)} of the {len(NOTE) + 10}"):
        alice.add(b"01234567890")
    with pytest.warns(QuotaWarning):
        alice.add(b"0123456789")
    alice.remove(alice.documents()[0].hash)
    alice.remove(alice.documents()[0].hash)
    assert alice.quota().logical_bytes == 0


def test_a_limit_below_what_is_used_only_forbids_more(store: DocStore, alice: Workspace) -> None:
    hashes = [each.hash for each in alice.add_many(NOTES).added]
    alice.limit(documents=3, logical_bytes=1)
    assert len(alice) == len(NOTES) and alice.search("ships")
    with pytest.raises(QuotaExceeded):
        alice.add(NOTE)
    for hash in hashes[:-1]:
        alice.remove(hash)
    with pytest.raises(QuotaExceeded) as error:
        alice.add(NOTE)
    assert error.value.limited_by == "logical_bytes"
    alice.limit()
    assert alice.add(NOTE) and not alice.quota().is_limited
    assert store.verify().ok


def test_new_workspaces_get_the_stores_limits(store: DocStore, alice: Workspace) -> None:
    store.limit(workspace_documents=2, workspace_logical_bytes=1000)
    bob = store.workspace("bob")
    assert (bob.quota().max_documents, bob.quota().max_logical_bytes) == (2, 1000)
    assert not alice.quota().is_limited
    quota = store.quota()
    assert (quota.workspace_documents, quota.workspace_logical_bytes, quota.is_limited) == (2, 1000, False)
    store.limit()
    assert bob.quota().max_documents == 2
    assert not store.workspace("carol").quota().is_limited


# -- of the store -------------------------------------------------------------------------------------------------


def test_bytes_of_the_store(store: DocStore, alice: Workspace, bob: Workspace, folder: Path) -> None:
    first = alice.add(NOTE)
    used = store.quota().physical_bytes
    assert used == file_bytes(folder)
    store.limit(physical_bytes=used)
    for workspace, data in ((alice, NOTES[0]), (bob, NOTES[1])):
        with pytest.raises(QuotaExceeded, match=rf"may hold {used:,} bytes.*store\.limit") as error:
            workspace.add(data)
        assert (error.value.limited_by, error.value.used, error.value.limit) == ("physical_bytes", used, used)
    assert bob.add(NOTE).reused, "what is stored takes nothing more"
    assert bob.add(NOTE, metadata={"year": 2024})
    alice.remove(first.hash)
    bob.remove(first.hash)
    with pytest.raises(QuotaExceeded):
        alice.add(NOTE + b"!")
    store.collect()
    assert store.quota().physical_bytes == 0
    with pytest.warns(QuotaWarning, match="The store holds"):
        alice.add(NOTE)
    assert apparent_bytes(folder) == store.stats().physical_bytes


def test_a_document_that_cannot_fit_is_not_even_read(store: DocStore, alice: Workspace, embedder: HashEmbedder) -> None:
    store.limit(physical_bytes=10)
    with pytest.raises(QuotaExceeded):
        alice.add(b"%PDF-1.7 nothing follows")
    assert embedder.embedded == 0


def test_the_store_is_filled_and_not_exceeded(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(NOTES[0])
    each = store.quota().physical_bytes
    store.limit(physical_bytes=5 * each + each // 2)
    with pytest.warns(QuotaWarning):
        report = alice.add_many(NOTES)
    assert len(alice) == 5
    assert reasons(report.failed) == ["physical_bytes"] * 7
    assert store.quota().physical_bytes <= 5.5 * each
    assert len(files(folder, "documents")) == 5 and problems(folder) == []


class FakeDisk:
    """A file system of 1,000 blocks of a kilobyte."""

    f_frsize = 1000
    f_blocks = 1000
    f_bavail = 100


def test_a_share_of_the_disk_stays_free(store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FakeDisk()
    monkeypatch.setattr(os, "statvfs", lambda _path: disk)
    stored = alice.add(NOTE)
    store.limit(keep_free=0.1)
    assert (store.quota().keep_free, store.quota().free_bytes) == (0.1, 100_000)
    with pytest.raises(QuotaExceeded, match=r"100,000 bytes free, and 100,000 of them must stay so") as error:
        alice.add(NOTES[0])
    assert error.value.limited_by == "keep_free"
    assert reasons(alice.add_many(NOTES).failed) == ["keep_free"] * len(NOTES)
    bob = store.workspace("bob")
    assert bob.add(NOTE).reused
    disk.f_bavail = 0
    assert bob.link(stored.hash)
    for workspace in (alice, bob):
        workspace.remove(stored.hash)
    assert store.expire().expired == ()
    assert store.collect().documents == 1
    disk.f_bavail = 200
    assert alice.add_many(NOTES).failed == ()


# -- warnings -----------------------------------------------------------------------------------------------------


def test_what_is_on_the_disk_already_is_not_counted_again(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of a large document, while nothing of it is embedded yet."""
    large = b"<html><body><p>some words</p><!--" + os.urandom(300_000).hex().encode() + b"--></body></html>"
    disk = FakeDisk()
    disk.f_bavail = 1000

    def measured(_path: object) -> FakeDisk:
        disk.f_bavail = 1000 - sum(path.stat().st_size for path in folder.rglob("*.html")) // 1000
        disk.f_bavail -= sum(path.stat().st_size for path in (folder / "tmp").rglob("*") if path.is_file()) // 1000
        return disk

    monkeypatch.setattr(os, "statvfs", measured)
    store.limit(keep_free=0.3)
    assert alice.add(large).size == len(large)
    with pytest.raises(QuotaExceeded):
        alice.add(large + b" ")


def test_a_threshold_warns_once_for_each_crossing(alice: Workspace) -> None:
    alice.limit(documents=10, warn_at=0.5)
    for each in NOTES[:4]:
        alice.add(each)
    with pytest.warns(QuotaWarning, match=r"'alice' has 5 of at most 10 documents") as caught:
        alice.add(NOTES[4])
    assert caught[0].filename == __file__, "it points to the caller"
    alice.add(NOTES[5])
    for document in alice.documents()[:2]:
        alice.remove(document.hash)
    with pytest.warns(QuotaWarning) as caught:
        alice.add_many(NOTES[6:9])
    assert len(caught) == 1 and caught[0].filename == __file__


# -- verify and repair --------------------------------------------------------------------------------------------


def test_repair_corrects_bytes_whatever_the_limits_are(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add_many(NOTES)
    bytes_before = alice.quota().logical_bytes
    alice.limit(documents=1, logical_bytes=1)
    store.limit(physical_bytes=1)
    execute(folder, "UPDATE workspaces SET bytes = 7, refs = 0")
    execute(folder, "UPDATE totals SET file_bytes = 0")
    lie(folder, "DELETE FROM limits")
    assert {each.path for each in store.verify().problems} == {"workspaces", "totals", "limits"}
    assert store.repair().ok and store.verify().ok
    assert (alice.quota().documents, alice.quota().logical_bytes) == (len(NOTES), bytes_before)
    assert store.quota().max_physical_bytes is None


def test_repair_restores_what_is_lost_in_a_full_store(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(NOTE)
    store.limit(physical_bytes=1)
    for path in [*files(folder, "texts"), *files(folder, "embeddings")]:
        (folder / path).unlink()
    assert store.repair().ok and store.verify().ok
    assert alice.search("key")


def test_stores_of_before_count_their_bytes(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parent / "formats" / "0.1.0.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    (catalog,) = tmp_path.rglob("catalog.db")
    with DocStore(catalog.parent, embedder=HashEmbedder()) as store:
        for name in store.workspaces():
            workspace = store.workspace(name)
            quota = workspace.quota()
            assert quota.logical_bytes == sum(each.size for each in workspace.documents())
            assert not quota.is_limited and workspace.info().ttl is None
        assert any(store.workspace(name).quota().logical_bytes for name in store.workspaces())
        assert store.verify().ok


# -- arguments, and other ways to open ----------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"documents": -1}, {"documents": True}, {"logical_bytes": 1.5}, {"warn_at": 0},
                                   {"warn_at": 1.5}, {"warn_at": "0.5"}, {"logical_bytes": 1 << 63}])  # fmt: skip
def test_what_is_no_limit_is_refused(store: DocStore, alice: Workspace, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(wrong))):
        alice.limit(**wrong)
    name, value = next(iter(wrong.items()))
    of_store = {"documents": "workspace_documents", "logical_bytes": "physical_bytes"}.get(name, name)
    with pytest.raises(InvalidArgument, match=of_store):
        store.limit(**{of_store: value})


@pytest.mark.parametrize("keep", [1, -0.1, True, "10%"])
def test_what_is_no_share_is_refused(store: DocStore, keep: Any) -> None:
    with pytest.raises(InvalidArgument, match="keep_free"):
        store.limit(keep_free=keep)


def test_a_workspace_that_is_gone_has_no_limits(store: DocStore, alice: Workspace) -> None:
    store.delete_workspace("alice")
    for use in (alice.quota, lambda: alice.limit(documents=1)):
        with pytest.raises(WorkspaceNotFound):
            use()


def test_a_readonly_store_says_them_and_changes_nothing(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.limit(documents=5)
    store.limit(keep_free=0.5)
    before = query(folder, "SELECT * FROM limits"), query(folder, "SELECT * FROM workspaces")
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as reading:
        assert reading.workspace("alice").quota().max_documents == 5
        assert reading.quota().keep_free == 0.5
        for change in (reading.limit, reading.workspace("alice").limit):
            with pytest.raises(StoreReadOnly):
                change()
    assert before == (query(folder, "SELECT * FROM limits"), query(folder, "SELECT * FROM workspaces"))


@pytest.mark.filterwarnings("ignore::docstore.QuotaWarning")
@pytest.mark.parametrize("limited", ["full", "room for the file", "room for all but a byte", "disk"])
def test_where_bytes_are_demanded_a_full_store_does_not_tell_what_others_have(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limited: str
) -> None:
    messages = []
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=True) as store:
        alice, mallory = store.workspace("alice"), store.workspace("mallory")
        own = mallory.add(NOTES[1])
        before = store.quota().physical_bytes
        alice.add(NOTES[2])
        takes = store.quota().physical_bytes - before
        if limited != "disk":
            room = {"full": 0, "room for the file": len(NOTES[2]), "room for all but a byte": takes - 1}[limited]
            store.limit(physical_bytes=store.quota().physical_bytes + room)
        else:
            disk = FakeDisk()
            monkeypatch.setattr(os, "statvfs", lambda _path: disk)
            store.limit(keep_free=0.1)
        for data in (NOTES[2], NOTES[3]):
            assert len(data) == len(NOTES[2])
            with pytest.raises(QuotaExceeded) as error:
                mallory.add(data)
            assert limited == "disk" or error.value.used is None
            assert f"{store.quota().physical_bytes:,}" not in str(error.value).replace(f"{error.value.limit:,}", "")
            messages.append((str(error.value), error.value.wanted, error.value.limit))
        assert len(set(messages)) == 1
        assert mallory.add(NOTES[1]).hash == own.hash, "its own costs nothing"


def test_without_limits_nobody_measures_the_disk_for_each_document(
    alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    real = os.statvfs

    def measure(path: Path) -> os.statvfs_result:
        calls.append(path)
        return real(path)

    monkeypatch.setattr(os, "statvfs", measure)
    alice.add_many(NOTES)
    assert len(calls) <= 4


def test_expired_workspaces_keep_their_limits(store: DocStore) -> None:
    chat = store.workspace("chat", ttl=timedelta(seconds=1), sliding=False)
    chat.limit(documents=1, warn_at=1)
    with pytest.warns(QuotaWarning):
        chat.add(NOTE)
    before = chat.quota()
    with pytest.MonkeyPatch.context() as patch:
        from tests.clock import Clock

        Clock(patch).advance(timedelta(seconds=2))
        assert store.expire().expired == ("chat",)
        assert store.undelete("chat").quota() == before


@pytest.mark.parametrize("share", [0.55, 0.07, 0.14])
def test_a_threshold_is_met_to_the_document(alice: Workspace, share: float) -> None:
    """As floats, 100 times some shares are more than whole numbers."""
    alice.limit(documents=100, warn_at=share)
    for number in range(1, round(100 * share)):
        alice.add(b"%d" % number)
    with pytest.warns(QuotaWarning):
        alice.add(b"One more.")


def test_a_new_version_that_is_stored_takes_no_room_where_bytes_are_demanded(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=True) as store:
        old, new = store.workspace("a").add(b"version one"), store.workspace("b").add(b"version two")
        store.limit(physical_bytes=store.quota().physical_bytes - 1)
        assert store.replace(old.hash, b"version two").new == new.hash


# -- new versions -------------------------------------------------------------------------------------------------


def test_a_new_version_is_in_place_of_the_old_one_in_a_full_workspace_too(
    store: DocStore, alice: Workspace, bob: Workspace
) -> None:
    old, new = b"The door is green.", b"The door is red, and has been for a while."
    first = alice.add(old)
    bob.link(first.hash)
    alice.limit(documents=1, logical_bytes=first.size)
    done = store.replace(first.hash, new)
    assert done.moved == ("alice", "bob")
    assert alice.quota().logical_bytes == len(new)
    with pytest.raises(QuotaExceeded):
        alice.add(b"One more.")
    assert store.rollback(done.new).moved == ("alice", "bob")
    assert alice.quota().logical_bytes == len(old)
    assert query(store._parts.folder, "SELECT lifted FROM limits") == [(0,)]


def test_a_full_store_takes_no_new_version(store: DocStore, alice: Workspace) -> None:
    old = alice.add(b"The door is green.")
    store.limit(physical_bytes=1)
    with pytest.raises(QuotaExceeded):
        store.replace(old.hash, b"The door is red.")
    assert [each.hash for each in alice.documents()] == [old.hash]
