"""Documents: stored once, streamed, added again for nothing, named by each reference."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from docstore import (
    DocStore,
    DocumentNotFound,
    InvalidArgument,
    StoreClosed,
    UnreadableDocument,
    Workspace,
    WorkspaceNotFound,
    durable,
)
from docstore.testing import HashEmbedder
from tests.folders import files, hash_of
from tests.samples import of_a_gigabyte, pdf

NOTE = b"A note about nothing in particular."


def test_a_document_is_one_blob_one_text_one_subindex(alice: Workspace, bob: Workspace, folder: Path) -> None:
    data = pdf(["Shared by many"])
    first = alice.add(data, name="mine.pdf")
    second = bob.add(data, name="theirs.pdf")
    assert (first.reused, second.reused) == (False, True)
    assert first.hash == second.hash == hash_of(data)
    stored = files(folder)
    blob, index, spans, text = stored[0], stored[2], stored[1], stored[3]
    assert (folder / blob).read_bytes() == data
    assert blob.as_posix() == f"documents/{first.hash[:2]}/{first.hash}.pdf"
    assert (index.name, spans.name, text.suffix) == ("index.faiss", "chunks.npy", ".zst")


def test_name_and_metadata_belong_to_the_reference(alice: Workspace, bob: Workspace) -> None:
    hash = alice.add(NOTE, name="a.txt", metadata={"year": 2024, "tags": ["x", {"y": None}]}).hash
    bob.add(NOTE, name="b.txt")
    assert [(each.name, each.metadata) for each in alice.documents()] == [
        ("a.txt", {"year": 2024, "tags": ["x", {"y": None}]})
    ]
    assert [(each.name, each.metadata) for each in bob.documents()] == [("b.txt", {})]
    assert alice.search("note", k=1)[0].name == "a.txt"
    assert bob.search("note", k=1)[0].name == "b.txt"
    bob.remove(hash)
    assert alice.documents()[0].name == "a.txt"


def test_adding_twice_is_idempotent_and_keeps_what_is_not_given(alice: Workspace) -> None:
    alice.add(NOTE, name="a.txt", metadata={"year": 2024})
    again = alice.add(NOTE)
    assert (again.name, again.metadata, again.reused) == ("a.txt", {"year": 2024}, True)
    renamed = alice.add(NOTE, name="b.txt", metadata={})
    assert (renamed.name, renamed.metadata) == ("b.txt", {})
    assert [(each.name, each.metadata) for each in alice.documents()] == [("b.txt", {})]
    assert len(alice) == 1
    assert alice.search("note")[0].name == "b.txt"


def test_a_stored_document_is_neither_copied_nor_embedded(
    alice: Workspace, bob: Workspace, embedder: HashEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add(NOTE)
    embedded = embedder.embedded
    path = tmp_path / "copy.txt"
    path.write_bytes(NOTE)

    def forbidden(*_: Any) -> Any:
        raise AssertionError("copied")

    monkeypatch.setattr(durable, "sync_files", forbidden)
    monkeypatch.setattr("docstore.ingest.source.copy", forbidden)
    monkeypatch.setattr("docstore.scratch._new_lock", forbidden)
    for source in (path, str(path), NOTE, io.BytesIO(NOTE)):
        assert bob.add(source).reused
    assert embedder.embedded == embedded


class Unseekable(io.RawIOBase):
    """A stream as a socket or pipe gives it."""

    def __init__(self, data: bytes) -> None:
        self._source = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._source.read(min(size, 7) if size > 0 else size)


class Failing(io.RawIOBase):
    """A stream that breaks off."""

    def read(self, size: int = -1) -> bytes:
        raise ConnectionResetError("peer is gone")


def test_a_path_may_end_with_a_slash(alice: Workspace, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_bytes(b"A note.")
    assert alice.add(f"{tmp_path}/note.txt/").name == "note.txt"


def test_streams(alice: Workspace, folder: Path) -> None:
    assert alice.add(Unseekable(NOTE)).hash == hash_of(NOTE)  # type: ignore[arg-type]
    assert alice.add(Unseekable(NOTE)).reused  # type: ignore[arg-type]
    source = io.BytesIO(b"skip this " + NOTE)
    source.seek(10)
    assert alice.add(source).hash == hash_of(NOTE)
    assert not source.closed
    before = files(folder)
    with pytest.raises(UnreadableDocument, match="peer is gone"):
        alice.add(Failing())  # type: ignore[arg-type]
    with pytest.raises(UnreadableDocument, match="binary mode"):
        alice.add(io.StringIO("text"))  # type: ignore[arg-type]
    assert files(folder) == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "no such file", "there is no such file"),
        (lambda path: path, "is a folder. Pass its files"),
        (lambda path: Path(os.devnull), "pipe or device"),
    ],
)
def test_paths_that_are_no_documents(
    alice: Workspace, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(UnreadableDocument, match=message):
        alice.add(make(tmp_path))


@pytest.mark.parametrize("times", [1, durable.SMALL])
def test_a_file_that_changes_while_it_is_added(
    alice: Workspace, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(NOTE * times)
    real = durable.stage_stream

    def changed(source: Any, target: str, size: int) -> durable.Staged:
        with path.open("ab") as file:
            file.write(b" more")
        return real(source, target, size)

    monkeypatch.setattr("docstore.ingest.source.stage_stream", changed)
    with pytest.raises(UnreadableDocument, match="changed while it was read"):
        alice.add(path)
    assert files(folder) == []


@pytest.mark.parametrize("argument", [None, 3, ["x"], object()])
def test_things_that_are_no_source(alice: Workspace, argument: Any) -> None:
    with pytest.raises(InvalidArgument, match="pass a path, bytes or a binary file"):
        alice.add(argument)


def test_an_empty_path_is_no_folder(alice: Workspace) -> None:
    for name in (None, "a name"):
        with pytest.raises(InvalidArgument, match="The path of a document to add is empty"):
            alice.add("", name=name)
    (failed,) = alice.add_many(["", NOTE]).failed
    assert "is empty" in str(failed.error)


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "x" * 1001, "\ud800", 7])
def test_bad_names(alice: Workspace, store: DocStore, name: Any) -> None:
    with pytest.raises(InvalidArgument):
        alice.add(NOTE, name=name)
    with pytest.raises(InvalidArgument):
        store.workspace(name)
    assert len(alice) == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "CON", "☂" * 1000, "' OR 1=1 --", "-rf", "é\u202e"])
def test_odd_names_are_only_names(alice: Workspace, folder: Path, name: str) -> None:
    assert alice.add(NOTE, name=name).name == name
    assert all(path.parts[0] in ("documents", "texts", "embeddings") for path in files(folder))
    assert alice.documents()[0].name == name


@pytest.mark.parametrize(
    "metadata", [{1: 2}, {"a": object()}, {"a": float("nan")}, {"a": "x" * 70_000}, ["a"], {"a": b"x"}]
)
def test_bad_metadata(alice: Workspace, metadata: Any) -> None:
    with pytest.raises(InvalidArgument, match="metadata"):
        alice.add(NOTE, metadata=metadata)
    assert len(alice) == 0


@pytest.mark.parametrize(
    "method", [Workspace.add, Workspace.add_many, Workspace.remove, Workspace.documents, DocStore.workspace_for]
)
def test_what_methods_take_can_be_asked_for(method: Callable[..., Any]) -> None:
    # As frameworks do that make tools for a model of them.
    assert "return" in get_type_hints(method)


def test_link_needs_what_the_store_holds(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    hash = alice.add(NOTE, name="a.txt").hash
    linked = bob.link(hash, name="mine.txt", metadata={"a": 1})
    assert (linked.reused, linked.name, linked.metadata) == (True, "mine.txt", {"a": 1})
    assert store.refcount(hash) == 2
    with pytest.raises(DocumentNotFound, match="has no document"):
        bob.link("0" * 64)
    for malformed in ("../../x", hash.upper(), hash[:-1], ""):
        with pytest.raises(InvalidArgument, match="no document hash"):
            bob.link(malformed)


def test_a_document_without_a_workspace(store: DocStore, alice: Workspace) -> None:
    hash = alice.add(NOTE, name="secret name", metadata={"secret": 1}).hash
    document = store.document(hash)
    assert (document.name, document.metadata, document.size, document.chunks) == (None, {}, len(NOTE), 1)


def test_a_deleted_workspace_is_gone_for_its_handles(store: DocStore, alice: Workspace) -> None:
    hash = alice.add(NOTE).hash
    store.delete_workspace("alice")
    for use in (
        lambda: alice.add(NOTE),
        lambda: alice.add(b"something new"),
        lambda: alice.link(hash),
        alice.documents,
        lambda: alice.search("note"),
        lambda: len(alice),
    ):
        with pytest.raises(WorkspaceNotFound):
            use()
    with pytest.raises(WorkspaceNotFound):
        store.delete_workspace("alice")
    assert store.workspaces() == []
    assert len(store.workspace("alice")) == 0
    with pytest.raises(WorkspaceNotFound):
        alice.documents()


def test_a_closed_store_says_so(folder: Path) -> None:
    store = DocStore(folder, embedder=HashEmbedder())
    alice = store.workspace("alice")
    store.close()
    store.close()
    for use in (lambda: alice.add(NOTE), lambda: alice.search("x"), store.stats, store.workspaces):
        with pytest.raises(StoreClosed, match="Open it again"):
            use()
    assert files(folder) == []


@of_a_gigabyte
def test_memory_is_constant_for_a_large_file(tmp_path: Path) -> None:
    # 400 MB that turn out to be no document: hashed, copied, looked at, refused. The process grows by less than 50.
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(400 << 20)
    script = f"""
import resource
from docstore import DocStore, UnreadableDocument
from docstore.testing import HashEmbedder
with DocStore({str(tmp_path / "store")!r}, embedder=HashEmbedder()) as store:
    alice = store.workspace("alice")
    alice.add(b"small")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        alice.add({str(large)!r})
    except UnreadableDocument as error:
        print(error.reason, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    reason, megabytes = done.stdout.split()
    assert reason in ("unsupported", "limit")
    assert int(megabytes) < 50
