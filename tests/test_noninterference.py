"""Isolation as noninterference: nothing that alice can call tells her whether anybody else is in the store.

Two stores live through the same calls of alice. In one of them other workspaces come and go, with other documents and
with hers. Every call must give the same in both: results, errors and their messages, and, in place of a clock that a
test cannot trust, the number of SQL statements and of files opened, which is what classes of time are made of.

By design, and documented: `add` answers faster, and says `reused`, when anybody has the document; `link` reads what
anybody has; and a search is faster where somebody else has just read the same text. A store opened with
`demand_bytes=True` closes all three, up to a few statements of an `add`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from docstore import DocStore, DocStoreError, Document, Hit, Message, Workspace
from docstore.database import CatalogDatabase
from docstore.ingest.extractor import Extractor
from docstore.testing import HashEmbedder
from tests.clock import DAY
from tests.folders import hash_of

_WORDS = ["lorem", "ipsum", "dolor", "shared", "amet"]
TEXTS = [" ".join(_WORDS[(i * step) % 5] for i in range(step * 60)) + f" text{step}" for step in range(1, 6)]
# Each in two spellings, that share a text but not a blob; and a page whose bytes hold no text at all.
DATA = [text.encode() + end for text in TEXTS for end in (b"\n", b"\r\n")] + [b"<html></html>"]
HASHES = [*map(hash_of, DATA), "0" * 64]
OTHERS = ["bob", "carol", "alice2"]
_FEW = 20  # statements, and files opened, by which publishing again may differ from publishing anew: 15 and 9 were seen


class Meter:
    """Counts what a call costs, by the SQL statements and the files below the store's folder that it opens."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.statements = self.opened = 0

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
            self.opened += os.fspath(arguments[0]).startswith(self.folder)

    def trace(self, _statement: str) -> None:
        self.statements += self.folder is not None

    @contextmanager
    def on(self, folder: Path) -> Iterator[None]:
        self.folder, self.statements, self.opened = str(folder), 0, 0
        try:
            yield
        finally:
            self.folder = None


METER = Meter()
sys.addaudithook(METER.audit)


class Side:
    """One of the two stores, alice in it."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.folder = folder
        self.embedder = HashEmbedder()
        self.store = DocStore(folder, embedder=self.embedder, **options)
        self.alice = self.store.workspace("alice")
        self.store.workspace("alice's second").add(DATA[-3], name="second")

    def see(self, call: Callable[[Workspace], object], *, reveals_reuse: bool) -> tuple[object, int, int, int]:
        """All that alice can tell about a call."""
        embedded = self.embedder.embedded
        with METER.on(self.folder):
            found: object
            try:
                found = normal(call(self.alice), reveals_reuse)
            except DocStoreError as error:
                found = (type(error).__name__, str(error).replace(str(self.folder), "the store"))
        return found, METER.statements, METER.opened, self.embedder.embedded - embedded


def normal(value: object, reveals_reuse: bool) -> object:
    """Without clock readings; documents by hash, since their order is that of the clock."""
    if isinstance(value, Document):
        time = value.added_at.replace(year=2000, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
        return replace(value, added_at=time, reused=value.reused and not reveals_reuse)
    if isinstance(value, list) and value and isinstance(value[0], Document):
        return sorted((normal(each, reveals_reuse) for each in value), key=repr)
    if isinstance(value, tuple):
        return tuple(normal(each, reveals_reuse) for each in value)
    return value


Call = Callable[[Workspace], object]
numbers = st.integers(0, len(HASHES) - 1)
queries = st.sampled_from([*_WORDS, "text3 lorem", "nothing of that"])
filters = st.fixed_dictionaries(
    {},
    optional={
        "documents": st.lists(numbers.map(HASHES.__getitem__), max_size=3),
        "where": st.sampled_from([{"owner": "alice"}, {"owner": "bob"}, {"n": 1}, {}]),
        "k": st.sampled_from([1, 3, 1000]),
    },
)
diverse = st.sampled_from([{}, {"mmr": True}, {"mmr": True, "fetch_k": 1000, "lambda_mult": 0.1}])


def _vector(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=64).astype(np.float32)


# Each (description, call): the description is what Hypothesis prints.
looks: st.SearchStrategy[tuple[str, Call]] = st.one_of(
    st.builds(lambda q, f, m: (f"search {q} {f} {m}", lambda w: w.search(q, **f, **m)), queries, filters, diverse),
    st.builds(lambda q, f: (f"search_many {q} {f}", lambda w: w.search_many(q, **f)), st.lists(queries, max_size=3),
              filters),
    st.builds(lambda s, f, m: (f"search_vector {s} {f} {m}", lambda w: w.search_vector(_vector(s), **f, **m)),
              st.integers(0, 3), filters, diverse),
    st.just(("documents", lambda w: w.documents())),
    st.just(("len", len)),
    st.just(("repr", repr)),
    st.just(("bool", bool)),
    st.just(("bad hash", lambda w: w.remove("../" + HASHES[0]))),
    st.builds(lambda n: (f"remove {n}", lambda w: w.remove(HASHES[n])), numbers),
    st.builds(lambda n: (f"remove_many {n}", lambda w: w.remove_many([HASHES[n], HASHES[0]])), numbers),
    st.builds(lambda q, n: (f"say {q} {n}", lambda w: _said(w, q, n)), queries, numbers),
    st.just(("messages", lambda w: _shown(w.conversation("chat").messages()))),
    st.just(("conversations", lambda w: [(each.name, each.messages) for each in w.conversations()])),
    st.just(("forget", lambda w: w.conversation("chat").delete())),
    st.just(("includes", lambda w: w.includes())),
    st.just(("include", lambda w: w.include(_second(w)))),
    st.just(("exclude", lambda w: w.exclude(_second(w)))),
    st.builds(lambda n: (f"document {n}", lambda w: w.document(HASHES[n])), numbers),
    st.builds(lambda n: (f"read {n}", lambda w: _bytes(w, HASHES[n])), numbers),
    st.builds(lambda s: (f"search_vectors {s}", lambda w: w.search_vectors([_vector(s), _vector(s + 1)])),
              st.integers(0, 3)),
    st.builds(lambda n: (f"pin {n}", lambda w: w.pin(HASHES[n])), numbers),
    st.builds(lambda n: (f"unpin {n}", lambda w: w.unpin(HASHES[n])), numbers),
    st.just(("pinned", lambda w: w.pinned())),
    st.builds(lambda n: (f"limit {n}", lambda w: w.limit(documents=n, logical_bytes=100 * n)), st.integers(1, 20)),
    st.just(("no limit", lambda w: w.limit())),
    st.just(("quota", lambda w: w.quota())),
    st.just(("expire_after", lambda w: w.expire_after(DAY))),
    st.just(("info", lambda w: (w.info().name, w.info().ttl, w.info().sliding))),
)  # fmt: skip
documents = st.integers(0, len(DATA) - 1)
adds: st.SearchStrategy[tuple[str, Call]] = st.one_of(
    st.builds(lambda n: (f"add {n}", lambda w: w.add(DATA[n], name="mine", metadata={"owner": "alice"})), documents),
    st.builds(lambda n: (f"add {n}, nothing else", lambda w: w.add(DATA[n])), documents),
    st.builds(lambda ns: (f"add_many {ns}", lambda w: _report(w.add_many([DATA[n] for n in ns]))),
              st.lists(documents, max_size=4)),
)  # fmt: skip


def _second(workspace: Workspace) -> Workspace:
    """Another one of alice's own, whose documents she may let her searches cover."""
    return Workspace(workspace._parts, workspace._id + 1, "alice's second")  # made right after hers, on both sides


def _bytes(workspace: Workspace, hash: str) -> bytes:
    with workspace.read(hash) as file:
        return file.read()


def _said(workspace: Workspace, query: str, number: int) -> object:
    """Appends what a search finds, and what alice may or may not have, as a source."""
    foreign = Hit("", 0.5, HASHES[number], "probe", 0, 0, 5, None)
    hits = [*workspace.search(query, k=2), foreign]
    return _shown([workspace.conversation("chat").append("assistant", query, hits=hits)])


def _shown(messages: list[Message]) -> object:
    return [(each.number, each.content, each.sources) for each in messages]


def _report(report: Any) -> object:
    """What an `AddReport` says, with one list of documents: which of them are `reused` stands in each."""
    return [*report.added, *report.reused], [(each.name, str(each.error)) for each in report.failed]


actions = st.tuples(
    st.sampled_from(OTHERS), st.sampled_from(["add", "remove", "delete", "search", "say", "include"]), documents
)
links = st.one_of(
    st.builds(lambda n: (f"link {n}", lambda w: w.link(HASHES[n])), numbers),
    st.builds(lambda n: (f"link_many {n}", lambda w: _report(w.link_many([HASHES[n], HASHES[0]]))), numbers),
)


def _histories(*looking: st.SearchStrategy[tuple[str, Call]]) -> st.SearchStrategy[list[tuple[str, Any]]]:
    """Some ten steps. Of each kind a share, or most would look at an empty workspace that has no neighbours."""
    kinds = {"look": st.one_of(looking), "add": adds, "others": actions, "collect": st.none()}
    shares = st.sampled_from(["look"] * 6 + ["add"] * 4 + ["others"] * 5 + ["collect"])
    step = shares.flatmap(lambda kind: kinds[kind].map(lambda what: (kind, what)))
    return st.lists(step, min_size=6, max_size=14)


def act(store: DocStore, action: tuple[str, str, int]) -> None:
    """Somebody else does something."""
    name, kind, number = action
    try:
        match kind:
            case "add":
                store.workspace(name).add(DATA[number], name=f"{name}'s", metadata={"owner": name, "n": 1})
            case "remove":
                store.workspace(name).remove(HASHES[number])
            case "delete":
                store.delete_workspace(name)
            case "say":
                store.workspace(name).conversation("chat").append("user", "What the others say.")
            case "include":  # what she lends, she cannot tell either
                store.workspace(name).include(store.workspace("alice"))
            case _:
                store.workspace(name).search("shared text")
    except DocStoreError:
        pass


def live(history: list[tuple[str, Any]], options: dict[str, Any], *, closed: bool) -> None:
    """Alice's calls in both stores, the others' in one; whatever she sees must be equal.

    Args:
        closed: `add` must not reveal either who has the document already.
    """
    root = Path(tempfile.mkdtemp())
    quiet, crowded = Side(root / "quiet", options), Side(root / "crowd", options)
    try:
        for kind, what in history:
            if kind == "others":
                act(crowded.store, what)
            elif kind == "collect":
                for side in (quiet, crowded):
                    side.store.collect()
            else:
                name, call = what
                one, two = (side.see(call, reveals_reuse=not closed) for side in (quiet, crowded))
                if not closed:
                    # A text that somebody else has read is in memory: see docs/known-limits.md.
                    one, two = ((*each[:2], 0, each[3]) for each in (one, two))
                if kind == "add":
                    # What is published again costs a few statements less than what is new: see docs/known-limits.md.
                    if closed:
                        assert one[1] == pytest.approx(two[1], abs=_FEW), (name, one, two)
                        assert one[2] == pytest.approx(two[2], abs=_FEW), (name, one, two)
                    one, two = ((each[0], 0, 0, each[3] if closed else 0) for each in (one, two))
                assert one == two, (name, one, two)
    finally:
        for side in (quiet, crowded):
            side.store.close()
        shutil.rmtree(root)


class _Kept(Extractor):
    """Stores come and go, and a process to extract takes longer to start than alice's whole life."""

    def close(self) -> None:
        """It is another store's, too."""


@pytest.fixture(autouse=True)
def _extract_in_one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kept = _Kept(None)
    monkeypatch.setattr("docstore.store.Extractor", lambda _limits: kept)
    yield
    Extractor.close(kept)


@pytest.fixture(autouse=True)
def _count_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = CatalogDatabase._connect

    def traced(self: CatalogDatabase) -> Any:
        connection = connect(self)
        connection.set_trace_callback(METER.trace)
        return connection

    monkeypatch.setattr(CatalogDatabase, "_connect", traced)


ADD = ("add", ("add 0", lambda w: w.add(DATA[0], name="mine.txt")))
SEARCH = ("look", ("search", lambda w: w.search("shared", k=1000)))


@given(_histories(looks))
@example([ADD, ("others", ("bob", "add", 0)), ("others", ("bob", "add", 3)), SEARCH, SEARCH, ("collect", None), SEARCH])
@example([("others", ("bob", "add", 1)), ADD, SEARCH, ("look", ("remove", lambda w: w.remove(HASHES[0]))), SEARCH])
def test_nobody_else_shows(history: list[tuple[str, Any]]) -> None:
    live(history, {}, closed=False)


@given(_histories(looks, links))
@example([("others", ("bob", "add", 0)), ADD, SEARCH, ADD])
def test_nobody_else_shows_in_add_and_link_either(history: list[tuple[str, Any]]) -> None:
    live(history, {"demand_bytes": True}, closed=True)


def test_a_leak_is_found() -> None:
    """The documented one of `add`, as a witness that the property can fail."""
    with pytest.raises(AssertionError, match="add 0"):
        live([("others", ("bob", "add", 0)), ADD], {}, closed=True)


def test_the_meter_sees_what_it_must(tmp_path: Path) -> None:
    """A meter that always reads 0 would make the property pass."""
    side = Side(tmp_path / "store", {})
    side.alice.add(DATA[0])
    first = side.see(lambda w: w.search("shared"), reveals_reuse=True)
    again = side.see(lambda w: w.search("shared"), reveals_reuse=True)
    side.store.close()
    assert first[0] == again[0]
    assert first[1] > again[1] > 0
    assert (first[2], again[2]) == (3, 0)  # index, spans and text, which the second search has in memory


def test_no_name_decides_what_bytes_say(tmp_path: Path) -> None:
    """Bytes have one text for all; were it to depend on a name, the first to give one would decide for the others."""
    data = b"# Title\n\nSome *words* of a [note](http://x)."
    found = set()
    for number, names in enumerate([("note.md", "note.txt"), ("note.txt", "note.html")]):
        with DocStore(tmp_path / str(number), embedder=HashEmbedder()) as store:
            for workspace, name in zip(("bob", "alice"), names):
                added = store.workspace(workspace).add(data, name=name)
                found.add((added.media_type, store.workspace(workspace).search("words")[0].text))
    assert found == {("text/markdown", "Title\n\nSome words of a note.\n")}
