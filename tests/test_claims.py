"""Two at once: of all who add the same new document, one does the work; if it dies, another takes over."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore, EmbeddingError, Progress, UnreadableDocument, durable
from docstore.ingest import add as add_module
from docstore.ingest import build as build_module
from docstore.testing import HashEmbedder
from tests.folders import files, problems, query

NOTE = b"The same note for everybody.\n"


class Slow(HashEmbedder):
    """Takes its time, and says when it begins."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.begun.set()
        assert self.go_on.wait(20)
        return super().embed(texts)


def test_threads_that_add_the_same_embed_it_once(folder: Path) -> None:
    embedder = Slow()
    with DocStore(folder, embedder=embedder) as store, ThreadPoolExecutor(6) as pool:
        first = pool.submit(store.workspace("w0").add, NOTE)
        assert embedder.begun.wait(20)
        others = [pool.submit(store.workspace(f"w{number}").add, NOTE) for number in range(1, 5)]
        # Other bytes, the same text: waits for the same vectors.
        twin = pool.submit(store.workspace("w5").add, NOTE.replace(b"\n", b"\r\n"))
        time.sleep(0.3)
        assert not any(each.done() for each in [first, *others, twin])
        embedder.go_on.set()
        assert not first.result().reused
        assert all(each.result().reused for each in [*others, twin])
        assert embedder.embedded == 1
        assert store.refcount(first.result().hash) == 5
    assert len(files(folder, "embeddings")) == 2
    assert query(folder, "SELECT * FROM claims") == []


def test_two_stores_with_overlapping_batches(folder: Path) -> None:
    embedder = HashEmbedder()
    batches = [[f"text {number} ".encode() * 50 for number in range(first, first + 60)] for first in (0, 30)]
    with DocStore(folder, embedder=embedder) as one, DocStore(folder, embedder=embedder) as two:
        with ThreadPoolExecutor(2) as pool:
            futures = [
                pool.submit(store.workspace("w").add_many, batch)
                for store, batch in zip((one, two), batches, strict=True)
            ]
            reports = [future.result() for future in futures]
        assert sum(len(report.added) for report in reports) == 90
        assert sum(len(report.reused) for report in reports) == 30
        assert embedder.embedded == 90
        assert len(one.workspace("w")) == 90


def test_when_the_first_fails_the_second_tries(folder: Path) -> None:
    class FailsOnce(Slow):
        failed = False

        def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
            if not self.failed:
                self.begun.set()
                assert self.go_on.wait(20)
                self.failed = True
                raise RuntimeError("first time unlucky")
            return super().embed(texts)

    embedder = FailsOnce()
    with DocStore(folder, embedder=embedder) as store, ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.workspace("a").add, NOTE)
        assert embedder.begun.wait(20)
        second = pool.submit(store.workspace("b").add, NOTE)
        embedder.go_on.set()
        with pytest.raises(EmbeddingError, match="unlucky"):
            first.result()
        assert second.result().chunks == 1
        with pytest.raises(UnreadableDocument):
            store.workspace("a").add(b"")
    assert query(folder, "SELECT * FROM claims") == []
    assert query(folder, "SELECT sweeps_wanted FROM totals") == [(0,)]  # it failed, and left nothing
    assert problems(folder) == []


def test_who_fails_late_leaves_others_their_claims(folder: Path) -> None:
    """What an operation has published, and let go of, may be removed, collected, and be added again by others."""
    embedder = Slow()
    claimed = "SELECT key FROM claims ORDER BY key"
    held: list[tuple[object, ...]] = []
    with (
        DocStore(folder, embedder=HashEmbedder()) as one,
        DocStore(folder, embedder=embedder) as two,
        ThreadPoolExecutor(1) as pool,
    ):
        alice = one.workspace("alice")

        def fail(step: Progress) -> None:
            if step.done and not held:
                alice.remove(alice.documents()[0].hash)
                one.collect()
                pool.submit(two.workspace("bob").add, NOTE)
                assert embedder.begun.wait(20)
                held.extend(query(folder, claimed))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            alice.add_many([NOTE], progress=fail)
        assert held and query(folder, claimed) == held
        embedder.go_on.set()
    assert query(folder, claimed) == []
    assert problems(folder) == []


ADDER = """
import sys, time
from docstore import DocStore
from docstore.testing import HashEmbedder

class Slow(HashEmbedder):
    def embed(self, texts):
        print("embedding", flush=True)
        sys.stdin.readline()
        return super().embed(texts)

with DocStore(sys.argv[1], embedder=Slow()) as store:
    print(store.workspace(sys.argv[2]).add(b"The same note for everybody.\\n").reused, flush=True)
"""


def adder(folder: Path, workspace: str, script: str = ADDER) -> subprocess.Popen[str]:
    """Adds, and embeds until it is told to go on."""
    command = [sys.executable, "-c", script, str(folder), workspace]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_processes_embed_it_once(folder: Path) -> None:
    DocStore(folder, embedder=HashEmbedder()).close()
    with adder(folder, "a") as first, adder(folder, "b") as second:
        assert first.stdout is not None and second.stdout is not None
        ready, _, _ = select.select([first.stdout, second.stdout], [], [], 60)
        embedding, waiting = (first, second) if first.stdout in ready else (second, first)
        assert line(embedding) == "embedding"
        assert embedding.stdin is not None and waiting.stdout is not None
        # Whoever waits has been at work for long enough to embed, had it not seen the other's claim.
        assert select.select([waiting.stdout], [], [], 3)[0] == []
        embedding.stdin.write("go on\n")
        embedding.stdin.flush()
        assert line(embedding) == "False"
        assert line(waiting) == "True"


def test_a_killed_owners_work_is_taken_over(folder: Path) -> None:
    DocStore(folder, embedder=HashEmbedder()).close()
    with adder(folder, "a") as first:
        assert line(first) == "embedding"
        with DocStore(folder, embedder=HashEmbedder()) as store, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(store.workspace("b").add, NOTE)
            time.sleep(0.3)
            assert not waiting.done()
            assert len(query(folder, "SELECT * FROM claims")) == 2
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            assert not waiting.result(timeout=10).reused
            assert store.verify().ok
            assert any((folder / "tmp").iterdir())  # the dead owner's; a small document leaves no file in it
            store.collect()
            assert not any((folder / "tmp").iterdir())
            assert store.verify().leftovers == 0
            assert files(folder, "tmp") == []


def test_what_a_link_needs_may_vanish_while_it_embeds(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(32)) as old:
        hash = old.workspace("a").add(NOTE).hash
    embedder = Slow()
    with DocStore(folder, embedder=embedder) as store, ThreadPoolExecutor(1) as pool:
        # Under this embedder the document has no vectors yet: link embeds it, and meanwhile it is collected.
        linking = pool.submit(store.workspace("b").link, hash)
        assert embedder.begun.wait(20)
        store.workspace("a").remove(hash)
        store.collect()
        embedder.go_on.set()
        with pytest.raises(LookupError):
            linking.result()
        # The same for an add that found the bytes stored: it has them, so it stores them again.
        embedder.begun.clear()
        store.workspace("a").add(NOTE)
    with DocStore(folder, embedder=HashEmbedder(32)) as store:
        assert store.workspace("b").add(NOTE).chunks == 1
    assert problems(folder) == []
    assert query(folder, "SELECT * FROM claims") == []


def test_two_adds_and_a_collection_do_not_deadlock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first finds the bytes stored, claims the embedding; the document is collected; the second claims the document
    # and needs the embedding; the first, when it publishes, needs the document. One of them must let go.
    with DocStore(folder, embedder=HashEmbedder(32)) as old:
        hash = old.workspace("a").add(NOTE).hash
    embedder = Slow()
    with DocStore(folder, embedder=embedder) as store, ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.workspace("b").add, NOTE)
        assert embedder.begun.wait(20)
        store.workspace("a").remove(hash)
        assert store.collect().documents == 1
        second = pool.submit(store.workspace("c").add, NOTE)
        deadline = time.monotonic() + 20
        while len(query(folder, "SELECT * FROM claims")) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # the second extracts, and then waits for the embedding
        embedder.go_on.set()
        assert first.result(timeout=30).hash == second.result(timeout=30).hash == hash
        assert embedder.embedded == 1
        assert store.refcount(hash) == 2
    assert query(folder, "SELECT * FROM claims") == []
    assert problems(folder) == []


def test_a_forked_child_does_not_keep_a_dead_parents_claims_alive(folder: Path) -> None:
    DocStore(folder, embedder=HashEmbedder()).close()
    script = ADDER.replace(
        'print("embedding", flush=True)',
        "import os\n        if os.fork() == 0:\n            time.sleep(20); os._exit(0)\n"
        '        print("embedding", flush=True)',
    )
    with adder(folder, "a", script) as first:
        assert line(first) == "embedding"
        first.kill()
        first.wait()
        began = time.monotonic()
        with DocStore(folder, embedder=HashEmbedder()) as store:
            assert not store.workspace("b").add(NOTE).reused
        assert time.monotonic() - began < 10
        assert first.stdout is not None
        first.stdout.close()


def test_a_failed_add_asks_for_no_sweep(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        with pytest.raises(KeyError):
            store.workspace("a").add_many([NOTE, b"another"], progress=lambda step: {}[step])  # type: ignore[index]
        assert query(folder, "SELECT * FROM claims") == []
        assert query(folder, "SELECT sweeps_wanted FROM totals") == [(0,)]


def test_a_failure_after_a_publication_asks_for_no_sweep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "_BATCH_CHARACTERS", 1)  # each document is published before the next is embedded
    monkeypatch.setattr(add_module, "_COMMIT_SECONDS", 0)

    def fails(step: Progress) -> None:
        if step.done == 1:
            raise KeyError

    with DocStore(folder, embedder=HashEmbedder()) as store:
        with pytest.raises(KeyError):
            store.workspace("a").add_many([NOTE, b"another"], progress=fails)
        assert len(store.workspace("a")) == 1
    assert query(folder, "SELECT * FROM claims") == []
    assert query(folder, "SELECT sweeps_wanted FROM totals") == [(0,)]


def test_an_add_survives_the_collection_of_what_it_found(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder(32)) as old:
        hash = old.workspace("a").add(NOTE).hash
    embedder = Slow()
    with DocStore(folder, embedder=embedder) as store, ThreadPoolExecutor(1) as pool:
        adding = pool.submit(store.workspace("b").add, NOTE)
        assert embedder.begun.wait(20)
        store.workspace("a").remove(hash)
        assert store.collect().documents == 1
        embedder.go_on.set()
        assert adding.result().hash == hash
        assert embedder.embedded == 1
        assert store.workspace("b").search("note")[0].document == hash
        assert store.verify().ok
    assert problems(folder) == []


@pytest.mark.parametrize("step", ["place", "sync"])
def test_a_failed_publication_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        real: Any = getattr(durable.Publication, step)
        calls = 0

        def fails(self: durable.Publication, *arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if step == "sync" or calls == 3:
                raise OSError(28, "No space left on device")
            real(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(durable.Publication, step, fails)
            with pytest.raises(Exception, match=r"No space left on device.*Nothing visible was changed"):
                alice.add(NOTE)
        assert files(folder) == []
        assert len(alice) == 0
        assert alice.add(NOTE).chunks == 1
        assert store.verify().ok
