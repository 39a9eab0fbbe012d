"""What adding many documents holds in memory, and for how long: no more than what is being worked on."""

from __future__ import annotations

import gc
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore, workspace
from docstore.ingest import add, build, prepare
from docstore.ingest.incoming import Incoming
from docstore.testing import HashEmbedder
from tests.folders import query


def in_memory() -> list[Incoming]:
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, Incoming)]


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
