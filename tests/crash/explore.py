"""Crash points of one recorded history: enumerates their images, has each checked, and compares with the promise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.crash.check import Checker
from tests.crash.choices import BOUNDS, choices, lost
from tests.crash.disk import Choice, Disk, Image
from tests.crash.sequences import Recorded, State, Task, record
from tests.crash.workers import Workers
from tests.syscalls.interpose import Interposer, Kind


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that breaks a promise, and how to make it again."""

    sequence: tuple[str, ...]
    bounds: str
    seed: int
    barrier: int
    choice: int
    call: str
    lost: list[str]
    why: str

    @property
    def reproducer(self) -> str:
        """For `--replay`."""
        return f"{','.join(self.sequence)}:{self.bounds}:{self.seed}:{self.barrier}:{self.choice}"

    def __str__(self) -> str:
        missing = "; ".join(self.lost[:12]) + (f"; and {len(self.lost) - 12} more" if len(self.lost) > 12 else "")
        return (
            f"{self.why}\n  in {self.call!r} of {' '.join(self.sequence)}\n  lost: {missing or 'nothing'}\n"
            f"  --replay {self.reproducer}"
        )


@dataclass(slots=True)
class Result:
    """What imaging a task found."""

    generated: int = 0
    opened: int = 0
    """Images this process had not seen before."""
    failed: dict[str, int] = field(default_factory=dict)
    """How many images broke a promise, by the kind of failure."""
    failures: list[Failure] = field(default_factory=list)
    """The first of each kind."""
    keys: str = ""
    """8 bytes, in hexadecimal, for each image opened."""
    processor_seconds: float = 0.0
    trials: dict[str, int] = field(default_factory=dict)
    """How many were also used, and emptied."""
    operations: dict[str, int] = field(default_factory=dict)
    """How many images each operation gave."""


@dataclass(frozen=True, slots=True)
class Barrier:
    """A point at which images are taken: before a sync, or when a call returned."""

    number: int
    call: Recorded
    allowed: tuple[State, ...]
    history: tuple[State, ...]
    """All states up to here, the possible ones of the call that runs too."""


def barriers(recorded: list[Recorded], disk: Disk) -> Iterator[Barrier]:
    """Replays a history on the disk, stopping at each barrier."""
    number = 0
    history: tuple[State, ...] = ()
    for call in recorded:
        history += call.outcomes
        for event in call.events:
            if event.kind is Kind.SYNC and event.result == 0 and disk.is_pending(event.handle):
                yield Barrier(number, call, call.outcomes, history)
                number += 1
            disk.apply(event)
        yield Barrier(number, call, call.outcomes[-1:], history)
        number += 1


class Explorer:
    """One process's part of the work: it records histories and checks their images."""

    def __init__(self, folder: Path, *, stops: bool = False) -> None:
        """
        Args:
            stops: leave the rest of a task once an image broke a promise: enough, where durability was broken on
                purpose.
        """
        self._stops = stops
        self._calls = Interposer()
        self._recording = folder / "recorded"
        self.workers = Workers()
        self.checker = Checker(folder / "image", self.workers)

    def explore(self, task: Task, bounds: str, seed: int) -> Result:
        """Images every crash point of the task's new operations."""
        result, keys = Result(), []
        before, started = dict(self.checker.trials), time.process_time()
        for barrier, number, kept, disk in self._images(task, bounds, seed):
            name = task.sequence[barrier.call.operation - 1] if barrier.call.operation else "create"
            image = disk.image(kept)
            result.generated += 1
            if not self.checker.known(image):
                keys.append(image.key[:8].hex())
                result.operations[name] = result.operations.get(name, 0) + 1
            why = self._verdict(barrier, image)
            if why:
                kind = kind_of(why)
                result.failed[kind] = result.failed.get(kind, 0) + 1
                if result.failed[kind] == 1:
                    missing = lost(disk.pending, kept)
                    place = (task.sequence, bounds, seed, barrier.number, number, barrier.call.label)
                    result.failures.append(Failure(*place, missing, why))
                if self._stops:
                    break
        result.opened, result.keys = len(keys), "".join(keys)
        result.processor_seconds = time.process_time() - started
        result.trials = {name: count - before.get(name, 0) for name, count in self.checker.trials.items()}
        return result

    def replay(self, sequence: tuple[str, ...], bounds: str, seed: int, barrier: int, choice: int) -> tuple[str, Path]:
        """Checks one image again. Returns what is wrong and where the image lies, as it was before it was opened."""
        for at, number, kept, disk in self._images(Task(sequence, 0), bounds, seed):
            if (at.number, number) == (barrier, choice):
                print(f"in {at.call.label!r}, lost:", *lost(disk.pending, kept), sep="\n  ")
                image = disk.image(kept)
                why = self._verdict(at, image)
                self.checker.write(image)
                return why, self.checker.folder
        raise SystemExit("There is no such image: the recorded calls have changed since.")

    def _images(self, task: Task, bounds: str, seed: int) -> Iterator[tuple[Barrier, int, Choice, Disk]]:
        disk = Disk(str(self._recording))
        for barrier in barriers(record(task.sequence, self._calls, self._recording, self.workers), disk):
            if barrier.call.operation >= task.first:
                # A barrier's own generator: its choices do not depend on which others were imaged before.
                random = Random(f"{seed} {task.sequence} {barrier.number}")
                for number, kept in enumerate(choices(disk.pending, BOUNDS[bounds], random)):
                    yield barrier, number, kept, disk

    def _verdict(self, barrier: Barrier, image: Image) -> str:
        history = frozenset(hash for state in barrier.history for _, held in state for hash in held)
        outcome = self.checker.outcome(image, history)
        if outcome.state is not None and outcome.state not in barrier.allowed:
            return f"acknowledged: it holds {_shown(outcome.state)}, not {' or '.join(map(_shown, barrier.allowed))}"
        return outcome.failure


def kind_of(why: str) -> str:
    """The step of the check that failed."""
    return why.partition(":")[0]


def _shown(state: State) -> str:
    return "{" + ", ".join(f"{name}: {sorted(hash[:6] for hash in held)}" for name, held in sorted(state)) + "}"
