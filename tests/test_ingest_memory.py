"""What adding many documents holds in memory, and for how long: no more than what is being worked on."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore, StorageError, durable, workspace
from docstore.ingest import add, build, prepare
from docstore.ingest.incoming import Incoming
from docstore.testing import HashEmbedder
from tests.folders import query


def in_memory() -> list[Incoming]:
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is Incoming]  # `isinstance` asks lazy objects


class Watching(HashEmbedder):
    """Calls something before it embeds."""

    def __init__(self, before: Callable[[], object], dimension: int = 64) -> None:
        super().__init__(dimension)
        self._before = before

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self._before()
        return super().embed(texts)


def test_what_was_refused_keeps_nothing_else(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while others are added nor with the report: not by the frames of a traceback."""
    monkeypatch.setattr(workspace, "GROUP_DOCUMENTS", 4)

    class Refusing(HashEmbedder):
        def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
            if any("poison" in text for text in texts):
                raise ValueError("not this one")
            return super().embed(texts)

    kept: list[int] = []

    def documents() -> Iterator[Any]:
        for number in range(12):
            if number % 4 == 0:
                kept.append(len(in_memory()))
            yield b"Note %d." % number if number % 4 else [tmp_path / "missing", b"", b"A poison."][number // 4]

    with DocStore(folder, embedder=Refusing()) as store:
        report = store.workspace("alice").add_many(documents())
        assert (len(report.added), len(report.failed)) == (9, 3)
        assert kept == [0, 0, 0]
        assert in_memory() == []
        linked = store.workspace("bob").link_many([report.added[0].hash, "0" * 64])
        assert len(linked.failed) == 1
        assert in_memory() == []


@pytest.mark.parametrize("how", ["link", "add"])
def test_stored_texts_are_embedded_batch_by_batch(folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Under another embedder: all together they might be more than memory bears, and a crash would cost all."""
    monkeypatch.setattr(build, "_BATCH_CHARACTERS", 1100)
    monkeypatch.setattr(add, "_COMMIT_SECONDS", 0.0)
    notes = [f"Note {number}. ".encode() * 50 for number in range(12)]
    with DocStore(folder, embedder=HashEmbedder()) as store:
        hashes = [each.hash for each in store.workspace("alice").add_many(notes).added]
    texts: list[int] = []
    committed: list[int] = []

    def before() -> None:
        texts.append(sum(each.text is not None for each in in_memory()))
        ((references,),) = query(folder, "SELECT count(*) FROM refs WHERE workspace_id = 2")
        committed.append(references)

    with DocStore(folder, embedder=Watching(before, 32)) as store:
        bob = store.workspace("bob")
        report = bob.link_many(hashes) if how == "link" else bob.add_many(notes)
        assert len(report.added) == 12
        assert store.verify().ok
    assert texts == [3] * 4
    assert committed == [0, 3, 6, 9]


def test_no_more_is_extracted_than_is_soon_embedded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small document may have a very large text."""
    monkeypatch.setattr(add, "_ENOUGH_CHARACTERS", 1)
    monkeypatch.setattr(add, "_COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(prepare, "_MOST_AHEAD", 1)
    monkeypatch.setattr(prepare, "CONCURRENCY", 2)
    monkeypatch.setattr(prepare, "_PORTION_DOCUMENTS", 1)
    texts: list[int] = []

    def before() -> None:
        if not texts:
            time.sleep(1)  # in which all would be extracted
        texts.append(sum(each.text is not None for each in in_memory()))

    notes = [f"Note {number}. ".encode() * 50 for number in range(30)]
    with DocStore(folder, embedder=Watching(before)) as store:
        assert len(store.workspace("alice").add_many(notes).added) == 30
        assert store.verify().ok
    assert max(texts) <= 6  # two that are taken, two ahead, and two that were begun before


def test_what_fails_once_its_text_is_there_leaves_room_for_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for while something else of its group is embedded: what it took must be given back all the same."""
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add(b"What is stored already.")
    monkeypatch.setattr(prepare, "_MOST_AHEAD", 1000)
    monkeypatch.setattr(prepare, "_PORTION_DOCUMENTS", 1)

    def no_descriptor(path: str, data: bytes) -> Any:
        if len(data) > 2000:
            raise StorageError("too many open files")
        return durable.stage(path, data)

    monkeypatch.setattr(prepare, "stage_bytes", no_descriptor)
    failing = os.urandom(8000).hex(" ", 4).encode()
    notes = [b"Note %d." % number for number in range(20)]
    found: list[Any] = []
    with DocStore(folder, embedder=Watching(lambda: time.sleep(0.2), 32)) as store:
        bob = store.workspace("bob")
        adding = threading.Thread(
            target=lambda: found.append(bob.add_many([b"What is stored already.", failing, *notes])), daemon=True
        )
        adding.start()
        adding.join(30)
        assert not adding.is_alive()
    (report,) = found
    assert [str(each.error) for each in report.failed] == ["too many open files"]
    assert len(report.added) == 21


def test_a_program_ends_though_a_thread_of_it_waits_for_its_embedder(folder: Path) -> None:
    """A thread of a pool that waited until its texts are embedded would keep the interpreter from ending."""
    program = f"""
import threading, time
from docstore import DocStore
from docstore.ingest import prepare
from docstore.testing import HashEmbedder
class Hanging(HashEmbedder):
    def embed(self, texts):
        begun.set()
        time.sleep(600)
prepare._MOST_AHEAD, prepare._PORTION_DOCUMENTS, begun = 1, 1, threading.Event()
store = DocStore({str(folder)!r}, embedder=Hanging())
documents = [b"Note %d." % number for number in range(50)]
threading.Thread(target=store.workspace("alice").add_many, args=(documents,), daemon=True).start()
begun.wait(60)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_after_a_callback_has_raised_nothing_more_is_extracted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(add, "_ENOUGH_CHARACTERS", 1)
    monkeypatch.setattr(prepare, "_PORTION_DOCUMENTS", 1)
    monkeypatch.setattr(prepare, "CONCURRENCY", 2)
    begun: list[int] = []
    before: list[int] = []
    preparing = prepare.Preparation._prepare

    def slowly(self: prepare.Preparation, items: list[Incoming]) -> None:
        begun.append(len(items))
        time.sleep(0.1)
        preparing(self, items)

    def stop(_: object) -> None:
        before.append(len(begun))
        raise KeyError("stop")

    monkeypatch.setattr(prepare.Preparation, "_prepare", slowly)
    with DocStore(folder, embedder=HashEmbedder()) as store, pytest.raises(KeyError, match="stop"):
        store.workspace("alice").add_many([b"Note %d." % number for number in range(20)], progress=stop)
    assert len(begun) <= before[0] + 2 < 20


def test_open_files_that_are_parts_of_one_are_read_one_after_the_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the members of an archive are, which share its position."""
    monkeypatch.setattr(prepare, "CONCURRENCY", 4)
    using = threading.Lock()

    class Member(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if not using.acquire(blocking=False):
                raise OSError("two are read at once")
            try:
                time.sleep(0.002)
                return super().read(size)
            finally:
                using.release()

    members = [Member(f"Note {number}. ".encode() * 4000) for number in range(30)]
    with DocStore(folder, embedder=HashEmbedder()) as store:
        report = store.workspace("alice").add_many(members)
    assert report.failed == ()
    assert len(report.added) == 30
