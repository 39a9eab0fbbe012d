"""Limits are never exceeded: by threads, by processes, or by other code that writes to the catalog."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from docstore import DocStore, QuotaExceeded
from docstore.testing import HashEmbedder
from tests.clock import NOTE
from tests.folders import problems, query

NOTES = [b"Note %d tells of %d ships." % (number, number * number) for number in range(3)]


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
