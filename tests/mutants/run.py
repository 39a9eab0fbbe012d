"""Applies one mutant at a time to a copy of the library, and expects tests to fail.

`python -m tests.mutants.run [--only NAME…] [--jobs 2] [--out FILE]`. First the killers must be green on the library as
it is. Then, for every mutant, its killers run, and if none fails the rest of the suite that is about the protocol.
Prints one line for each; exits with 1 when one survived.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant, copy_source
from tests.mutants.table import MUTANTS

REST = (
    "tests/test_durability.py",
    "tests/test_forced_races.py",
    "tests/test_catalog_locks.py",
    "tests/test_forking.py",
    "tests/test_schema.py",
    "tests/test_claims.py",
    "tests/test_collect.py",
    "tests/test_scratch.py",
    "tests/test_refcount.py",
    "tests/test_subindex.py",
    "tests/test_search.py",
    "tests/test_verify.py",
    "tests/test_repair.py",
    "tests/test_readonly.py",
    "tests/test_demand_bytes.py",
    "tests/test_documents.py",
    "tests/test_add_many.py",
    "tests/test_stats.py",
    "tests/test_state_machine.py",
    "tests/test_processes.py",
    "tests/test_crash_images.py",
    "tests/test_faults.py",
)
"""Tried when no killer failed. Not the model's comparison with the code: it notices any edit, harmful or not."""

UNEVEN = "not test_writers_of_other_processes_get_their_turn and not cost_no_more"
"""Tests that measure time fail on a busy machine without a mutant's help."""

KILLER_SECONDS = 90
REST_SECONDS = 1800
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    killer: str
    """The test that failed; empty for a survivor."""
    seconds: float
    output: str = ""

    def __str__(self) -> str:
        fate = f"killed by {self.killer}" if self.killer else "SURVIVED"
        return f"{self.mutant.name:45} {self.seconds:6.1f} s  {fate}"


class BrokenRunError(Exception):
    """Pytest could not run the tests at all: that kills no mutant."""


def judge(mutant: Mutant, *, rest: bool = True) -> Verdict:
    """Runs the killers on the mutated library; if they are green and `rest` says so, all that is about the protocol."""
    with tempfile.TemporaryDirectory(prefix="mutant-", dir=_memory()) as folder:
        source = copy_source(Path(folder), mutant)
        began = time.monotonic()
        killer, output = run_tests(source, mutant.killers, Path(folder), KILLER_SECONDS)
        if not killer and rest:
            killer, output = run_tests(source, REST, Path(folder), REST_SECONDS)
        return Verdict(mutant, killer, time.monotonic() - began, output)


def run_tests(source: Path, tests: Sequence[str], folder: Path, seconds: float) -> tuple[str, str]:
    """The first test that fails with the library in `source`, or an empty string; and what pytest printed.

    Raises:
        BrokenRunError: pytest did not get as far as a test.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=short", "-k", UNEVEN,
               f"--basetemp={folder / 'tests'}", *tests]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(source), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own children too: they would hold the pipe open
            process.communicate()
            return f"timeout: {' '.join(tests)} took more than {seconds:.0f} s", ""
    if process.returncode == 0:
        return "", output
    failed = _FAILED.search(output)
    if process.returncode != 1 or failed is None:
        raise BrokenRunError(f"pytest ended with {process.returncode}:\n{output}")
    return failed[1], output


def _memory() -> str | None:
    # fsync costs nothing there, and whether it is called does not depend on the disk.
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def red_without_mutant(mutants: Sequence[Mutant]) -> str:
    """A killer that fails on the library as it is, which would prove nothing; or an empty string."""
    killers = sorted({killer for mutant in mutants for killer in mutant.killers})
    with tempfile.TemporaryDirectory(prefix="mutant-", dir=_memory()) as folder:
        failed, output = run_tests(copy_source(Path(folder), None), killers, Path(folder), REST_SECONDS)
        if failed:
            print(output)
        return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the tests against every mutant.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants, not all")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--out", type=Path, help="also write the lines to this file")
    parser.add_argument("--killers-only", action="store_true", help="do not try the rest of the suite")
    parser.add_argument("--trust", action="store_true", help="do not run the killers on the library as it is")
    parser.add_argument("--show", action="store_true", help="print what pytest printed for survivors")
    arguments = parser.parse_args()
    mutants = [each for each in MUTANTS if not arguments.only or each.name in arguments.only]
    unknown = set(arguments.only or ()) - {each.name for each in mutants}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    if not arguments.trust and (red := red_without_mutant(mutants)):
        print(f"{red} fails without any mutant")
        return 1
    lines, survivors = [], []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for verdict in pool.map(lambda mutant: judge(mutant, rest=not arguments.killers_only), mutants):
            lines.append(str(verdict))
            print(lines[-1], flush=True)
            if not verdict.killer:
                survivors.append(verdict.mutant.name)
                if arguments.show:
                    print(verdict.output)
    lines.append(f"{len(mutants)} mutants, {len(mutants) - len(survivors)} killed, {len(survivors)} survived "
                 f"{survivors or ''} in {time.monotonic() - began:.0f} s")  # fmt: skip
    print(lines[-1])
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
