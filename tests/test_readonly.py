"""A store opened with readonly=True changes nothing of what is stored, and still sees what others write."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docstore import DocStore, Document, StorageError, StoreLocked, StoreReadOnly
from docstore.testing import HashEmbedder
from tests.folders import hash_of

NOTE = b"The store room key hangs behind the door."
LATER = b"The cellar key hangs beside the stove."


@pytest.fixture
def note(folder: Path) -> Document:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("bob").add(NOTE)
        store.workspace("alice").include(store.workspace("bob"))
        store.workspace("alice").conversation("chat").append("user", "Where is the key?")
        store.workspace_for([NOTE])
        store.workspace_for([NOTE, LATER]).remove(hash_of(LATER))
        store.collect()
        return store.workspace("alice").add(NOTE, name="note.txt")


def everything(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Every entry below a folder: inode, mode, time of change, content."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        # SQLite's shared memory of a writer is mapped, and changes with what that writer does.
        content = path.read_bytes() if path.is_file() and not path.name.endswith(("-shm", "catalog.db")) else b""
        found[str(path.relative_to(folder))] = (status.st_ino, status.st_mode, status.st_mtime_ns, content)
    return found


def read_all(store: DocStore, note: Document) -> None:
    """Every call that reads."""
    alice = store.workspace("alice")
    assert [hit.document for hit in alice.search("key")] == [note.hash]
    assert [each.name for each in alice.documents()] == ["note.txt"]
    assert store.workspaces()[:2] == ["alice", "bob"]
    assert alice.includes() == ["bob"] and store.workspace_for([NOTE]).name.startswith("set:")
    assert [each.content for each in alice.conversation("chat").messages()] == ["Where is the key?"]
    assert alice.conversations()[0].messages == 1 and "key" in alice.conversation("chat").export()
    assert (store.refcount(note.hash), len(alice), store.document(note.hash).size) == (4, 1, len(NOTE))
    with store.read(note.hash) as file:
        assert file.read() == NOTE
    assert store.stats().references == 4
    assert store.collect(dry_run=True).documents <= 1
    assert store.verify().ok
    assert store.verify(dry_run=True).ok
    assert store.repair(dry_run=True).ok


def refuse_all(store: DocStore, note: Document) -> None:
    """Every call that would change something."""
    alice = store.workspace("alice")
    changes: list[Callable[[], object]] = [
        lambda: alice.add(LATER),
        lambda: alice.add(NOTE),
        lambda: alice.add_many([LATER]),
        lambda: alice.link(note.hash),
        lambda: alice.link_many([note.hash]),
        lambda: alice.include(store.workspace("bob")),
        lambda: alice.exclude(store.workspace("bob")),
        lambda: alice.conversation("chat").append("user", "x"),
        lambda: alice.conversation("chat").rename("x"),
        lambda: alice.conversation("chat").delete(),
        lambda: store.workspace_for([NOTE, LATER]),
        lambda: alice.remove(note.hash),
        lambda: alice.remove_many([note.hash]),
        lambda: alice.remove_many([]),
        lambda: store.delete_workspace("alice"),
        store.collect,
        store.repair,
    ]
    for change in changes:
        with pytest.raises(StoreReadOnly):
            change()


def test_not_a_byte_in_a_store_that_nobody_has_open(folder: Path, note: Document) -> None:
    (folder / "reserve").unlink()  # what a full disk took is not for a reader to make again
    before = everything(folder)
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
        read_all(store, note)
        refuse_all(store, note)
        assert everything(folder) == before
    assert everything(folder) == before


def test_not_a_byte_beside_a_writer_whose_changes_are_seen(folder: Path, note: Document) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as writer, DocStore(
        folder, embedder=HashEmbedder(), readonly=True
    ) as store:  # fmt: skip
        alice = writer.workspace("alice")
        for round in range(20):
            before = everything(folder)
            read_all(store, note)
            refuse_all(store, note)
            assert everything(folder) == before
            other = alice.add(LATER, name="cellar.txt")
            assert {each.name for each in store.workspace("alice").documents()} == {"note.txt", "cellar.txt"}
            assert store.workspace("alice").search("cellar")[0].document == other.hash
            alice.remove(other.hash)
            if round % 3:
                writer.collect()  # empties the log, too


def test_a_log_that_a_crash_left_is_read(folder: Path, note: Document) -> None:
    crashed = f"""
import os, signal
from docstore import DocStore
from docstore.testing import HashEmbedder
store = DocStore({str(folder)!r}, embedder=HashEmbedder())
store.workspace("carol").add({LATER!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", crashed], check=False).returncode == -9
    assert (folder / "catalog.db-wal").stat().st_size
    (folder / "catalog.db-shm").unlink()  # as on a copy, or after a power cut
    before = everything(folder)
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
        assert store.workspaces()[:3] == ["alice", "bob", "carol"]
        assert store.workspace("carol").search("cellar")
        assert store.verify().ok
    assert everything(folder) == before


def test_a_log_that_a_crash_left_half_moved_is_read(folder: Path, note: Document) -> None:
    """The first page of the catalog is moved first: it says how long the file will be."""
    writer = DocStore(folder, embedder=HashEmbedder())
    writer.workspace("alice").add_many([b"Note %d." % number for number in range(50)])
    path = folder / "catalog.db"
    log = (folder / "catalog.db-wal").read_bytes()
    frames = range(32, len(log), 24 + 4096)
    (first,) = [log[at + 24 : at + 24 + 4096] for at in frames if log[at : at + 4] == (1).to_bytes(4, "big")][-1:]
    data = first + path.read_bytes()[4096:]
    assert len(data) < 4096 * int.from_bytes(first[28:32], "big"), "the log is moved already"
    copy = folder.with_name("copy")
    copy.mkdir()
    (copy / "catalog.db").write_bytes(data)
    (copy / "catalog.db-wal").write_bytes(log)
    shutil.copy(folder / "small.sqlar", copy)
    with DocStore(copy, embedder=HashEmbedder(), readonly=True) as reader:
        assert len(reader.workspace("alice")) == len(writer.workspace("alice"))
    writer.close()


@pytest.fixture
def mounted(folder: Path, note: Document, tmp_path: Path) -> Iterator[Path]:
    """The store on a read-only medium."""
    place = tmp_path / "medium"
    place.mkdir()
    with contextlib.suppress(FileNotFoundError):
        for arguments in (["--bind", str(folder)], ["-o", "remount,ro,bind"]):
            if subprocess.run(["mount", *arguments, str(place)], check=False, capture_output=True).returncode:
                subprocess.run(["umount", str(place)], check=False, capture_output=True)
                pytest.skip("mounting needs privileges that this process does not have")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_read_only_medium(mounted: Path, note: Document) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (mounted / "x").touch()
    with DocStore(mounted, embedder=HashEmbedder(), readonly=True) as store:
        read_all(store, note)
        refuse_all(store, note)


def test_a_forked_child_of_a_reader_reads_too(folder: Path, note: Document) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as writer, DocStore(
        folder, embedder=HashEmbedder(), readonly=True
    ) as store:  # fmt: skip
        writer.workspace("carol")
        assert "carol" in store.workspaces()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if "carol" in store.workspaces() else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert "carol" in store.workspaces()


def test_a_copy_elsewhere_is_independent(folder: Path, note: Document, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    with DocStore(tmp_path / "copy", embedder=HashEmbedder(), readonly=True) as store:
        read_all(store, note)


def test_a_folder_that_is_moved_while_it_is_read_is_said_to_be(note: Document, folder: Path) -> None:
    moved = folder.with_name("moved")
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
        with pytest.raises(StoreLocked, match="changed while it was read"), store._parts.database.read():
            folder.rename(moved)
        with pytest.raises(StorageError):
            store.workspaces()
        moved.rename(folder)
        assert store.document(note.hash).hash == note.hash


def test_what_a_writer_commits_is_read_where_the_catalog_is_a_link(note: Document, folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    (folder / "catalog.db").rename(elsewhere / "catalog.db")
    (folder / "catalog.db").symlink_to(elsewhere / "catalog.db")
    with DocStore(folder, embedder=HashEmbedder()) as writer:
        writer.workspace("alice").add(LATER)
        with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
            assert {each.hash for each in store.workspace("alice").documents()} == {note.hash, hash_of(LATER)}
            assert store.stats().catalog_bytes >= sum(each.stat().st_size for each in elsewhere.iterdir())


def test_a_link_that_leads_elsewhere_is_followed(note: Document, folder: Path) -> None:
    """To the same catalog, which was moved; what lies where it was is another one's."""
    elsewhere, link = folder.with_name("elsewhere"), folder / "catalog.db"
    elsewhere.mkdir()
    link.rename(elsewhere / "catalog.db")
    link.symlink_to(elsewhere / "catalog.db")
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
        before = store.workspaces()
        (elsewhere / "catalog.db").rename(elsewhere / "moved.db")
        link.unlink()
        link.symlink_to(elsewhere / "moved.db")
        DocStore(folder.with_name("other"), embedder=HashEmbedder()).close()
        shutil.copy(folder.with_name("other") / "catalog.db", elsewhere / "catalog.db")
        assert store.workspaces() == before
        assert store.document(note.hash).hash == note.hash
