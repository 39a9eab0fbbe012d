"""The protocol's model: no interleaving and no crash breaks an invariant, and each mistake would be found.

The short form; `python -m tests.protocol.explore` is the long one.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.protocol.code import LINES, Line
from tests.protocol.explore import explore, report
from tests.protocol.scenarios import MISTAKES, SHORT
from tests.protocol.world import Scenario

_taken: dict[str, Counter[str]] = {}


@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.name)
def test_no_interleaving_and_no_crash_breaks_an_invariant(scenario: Scenario) -> None:
    found = explore(scenario)
    print(report(scenario, found))
    assert found.complete
    assert not found.violation, report(scenario, found)
    assert found.quiet > 50
    _taken[scenario.name] = found.labels


@pytest.mark.parametrize(("scenario", "breaks"), MISTAKES, ids=[scenario.variation for scenario, _ in MISTAKES])
def test_each_mistake_is_found(scenario: Scenario, breaks: str) -> None:
    found = explore(scenario)
    assert found.violation.startswith(breaks), report(scenario, found)


@pytest.mark.parametrize("step", LINES)
def test_each_step_is_a_line_of_code(step: str) -> None:
    missing = [line for line in LINES[step] if line.number() is None]
    assert not missing, "the code has changed, or the model is ahead of it"


def test_a_line_that_is_not_there_is_missed() -> None:
    assert Line("durable.py", "Publication.sync", "_all_at_once(sync_directory, ").number()
    assert Line("durable.py", "Publication.place", "_all_at_once(sync_directory, ").number() is None
    assert Line("durable.py", "Publication.nowhere", "_all_at_once(sync_directory, ").number() is None


def test_the_table_holds_the_steps_that_the_model_takes() -> None:
    # Those that another process explored, or nobody did, where this test runs alone, once more.
    labels = [_taken[each.name] if each.name in _taken else explore(each).labels for each in SHORT]
    assert set().union(*labels) - {"kill", "power"} == set(LINES)
