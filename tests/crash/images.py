"""The long form: `python -m tests.crash.images --at-least 1000000 --processes 2 [--seconds S] [--out FILE]`.

First the exhaustive part, all sequences of up to three operations within the bounds `full`; then, until the number of
distinct images is reached, sequences of four, the bounds `deep`, and random subsets, whose seed is printed. An image is
one folder, byte for byte; those that several histories or processes come to are counted once. Exits with 1 if an image
broke a promise (the reproducers it prints are for `--replay`), with 2 if the number was not reached in time.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.explore import Explorer, Failure, kind_of
from tests.crash.sequences import Task, tasks
from tests.syscalls.interpose import environment

EXHAUSTIVE = (("full", 3),)
DEEPER = (("full", 4), ("deep", 3), ("random", 4))
_ROUNDS = 1000  # of the last, random, level: more than anybody waits for


@dataclass(slots=True)
class Summary:
    """What the processes found together."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    tasks: int = 0
    generated: int = 0
    opened: int = 0
    distinct: set[str] = field(default_factory=set)
    trials: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Failure] = field(default_factory=dict)
    """The first of each kind."""

    @property
    def broken(self) -> int:
        """Images that broke a promise."""
        return self.failed.total()

    def add(self, result: dict[str, Any]) -> None:
        """Takes one task's result in."""
        self.tasks += 1
        self.generated += result["generated"]
        self.opened += result["opened"]
        keys = result["keys"]
        self.distinct.update(keys[at : at + 16] for at in range(0, len(keys), 16))
        self.processor_seconds += result["processor_seconds"]
        self.trials.update(result["trials"])
        self.operations.update(result["operations"])
        self.failed.update(result["failed"])
        for failure in result["failures"]:
            self.failures.setdefault(
                kind_of(failure["why"]), Failure(**{**failure, "sequence": (*failure["sequence"],)})
            )

    def __str__(self) -> str:
        cost = 1000 * self.processor_seconds / max(1, self.opened)
        lines = [
            f"{self.generated:,} images generated, {len(self.distinct):,} distinct, {self.opened:,} opened and checked",
            f"{self.trials['using']:,} of these used at length, {self.trials['collecting']:,} emptied by a collection",
            f"{self.tasks:,} histories, {self.seconds:.0f} s; {cost:.2f} ms of processor time for each image opened",
            "by operation: " + ", ".join(f"{name} {count:,}" for name, count in self.operations.most_common()),
            f"{self.broken:,} broke a promise",
        ]
        return "\n".join(lines + [f"{kind}: {failure}" for kind, failure in self.failures.items()])


class Process:
    """One of the processes that do the work."""

    def __init__(self, folder: Path, breakage: str) -> None:
        command = [sys.executable, "-m", "tests.crash.process", str(folder), *filter(None, [breakage])]
        # One thread for numeric libraries: the processes share the cores among themselves.
        surroundings = {**environment(), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, task: Task, bounds: str, seed: int) -> dict[str, Any]:
        """Has one task done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([[task.sequence, task.first], bounds, seed]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The process died with {self._process.wait()} at {task}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        """Lets it end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def plan(levels: Sequence[tuple[str, int]], seed: int) -> Iterator[tuple[Task, str, int]]:
    """The tasks of some levels, one after the other; a random level again and again."""
    for bounds, depth in levels:
        for number in range(_ROUNDS if bounds == "random" else 1):
            for task in tasks(depth):
                yield task, bounds, seed + number


class Run:
    """A crowd of processes working through levels of tasks."""

    def __init__(self, processes: int, *, seconds: float, breakage: str = "", quiet: bool = False) -> None:
        # In memory where there is a file system for that: nothing here needs a medium, the simulated disk is it.
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(prefix="crash-images-", dir=memory if memory.is_dir() else None))
        self._processes = [Process(self._folder / str(number), breakage) for number in range(processes)]
        self._quiet = quiet
        self._started = time.monotonic()
        self._end = self._started + seconds
        self._told = self._started
        self._lock = threading.Lock()
        self.summary = Summary()
        self.complete = True
        """Whether everything that was asked for was done in time."""

    def work(self, waiting: Iterator[tuple[Task, str, int]], at_least: int = sys.maxsize) -> None:
        """Does tasks until they, the time, or the number of images wanted, are done."""
        todo: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._drive, args=(each, waiting, at_least, todo)) for each in self._processes
        ]
        for thread in threads:
            thread.start()
        errors = [error for _ in threads if (error := todo.get()) is not None]
        for thread in threads:
            thread.join()
        self.summary.seconds = time.monotonic() - self._started
        if errors:
            raise errors[0]

    def _drive(
        self,
        process: Process,
        waiting: Iterator[tuple[Task, str, int]],
        at_least: int,
        done: queue.SimpleQueue[Exception | None],
    ) -> None:
        try:
            while (work := self._next(waiting, at_least)) is not None:
                result = process.run(*work)
                with self._lock:
                    self.summary.add(result)
                    self._tell(work[1], len(work[0].sequence))
        except Exception as error:  # noqa: BLE001  (it belongs to the thread that waits for us)
            done.put(error)
        else:
            done.put(None)

    def _next(self, waiting: Iterator[tuple[Task, str, int]], at_least: int) -> tuple[Task, str, int] | None:
        with self._lock:
            if len(self.summary.distinct) >= at_least:
                return None
            work = next(waiting, None)
            if work is not None and time.monotonic() > self._end:
                self.complete = False
                return None
            return work

    def _tell(self, bounds: str, depth: int) -> None:
        if not self._quiet and time.monotonic() > self._told + 10:
            self._told = time.monotonic()
            found = self.summary
            print(f"{self._told - self._started:6.0f} s, {bounds} to depth {depth}: {found.tasks:,} histories, "
                  f"{len(found.distinct):,} distinct images, {found.broken} broken", flush=True)  # fmt: skip

    def close(self) -> None:
        """Ends the processes and removes their folders."""
        for process in self._processes:
            process.close()
        shutil.rmtree(self._folder)


def replay(reproducer: str) -> int:
    """Checks one image again, and leaves it to be looked at."""
    sequence, bounds, *numbers = reproducer.split(":")
    seed, barrier, choice = map(int, numbers)
    explorer = Explorer(Path(tempfile.mkdtemp(prefix="crash-image-")))
    try:
        why, folder = explorer.replay(tuple(sequence.split(",")), bounds, seed, barrier, choice)
    finally:
        explorer.workers.close()
    print(f"{why or 'Nothing is wrong.'}\nThe image is in {folder}.")
    return 1 if why else 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.images", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--at-least", type=int, default=1_000_000, help="distinct images to check")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="give up after so long")
    parser.add_argument("--seed", type=int, default=0, help="of the random part")
    parser.add_argument("--out", type=Path, help="also write the summary here")
    parser.add_argument("--replay", metavar="REPRODUCER", help="check one image again")
    parser.add_argument("--break", dest="breakage", choices=("directories", "files", "catalog", "archive"), default="",
                        help="break durability on purpose, to see images fail")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.replay:
        command = "import sys; from tests.crash.images import replay; sys.exit(replay(sys.argv[1]))"
        return subprocess.run(
            [sys.executable, "-c", command, arguments.replay], env=environment(), check=False
        ).returncode
    print(f"seed {arguments.seed}", flush=True)
    run = Run(arguments.processes, seconds=arguments.seconds, breakage=arguments.breakage)
    try:
        run.work(plan(EXHAUSTIVE, arguments.seed))
        exhaustive = run.complete
        run.work(plan(DEEPER, arguments.seed), arguments.at_least)
    finally:
        run.close()
    report = str(run.summary)
    if not exhaustive:
        report += "\nThe exhaustive part was not finished in time."
    print(report)
    if arguments.out is not None:
        arguments.out.write_text(report + "\n", encoding="utf-8")
    if run.summary.broken:
        return 1
    return 0 if exhaustive and len(run.summary.distinct) >= arguments.at_least else 2


if __name__ == "__main__":
    sys.exit(main())
