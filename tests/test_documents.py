"""Documents: stored once, streamed, added again for nothing, named by each reference."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import UserDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt
import pytest

from docstore import (
    DocStore,
    DocumentNotFound,
    InvalidArgument,
    NewDocument,
    Progress,
    QuotaWarning,
    StoreClosed,
    UnreadableDocument,
    Workspace,
    WorkspaceNotFound,
    durable,
    workspace,
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


def test_add_many_goes_on_past_bad_files(alice: Workspace, tmp_path: Path, embedder: HashEmbedder) -> None:
    sources: list[Any] = []
    for number in range(150):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(b"" if number % 50 == 7 else f"Document number {number}".encode())
        sources.append(path)
    sources += [tmp_path / "missing.txt", 42, sources[0]]
    seen: list[Progress] = []
    report = alice.add_many(sources, progress=seen.append)
    assert [each.name for each in report.failed] == [
        *(str(tmp_path / name) for name in ("7.txt", "57.txt", "107.txt", "missing.txt")),
        "int",
    ]
    assert all(str(each.error) for each in report.failed)
    assert len(report.added) == 147
    assert [each.name for each in report.reused] == ["0.txt"]
    assert [each.name for each in report.added][:8] == [f"{n}.txt" for n in (0, 1, 2, 3, 4, 5, 6, 8)]
    assert (seen[-1].done, seen[-1].total, seen[-1].chunks) == (153, 153, 147)
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert embedder.embedded == 147


@pytest.mark.parametrize("number", [1, 40])  # files, and pieces that are packed
def test_each_of_many_may_have_a_name_and_metadata_of_its_own(alice: Workspace, tmp_path: Path, number: int) -> None:
    named = tmp_path / "on disk.txt"
    named.write_bytes(b"One that lies on the disk.")
    documents = [NewDocument(b"Text %d" % each, f"{each}.txt", {"year": each}) for each in range(number)]
    report = alice.add_many(
        [*documents, NewDocument(named), NewDocument(NOTE, "note.txt"), NOTE + b"!"], metadata={"year": 7}
    )
    assert not report.failed
    kept = {each.name: each.metadata["year"] for each in alice.documents()}
    assert kept == {f"{each}.txt": each for each in range(number)} | {"on disk.txt": 7, "note.txt": 7, "untitled": 7}
    assert [hit.name for hit in alice.search("Text", where={"year": 0})] == ["0.txt"]

    again = alice.add_many([NewDocument(named, "renamed.txt", {}), NewDocument(NOTE), NOTE])
    assert len(again.reused) == 3
    kept = {each.name: dict(each.metadata) for each in alice.documents()}
    assert kept["renamed.txt"] == {} and kept["note.txt"] == {"year": 7}
    assert "on disk.txt" not in kept


def test_of_several_of_one_hash_the_last_says_its_name_and_metadata(alice: Workspace) -> None:
    alice.add_many([NewDocument(NOTE, f"{number}.txt", {"n": number}) for number in range(5)])
    (only,) = alice.documents()
    assert (only.name, only.metadata) == ("4.txt", {"n": 4})


class _Gone(UserDict[str, int]):
    """A mapping that cannot be read, as rows of a database whose connection was closed."""

    def __getitem__(self, key: str) -> int:
        raise KeyError("gone")


def test_one_of_many_that_is_wrong_does_not_stop_the_others(alice: Workspace, tmp_path: Path) -> None:
    wrong: list[Any] = [
        NewDocument(b"", "empty.txt"),
        NewDocument(tmp_path / "missing.txt", "renamed.txt"),
        NewDocument(NOTE, ""),
        NewDocument(NOTE, "note.txt", ["no object"]),  # type: ignore[arg-type]
        NewDocument(NOTE, "record-42", _Gone({"a": 1})),
        NewDocument(7, "seven"),  # type: ignore[arg-type]
        NewDocument(NewDocument(NOTE)),  # type: ignore[arg-type]
    ]
    report = alice.add_many([*wrong, NewDocument(NOTE, "sound.txt")])
    assert [each.name for each in report.added] == ["sound.txt"]
    assert [(each.name, str(each.error)) for each in report.failed] == [
        ("empty.txt", "empty.txt: it has no bytes. There is nothing to store."),
        ("renamed.txt", "renamed.txt: there is no such file. Check the path."),
        ("untitled", "name is ''; it must be text that is not empty"),
        ("note.txt", "metadata is list; it must be a dictionary with text keys"),
        ("record-42", "metadata cannot be read: KeyError: 'gone'"),
        ("seven", "Cannot add a int: pass a path, bytes or a binary file object"),
        ("NewDocument", "Cannot add a NewDocument: pass a path, bytes or a binary file object"),
    ]


def test_add_many_takes_a_generator_and_fills_the_embedders_batches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = HashEmbedder()
    batches: list[int] = []
    real = embedder.embed

    def counted(texts: Sequence[str]) -> Any:
        batches.append(len(texts))
        return real(texts)

    monkeypatch.setattr(embedder, "embed", counted)
    with DocStore(folder, embedder=embedder) as store:
        report = store.workspace("alice").add_many(f"text {number}".encode() for number in range(64))
    assert len(report.added) == 64
    assert batches == [64]


def test_an_embedder_that_refuses_one_document_fails_only_that(folder: Path) -> None:
    class Picky(HashEmbedder):
        def embed(self, texts: Any, /) -> Any:
            if any("poison" in text for text in texts):
                raise ValueError("cannot embed this")
            return super().embed(texts)

    with DocStore(folder, embedder=Picky()) as store:
        report = store.workspace("alice").add_many([b"good", b"poison", b"fine"])
        assert len(report.added) == 2
        assert "cannot embed this" in str(report.failed[0].error)
        assert store.verify().leftovers == 0


class Moody(HashEmbedder):
    """Refuses some texts, or all, and counts how often it is asked."""

    calls, is_down, refused = 0, False, frozenset[str]()

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.calls += 1
        if self.is_down or not self.refused.isdisjoint(texts):
            raise RuntimeError("503")
        return super().embed(texts)


def test_an_embedder_that_is_down_is_not_asked_for_each_document(folder: Path) -> None:
    moody, notes = Moody(), [f"note number {number}" for number in range(100)]
    with DocStore(folder, embedder=moody) as store:
        alice = store.workspace("alice")
        moody.is_down = True
        report = alice.add_many([note.encode() for note in notes])
        assert len(report.failed) == 100 and all("503" in str(each.error) for each in report.failed)
        assert moody.calls <= 2
        moody.is_down, moody.calls, moody.refused = False, 0, frozenset(notes[20:23] + notes[70:71])
        report = alice.add_many([note.encode() for note in notes])
        assert len(report.added) == 96 and {each.name for each in report.failed} == {"untitled"}
        assert moody.calls < 60  # the halves of halves of two places
        moody.refused = frozenset()
        assert len(alice.add_many([note.encode() for note in notes]).added) == 4


def test_what_a_generator_gave_before_it_failed_is_added(alice: Workspace) -> None:
    def crawl() -> Iterator[bytes]:
        yield b"the first page"
        yield b"the second page"
        raise TimeoutError("the crawl broke")

    told: list[Progress] = []
    alice.limit(documents=2)
    with pytest.raises(TimeoutError, match="the crawl broke") as error, pytest.warns(QuotaWarning):
        alice.add_many(crawl(), progress=told.append)
    assert error.value.__notes__ == ["Of what it gave before, docstore added 2 and refused 0."]
    assert {each.size for each in alice.documents()} == {14, 15}
    assert told[-1].done == 2


def test_what_a_slow_generator_gives_is_added_meanwhile(alice: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_GROUP_SECONDS", 0.0)
    found = []

    def crawl() -> Iterator[bytes]:
        for number in range(4):
            yield b"page %d" % number
            found.append(len(alice))

    report = alice.add_many(crawl())
    assert len(report.added) == len(alice) == 4
    assert found == [1, 2, 3, 4]


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
