"""The fuzzers' short form: the long one is `python -m tests.hostile.fuzz --seconds 600`."""

from __future__ import annotations

import os

import pytest

from tests.hostile.fuzz import TARGETS, fuzz

MOST = {"extraction": 60, "index": 150, "spans": 100, "text": 60, "catalog": 8, "metadata": 2000}
FACTOR = 20 if os.environ.get("DOCSTORE_TESTS") == "long" else 1


@pytest.mark.parametrize("target", TARGETS)
def test_each_target(target: str) -> None:
    tally = fuzz(target, seconds=900, seed=3, most=MOST[target] * FACTOR)
    assert tally.crashes == []
    assert tally.executions == MOST[target] * FACTOR
    # Of indexes and spans nothing is accepted but what was written: every mutant is refused.
    assert len(tally.outcomes) >= (1 if target in ("index", "spans") else 2), tally
