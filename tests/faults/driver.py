"""What runs under the shim: `python -m tests.faults.driver FOLDER JOBS`. Prints a line of JSON for every job."""

from __future__ import annotations

import errno
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.spoiled import Bench, Fault, Problem

_MOST = 5000  # calls of one operation; more would be a loop
_HANGS = 1  # in one job; the next would show nothing new and cost seconds


def spoil(bench: Bench, operation: str, what: str, forever: bool, every: int, first: int) -> dict[str, Any]:
    """Every call of an operation in turn, or every so many-th beginning with `first`."""
    began = time.monotonic()
    faults, causes = 0, Counter[str]()
    examples: dict[str, Problem] = {}
    undecided = bench.undecided
    nth = first
    for nth in range(first, _MOST, every):
        reached, problems = _one(bench, operation, what, forever, nth)
        if not reached:
            break
        faults += 1
        for cause in {problem.cause: problem for problem in problems}.items():
            causes[cause[0]] += 1
            examples.setdefault(*cause)
        if sum(times for cause, times in causes.items() if "Hang" in cause) >= _HANGS:
            break
    return {
        "operation": operation,
        "what": what + (" for ever" if forever else ""),
        "faults": faults,
        "calls": nth - 1,
        "seconds": time.monotonic() - began,
        "undecided": bench.undecided - undecided,
        "problems": [
            {"cause": cause, "times": times, "fault": examples[cause].fault, "trace": examples[cause].trace}
            for cause, times in causes.items()
        ],
    }


def _one(bench: Bench, operation: str, what: str, forever: bool, nth: int) -> tuple[bool, list[Problem]]:
    if what != "SIGKILL":
        return bench.run(Fault(operation, nth, getattr(errno, what), forever))
    reached, problems = bench.kill(Fault(operation, nth))
    if reached:
        problems += bench.kill(Fault(operation, nth, after=True))[1]
    return reached, problems


def main() -> None:
    """Runs what it is asked for."""
    bench = Bench(Path(sys.argv[1]))
    for job in json.loads(sys.argv[2]):
        print(json.dumps(spoil(bench, **job)), flush=True)


if __name__ == "__main__":
    main()
