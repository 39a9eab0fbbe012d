"""The verdict on a store that was tampered with: what its calls did that they must not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.hostile.contained import Contained, Outcome
from tests.hostile.stored import Victim

PEAK = 700 << 20
"""Bytes that may be resident: the library takes 70 MB, and the largest thing a test stores is 40 MB."""


def judge(
    contained: Contained, victim: Victim, work: Path, tamper: Callable[[Victim], None], *, adds: bool = False
) -> tuple[list[str], Outcome]:
    """Tampers with a copy of the store, tries every call on it, and returns all that is wrong with what they did."""
    copy = victim.copy(work)
    try:
        outside = copy.outside()
        tamper(copy)
        outcome = contained.run("explore", seconds=12, folder=str(copy.folder), adds=adds, hashes=copy.hashes)
        complaints = [] if outcome.ended == "returned" else [f"it ended by {outcome.ended}: {outcome.answer}"]
        if outcome.ended == "returned":
            complaints += outcome.answer["bare"] + outcome.answer["guard"]
        if outcome.peak > PEAK:
            complaints.append(f"it took {outcome.peak >> 20} MB")
        if copy.outside() != outside:
            complaints.append("a file outside of the store was changed")
        return complaints, outcome
    finally:
        shutil.rmtree(work)
