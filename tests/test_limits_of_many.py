"""Limits where many documents are added at once: filled to the brim, and nothing is embedded in vain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import (
    DocStore,
    QuotaExceeded,
    QuotaWarning,
    UnreadableDocument,
    Workspace,
    quotas,
)
from docstore.testing import HashEmbedder
from tests.clock import NOTE
from tests.folders import files, query
from tests.limiting import NOTES, reasons


@pytest.mark.parametrize("batch", [NOTES, [*NOTES, *NOTES[:3]], [b"", *NOTES, b"%PDF-1.7 nothing follows"]])
def test_many_fill_it_to_the_brim(
    store: DocStore, alice: Workspace, embedder: HashEmbedder, batch: list[bytes], folder: Path
) -> None:
    alice.limit(documents=5, warn_at=1)
    with pytest.warns(QuotaWarning):
        report = alice.add_many(batch)
    assert len(alice) == 5 == len({each.hash for each in report.added})
    refused = [each for each in report.failed if isinstance(each.error, QuotaExceeded)]
    assert reasons(refused) == ["documents"] * len(refused) and len(refused) >= 7
    assert len(files(folder, "documents")) == 5 and store.collect().documents == 0
    assert embedder.embedded == 5, "nothing is embedded in vain"
    assert query(folder, "SELECT count(*) FROM claims") == [(0,)]


def test_what_fails_leaves_its_place_to_another(alice: Workspace) -> None:
    alice.limit(documents=1, warn_at=1)
    with pytest.warns(QuotaWarning):
        report = alice.add_many([b"%PDF-1.7 nothing follows", NOTE])
    assert len(report.added) == 1
    assert [type(each.error) for each in report.failed] == [UnreadableDocument]


def test_small_documents_go_in_where_large_ones_do_not(alice: Workspace) -> None:
    alice.limit(logical_bytes=100)
    report = alice.add_many([b"x" * 60, b"y" * 70, b"z" * 20])
    assert [each.size for each in report.added] == [60, 20]
    assert reasons(report.failed) == ["logical_bytes"]


class Vain(HashEmbedder):
    """Notes what it had to embed."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.texts += texts
        return super().embed(texts)


@pytest.mark.filterwarnings("ignore::docstore.QuotaWarning")
def test_what_does_not_fit_the_store_is_not_embedded(folder: Path) -> None:
    embedder = Vain()
    with DocStore(folder, embedder=embedder) as store:
        alice = store.workspace("alice")
        alice.add(b"A small note.")
        store.limit(physical_bytes=store.quota().physical_bytes + 5000)
        report = alice.add_many([b"Large. " * 2000, b"Another small note."])
    assert len(report.added) == 1 and reasons(report.failed) == ["physical_bytes"]
    assert not any("Large" in text for text in embedder.texts)


@pytest.mark.filterwarnings("ignore::docstore.QuotaWarning")
@pytest.mark.parametrize("room", [0.3, 0.9, 1.1, 2.5])
def test_a_nearly_full_store_embeds_nothing_in_vain(folder: Path, room: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose bytes alone would fit, and not with their vectors; and those that wait for others to be published are not
    all looked at again each time."""
    monkeypatch.setattr("docstore.ingest.add._SOME", 4)
    measured = 0
    real = quotas.of_store

    def counted(db: Any, folder: Path) -> quotas.StoreQuota:
        nonlocal measured
        measured += 1
        return real(db, folder)

    notes = [b"Another note, of number %d and of no other." % number for number in range(100, 180)]
    embedder = Vain()
    with DocStore(folder, embedder=embedder) as store:
        alice = store.workspace("alice")
        before = store.quota().physical_bytes
        alice.add(b"Another note, of number 99 and of no other!")
        of_one = store.quota().physical_bytes - before
        store.limit(physical_bytes=before + of_one + int(room * of_one))
        monkeypatch.setattr(quotas, "of_store", counted)
        report = alice.add_many(notes)
    assert len(report.added) == int(room) and len(report.added) + len(report.failed) == len(notes)
    assert set(reasons(report.failed)) == {"physical_bytes"}
    assert len(embedder.texts) == 1 + len(report.added)
    assert measured < 30 * len(notes)  # all, again and again, would be half of their square, twice


def test_what_waits_for_room_does_not_keep_what_was_begun_from_its_end(store: DocStore, alice: Workspace) -> None:
    """More than are looked at again wait for the room of a document that was begun after them."""
    alice.limit(logical_bytes=1000)
    broken = b"%PDF-1.7 " + b"x" * 591
    large = [b"%03d " % number + b"word " * 198 for number in range(40)]
    report = alice.add_many([broken, *large, b"ten bytes."])
    assert [each.size for each in report.added] == [10]
    assert len(report.failed) == 41
