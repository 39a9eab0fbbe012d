"""Mutants, the short form of `python -m tests.mutants.run`: all still apply, and some are really killed."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import pytest

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.run import REST, judge, run_tests
from tests.mutants.table import MUTANTS

ALL = [*MUTANTS, *(each.mutant for each in EQUIVALENT)]

REALLY = (
    "staged-files-not-synced",
    "begin-deferred",
    "sweep-without-lock",
    "takeover-asks-for-no-sweep",
    "collection-trusts-the-count",
)
"""Run here too: a sync, a lock of the catalog, a lock of a file, a note for the next collection, a second look."""


@pytest.mark.parametrize("mutant", ALL, ids=[each.name for each in ALL])
def test_it_still_applies_and_compiles(mutant: Mutant) -> None:
    text = mutant.edited()
    assert text != (ROOT / "src" / "docstore" / mutant.file).read_text(encoding="utf-8")
    compile(text, mutant.file, "exec")


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of a file's tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))


@pytest.mark.parametrize("mutant", MUTANTS, ids=[each.name for each in MUTANTS])
def test_its_killers_exist(mutant: Mutant) -> None:
    assert mutant.killers and mutant.breaks
    for killer in mutant.killers:
        file, _, name = killer.partition("::")
        assert not name or name.rpartition("::")[2] in names_in(ROOT / file)


def test_names_are_unique_and_the_rest_exists() -> None:
    assert len({each.name for each in ALL}) == len(ALL)
    assert all((ROOT / file).is_file() for file in REST)


def test_some_are_really_killed() -> None:
    mutants = [each for each in MUTANTS if each.name in REALLY]
    with ThreadPoolExecutor(2) as pool:
        killed = {verdict.mutant.name for verdict in pool.map(partial(judge, rest=False), mutants) if verdict.killer}
    assert killed == set(REALLY)


def test_an_unharmed_library_kills_nothing(tmp_path: Path) -> None:
    (mutant,) = [each for each in MUTANTS if each.name == REALLY[0]]
    assert run_tests(ROOT / "src", mutant.killers, tmp_path, 60)[0] == ""
