"""The histories whose crashes are imaged: every sequence of operations, run by the real library and recorded.

A history begins with the creation of a store. An operation is one or more calls of the library; after each call it is
known what an acknowledged store must hold, and while it runs, what it may. An operation that has nothing to do (a
removal from an empty workspace) is left out: its history is that of a shorter sequence.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from docstore import DocStore, scratch
from docstore.ingest import prepare
from docstore.testing import HashEmbedder
from tests.crash.workers import Workers
from tests.folders import hash_of
from tests.syscalls.interpose import Event, Interposer

FIRST = b"The first document tells of ships and of the sea.\n"
SAME_TEXT = FIRST.replace(b"\n", b"\r\n")
SECOND = b"The second document tells of mountains and of snow."
THIRD = b"The third document tells of ships in the snow."
GROUP = tuple(b"Note %d tells of %d ships." % (number, number * number) for number in range(5))
"""As many as are packed."""
DOCUMENTS = {hash_of(data): data for data in (FIRST, SAME_TEXT, SECOND, THIRD, *GROUP)}

State = frozenset[tuple[str, frozenset[str]]]
"""What a store holds: each workspace with the hashes of its documents, and what else it has, in words."""

GRANT = "includes alice"
"""What bob has once he includes her."""

EMPTY: State = frozenset()
EXPIRED = " (expired)"
"""What follows the name of an expired workspace in a state."""

_EPOCH = 1_700_000_000  # the recorded clock starts here and moves on a second with each call
_SEED_OF_SALTS = 28  # SQLITE_TESTCTRL_PRNG_SEED


class Session:
    """One history's store."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        self.folder = folder
        self._workers = workers
        self.store: DocStore

    def open(self) -> None:
        self.store = DocStore(self.folder, embedder=HashEmbedder())
        self._workers.lend(self.store)

    def close(self) -> None:
        self._workers.take_back(self.store)
        self.store.close()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the library."""

    label: str
    run: Callable[[Session], object]
    outcomes: tuple[State, ...]
    """What a crash inside may leave; the last is what its return acknowledges."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call as it was made: what it asked of the kernel."""

    operation: int
    """Its operation's place in the sequence; 0 is the creation of the store."""
    label: str
    outcomes: tuple[State, ...]
    events: list[Event]


# -- the alphabet -------------------------------------------------------------------------------------------------


def _add(name: str, *documents: bytes) -> Callable[[State], Iterator[Call]]:
    def calls(state: State) -> Iterator[Call]:
        held = dict(state)
        if name not in held:
            state = _with(state, name, frozenset())
            yield Call(
                f"workspace {name}", lambda session: session.store.workspace(name), (_without(state, name), state)
            )
        # A group is one transaction today, but a commit in between would be no lie: add_many promises each document.
        outcomes = [state]
        for document in documents:
            outcomes.append(_with(outcomes[-1], name, dict(outcomes[-1])[name] | {hash_of(document)}))
        if outcomes[-1] == state:
            return
        if len(documents) == 1:
            yield Call(f"{name}.add", lambda session: session.store.workspace(name).add(documents[0]), tuple(outcomes))
        else:
            yield Call(f"{name}.add_many", lambda session: _add_many(session, name, documents), tuple(outcomes))

    return calls


def _add_many(session: Session, name: str, documents: tuple[bytes, ...]) -> None:
    report = session.store.workspace(name).add_many(documents)
    assert not report.failed, report.failed


def _remove(*names: str) -> Callable[[State], Iterator[Call]]:
    def calls(state: State) -> Iterator[Call]:
        hash = hash_of(FIRST)
        for name in names:
            held = dict(state).get(name, frozenset())
            if hash in held:
                after = _with(state, name, held - {hash})
                yield Call(f"{name}.remove", _removal(name, hash), (state, after))
                state = after

    return calls


def _removal(name: str, hash: str) -> Callable[[Session], object]:
    return lambda session: session.store.workspace(name).remove(hash)


def _link(state: State) -> Iterator[Call]:
    hash = hash_of(FIRST)
    if any(hash in held for _, held in state):
        bob = dict(state).get("bob")
        if bob is None:
            after = _with(state, "bob", frozenset())
            yield Call("workspace bob", lambda session: session.store.workspace("bob"), (state, after))
            state, bob = after, frozenset()
        if hash not in bob:
            after = _with(state, "bob", bob | {hash})
            yield Call("bob.link", lambda session: session.store.workspace("bob").link(hash), (state, after))


def _delete_workspace(state: State) -> Iterator[Call]:
    if "alice" in dict(state):
        after = _without(state, "alice")
        if GRANT in dict(after).get("bob", frozenset()):
            after = _with(after, "bob", dict(after)["bob"] - {GRANT})
        yield Call("delete alice", lambda session: session.store.delete_workspace("alice"), (state, after))


def _include(state: State) -> Iterator[Call]:
    held = dict(state)
    if "alice" in held:
        if "bob" not in held:
            state = _with(state, "bob", frozenset())
            yield Call("workspace bob", lambda session: session.store.workspace("bob"), (_without(state, "bob"), state))
        after = _with(state, "bob", dict(state)["bob"] | {GRANT})
        yield Call("bob.include", _inclusion, (state, after))


def _inclusion(session: Session) -> None:
    session.store.workspace("bob").include(session.store.workspace("alice"))


def _say(state: State) -> Iterator[Call]:
    held = dict(state)
    for name in ("alice", "bob"):
        if name not in held or any(each.startswith("said") for each in held[name]):
            continue
        for number in range(3):  # the first makes the conversation
            word = "talks" if number == 0 else f"said {number}"
            after = _with(state, name, dict(state)[name] | {word})
            yield Call(f"{name}.say", _saying(name, number), (state, after))
            state = after


def _saying(name: str, number: int) -> Callable[[Session], object]:
    def say(session: Session) -> None:
        workspace = session.store.workspace(name)
        conversation = workspace.conversation("chat")
        if number:
            conversation.append("assistant", f"said {number}", hits=workspace.search("ships", k=1))

    return say


def _collect(state: State) -> Iterator[Call]:
    yield Call("collect", lambda session: session.store.collect(), (state,))


def _expire(state: State) -> Iterator[Call]:
    held = dict(state)
    if "alice" in held and "alice" + EXPIRED not in held:
        # The recorded clock moves on a second with each call.
        yield Call("alice.expire_after", _expire_after_a_second, (state,))
        after = _with(_without(state, "alice"), "alice" + EXPIRED, held["alice"])
        yield Call("expire", lambda session: session.store.expire(), (state, after))


def _expire_after_a_second(session: Session) -> None:
    session.store.workspace("alice").expire_after(timedelta(seconds=1), sliding=False)


def _undelete(state: State) -> Iterator[Call]:
    held = dict(state)
    if "alice" + EXPIRED in held and "alice" not in held:
        after = _with(_without(state, "alice" + EXPIRED), "alice", held["alice" + EXPIRED])
        yield Call("undelete alice", lambda session: session.store.undelete("alice"), (state, after))


def _expire_for_good(state: State) -> Iterator[Call]:
    if "alice" + EXPIRED in dict(state):
        after = _without(state, "alice" + EXPIRED)
        yield Call("expire for good", lambda session: session.store.expire(grace=timedelta(0)), (state, after))


def _reopen(state: State) -> Iterator[Call]:
    yield Call("close", Session.close, (state,))
    yield Call("open", Session.open, (state,))


ALPHABET: dict[str, Callable[[State], Iterator[Call]]] = {
    "add": _add("alice", FIRST),
    "add-elsewhere": _add("bob", FIRST),
    "add-same-text": _add("alice", SAME_TEXT),
    "add-many": _add("alice", SECOND, THIRD),
    "remove": _remove("alice"),
    "remove-last": _remove("alice", "bob"),
    "link": _link,
    "delete-workspace": _delete_workspace,
    "collect": _collect,
    "reopen": _reopen,
}


SESSIONS: dict[str, Callable[[State], Iterator[Call]]] = {"include": _include, "say": _say}
"""Not among the sequences that are all taken, either: what they write, they write in one transaction of the catalog."""


def _replace(state: State) -> Iterator[Call]:
    """All workspaces have the new version or none has."""
    old, new = hash_of(FIRST), hash_of(SECOND)
    if any(old in held for _, held in state):
        after = frozenset((name, held - {old} | {new} if old in held else held) for name, held in state)
        yield Call("replace", lambda session: session.store.replace(old, SECOND), (state, after))


def _replace_and_roll_back(state: State) -> Iterator[Call]:
    for call in _replace(state):
        yield call
        yield Call("rollback", lambda session: session.store.rollback(hash_of(SECOND)), tuple(reversed(call.outcomes)))


REPLACING: dict[str, Callable[[State], Iterator[Call]]] = {
    "replace": _replace,
    "replace-and-roll-back": _replace_and_roll_back,
}
"""Nor are these."""

PACKING: dict[str, Callable[[State], Iterator[Call]]] = {"add-group": _add("alice", FIRST, *GROUP)}
"""Not among the sequences that are all taken: its images are many."""


EXPIRING: dict[str, Callable[[State], Iterator[Call]]] = {
    "expire": _expire,
    "undelete": _undelete,
    "expire-for-good": _expire_for_good,
}
"""Nor are these: they write one file, and histories of three show what they do."""


def _with(state: State, name: str, documents: frozenset[str]) -> State:
    return frozenset({**dict(state), name: documents}.items())


def _without(state: State, name: str) -> State:
    return frozenset((each, held) for each, held in state if each != name)


# -- all sequences ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Task:
    """A sequence to record, and which of its operations nobody else images: those from `first` on."""

    sequence: tuple[str, ...]
    first: int


def calls_of(sequence: tuple[str, ...]) -> list[tuple[int, Call]]:
    """Every call of a history, with its operation's place."""
    state, found = EMPTY, [(0, Call("create", Session.open, (EMPTY,)))]
    for place, name in enumerate(sequence, 1):
        for call in (ALPHABET | PACKING | SESSIONS | EXPIRING | REPLACING)[name](state):
            found.append((place, call))
            state = call.outcomes[-1]
    return found


def tasks(depth: int) -> Iterator[Task]:
    """All sequences of up to `depth` operations that do something, each operation imaged after each prefix once."""
    before: tuple[str, ...] = ()
    first = 0
    for sequence in _sequences((), depth):
        if before:
            first = next(at for at, (old, new) in enumerate(zip(before, sequence)) if old != new) + 1
        yield Task(sequence, first)
        before = sequence


def _sequences(prefix: tuple[str, ...], depth: int) -> Iterator[tuple[str, ...]]:
    if len(prefix) == depth:
        yield prefix
        return
    done = len(calls_of(prefix))
    for name in ALPHABET:
        if len(calls_of((*prefix, name))) > done:
            yield from _sequences((*prefix, name), depth)


# -- recording ----------------------------------------------------------------------------------------------------


def record(sequence: tuple[str, ...], calls: Interposer, root: Path, workers: Workers) -> list[Recorded]:
    """Runs a history in an empty folder and returns what it asked of the kernel, the same bytes every time."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    # Equal histories shall give equal bytes: images are then counted once, and a reproducer reproduces.
    ctypes.CDLL("libsqlite3.so.0").sqlite3_test_control(_SEED_OF_SALTS, 1, None)
    tokens = iter(range(1 << 30))
    session, found = Session(root / "store", workers), []
    calls.track(root)
    calls.record()
    try:
        # Two threads prepare the documents of a group in files of their own; which goes first is all that is fixed.
        with (
            replaced(scratch, "_new_token", lambda: f"{next(tokens):032x}"),
            replaced(prepare, "CONCURRENCY", 1),
        ):
            for number, (operation, call) in enumerate(calls_of(sequence)):
                calls.set_clock(_EPOCH + number)
                call.run(session)
                found.append(Recorded(operation, call.label, call.outcomes, calls.take_log()))
    finally:
        calls.track(None)
        session.close()
    return found


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """An attribute with another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
