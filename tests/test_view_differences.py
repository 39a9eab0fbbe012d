"""Differences: a view made from the last one by what changed answers as one that is made from nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docstore import DocStore, DocumentNotFound, Hit, InvalidArgument, WorkspaceNotFound, database, refcount, search
from docstore.differences import Step
from docstore.segments import Segment
from docstore.testing import HashEmbedder
from docstore.views import Called, Coverage, Part, View
from tests.folders import hash_of, query
from tests.rows import rows_of

DOCUMENTS = [f"text number {number}, of {number % 3} kinds".encode() for number in range(24)]
HASHES = [hash_of(each) for each in DOCUMENTS]


def _store(folder: Path) -> DocStore:
    return DocStore(folder, embedder=HashEmbedder())


def _hits(store: DocStore, workspace: str) -> list[Hit]:
    return store.workspace(workspace).search("number of kinds", k=200)


def _filtered(store: DocStore, workspace: str) -> list[list[Hit]]:
    """What some filters find; each is a look at the workspace, and the first makes the view."""
    filters: list[dict[str, Any]] = [{"kind": 1}, {"other": 3}, {"kind": 1, "other": 4}]
    return [store.workspace(workspace).search("number of kinds", k=200, where=where) for where in filters]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The views that are made by what changed."""
    made = []
    build = Step.build

    def counted(self: Step, *arguments: Any) -> View:
        made.append(self)
        return build(self, *arguments)

    monkeypatch.setattr(Step, "build", counted)
    return made


# -- histories --------------------------------------------------------------------------------------------------------


def _add(store: DocStore, name: str, number: int, other: int) -> None:
    store.workspace(name).add(DOCUMENTS[number], name=f"called {other}")


def _add_many(store: DocStore, name: str, number: int, other: int) -> None:
    store.workspace(name).add_many(DOCUMENTS[min(number, other) : max(number, other)], metadata={"kind": other % 2})


def _describe(store: DocStore, name: str, number: int, other: int) -> None:
    store.workspace(name).add(DOCUMENTS[number], metadata={"other": other % 5, "kind": number % 2})


def _remove(store: DocStore, name: str, number: int, other: int) -> None:
    with suppress(DocumentNotFound):
        store.workspace(name).remove(HASHES[number])


def _remove_some(store: DocStore, name: str, number: int, other: int) -> None:
    for each in range(number, number + other % 5):
        _remove(store, name, each % len(DOCUMENTS), 0)


def _exchange(store: DocStore, name: str, number: int, other: int) -> None:
    """The last document goes for good, and another may get its id."""
    _remove(store, name, number, 0)
    store.collect()
    _add(store, name, other, number)


def _replace(store: DocStore, name: str, number: int, other: int) -> None:
    store.replace(HASHES[number], DOCUMENTS[other])


def _collect(store: DocStore, name: str, number: int, other: int) -> None:
    store.collect()


def _include(store: DocStore, name: str, number: int, other: int) -> None:
    store.workspace(name).include(store.workspace("third"))


def _exclude(store: DocStore, name: str, number: int, other: int) -> None:
    store.workspace(name).exclude(store.workspace("third"))


_OPERATIONS: list[Callable[[DocStore, str, int, int], None]] = [
    _add, _add, _add_many, _describe, _remove, _remove, _remove_some, _exchange, _replace, _collect, _include, _exclude,
]  # fmt: skip
_NUMBERS = st.integers(0, len(DOCUMENTS) - 1)


@settings(max_examples=25, deadline=None)
@given(
    history=st.lists(
        st.tuples(
            st.sampled_from(_OPERATIONS),
            st.integers(0, 1),
            st.sampled_from(["alice", "bob", "third"]),
            _NUMBERS,
            _NUMBERS,
        ),
        max_size=8,
    )
)
def test_any_history_gives_what_a_new_store_finds(history: list[tuple[Any, int, str, int, int]]) -> None:
    with TemporaryDirectory() as folder, _store(Path(folder)) as one, _store(Path(folder)) as other:
        one.workspace("alice").add_many(DOCUMENTS[:16], metadata={"kind": 1})
        one.workspace("bob").add_many(DOCUMENTS[4:20], metadata={"kind": 2})
        one.workspace("third").add_many(DOCUMENTS[2:10])
        for operation, which, name, number, another in [(_collect, 0, "alice", 0, 0), *history]:
            if name == "third" and operation in (_include, _exclude):
                continue  # itself
            with suppress(DocumentNotFound, InvalidArgument, WorkspaceNotFound):  # nothing to do it to
                operation((one, other)[which], name, number, another)
            with _store(Path(folder)) as fresh:
                for searched in ("alice", "bob", "third"):
                    expected, expected_filtered = _hits(fresh, searched), _filtered(fresh, searched)
                    # One filters always, and the other every second time: what a plain search makes is filtered later.
                    assert _filtered(one, searched) == expected_filtered
                    assert _hits(one, searched) == expected
                    assert _hits(other, searched) == expected
                    assert another % 2 or _filtered(other, searched) == expected_filtered


# -- what may go wrong ------------------------------------------------------------------------------------------------


def test_one_document_more_or_less_is_a_step(folder: Path, steps: list[Step]) -> None:
    with _store(folder) as store:
        alice = store.workspace("alice")
        alice.add_many(DOCUMENTS[:16])
        store.workspace("bob").add_many(DOCUMENTS)
        before = _hits(store, "alice")
        assert steps == []
        alice.link(HASHES[20])
        assert {hit.document for hit in _hits(store, "alice")} == {*HASHES[:16], HASHES[20]}
        alice.remove(HASHES[3])
        assert {hit.document for hit in _hits(store, "alice")} == {*HASHES[:16], HASHES[20]} - {HASHES[3]}
        alice.remove(HASHES[20])
        alice.add(DOCUMENTS[3])  # two at once, one of which comes back
        assert _hits(store, "alice") == before
        assert len(steps) == 3


def test_what_comes_back_has_its_new_name(folder: Path, steps: list[Step]) -> None:
    with _store(folder) as store:
        alice = store.workspace("alice")
        alice.add_many(DOCUMENTS[:16])
        _hits(store, "alice")
        alice.remove(HASHES[3])
        _hits(store, "alice")
        alice.add(DOCUMENTS[3], name="back")
        assert {hit.name for hit in _hits(store, "alice") if hit.document == HASHES[3]} == {"back"}
        assert len(steps) == 2
        alice.add(DOCUMENTS[3], name="again")
        assert {hit.name for hit in _hits(store, "alice") if hit.document == HASHES[3]} == {"again"}
        alice.add(DOCUMENTS[4], metadata={"which": 4})
        alice.remove(HASHES[5])
        found = {hit.document: hit.name for hit in _hits(store, "alice")}
        assert found.keys() == {*HASHES[:16]} - {HASHES[5]} and found[HASHES[3]] == "again"
        assert len(steps) == 4


def test_an_id_that_is_another_documents_by_now(folder: Path) -> None:
    """The references look as before; their version does not."""
    with _store(folder) as store, _store(folder) as other:
        alice = store.workspace("alice")
        alice.add_many(DOCUMENTS[:16])
        _hits(other, "alice")
        ids = "SELECT document_id, name FROM refs ORDER BY document_id"
        before = query(folder, ids)
        (last,) = query(folder, "SELECT hash FROM documents WHERE id = (SELECT max(id) FROM documents)")[0]
        (name,) = (each.name for each in alice.documents() if each.hash == last)
        alice.remove(last)
        store.collect()
        alice.add(DOCUMENTS[20], name=name)
        assert query(folder, ids) == before
        found = {hit.document for hit in _hits(other, "alice")}
        assert HASHES[20] in found and last not in found


def test_a_document_of_two_workspaces_goes_with_the_second(folder: Path, steps: list[Step]) -> None:
    with _store(folder) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        alice.add_many(DOCUMENTS[:16])
        bob.add(DOCUMENTS[3], name="bob's")
        alice.add(DOCUMENTS[3], name="alice's")
        alice.include(bob)
        for act, names in ((alice.remove, {"bob's"}), (bob.remove, set[str]())):
            _hits(store, "alice")
            act(HASHES[3])
            assert {hit.name for hit in _hits(store, "alice") if hit.document == HASHES[3]} == names
        assert len(steps) == 2


def test_a_document_that_another_thread_adds_meanwhile_is_not_found_before_its_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both put theirs into one tail, which the one that looked first sees when both have."""
    with _store(folder) as store:
        alice = store.workspace("alice")
        alice.add_many(DOCUMENTS[:16])
        _hits(store, "alice")
        alice.add(DOCUMENTS[20])
        assert len({hit.document for hit in _hits(store, "alice")}) == 17  # and the tail is made
        alice.add(DOCUMENTS[21])
        view = search._view

        def late(*arguments: Any) -> View:
            monkeypatch.setattr(search, "_view", view)
            alice.add(DOCUMENTS[22])
            assert HASHES[22] in {hit.document for hit in _hits(store, "alice")}
            return view(*arguments)

        monkeypatch.setattr(search, "_view", late)
        assert {hit.document for hit in _hits(store, "alice")} == {*HASHES[:16], *HASHES[20:22]}
        assert {hit.document for hit in _hits(store, "alice")} == {*HASHES[:16], *HASHES[20:23]}


def test_what_another_view_appends_to_the_base_is_not_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view is put together while somebody else's appends to the base what this one has in its tail."""
    with _store(folder) as store:
        alice, bob, third = (store.workspace(name) for name in ("alice", "bob", "third"))
        third.add_many(DOCUMENTS[:16])
        for reader in (alice, bob):
            reader.include(third)
            _hits(store, reader.name)
        bob.add(DOCUMENTS[20])
        _hits(store, "bob")  # its tail has it
        of = vars(Part)["of"].__func__

        def late(cls: type[Part], segment: Segment, names: dict[Any, str], besides: Part | None = None) -> Part:
            if besides is not None:
                monkeypatch.setattr(Part, "of", classmethod(of))
                third.add(DOCUMENTS[20])
                assert HASHES[20] in {hit.document for hit in _hits(store, "alice")}  # so the base has it
            made: Part = of(cls, segment, names, besides)
            return made

        monkeypatch.setattr(Part, "of", classmethod(late))
        for number in (1, 2):  # by more than a step
            bob.add(DOCUMENTS[20], name=f"renamed {number}")
        assert HASHES[20] in {hit.document for hit in _hits(store, "bob")}
        assert len(_hits(store, "bob")) == 17


def test_what_base_and_tail_both_have_comes_back_once() -> None:
    base, tail = Segment(0, 32, "float16", 0), Segment(0, 32, "float16", 0)
    for number, name in enumerate("abcdefghijklmnopx"):
        base.append(rows_of(name, np.eye(32, dtype=np.float32)[number : number + 1]))
    for name in "xyzw":
        tail.append(rows_of(name, np.eye(32, dtype=np.float32)[:1]))
    called: Called = {(name, "text"): (number, name) for number, name in enumerate("abcdefghijklmnopyzw", 1)}
    names = {key: name for key, (_, name) in called.items()}
    parts = tuple(Part.of(segment, names) for segment in (base, tail))
    ids = tuple(np.array([called.get(key, (0, ""))[0] for key in part.snapshot.keys]) for part in parts)
    old = View(((1, 1),), parts, 32, "float16", coverage=Coverage((), ids))
    step = Step.of(old, np.array([99]), {("x", "text"): (99, "x")}, (), {})
    assert step is not None
    view = step.build(((1, 2),), lambda _: [], 32, "float16")
    (best,) = view.nearest(np.eye(32, dtype=np.float32)[:1], 100, None, None)
    assert sorted(document for _, (document, _), *_ in best) == sorted("abcdefghijklmnopxyzw")


# -- what it costs ----------------------------------------------------------------------------------------------------


class _Work:
    """Bytecodes that run in docstore's own functions, and rows that are read from the catalog."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytecodes = self.rows = 0
        checked = database.checked

        def counted(names: Any, values: list[Any]) -> list[Any]:
            self.rows += len(values)
            return checked(names, values)

        for module in (database, refcount):
            monkeypatch.setattr(module, "checked", counted)

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """For `sys.settrace`."""
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.bytecodes += event == "opcode"
        return self.trace

    def of(self, act: Callable[[], Any]) -> tuple[int, int]:
        """What one call takes."""
        self.bytecodes = self.rows = 0
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            act()
        finally:
            sys.settrace(before)
        return self.bytecodes, self.rows


@pytest.mark.parametrize("where", [None, {"kind": 1}])
@pytest.mark.parametrize("change", ["link", "remove"])
def test_a_search_after_a_change_does_not_go_through_all_documents(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: str, where: dict[str, Any] | None
) -> None:
    work = _Work(monkeypatch)
    taken = []
    with _store(folder) as store:
        store.workspace("all").add_many([f"text number {number}".encode() for number in range(421)])
        hashes = [document.hash for document in store.workspace("all").documents()]
        query_vector = HashEmbedder().embed(["text number"])[0]
        for count in (20, 420):
            workspace = store.workspace(f"of {count}")
            for hash in hashes[:count]:
                workspace.link(hash, metadata={"kind": 1})
            for hash in hashes[-3:]:  # the first time some things are imported, and texts are read
                workspace.search_vector(query_vector, where=where)
                act, undo = (
                    (workspace.link, workspace.remove) if change == "link" else (workspace.remove, workspace.link)
                )
                act(hash if change == "link" else hashes[0])
                measured = work.of(partial(workspace.search_vector, query_vector, where=where))
                undo(hash if change == "link" else hashes[0])
            taken.append(measured)
    (few, rows_of_few), (many, rows_of_many) = taken
    # Not one for each document more; what a filter chose goes with a hundred changes at most.
    assert few > 500 and many - few < (200 if where is None else 1000)
    assert rows_of_many == rows_of_few <= 6
