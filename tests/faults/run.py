"""The long form: `python -m tests.faults.run [--operation add] [--errno ENOSPC]`. Every call with every error.

Prints how many faults there were for every operation and error, then what went wrong, grouped by cause.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.faults.operations import OPERATIONS
from tests.syscalls.interpose import environment

ERRORS = ("ENOSPC", "EIO", "EMFILE", "EACCES", "EINTR", "ENOLCK")
WHAT = (*ERRORS, "SIGKILL")

Job = dict[str, Any]


def job(operation: str, what: str, forever: bool = False, every: int = 1, first: int = 1) -> Job:
    """Spoils every `every`-th call, from the `first` on."""
    return {"operation": operation, "what": what, "forever": forever, "every": every, "first": first}


def everything(operations: Sequence[str], whats: Sequence[str]) -> list[Job]:
    """All there is. A signal that interrupts for ever is none: EINTR comes once."""
    return [
        job(operation, what, forever)
        for operation in operations
        for what in whats
        for forever in (False, True)
        if not (forever and what in ("EINTR", "SIGKILL"))
    ]


def run(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """What each job found, as it ends. In memory where there is a file system for that."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        command = [sys.executable, "-m", "tests.faults.driver", folder, json.dumps(list(jobs))]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            done = 0
            for line in process.stdout:
                done += 1
                yield json.loads(line)
        if process.returncode or done < len(jobs):
            raise RuntimeError(f"the driver ended with {process.returncode} after {done} of {len(jobs)} jobs, "
                               f"in {jobs[min(done, len(jobs) - 1)]}")  # fmt: skip


def line(found: dict[str, Any]) -> str:
    """One job's counts."""
    text = f"{found['operation']:17} {found['what']:16} {found['faults']:5} faults {found['seconds']:6.1f} s"
    undecided = f", {found['undecided']} commits that raised were there" if found["undecided"] else ""
    return f"{text}  {sum(each['times'] for each in found['problems'])} problems{undecided}"


def _brief(trace: str) -> str:
    """The library's own frames, and the errors."""
    lines = trace.splitlines()
    return "\n".join(each for each in lines if "/src/docstore/" in each or (each[:1].strip() and ":" in each))


def _main() -> int:
    parser = argparse.ArgumentParser(description="Spoils every system call of every operation.")
    parser.add_argument("--operation", choices=OPERATIONS, action="append")
    parser.add_argument("--errno", choices=WHAT, action="append")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th call")
    arguments = parser.parse_args()
    jobs = everything(arguments.operation or list(OPERATIONS), arguments.errno or WHAT)
    causes: dict[str, tuple[int, str, str]] = {}
    faults = 0
    for found in run([{**each, "every": arguments.every} for each in jobs]):
        print(line(found), flush=True)
        faults += found["faults"]
        for each in found["problems"]:
            times, fault, trace = causes.get(each["cause"], (0, each["fault"], each["trace"]))
            causes[each["cause"]] = (times + each["times"], fault, trace)
    print(f"\n{faults:,} faults, {len(causes)} causes of problems")
    for cause, (times, fault, trace) in sorted(causes.items(), key=lambda item: -item[1][0]):
        print(f"\n== {times} times: {cause}\n   first: {fault}\n{_brief(trace)}")
    return int(bool(causes))


if __name__ == "__main__":
    sys.exit(_main())
