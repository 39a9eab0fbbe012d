"""Limits are never exceeded: by threads, by processes, or by other code that writes to the catalog."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore, QuotaExceeded
from docstore.testing import HashEmbedder
from tests.clock import NOTE
from tests.folders import hash_of, problems, query
from tests.packing import notes

NOTES = notes(3)


@pytest.mark.filterwarnings("ignore::docstore.QuotaWarning")
def test_threads_that_add_at_once_never_exceed_it(store: DocStore, folder: Path) -> None:
    store.workspace("alice").limit(documents=20, logical_bytes=1500)
    texts = [
        b"Thread %d brings note %d, of which nobody has heard." % (thread, n) for thread in range(8) for n in range(8)
    ]

    def add(text: bytes) -> str:
        try:
            return store.workspace("alice").add(text).hash
        except QuotaExceeded:
            return ""

    with ThreadPoolExecutor(8) as pool:
        added = {hash for hash in pool.map(add, texts) if hash}
    quota = store.workspace("alice").quota()
    assert quota.documents == len(added) == 20
    assert quota.logical_bytes <= 1500
    assert store.verify().ok and problems(folder) == []


_ADDER = """
import sys, warnings
from docstore import DocStore, QuotaExceeded
from docstore.testing import HashEmbedder
warnings.simplefilter("ignore")
folder, number = sys.argv[1:]
with DocStore(folder, embedder=HashEmbedder()) as store:
    alice = store.workspace("alice")
    for n in range(12):
        try:
            alice.add(f"Process {number} brings note {n}.".encode())
        except QuotaExceeded:
            pass
    alice.add_many([f"Process {number} brings more: {n}.".encode() for n in range(6)])
"""


def test_processes_that_add_at_once_never_exceed_it(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add(NOTE)
        each = store.quota().physical_bytes
        store.workspace("alice").limit(documents=15)
        store.limit(physical_bytes=12 * each)
    adding = [
        subprocess.Popen([sys.executable, "-c", _ADDER, folder, str(number)], env=os.environ) for number in range(3)
    ]
    assert [process.wait(120) for process in adding] == [0, 0, 0]
    with DocStore(folder, embedder=HashEmbedder()) as store:
        quota = store.quota()
        assert 10 * each < quota.physical_bytes <= 12 * each
        assert store.workspace("alice").quota().documents <= 15
        assert store.verify().ok
    assert problems(folder) == []


class Overtaken(HashEmbedder):
    """One while whose first embedding another process of the store adds two documents."""

    def __init__(self, folder: Path, workspace: str) -> None:
        super().__init__()
        self._folder, self._workspace = folder, workspace
        self._is_first = True

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        if self._is_first:
            self._is_first = False
            with DocStore(self._folder, embedder=HashEmbedder()) as other:
                for number in range(2):
                    other.workspace(self._workspace).add(b"Other %d tells of %d ships." % (number, number))
        return super().embed(texts)


@pytest.mark.filterwarnings("ignore::docstore.QuotaWarning")
@pytest.mark.parametrize("limited", ["workspace", "store"])
def test_of_a_group_that_others_overtake_what_still_fits_is_added(folder: Path, limited: str) -> None:
    embedder = Overtaken(folder, "alice" if limited == "workspace" else "bob")
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("bob").add(NOTE)
        each = store.quota().physical_bytes
    with DocStore(folder, embedder=embedder) as store:
        alice = store.workspace("alice")
        if limited == "workspace":
            alice.limit(documents=3, warn_at=1)
        else:
            store.limit(physical_bytes=each + 7 * each // 2, warn_at=1)
        report = alice.add_many(NOTES)
        assert len(report.added) == 1
        assert [type(failure.error) for failure in report.failed] == [QuotaExceeded] * 2
        assert store.verify().ok and problems(folder) == []


@pytest.mark.filterwarnings("ignore::docstore.QuotaWarning")
def test_who_is_overtaken_learns_nothing_where_bytes_are_demanded(tmp_path: Path) -> None:
    told = set()
    for others in NOTES[:2]:  # what bob has is what mallory adds, or another note of the same size
        folder = tmp_path / hash_of(others)
        with DocStore(folder, embedder=HashEmbedder()) as store:
            store.workspace("bob").add(others)
            each = store.quota().physical_bytes
        with DocStore(folder, embedder=Overtaken(folder, "bob"), demand_bytes=True) as store:
            store.limit(physical_bytes=each + 5 * each // 2)
            with pytest.raises(QuotaExceeded) as refusal:
                store.workspace("mallory").add(NOTES[0])
        assert refusal.value.used is None
        told.add((str(refusal.value), refusal.value.wanted, refusal.value.limit))
    assert len(told) == 1


@pytest.mark.parametrize("what", ["documents", "bytes", "store"])
def test_the_database_refuses_what_other_code_would_insert(store: DocStore, folder: Path, what: str) -> None:
    alice = store.workspace("alice")
    hashes = [each.hash for each in store.workspace("bob").add_many(NOTES[:3]).added]
    alice.link(hashes[0])
    if what == "store":
        store.limit(physical_bytes=store.quota().physical_bytes)
    else:
        alice.limit(documents=1 if what == "documents" else None, logical_bytes=30 if what == "bytes" else None)
    insert = "INSERT INTO refs SELECT 1, id, 'n', '{}', '', 0 FROM documents WHERE hash = ?"
    if what == "store":
        insert = """INSERT INTO documents (hash, media_type, size, text_id, stored_at, unreferenced_at)
                    SELECT substr(hash, 2) || 'x', media_type, 1, text_id, '', '' FROM documents WHERE hash = ?"""
    before = query(folder, "SELECT * FROM workspaces")
    with pytest.raises(QuotaExceeded, match="Nothing was changed"), store._parts.database.write() as db:
        db.execute(insert, (hashes[1],))
    assert query(folder, "SELECT * FROM workspaces") == before
