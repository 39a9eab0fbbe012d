"""Edits that change nothing a promise covers, and why: they are not in the table. None of them removes code.

`python -m tests.mutants.equivalent` runs each against the tests of its part, which must stay green.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from tests.mutants.mutant import Mutant
from tests.mutants.run import judge


@dataclass(frozen=True, slots=True)
class Equivalent:
    """An edit and why it is harmless."""

    mutant: Mutant
    reason: str


def _edit(name: str, file: str, old: str, new: str, suite: tuple[str, ...], reason: str) -> Equivalent:
    return Equivalent(Mutant(name, file, old, new, "nothing", suite), reason)


_COLLECTING = ("tests/test_forced_races.py", "tests/test_collect.py", "tests/test_durability.py")

_DURABILITY = ("tests/test_durability.py",)

EQUIVALENT: tuple[Equivalent, ...] = (
    _edit(
        "full-fsync-unknown", "durable.py",
        'full = getattr(fcntl, "F_FULLFSYNC", None)',
        "full = None",
        _DURABILITY,
        "Only macOS has F_FULLFSYNC; there the edit is real, and no test here can see it.",
    ),
    _edit(
        "rows-deleted-before-files", "reap.py",
        "        _unlink(parts.documents, document.hash, document.suffix, touched)\n"
        "        # A condemned text's files may go, and its row after the last of its documents' rows.\n"
        "        last = contents.is_last_of_text(db, document)\n",
        "        last = contents.is_last_of_text(db, document)\n"
        "        _unlink(parts.documents, document.hash, document.suffix, touched)\n",
        _COLLECTING,
        "Both are in one transaction that a crash rolls back, and the rows stay doomed.",
    ),
)  # fmt: skip


def main() -> int:
    killed = 0
    for each in EQUIVALENT:
        verdict = judge(each.mutant, rest=False)
        print(verdict, each.reason, sep="\n    ", flush=True)
        killed += bool(verdict.killer)
    return int(killed > 0)


if __name__ == "__main__":
    sys.exit(main())
