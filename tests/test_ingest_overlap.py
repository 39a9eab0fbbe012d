"""Extracting goes on while what is extracted already is embedded."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore, UnreadableDocument
from docstore.ingest import add
from docstore.ingest.incoming import Incoming
from docstore.ingest.prepare import Preparation
from docstore.testing import HashEmbedder

_SECONDS = 20.0

DOCUMENTS = [f"Document {number}.\n\n".encode() + b"Some words that fill it. " * 3000 for number in range(4)]


class Meeting(HashEmbedder):
    """Its first call is answered when a document was extracted that was not when it began."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.extracted = threading.Event(), threading.Event()
        self.met = False

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        if not self.began.is_set():
            self.began.set()
            self.met = self.extracted.wait(_SECONDS)
        return super().embed(texts)


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Meeting:
    """With the last of the documents held back until the first are being embedded."""
    embedder, original = Meeting(), Preparation._prepare
    monkeypatch.setattr(add, "_ENOUGH_CHARACTERS", 1)

    def held_back(self: Preparation, items: list[Incoming]) -> None:
        if any(item.fallback_name == "3.txt" for item in items):
            assert embedder.began.wait(_SECONDS)
            original(self, items)
            embedder.extracted.set()
        else:
            original(self, items)

    monkeypatch.setattr(Preparation, "_prepare", held_back)
    return embedder


def test_the_next_is_extracted_while_the_last_is_embedded(folder: Path, tmp_path: Path, meeting: Meeting) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(4)]
    for path, data in zip(paths, DOCUMENTS, strict=True):
        path.write_bytes(data)
    with DocStore(folder, embedder=meeting) as store:
        report = store.workspace("alice").add_many(paths)
        assert meeting.met
        assert len(report.added) == 4
        assert store.verify().ok


def test_what_fails_while_others_are_embedded_is_reported_once(folder: Path, tmp_path: Path, meeting: Meeting) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(4)]
    for path, data in zip(paths, [*DOCUMENTS[:3], b"\x00" * 70_000], strict=True):
        path.write_bytes(data)
    done: list[int] = []
    with DocStore(folder, embedder=meeting) as store:
        workspace = store.workspace("alice")
        report = workspace.add_many(paths, progress=lambda each: done.append(each.done))
        assert meeting.met
        assert [type(failure.error) for failure in report.failed] == [UnreadableDocument]
        assert max(done) == 4
        assert store.stats().documents == 3
        workspace.add(DOCUMENTS[3], name="again")  # nobody holds a claim on anything


def test_an_embedder_that_fails_leaves_nothing_running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(add, "_ENOUGH_CHARACTERS", 1)

    class Interrupted(HashEmbedder):
        def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
            raise KeyboardInterrupt

    with DocStore(folder, embedder=Interrupted()) as store:
        with pytest.raises(KeyboardInterrupt):
            store.workspace("alice").add_many(DOCUMENTS)
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("docstore-prepare")]
        assert not any((folder / "tmp").iterdir())
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert len(store.workspace("alice").add_many(DOCUMENTS).added) == 4


def test_what_is_embedded_is_stored_where_the_last_that_was_extracted_fails(folder: Path, meeting: Meeting) -> None:
    """What is built waits for others that are still being extracted; of these nothing may come."""
    last = io.BytesIO(b"%PDF-1.7\nand nothing else")
    last.name = "3.txt"
    with DocStore(folder, embedder=meeting) as store:
        alice = store.workspace("alice")
        report = alice.add_many([DOCUMENTS[0], last])
        assert [each.hash for each in report.added] == [each.hash for each in alice.documents()] != []
        assert [type(each.error) for each in report.failed] == [UnreadableDocument]
    assert meeting.met
