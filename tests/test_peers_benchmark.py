"""benchmarks/peers in short: docstore, and every peer that is installed, on a tiny workload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from benchmarks.peers.engine import ENTRIES, Entry
from benchmarks.peers.measure import Built, Failed, Measured, measure
from benchmarks.peers.report import report, table
from benchmarks.peers.workload import RECALL_K, Size, Workload, prepare
from benchmarks.synthetic import CHUNKS, ClusteredEmbedder, documents
from docstore import DocStore

SIZE = Size(documents=12, workspaces=3, each=6, measured=2, queries=2, cold_starts=1)


@pytest.fixture(scope="module")
def run() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user if the tests run as root
        prepare(Path(folder) / "workload", SIZE)
        yield Path(folder)


@pytest.mark.parametrize("store", dict.fromkeys(entry.store for entry in ENTRIES))
def test_what_an_engine_finds(run: Path, store: str) -> None:
    for found in measure([entry for entry in ENTRIES if entry.store == store], run, SIZE, lambda _: None):
        if isinstance(found, Failed) and "ModuleNotFoundError" in found.reason:
            pytest.skip(found.reason)  # not importorskip: the peers' threads shall not live in this process
        assert isinstance(found, Measured), found
        assert found.recall == 1.0 if found.entry.exact else found.recall > 0.5
        assert len(found.searches) == SIZE.measured * SIZE.queries
        assert len(found.attach) == len(found.detach) == len(found.store) == SIZE.measured
        assert min(*found.searches, *found.attach, *found.detach, *found.alone, *found.cold) > 0
        assert all(alone < both for alone, both in zip(found.alone, found.store, strict=True))
        assert min(found.built.bytes, found.built.seconds, found.threads) > 0
    assert not (run / store).exists()


def test_the_workload_is_what_docstore_makes_of_the_documents(run: Path, tmp_path: Path) -> None:
    workload = Workload(run / "workload")
    assert workload.document(1).content == next(documents(1, first=1))
    with DocStore(tmp_path, embedder=ClusteredEmbedder()) as store:
        workspace = store.workspace("one")
        workspace.add(workload.document(1).content)
        hits = workspace.search_vector(workload.queries[0, 0], k=CHUNKS + 1)
    assert [hit.text for hit in sorted(hits, key=lambda hit: hit.chunk)] == workload.document(1).texts
    assert np.allclose(workload.document(1).vectors, ClusteredEmbedder().embed(workload.document(1).texts))
    assert len(workload.truth(0, 0)) == RECALL_K
    assert workload.stranger(0).number not in workload.workspaces[0]


def test_the_report_marks_what_is_best_extrapolated_or_missing() -> None:
    first, second, third = ENTRIES[0], replace(ENTRIES[1], packages=()), ENTRIES[2]

    def measured(entry: Entry, bytes: int, written: int, time: float) -> Measured:
        return Measured(entry, Built(bytes, 2.0, written), 1.0, [time], [time], [time], [time], [time], 0, [time], 1)

    found: list[Measured | Failed] = [
        measured(first, 3_000_000, 3, 1.0),
        measured(second, 4_000_000, 2, 2.0),
        Failed(third, "build: a | b"),
    ]
    lines = table(found, SIZE).splitlines()
    assert lines[2] == ("| docstore | **3.0 MB** | **2 s** | **1 ms** | **1 ms** | **1 ms** | **1.0000** | **1 ms** "
                        "| **1 ms** | **1 ms** | **1 ms** |")  # fmt: skip
    assert lines[3].startswith(f"| {second.name} | ~ 6.0 MB | ~ 3 s | 2 ms |")
    assert lines[4] == rf"| {third.name} | not measured: build: a \| b | | | | | | | | | |"
    assert "\n".join(lines) in report(found, SIZE, 60.0)
