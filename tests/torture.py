"""N processes of M threads on one folder, killed with SIGKILL at random moments, for as long as asked.

    python -m tests.torture --processes 4 --threads 3 --seconds 600

Every tenant journals what it does outside of the store, and somebody reads beside them all. In the end all workspaces
hold what the journals say, the store verifies, and nothing is left of it once everything is deleted and collected.
Prints what was done; exits with 1 and says what is wrong otherwise.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from docstore import DocStore, DocStoreError, StoreLocked, StoreVersionError
from docstore.testing import HashEmbedder
from tests.emptying import assert_ends_empty
from tests.torture_journal import Journal
from tests.torture_tenants import contents, names_of

ROOT = Path(__file__).parent.parent
PAUSE = (0.1, 2.0)  # seconds between kills
ALL_AT_ONCE = 0.1  # of the kills hit every process in one moment, as a power cut of the machine's programs would
GRACE_SECONDS = 300  # for the operations under way when the time is up


@dataclass(slots=True)
class Summary:
    """What a run did."""

    seconds: float = 0
    kills: int = 0
    restarts: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    leftovers: int = 0
    moments: int = 0
    """At which somebody who only reads compared the totals with what they count."""
    errors: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.seconds:.0f} s, {self.kills} kills, {self.restarts} restarts, {sum(self.operations.values()):,} "
            f"operations returned, {sum(self.cut.values())} were cut short by a kill, {self.leftovers} leftovers of "
            f"those were swept in the end, {self.moments:,} moments were read beside them, {len(self.errors)} errors",
            *(f"  {count:>8,}  {kind}" for kind, count in self.operations.most_common()),
            "cut short, and what the store then showed:",
            *(f"  {count:>8,}  {kind}" for kind, count in self.cut.most_common()),
            *self.errors,
        ]
        return "\n".join(lines)


class Crowd:
    """The processes, and what became of them."""

    def __init__(self, folder: Path, journals: Path, processes: int, threads: int, seed: int) -> None:
        self._folder, self._journals, self._threads, self._seed = folder, journals, threads, seed
        self._running = {number: self._start(number) for number in range(processes)}
        self._random = random.Random(seed)
        self.summary = Summary()

    def _start(self, number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.torture_tenants", str(self._folder), str(self._journals), str(number),
             str(self._threads), str(self._seed)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def torment(self, seconds: float) -> None:
        """Kills and restarts until the time is up, or somebody failed."""
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0 and not self.summary.errors:
            time.sleep(min(left, self._random.uniform(*PAUSE)))
            everybody = self._random.random() < ALL_AT_ONCE
            victims = list(self._running) if everybody else [self._random.choice(list(self._running))]
            for number in victims:
                self._running[number].kill()
            for number in victims:
                self._bury(number, killed=True)
                self._running[number] = self._start(number)
                self.summary.restarts += 1
        self.summary.seconds = time.monotonic() - began

    def dismiss(self) -> None:
        """Lets everybody end by itself."""
        for process in self._running.values():
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        for number in self._running:
            self._bury(number, killed=False)

    def _bury(self, number: int, *, killed: bool) -> None:
        process = self._running[number]
        try:
            _, errors = process.communicate(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.summary.errors.append(f"process {number} did not end within {GRACE_SECONDS} s")
            return
        if process.returncode == -9 and killed:
            self.summary.kills += 1
        elif process.returncode != 0:
            self.summary.errors.append(f"process {number} ended with {process.returncode}: {errors}")
        elif errors:
            self.summary.errors.append(f"process {number} wrote: {errors}")


class Reader(threading.Thread):
    """Reads the store beside those who change it and are killed: every moment must agree with itself."""

    def __init__(self, folder: Path, summary: Summary) -> None:
        super().__init__()
        self._folder, self._summary = folder, summary
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                with DocStore(self._folder, embedder=HashEmbedder(), readonly=True) as store:
                    self._read(store)
            except (StoreVersionError, StoreLocked):  # nobody had it open yet, or it was not there
                time.sleep(0.01)
            except DocStoreError as error:
                self._summary.errors.append(f"who only reads got {error!r}")
                return

    def _read(self, store: DocStore) -> None:
        while not self._stopped.is_set():
            with store._parts.database.read() as db:
                counted, said = db.execute("SELECT (SELECT count(*) FROM refs), (SELECT refs FROM totals)").fetchone()
            if counted != said:
                self._summary.errors.append(f"who only reads saw {counted} references, and a total of {said}")
                return
            self._summary.moments += 1
            time.sleep(0.01)

    def stop(self) -> None:
        """Lets it end."""
        self._stopped.set()
        self.join()


def assert_as_journaled(folder: Path, journals: Path, processes: int, threads: int, summary: Summary) -> None:
    """The model and the store agree."""
    with DocStore(folder, embedder=HashEmbedder()) as store:
        everybody = {"common": set(contents(store, "common"))} if "common" in store.workspaces() else {}
        for process in range(processes):
            for thread in range(threads):
                journal = Journal(journals / f"{process}-{thread}.jsonl")
                summary.operations += journal.counts
                if journal.pending is not None:  # its process was killed last, and never came to look
                    journal.settle(journal.pending.workspace, contents(store, journal.pending.workspace))
                summary.cut += journal.cut
                for name in names_of(process, thread):
                    problem = journal.contradiction(name, contents(store, name))
                    assert problem is None, problem
                    everybody[name] = set(journal.contents.get(name, {}))
        for name, held in everybody.items():
            found = {hit.document for hit in store.workspace(name).search("text", k=100_000)}
            assert found == held, (name, found, held)
        for hash in set().union(*everybody.values()):
            count = sum(hash in held for held in everybody.values())
            assert store.refcount(hash) == count, (hash, store.refcount(hash), count)
        report = store.verify()
        assert report.ok, report.problems
        summary.leftovers = store.collect().leftovers
        assert store.verify().leftovers == 0
        assert store.stats().documents == len(set().union(*everybody.values()))


def torture(folder: Path, processes: int, threads: int, seconds: float, seed: int) -> Summary:
    """All of it, in `folder`, which must not hold a store yet."""
    journals = folder / "journals"
    journals.mkdir(parents=True)
    crowd = Crowd(folder / "store", journals, processes, threads, seed)
    reader = Reader(folder / "store", crowd.summary)
    reader.start()
    crowd.torment(seconds)
    crowd.dismiss()
    reader.stop()
    if not crowd.summary.errors:
        assert_as_journaled(folder / "store", journals, processes, threads, crowd.summary)
        assert_ends_empty(folder / "store")
    return crowd.summary


def main(
    processes: int = 4,
    threads: int = 3,
    seconds: float = 60,
    seed: int = 1,
    folder: Annotated[
        Path | None, typer.Option(help="For store and journals; kept. By default a temporary one.")
    ] = None,
) -> None:
    """Torments a store and prints what was done."""
    root = Path(tempfile.mkdtemp()) if folder is None else folder
    summary = torture(root, processes, threads, seconds, seed)
    print(summary)
    if summary.errors:
        print(f"What it left is in {root}.")
        raise typer.Exit(1)
    if folder is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    typer.run(main)
