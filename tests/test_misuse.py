"""Wrong arguments: each is a clear error of ours, never a traceback from NumPy, FAISS or SQLite."""

from __future__ import annotations

import collections
import copy
import dataclasses
import gc
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from docstore import (
    DocStore,
    DocStoreError,
    EmbeddingError,
    InvalidArgument,
    Limits,
    UnreadableDocument,
    Workspace,
)
from docstore.testing import HashEmbedder
from tests.folders import hash_of

NOTE = b"A note."

Use = Callable[[DocStore, Workspace], object]


@pytest.mark.parametrize(
    "use",
    [
        lambda _, a: a.search("bad \udcff"),
        lambda _, a: a.add(42, name="a name"),
        lambda _, a: a.add(bytearray(b"bytes"), name="a name"),
        lambda _s, _a: DocStore("x", readonly="no"),  # type: ignore[arg-type]
        lambda _s, _a: DocStore("x", demand_bytes=0),  # type: ignore[arg-type]
        lambda _s, _a: DocStore("x", chunk_size=True, chunk_overlap=0),
        lambda _, a: a.search("x", mmr=True, fetch_k=None),
        lambda _, a: a.search("x", mmr=True, fetch_k=2.5),
        lambda _, a: a.search("x", mmr=True, lambda_mult=None),
        lambda _, a: a.search("x", mmr=True, lambda_mult=[0.5]),
        lambda _, a: a.search("x", mmr=True, lambda_mult=float("nan")),
        lambda _, a: a.search("x", documents=5),
        lambda _, a: a.search("x", documents="x"),
        lambda _, a: a.search("x", documents=[["x"]]),
        lambda _, a: a.search("x", documents=a.documents()),
        lambda _, a: a.search("x", documents=[None, "a", 5]),
        lambda _, a: a.search("x", where=5),
        lambda _, a: a.search("x", where="x"),
        lambda _, a: a.search("x", where=[("a", 1)]),
        lambda _, a: a.search("x", where={"a": np.zeros(3)}),
        lambda _, a: a.search_vector([10**400] * 64),
        lambda _, a: a.search_vector([1e300] * 64),
        lambda _, a: a.search_many(5),
        lambda _, a: a.search_many(None),
        lambda _, a: a.search_many(0),
        lambda _, a: a.add_many("path"),
        lambda _, a: a.add_many(b"bytes"),
        lambda _, a: a.add_many(Path("path")),
        lambda _, a: a.add_many(7),
        lambda _, a: a.add_many(np.array("path")),
        lambda _, a: a.link_many(np.array("path")),
        lambda _, a: a.remove_many(np.array("path")),
        lambda s, _: s.workspace_for(np.array("path")),
        lambda _, a: a.add_many(io.BytesIO(b"one line\nand another\n")),
        lambda s, _: s.workspace_for(io.BytesIO(b"one line\nand another\n")),
        lambda _, a: a.limit(documents=10**5000),
        lambda _, a: a.conversation("c").messages(after=10**5000),
        lambda _s, _a: DocStore("x", chunk_overlap=10**5000),
        lambda _, a: a.add(io.BytesIO),
        lambda _, a: a.add("\ud800x"),
        lambda s, _: s.collect(grace=None),
        lambda s, _: s.collect(grace=5),
        lambda s, _: s.delete_workspace("\ud800"),
        lambda s, _: s.delete_workspace(["x"]),
        lambda s, _: s.document(7),
        lambda s, _: s.read("x"),
        lambda s, _: s.refcount(None),
        lambda _s, _a: DocStore(None),  # type: ignore[arg-type]
        lambda _s, _a: DocStore(5),  # type: ignore[arg-type]
        lambda _s, _a: DocStore("a\0b"),
        lambda _s, _a: DocStore("lone \ud800"),
        lambda _s, _a: DocStore(b"bytes"),  # type: ignore[arg-type]
        lambda _s, _a: DocStore("x", chunk_size="x"),  # type: ignore[arg-type]
        lambda _s, _a: DocStore("x", chunk_overlap=None),  # type: ignore[arg-type]
        lambda _s, _a: DocStore("x", timeout="x"),  # type: ignore[arg-type]
        lambda _s, _a: DocStore("x", cache_bytes=None),  # type: ignore[arg-type]
        lambda _s, _a: DocStore("x", limits=5),  # type: ignore[arg-type]
        lambda _s, _a: Limits(seconds=float("inf")),
        lambda _s, _a: Limits(pages="x"),  # type: ignore[arg-type]
        lambda _s, _a: Limits(memory=0),
    ],
)
def test_wrong_arguments(
    store: DocStore, alice: Workspace, use: Use, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    alice.add(NOTE)
    with pytest.raises(InvalidArgument):
        use(store, alice)
    assert len(alice) == 1


class Broken(io.BytesIO):
    """Says it can seek, and cannot."""

    def tell(self) -> int:
        raise AttributeError("no tell")


class BadPath:
    """A path whose text is bytes, or nothing."""

    def __fspath__(self) -> Any:
        raise RuntimeError("no path today")


def closed() -> io.BytesIO:
    file = io.BytesIO(NOTE)
    file.close()
    return file


def test_a_file_object_with_a_name_of_the_callers_is_not_asked_for_its_own(alice: Workspace) -> None:
    class Nameless(io.BytesIO):
        @property
        def name(self) -> str:
            raise ValueError("no name")

    assert alice.add(Nameless(NOTE), name="note.txt").name == "note.txt"


@pytest.mark.parametrize("source", [closed(), "a\0b", "\ud800x", BadPath(), Broken(NOTE), "x" * 5000])
def test_sources_that_fail_are_failures_of_their_own(alice: Workspace, source: Any) -> None:
    with pytest.raises(DocStoreError):
        alice.add(source)
    report = alice.add_many([NOTE, source, b"another"])
    assert len(report.added) == 2
    assert isinstance(report.failed[0].error, DocStoreError)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", "untitled"), ("a\0b", "ab"), ("/x/y.txt/", "y.txt"), ("z" * 999, "z" * 255), (7, "untitled")],
)
def test_names_of_file_objects_are_cleaned(alice: Workspace, name: Any, expected: str) -> None:
    file = io.BytesIO(NOTE)
    file.name = name
    assert alice.add(file).name == expected


def test_names_come_back_as_plain_text_whatever_text_was_given(store: DocStore) -> None:
    class Text(str):
        """As members of enumerations are."""

        __slots__ = ()

        def __str__(self) -> str:
            return "another"

    workspace = store.workspace(Text("alice"))
    document = workspace.add(NOTE, name=Text("note"))
    linked = store.workspace("bob").link(document.hash, name=Text("note"))
    for given, expected in (
        (workspace.name, "alice"),
        (document.name, "note"),
        (linked.name, "note"),
        (workspace.conversation(Text("talk")).name, "talk"),
    ):
        assert (type(given), given) == (str, expected)


@pytest.mark.parametrize(
    "metadata",
    [
        MappingProxyType({"a": 1}),
        collections.UserDict({"a": 1}),
        collections.ChainMap({"a": 1}),
        {"a": (1, [2, {"b": None}])},
    ],
)
def test_any_mapping_is_metadata(alice: Workspace, metadata: Any) -> None:
    document = alice.add(NOTE, metadata=metadata)
    assert alice.add(NOTE, metadata=document.metadata).metadata == document.metadata
    assert alice.search("note", where=metadata)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "metadata", [{"a": {1: 2, "b": 3}}, {1: 1, "1": 2}, nested(40), nested(990), {"a": "\ud800"}, {"a": {1, 2}}]
)
def test_metadata_that_json_cannot_hold(alice: Workspace, metadata: Any, embedder: HashEmbedder) -> None:
    with pytest.raises(InvalidArgument, match="metadata"):
        alice.add(NOTE, metadata=metadata)
    assert embedder.embedded == 0


def test_numpy_counts_and_iterators_are_welcome(alice: Workspace) -> None:
    hash = alice.add(NOTE).hash
    assert len(alice.search("note", k=np.int64(3))) == 1  # type: ignore[arg-type]
    assert len(alice.search("note", documents=iter([hash]))) == 1  # type: ignore[arg-type]
    assert hash == hash_of(NOTE)


@pytest.mark.parametrize(
    "attributes",
    [
        {"count_tokens": lambda _: 1 // 0, "max_tokens": 9},
        {"max_tokens": 0},
        {"fingerprint": b"x"},
        {"dimension": "64"},
        {"dimension": 0},
    ],
)
def test_embedders_that_break_their_contract(folder: Path, attributes: dict[str, Any]) -> None:
    embedder = type("Custom", (HashEmbedder,), {"fingerprint": "custom", "dimension": 64, "max_tokens": None})
    for name, value in attributes.items():
        setattr(embedder, name, value)
    instance: Any = object.__new__(embedder)
    instance.embedded = 0
    with DocStore(folder, embedder=instance) as store, pytest.raises((InvalidArgument, EmbeddingError)):
        store.workspace("alice").add(NOTE)


@pytest.mark.parametrize("name", ["fingerprint", "dimension", "max_tokens"])
def test_embedders_that_cannot_say_what_they_are(folder: Path, name: str) -> None:
    def fail(_: object) -> None:
        raise ConnectionError("the model's server is down")

    embedder = type("Remote", (HashEmbedder,), {name: property(fail, lambda *_: None)})()
    with DocStore(folder, embedder=embedder) as store, pytest.raises(EmbeddingError, match=r"failed.*is down"):
        store.workspace("alice").add(NOTE)


def test_an_embedder_may_count_in_numpy(folder: Path) -> None:
    embedder: Any = HashEmbedder(max_tokens=64)
    embedder.max_tokens, embedder.dimension = np.int64(64), np.int64(64)
    with DocStore(folder, embedder=embedder) as store:
        store.workspace("alice").add(NOTE)
    with DocStore(folder, embedder=HashEmbedder(max_tokens=64)) as store:  # the same pipeline
        assert store.workspace("alice").search("note")[0].text == NOTE.decode()


def test_a_query_that_is_not_read_to_its_end_warns(folder: Path) -> None:
    class Counting(HashEmbedder):
        def count_tokens(self, text: str) -> int:
            return len(text.split()) + 2

    with DocStore(folder, embedder=Counting(max_tokens=16)) as store:
        alice = store.workspace("alice")
        alice.add(NOTE)
        assert alice.search("word " * 14)
        with pytest.warns(UserWarning, match="17 tokens, of which the embedder reads 16") as caught:
            alice.search_many(["a note", "word " * 15])
        assert caught[0].filename == __file__

    class Failing(Counting):
        def count_tokens(self, text: str) -> int:
            return super().count_tokens(text) // (text == "")

    with DocStore(folder, embedder=Failing(max_tokens=16)) as store:  # a warning is no reason to fail
        assert store.workspace("alice").search("word " * 15)


def test_an_embedder_that_is_empty_is_one(folder: Path) -> None:
    """It may have a length, say of what it remembers."""

    class Remembering(HashEmbedder):
        def __len__(self) -> int:
            return self.embedded

    with DocStore(folder, embedder=Remembering()) as store:
        store.workspace("alice").add(NOTE)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.workspace("alice").search("note")


@pytest.mark.parametrize("wrong", [{"codec": "x"}, {"chunk_size": 0}, {"embedder": 0}, {"embedder": ""}])
def test_what_is_refused_leaves_no_folder(folder: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        DocStore(folder, **{"embedder": HashEmbedder(), **wrong})
    assert not folder.exists()


@pytest.mark.parametrize("many", [False, True])
def test_no_memory_is_nobodys_fault(alice: Workspace, many: bool) -> None:
    """Nor the document's: MemoryError comes out as it is."""

    class Full(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise MemoryError

    with pytest.raises(MemoryError):
        alice.add_many([Full()]) if many else alice.add(Full())


def test_a_text_given_as_a_path_is_not_all_of_the_error(alice: Workspace) -> None:
    with pytest.raises(UnreadableDocument, match="pass its bytes") as caught:
        alice.add("a whole text " * 10_000)
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize("use", [pickle.dumps, copy.deepcopy])
def test_a_store_is_opened_in_each_process(store: DocStore, alice: Workspace, use: Callable[[Any], Any]) -> None:
    for each in (store, alice, alice.conversation("chat")):
        with pytest.raises(TypeError, match="Open the store in each process"):
            use(each)


def test_errors_call_things_what_the_caller_does(alice: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"^where is int"):
        alice.search("x", where=5)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("x")
    with pytest.raises(DocStoreError, match="path that leads through folders"):
        DocStore(tmp_path / "file", embedder=HashEmbedder())


@pytest.mark.parametrize("wrong", [{"memory": 4e9}, {"pages": 2.5}, {"characters": 1 << 63}, {"seconds": 10**400}])
def test_limits_that_no_system_could_keep(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=f"Limits.{next(iter(wrong))} is"):
        Limits(**wrong)


def test_waiting_for_ever_is_waiting_for_long(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(), timeout=1e18) as store:
        assert store.workspace("alice").add(NOTE).chunks == 1


def test_what_is_returned_can_be_copied_pickled_and_hashed(store: DocStore, alice: Workspace) -> None:
    document = alice.add(NOTE, metadata={"year": 2024})
    message = alice.conversation("a").append("user", "How?", metadata={"a": [1]}, hits=alice.search("note"))
    for each in (document, store.document(document.hash), message, alice.search("note")[0], store.stats()):
        assert pickle.loads(pickle.dumps(each)) == copy.deepcopy(each) == each  # noqa: S301  (our own)
        assert hash(each) == hash(copy.deepcopy(each))
        assert dataclasses.asdict(each)


def test_public_names_are_listed_before_anybody_uses_one() -> None:
    program = "import docstore; print(set(docstore.__all__) - set(dir(docstore)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_store_that_is_dropped_leaves_no_process(folder: Path) -> None:
    script = f"""
import gc, os, time
from pathlib import Path
from docstore import DocStore
from docstore.testing import HashEmbedder
store = DocStore({str(folder)!r}, embedder=HashEmbedder())
store.workspace("a").add(b"note")
children = Path(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children")
before = len(children.read_text().split())
del store
gc.collect()
print(before, len(children.read_text().split()))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]
    gc.collect()


def test_after_close_nothing_starts(folder: Path) -> None:
    store = DocStore(folder, embedder=HashEmbedder())
    alice = store.workspace("alice")
    store.close()
    with pytest.raises(DocStoreError, match="closed"):
        alice.add_many([NOTE])
    assert store._parts.extractor._idle == []


def test_a_path_that_is_too_long_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 480:
        folder /= "d" * 10
    with pytest.raises(InvalidArgument, match="below one of at most 491"):
        DocStore(folder / ("x" * 11), embedder=HashEmbedder())
    assert list(tmp_path.iterdir()) == []
    longest = folder / ("x" * (490 - len(str(folder))))
    with DocStore(longest, embedder=HashEmbedder()) as store:
        store.workspace("alice").add_many([f"thing {number}".encode() for number in range(40)])
        assert len(store.workspace("alice").search("thing", k=99)) == 40
        with DocStore(longest, embedder=HashEmbedder(), readonly=True) as reader:
            assert reader.verify().ok


def test_a_path_of_bytes_is_one(tmp_path: Path) -> None:
    class OfBytes:
        def __fspath__(self) -> bytes:
            return bytes(tmp_path / "store")

    with DocStore(OfBytes(), embedder=HashEmbedder()) as store:  # type: ignore[arg-type]
        assert store.workspaces() == []
    assert (tmp_path / "store" / "catalog.db").exists()
