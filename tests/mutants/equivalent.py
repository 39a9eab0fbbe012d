"""Edits that change nothing a promise covers, and why: they are not in the table, and the code they touch is optional.

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


_ADDING = ("tests/test_forced_races.py", "tests/test_claims.py", "tests/test_collect.py", "tests/test_subindex.py",
           "tests/test_demand_bytes.py", "tests/test_documents.py")  # fmt: skip
_COLLECTING = ("tests/test_forced_races.py", "tests/test_collect.py", "tests/test_durability.py")
_CATALOG = ("tests/test_catalog_locks.py", "tests/test_claims.py", "tests/test_collect.py")

_DURABILITY = ("tests/test_durability.py",)
_READONLY = ("tests/test_readonly.py",)
_REPAIR = ("tests/test_repair.py",)

EQUIVALENT: tuple[Equivalent, ...] = (
    _edit(
        "full-fsync-unknown", "durable.py",
        'full = getattr(fcntl, "F_FULLFSYNC", None)',
        "full = None",
        _DURABILITY,
        "Only macOS has F_FULLFSYNC; there the edit is real, and no test here can see it.",
    ),
    _edit(
        "failed-writes-not-rolled-back", "database.py",
        "                    if connection.in_transaction:\n"
        '                        connection.execute("ROLLBACK")\n'
        "                    raise",
        "                    raise",
        _CATALOG,
        "An exception closes the connection a moment later (`_connection`), which rolls back.",
    ),
    _edit(
        "log-compared-once", "frozen.py",
        "state.log is None or now[3] != state.log[3] or log[:_HEADER] != state.log[3]:",
        "state.log is None or now[3] != state.log[3]:",
        _READONLY,
        "Salts never return: if the log had been begun anew before it was read, `now` differs too.",
    ),
    _edit(
        "settled-whatever-was-asked-meanwhile", "lifecycle/collect.py",
        "        if claims.sweeps(db)[0] == wanted:\n            claims.sweep_done",
        "        if True:\n            claims.sweep_done",
        _COLLECTING,
        "sweep_done takes the number that was met: more requests than that are still due without the condition.",
    ),
    _edit(
        "sweeps-done-may-fall", "claims.py",
        "sweeps_done = max(sweeps_done, ?)",
        "sweeps_done = ?",
        _COLLECTING,
        "`_settle` calls it only with all that was ever asked for, which no earlier number exceeds.",
    ),
    _edit(
        "doomed-references-refused-once", "schema.py",
        "WHEN (SELECT doomed FROM documents WHERE id = NEW.document_id)",
        "WHEN 0",
        _CATALOG,
        "The CHECK (doomed = 0 OR refcount = 0) refuses the same insert, since a trigger counts it.",
    ),
    _edit(
        "lost-texts-are-built-upon", "ingest/add.py",
        "        return text if text is not None and self._parts.text_is_intact(text) else None",
        "        return text",
        _ADDING,
        "What extraction gave is at hand: publishing looks again, writes a lost text, and reaps a condemned one.",
    ),
    _edit(
        "condemned-texts-look-intact", "parts.py",
        "        return not text.condemned and self.texts",
        "        return self.texts",
        _ADDING,
        "Every caller has asked before whether a document that has the text is live, or asks again when publishing.",
    ),
    _edit(
        "restored-though-collected", "lifecycle/repair.py",
        "        if text is None or text.condemned:\n            return  # collected",
        "        if text is None:\n            return  # collected",
        _REPAIR,
        "A file that is restored for a doomed row goes with that row.",
    ),
    _edit(
        "rows-deleted-before-files", "lifecycle/collect.py",
        "        _unlink(parts.documents, document.hash, document.suffix, touched)\n"
        "        # A condemned text's files may go, and its row after the last of its documents' rows.\n"
        "        last = contents.is_last_of_text(db, document)\n",
        "        last = contents.is_last_of_text(db, document)\n"
        "        _unlink(parts.documents, document.hash, document.suffix, touched)\n",
        _COLLECTING,
        "Both are in one transaction that a crash rolls back, and the rows stay doomed.",
    ),
    _edit(
        "directories-noted-before-the-rename", "durable.py",
        "        os.replace(staged, target)\n"
        "        self._placed.append((target, keep))\n",
        "        self._placed.append((target, keep))\n"
        "        os.replace(staged, target)\n",
        _ADDING,
        "`undo` ignores what is not there.",
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
