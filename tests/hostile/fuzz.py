"""Fuzzes what reads documents and stored files, for as long as asked: `python -m tests.hostile.fuzz --seconds 60`.

Extraction runs through a store and its worker processes; stored files and catalogs in forked processes; so what hangs
or crashes is contained, and counted. After every batch the store must verify and another document still be found in it.
`tests/hostile/guided.py` is the coverage-guided form, for what runs in one process.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import typer

from docstore import DocStore, DocStoreError, InvalidArgument, Limits, UnreadableDocument
from docstore.metadata import encode
from docstore.testing import HashEmbedder
from tests.hostile import tampering
from tests.hostile.contained import Contained, Outcome
from tests.hostile.corpus import pdfs, texts
from tests.hostile.judge import PEAK, judge
from tests.hostile.mutate import mutated
from tests.hostile.stored import Victim

LIMITS = Limits(seconds=5, memory=1 << 30)
MARGIN = 5.0
BATCH = 50
SEED_BYTES = 300_000
PIECES = [(0, 10), (5, 5), (100, 40_000), (31_000, 33_000), (7, 3), (0, 4_000_000_000), (4_000_000_000, 4_000_000_010)]


@dataclass(slots=True)
class Tally:
    """What one target's run found."""

    target: str
    executions: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_input: str = ""
    peak: int = 0

    def add(self, outcome: str, name: str, seconds: float, data: bytes | None = None, *, bad: bool = False) -> None:
        """One execution. What is bad is kept in a file."""
        self.executions += 1
        self.outcomes[outcome[:60]] += 1
        if seconds > self.slowest:
            self.slowest, self.slowest_input = seconds, name
        if bad:
            kept = ""
            if data is not None:
                path = Path(tempfile.gettempdir()) / f"docstore-fuzz-{self.target}-{self.executions}"
                path.write_bytes(data)
                kept = f" ({path})"
            self.crashes.append(f"{name}: {outcome}{kept}")

    def __str__(self) -> str:
        outcomes = "\n".join(f"  {count:>8,}  {kind}" for kind, count in self.outcomes.most_common(25))
        return (
            f"{self.target}: {self.executions:,} executions, {len(self.crashes)} crashes, {len(self.outcomes)} "
            f"distinct outcomes, peak memory {self.peak >> 20} MB, slowest {self.slowest:.2f} s "
            f"({self.slowest_input})\n{outcomes}" + "".join(f"\n  CRASH {each:.500}" for each in self.crashes[:20])
        )


Target = Callable[[Tally, random.Random, Callable[[], bool]], None]


@contextmanager
def bystander(folder: Path) -> Iterator[tuple[DocStore, Callable[[], None]]]:
    """A store with somebody else's document, and a check that nothing happened to it."""
    with DocStore(folder, embedder=HashEmbedder(), limits=LIMITS) as store:
        other = store.workspace("bystander")
        other.add(b"A document of somebody who means no harm.")

        def check() -> None:
            report = store.verify()
            assert report.ok and report.leftovers == 0, report
            assert [hit.text for hit in other.search("harm")] == ["A document of somebody who means no harm."]

        yield store, check
        check()


def extraction(tally: Tally, generator: random.Random, goes_on: Callable[[], bool]) -> None:
    """Mutated documents, through worker processes."""
    seeds = [(name, data) for name, data in [*pdfs(), *texts()] if len(data) < SEED_BYTES]
    everything = [data for _, data in seeds]
    with tempfile.TemporaryDirectory() as folder, bystander(Path(folder) / "store") as (store, check):
        workspace = store.workspace("hostile")
        while goes_on():
            name, seed = generator.choice(seeds)
            data = mutated(seed, everything, generator)
            began, bad = time.monotonic(), False
            try:
                outcome = f"text, {workspace.add(data, name=name).media_type}"
            except UnreadableDocument as error:
                outcome = f"{error.reason}: {error.detail.partition('(')[2].partition(':')[0]}"
            except DocStoreError as error:
                outcome = type(error).__name__
            except Exception as error:  # noqa: BLE001  (that is what is looked for)
                outcome, bad = repr(error), True
            seconds = time.monotonic() - began
            bad = bad or seconds > LIMITS.seconds + MARGIN
            tally.add(outcome, f"a mutant of {name!r}", seconds, data, bad=bad)
            if tally.executions % BATCH == 0:
                store.delete_workspace("hostile")
                store.collect()
                check()
                workspace = store.workspace("hostile")
    tally.peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _decoding(task: str, cases: Callable[[], Iterator[tuple[str, bytes]]], **arguments: Any) -> Target:
    def run(tally: Tally, generator: random.Random, goes_on: Callable[[], bool]) -> None:
        seeds = [(name, data) for name, data in cases() if len(data) < SEED_BYTES]
        everything = [data for _, data in seeds]
        with tempfile.TemporaryDirectory() as folder, Contained() as contained:
            path = Path(folder) / "input"
            while goes_on():
                name, seed = generator.choice(seeds)
                # What changes its length seldom gets past the first checks.
                if generator.random() < 0.5:
                    data = _with_numbers(mutated(seed, everything, generator), generator)
                else:
                    data = _overwritten(seed, generator)
                path.write_bytes(data)
                outcome = contained.run(task, seconds=10, path=str(path), **arguments)
                said, bad = _judged(outcome)
                tally.add(said, f"a mutant of {name!r}", outcome.seconds, data, bad=bad)
                tally.peak = max(tally.peak, outcome.peak)

    return run


def _overwritten(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.randrange(1, 5) if data else 0):
        changed[generator.randrange(len(changed))] = generator.randrange(256)
    return bytes(changed)


def _with_numbers(data: bytes, generator: random.Random) -> bytes:
    """Sometimes a binary number of the kind that sizes allocations."""
    if generator.random() < 0.5 or not data:
        return data
    at = generator.randrange(min(len(data), 120))
    value = generator.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**62, 2**64 - 1])
    packed = struct.pack(*(("<Q", value) if generator.random() < 0.5 else ("<I", value & 0xFFFFFFFF)))
    return data[:at] + packed + data[at + len(packed) :]


def _judged(outcome: Outcome) -> tuple[str, bool]:
    if outcome.ended == "returned" and outcome.peak <= PEAK:
        return str(outcome.answer), False
    last = str(outcome.answer).strip().splitlines()[-1] if outcome.answer else ""
    return f"{outcome.ended} {last} {outcome.peak >> 20} MB", True


def catalog(tally: Tally, generator: random.Random, goes_on: Callable[[], bool]) -> None:
    """Catalogs with bytes changed anywhere; every public call on each."""
    with tempfile.TemporaryDirectory() as folder, Contained() as contained:
        victim = Victim.build(Path(folder) / "original")
        while goes_on():
            seed = generator.randrange(1 << 40)
            complaints, outcome = judge(contained, victim, Path(folder) / "copy", partial(tampering.flip, seed=seed))
            ends = Counter(outcome.answer["ended"].values()) if outcome.ended == "returned" else outcome.ended
            said = complaints[0] if complaints else " ".join(sorted(ends))
            tally.add(said, f"flips {seed}", outcome.seconds, bad=bool(complaints))
            tally.peak = max(tally.peak, outcome.peak)


def metadata(tally: Tally, generator: random.Random, goes_on: Callable[[], bool]) -> None:
    """Values of all kinds, in this process: what is accepted must come back equal."""

    def value(depth: int) -> Any:
        kind = generator.randrange(12 if depth < 40 else 9)
        odd = "".join(map(chr, generator.choices(range(0x11000), k=5)))
        leaves: list[Any] = [
            None, True, generator.getrandbits(70), -(10 ** generator.randrange(5000)), generator.random(), float("nan"),
            odd, b"x", object(),
        ]  # fmt: skip
        if kind < 9:
            return leaves[kind]
        inner = [value(depth + generator.choice([1, 1, 20])) for _ in range(generator.randrange(4))]
        keys = generator.choices(["a", "\0", "\ud800", "é", 1, None], [9, 1, 0.1, 1, 0.1, 0.1], k=len(inner))
        return dict(zip(keys, inner, strict=True)) if kind > 10 else inner if kind == 9 else tuple(inner)

    while goes_on():
        given, began, bad = {"a": value(0)}, time.monotonic(), False
        try:
            encoded = encode(given)
            assert encoded is not None and encode(json.loads(encoded)) == encoded
            outcome = "accepted"
        except InvalidArgument as error:
            outcome = str(error)[:25]
        except Exception as error:  # noqa: BLE001  (that is what is looked for)
            outcome, bad = repr(error)[:60], True
        name = ""
        with suppress(ValueError):
            name = f"{given!r:.80}"
        tally.add(outcome, name, time.monotonic() - began, bad=bad)


TARGETS: dict[str, Target] = {
    "extraction": extraction,
    "index": _decoding("index", tampering.indexes),
    "spans": _decoding("spans", tampering.spans),
    "text": _decoding("text", tampering.texts, hash="0" * 64, pieces=PIECES),
    "catalog": catalog,
    "metadata": metadata,
}


def fuzz(target: str, seconds: float, seed: int, most: int | None = None) -> Tally:
    """Fuzzes one target until the time is up, or so many executions are done."""
    tally, end = Tally(target), time.monotonic() + seconds
    TARGETS[target](
        tally,
        random.Random(f"{seed} {target}"),
        lambda: time.monotonic() < end and (most is None or tally.executions < most),
    )
    return tally


def main(seconds: float = 60, target: list[str] | None = None, seed: int = 1) -> None:
    """Fuzzes each target for so many seconds. Exits with 1 when one crashed."""
    tallies = []
    for each in target or TARGETS:
        tallies.append(fuzz(each, seconds, seed))
        print(tallies[-1], flush=True)
    if any(tally.crashes for tally in tallies):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
