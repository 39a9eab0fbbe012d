"""What Ctrl-C leaves: memory that the next search goes by, and locks that the next change waits for. In a notebook the
process lives on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from docstore import DocStore, StoreClosed, Workspace
from docstore.ingest.extractor import Extractor
from docstore.memory import Memory
from docstore.segments import Addition, Segment, Snapshot
from docstore.testing import HashEmbedder
from tests.interrupting import interrupts
from tests.rows import rows_of


def _rows(number: int) -> Addition:
    return rows_of(f"document {number}", np.eye(8, dtype=np.float32)[: number % 3 + 1] * (number + 1))


def _together(*some: Addition) -> Addition:
    return Addition([entry for each in some for entry in each.entries], lambda: [each.codes()[0] for each in some])


def _held(snapshot: Snapshot) -> dict[str, bytes]:
    found = {}
    for position, key in enumerate(snapshot.keys[: len(snapshot.ends)]):
        assert snapshot.positions[key] == position
        first, last = snapshot.bounds[position : position + 2]
        assert len(snapshot.spans[position]) == last - first
        found["/".join(key)] = snapshot.codes[first:last].tobytes()
    assert len(found) == len(snapshot.ends), "none is there twice"
    return found


def _texts_of(snapshot: Snapshot, document: str) -> list[str]:
    """With which texts it is found by its hash, the latest first."""
    found, position = [], snapshot.latest.get(document)
    while position is not None:
        if position < len(snapshot.ends):
            found.append(snapshot.keys[position][1])
        position = snapshot.earlier.get(position)
    return found


def test_a_segment_has_what_was_appended_whole_and_nothing_else() -> None:
    again = rows_of("document 0", np.ones((2, 8), np.float32), text="another text")
    appended = _together(_rows(1), again, *map(_rows, range(2, 30)))
    expected = Segment(0, 8, "float16", 2)
    for each in (_rows(0), appended, _rows(40)):
        expected.append(each)
    whole = _held(expected.snapshot())
    segment = Segment(0, 8, "float16", 2)
    before = segment.snapshot()

    def prepare() -> Callable[[], None]:
        nonlocal segment, before
        segment = Segment(0, 8, "float16", 2)
        segment.append(_rows(0))
        before = segment.snapshot()
        return lambda: segment.append(appended)

    for place in interrupts(prepare, "segments.py"):
        found = _held(segment.snapshot())
        assert found.items() <= whole.items(), place
        assert len(found) in (1, 31), place
        segment.append(_rows(40))
        segment.append(appended)
        assert _held(segment.snapshot()) == whole, place
        assert _texts_of(segment.snapshot(), "document 0") == ["another text", "text"], place
        assert _texts_of(segment.snapshot(), "document 40") == ["text"], place
        assert list(_held(before)) == ["document 0/text"], place


class _Value:
    def __init__(self, nbytes: int, *shared: _Value) -> None:
        self.nbytes, self.shared = nbytes, shared


def test_memory_counts_what_it_holds() -> None:
    memory = Memory(100)
    both, new = _Value(20), _Value(30)
    steps: list[Callable[[], object]] = [
        lambda: memory.put("a", _Value(3, both, new)), lambda: memory.put("d", _Value(50)), lambda: memory.drop("b"),
    ]  # fmt: skip
    for step in range(len(steps)):

        def prepare(step: int = step) -> Callable[[], object]:
            nonlocal memory
            memory = Memory(100)
            for key in "abc":
                memory.put(key, _Value(5, both))
            return steps[step]

        for place in interrupts(prepare, "memory.py"):
            memory.put("e", _Value(1, new))
            values = list(memory._values.values())
            shares = {id(part): part for value in values for part in value.shared}  # type: ignore[attr-defined]
            assert memory._used == sum(each.nbytes for each in [*values, *shares.values()]) <= 100, place
            assert memory._shares.keys() == shares.keys(), place
            for key in "abcde":
                memory.drop(key)
            assert (memory._used, len(memory._shares)) == (0, 0), place


def test_a_store_whose_closing_is_interrupted_is_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    store = DocStore(folder, embedder=HashEmbedder())
    monkeypatch.setattr(store._parts.extractor, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.close()
    with pytest.raises(StoreClosed):
        store.workspaces()


def test_a_handler_may_close_the_store_whatever_it_interrupts(tmp_path: Path) -> None:
    """As of SIGTERM, in the thread that holds what closing needs."""
    store = DocStore(tmp_path / "store", embedder=HashEmbedder())
    store.workspace("alice").add(b"red fox")
    parts = store._parts

    def close() -> None:
        with parts.database._pool._guard, parts.archive._pool._guard, parts.extractor._guard:
            store.close()

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()


def test_a_place_that_an_interrupt_left_taken_is_free_for_the_next(store: DocStore) -> None:
    alice = store.workspace("alice")
    for slot in store._parts.extractor._slots:
        slot.acquire()
    alice.add(b"red bird")
    with ThreadPoolExecutor(1) as another:
        assert another.submit(alice.add, b"red snow").result(20)


def test_who_waits_for_a_place_gets_it_before_who_has_just_been() -> None:
    extractor = Extractor(None)
    times = dict.fromkeys(range(4 * len(extractor._slots)), 0)
    end = time.monotonic() + 2

    def work(number: int) -> None:
        while time.monotonic() < end:
            with extractor._slot():
                time.sleep(0.01)
            times[number] += 1

    with ThreadPoolExecutor(len(times)) as pool:
        list(pool.map(work, times))
    assert max(times.values()) <= 3 * min(times.values()) + 3, times


@pytest.fixture
def store(folder: Path) -> Iterator[DocStore]:
    with DocStore(folder, embedder=HashEmbedder(), timeout=1) as store:
        store.workspace("alice").add_many([b"red fox %d" % number for number in range(5)])
        store.workspace("bob").add_many([b"red fox %d" % number for number in range(3, 8)])
        yield store


def test_a_traceback_that_is_kept_locks_nobody_out(store: DocStore, folder: Path) -> None:
    """As a notebook keeps the last one. It holds cursors, and these what they have not read to its end."""
    parts = store._parts

    def stopped() -> None:
        with parts.database.write() as db, parts.archive.writing():
            parts.archive.put("documents/00/00", b"red")
            writer = parts.archive._begun()
            cursors = [each.execute("SELECT * FROM sqlite_schema") for each in (db, writer)]
            assert all(each.fetchone() for each in cursors)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:
        stopped()
    with DocStore(folder, embedder=HashEmbedder(), timeout=0) as other:
        assert len(other.workspace("alice").add_many([b"red snow", b"red ice"]).added) == 2
    assert kept.value.__traceback__ is not None


SPARE = b"red fox 7"  # bob's alone


_KINDS = ("search", "add", "add_many", "link", "remove", "replace", "collect")
_EVERY = {"search": 83, "link": 31, "remove": 11}  # of a run's places one in so many, else in 199


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # what an interrupt left open is closed when it is forgotten
@pytest.mark.parametrize("kind", _KINDS)
def test_the_process_goes_on(kind: str, store: DocStore, folder: Path) -> None:
    """Its answers are those of a process that was not interrupted, and nobody is locked out."""
    alice, bob, numbers = store.workspace("alice"), store.workspace("bob"), count(100)
    spare = bob.add(SPARE).hash

    def new() -> bytes:
        return b"red bird %d" % next(numbers)

    def prepare() -> Callable[[], object]:
        one, other, hash = new(), new(), alice.add(new()).hash
        lent = bob.add(new()).hash if kind == "link" else hash
        if kind == "collect":
            alice.remove(hash)
        acts: dict[str, Callable[[], object]] = {
            "search": lambda: alice.search("red"),
            "add": lambda: alice.add(one),
            "add_many": lambda: alice.add_many([one, other]),
            "link": lambda: alice.link(lent),
            "remove": lambda: alice.remove(hash),
            "replace": lambda: store.replace(hash, one),
            "collect": store.collect,
        }
        return acts[kind]

    for place in interrupts(prepare, every=_EVERY.get(kind, 199)):
        found = alice.search("red", k=1000)
        with DocStore(folder, embedder=HashEmbedder(), timeout=1) as other:
            assert other.workspace("alice").search("red", k=1000) == found, place
            other.workspace("alice").link(spare)
        alice.remove(spare)
    store.collect()
    assert store.verify().ok


def test_a_change_that_was_interrupted_while_entering_stops_no_other(store: DocStore, alice: Workspace) -> None:
    archive = store._parts.archive
    kept = archive.writing()  # as the traceback of an interrupt keeps it, in a notebook
    kept.__enter__()
    alice.limit(documents=5)
    with store._parts.write():
        kept.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # the traceback goes meanwhile
        archive.put("texts/one", b"still inside")
    with archive.reading():
        assert archive.read("texts/one", 100) == b"still inside"
