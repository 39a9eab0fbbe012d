"""Hostile arguments: names, metadata, hashes and vectors. Each is a result or an error of ours, and changes nothing."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docstore import DocStore, DocStoreError, Hit, InvalidArgument, Workspace
from tests.folders import files

NOTE = b"A note."
TRICKS = ["../../etc/passwd", "/etc/passwd", "..", ".", "~", "a/../../b", "C:\\x", "con", "-rf", "%2e%2e/",
          "\u202egnp.exe", "\u2066\u2069", "\ufeff", "a\u0301" * 300, "\U0001f468\u200d" * 200, "x\r\ny", "\x1b[2J",
          "'; DROP TABLE refs; --", "{0}%s$HOME`id`", "x" * 1000, "\U0010ffff", "\ufdd0", "İ", "NULL"]  # fmt: skip
REFUSED = [
    "",
    " \n",
    "a\0b",
    "\0",
    "\ud800",
    "x\udfff",
    "x" * 1001,
    "x" * 1_000_001,
    None,
    5,
    b"x",
    ["x"],
    float("nan"),
]


class Text(str):
    """A subclass with opinions."""

    def encode(self, *_: Any) -> bytes:
        return b"\0"

    def strip(self, *_: Any) -> str:
        return "x"


class Lying(dict[str, Any]):
    """Says one thing and then another."""

    def items(self) -> Any:
        return [("a", object()), ("b", self)]


class Endless(dict[str, Any]):
    """Contains itself, however deep one looks."""

    def items(self) -> Any:
        return [("a", Endless())]


class Number(int):
    def __repr__(self) -> str:
        return "nobody's number"


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize("name", TRICKS)
def test_any_name_is_only_a_name(store: DocStore, folder: Path, name: str) -> None:
    workspace = store.workspace(name)
    document = workspace.add(NOTE, name=name, metadata={name: name})
    assert (document.name, dict(document.metadata)) == (name, {name: name})
    assert workspace.search("note", where={name: name})[0].name == name
    assert store.workspaces() == [name]
    assert {path.parts[0] for path in files(folder)} == {"documents", "texts", "embeddings"}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["store"]
    store.delete_workspace(name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_name(store: DocStore, alice: Workspace, name: Any) -> None:
    for call in (store.workspace, store.delete_workspace):
        with pytest.raises(InvalidArgument) as error:
            call(name)
        assert len(str(error.value)) < 5000
    if name is not None:
        with pytest.raises(InvalidArgument):
            alice.add(NOTE, name=name)
    assert len(alice) == 0


def _deep(depth: int, kind: type) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def _recursive() -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    metadata["self"] = [metadata]
    return metadata


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": float("nan")}, {"a": float("inf")}, {1: 2}, {None: 1}, {("a",): 1}, {"a": object()}, {"a": b"x"},
        {"a": 10**5000}, {"a": -(10**5000)}, {"a": [10**4300]}, {"a": "\ud800"}, {"\ud800": 1}, {"a": "x" * 1_000_001},
        {"a" * 100_000: 1}, {"a": _deep(10_000, list)}, _deep(10_000, dict), _recursive(), Lying(a=1), Endless(a=1),
        {"a": {1, 2}}, {"a": np.float32(1)}, {"a": np.int64(1)}, {"a": 1j}, [("a", 1)], "a", 7, {"a": range(3)},
    ],
)  # fmt: skip
def test_metadata_that_is_refused(store: DocStore, alice: Workspace, metadata: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: alice.add(NOTE, metadata=metadata), lambda: alice.add_many([NOTE], metadata=metadata),
        lambda: alice.link("0" * 64, metadata=metadata), lambda: alice.search("note", where=metadata),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(InvalidArgument) as error:
            call()
        assert len(str(error.value)) < 1000
    assert store.stats().references == 0


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": Number(7)}, {"a": Colour.RED}, {"a": True, "b": 1, "c": 1.0}, {Text("k"): Text("v")}, {"": ""},
        {"a": "\0"}, {"a": "\u2028</script>"}, {"__proto__": 1, "__class__": 2}, {"a": 10**4000}, {"a": -0.0},
        {"a": 5e-324, "b": 1.7976931348623157e308}, {"a": _deep(20, list)}, {"a": "x" * 60_000}, {},
    ],
)  # fmt: skip
def test_metadata_that_comes_back(alice: Workspace, metadata: Any) -> None:
    added = alice.add(NOTE, metadata=metadata).metadata
    assert dict(alice.documents()[0].metadata) == dict(added) == dict(metadata)
    assert len(alice.search("note", where=metadata)) == 1


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    | st.tuples(inner),
    max_leaves=12,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything, anything, anything)
def test_anything_at_all(store: DocStore, alice: Workspace, one: Any, two: Any, three: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.workspace(one).name, lambda: store.delete_workspace(one), lambda: store.document(one),
        lambda: store.refcount(one), lambda: store.read(one), lambda: store.collect(one, dry_run=True),
        lambda: alice.link(one, name=two, metadata=three), lambda: alice.remove(one),
        lambda: alice.add_many(one, metadata=two) if not isinstance(one, list) else None,
        lambda: alice.add_many([two, three, b"x"], metadata=one), lambda: alice.search(one, two, documents=three),
        lambda: alice.search("x", one, where=two, mmr=True, fetch_k=three), lambda: alice.search_many(one, two),
        lambda: alice.search("x", mmr=True, lambda_mult=one), lambda: alice.search_vector(one, two),
        lambda: alice.search_vector([one] * 64),
    ]  # fmt: skip
    for call in calls:
        with suppress(DocStoreError):
            call()


@pytest.mark.parametrize("number", [2**31, 2**63 - 1, 2**63, 10**30, np.int64(2**62), np.uint64(2**64 - 1)])
def test_huge_counts_find_what_there_is(alice: Workspace, number: Any) -> None:
    alice.add(NOTE)
    assert len(alice.search("note", k=number)) == 1
    assert len(alice.search("note", k=1, mmr=True, fetch_k=number)) == 1
    assert len(alice.search_many(["note"], k=number)[0]) == 1


@pytest.mark.parametrize("query", ["\ud800", "x" * 1_000_001, "\0", "\u202e", "a\u0301" * 10_000])
def test_queries(alice: Workspace, query: str) -> None:
    alice.add(NOTE)
    found: list[Hit] = []
    with suppress(DocStoreError):
        found = alice.search(query)
    assert len(found) == 1 or query == "\ud800"  # which an embedder may refuse
