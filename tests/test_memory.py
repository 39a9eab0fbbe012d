"""Memory: what is counted, what goes first, and what segments that grow, and views of before, are counted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from docstore import DocStore
from docstore.memory import Memory
from docstore.segments import Segment, Snapshot
from docstore.testing import HashEmbedder
from tests.rows import rows_of
from tests.views import fill, searched


class Lump:
    """Something of a size."""

    def __init__(self, nbytes: int, *shared: Lump | Segment) -> None:
        self.nbytes = nbytes
        self.shared = shared
        self.snapshot: Snapshot | None = None


def test_what_is_shared_counts_once_and_goes_with_the_last() -> None:
    memory = Memory(1000)
    common = Lump(300)
    for key in range(4):
        memory.put(key, Lump(100, common))
    assert memory._used == 700
    common.nbytes = 400  # segments grow
    memory.put(4, Lump(100, common))
    assert memory._used == 900
    for key in range(4):
        memory.drop(key)
        memory.drop(key)
    assert memory._used == 500
    memory.put(5, Lump(900))
    assert (memory._used, list(memory._values)) == (900, [5])
    memory.drop(5)
    assert (memory._used, memory._shares) == (0, {})


def test_what_a_segment_had_before_it_grew_counts_as_long_as_a_view_keeps_it() -> None:
    """Users of a library that grows search at different moments: each keeps what it was then."""
    segment = Segment(0, 384, "float16", 100)
    memory = Memory(10**7)

    def grow(number: int) -> int:
        segment.append(rows_of(f"document {number}", np.ones((100, 384), np.float32), "float16"))
        value = Lump(10, segment)
        value.snapshot = segment.snapshot()
        memory.put(number, value)
        return len(segment._buffer)

    *before, _ = sizes = [grow(number) for number in range(4)]
    assert sizes == sorted(set(sizes))
    assert memory._used == 4 * 10 + segment.nbytes + sum(before)
    memory.drop(0)
    assert memory._used == 3 * 10 + segment.nbytes + sum(before[1:])
    memory.budget = memory._used + sizes[-1]
    grow(4)
    assert list(memory._values) == [2, 3, 4]
    assert memory._used == 3 * 10 + segment.nbytes + sum(sizes[2:]) <= memory.budget


def test_what_a_running_search_keeps_of_before_takes_no_place_from_the_next() -> None:
    segment = Segment(0, 384, "float16", 100)
    segment.append(rows_of("document 0", np.ones((100, 384), np.float32), "float16"))
    memory, running = Memory(200_000), segment.snapshot()
    segment.append(rows_of("document 1", np.ones((100, 384), np.float32), "float16"))
    assert memory.put("view", Lump(10, segment)) and memory.get("view") is not None
    assert memory._used > memory.budget
    del running
    memory.put("other", Lump(10))
    memory.put("view", Lump(10, segment))
    assert memory._used == 20 + segment.nbytes <= memory.budget


def test_what_was_outgrown_and_is_gone_takes_no_place() -> None:
    segment = Segment(0, 384, "float16", 100)
    segment.append(rows_of("document 0", np.ones((100, 384), np.float32), "float16"))
    memory, running = Memory(10**7), segment.snapshot()
    segment.append(rows_of("document 1", np.ones((100, 384), np.float32), "float16"))
    memory.put("view", Lump(10, segment))
    del running
    memory.budget = memory._used
    memory.put("other", Lump(1000))
    assert list(memory._values) == ["view", "other"]
    assert memory._used == 1010 + segment.nbytes and not memory._outgrown


def test_a_library_that_grows_displaces_nobody(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(4096)) as store:
        chats = [store.workspace(f"chat {number}") for number in range(3)]
        for chat in chats:
            chat.add(chat.name.encode())
        before = [searched(store, chat.name) for chat in chats]
        fill(store, "library", range(300))
        store.workspace("user").include(store.workspace("library"))
        searched(store, "user")
        memory = store._parts.memory
        memory.budget = int(1.6 * memory._used)
        fill(store, "library", range(300, 360))
        searched(store, "user")
        assert [store._parts.views.get(chat._id) for chat in chats] == before


def test_what_is_too_large_for_memory_displaces_nothing() -> None:
    """A workspace that does not fit would else be read again by every search, and so would all others."""
    memory = Memory(1000)
    common = Lump(300)
    for key in range(4):
        memory.put(key, Lump(100, common))
    for large in (Lump(5000), Lump(200, Lump(801)), Lump(701, common)):
        memory.put("large", large)
        assert (memory._used, list(memory._values)) == (700, [0, 1, 2, 3])
    memory.put(3, Lump(1001))  # in place of one that was there
    assert (memory._used, list(memory._values)) == (600, [0, 1, 2])
    memory.put("large", Lump(700, common))
    assert (memory._used, list(memory._values)) == (1000, ["large"])
