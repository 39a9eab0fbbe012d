"""Looks at every state the model can reach, breadth first, and so finds the shortest way to each kind of violation.

`python -m tests.protocol.explore` explores the long form of every scenario and prints how many states and steps there
were; `--steps` prints which line of code each step is; `--mistakes` what is found when the model is made wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from tests.protocol import adding, collecting
from tests.protocol.code import table
from tests.protocol.invariants import Recovery, changed_files, is_quiet, violations
from tests.protocol.scenarios import LONG, MISTAKES
from tests.protocol.world import DEAD, DONE, START, TORN, Process, Scenario, World

_STEPS = {
    "add": adding.steps,
    "collect": collecting.steps,
    "search": collecting.search,
    "read": collecting.read,
}


@dataclass
class Found:
    """What an exploration saw."""

    states: int = 0
    steps: int = 0
    quiet: int = 0
    """States in which nobody runs; from each, collect was run to its end."""
    labels: Counter[str] = field(default_factory=Counter)
    violation: str = ""
    trace: list[str] = field(default_factory=list)
    complete: bool = True
    """Whether every reachable state was looked at."""
    seconds: float = 0.0


def successors(w: World) -> Iterator[tuple[str, World]]:
    """Every state one step away: a step of a process, a kill, a power loss."""
    for pid, kind in enumerate(w.scenario.kinds):
        for label, after in _STEPS[kind](w, pid):
            yield f"{pid} {label}", after
    for label, after in collecting.remove(w):
        yield f"- {label}", after
    if w.kills:
        for pid, proc in enumerate(w.procs):
            if proc[0] not in (START, DONE, DEAD) and w.scenario.kinds[pid] in ("add", "collect"):
                after = w.copy()
                after.kills -= 1
                after.kill(pid)
                yield f"{pid} kill", after
    if w.powers:
        for after in w.power_losses():
            yield "- power", after


def explore(scenario: Scenario, most: int = sys.maxsize) -> Found:
    """All states of a scenario, until a violation is found or `most` states were seen."""
    began = time.monotonic()
    found, recovery, groups = Found(), Recovery(), symmetries(scenario)
    start = World(scenario)
    parents = {_digest(start, groups): 0}
    level = [start]
    while level and not found.violation:
        following: list[World] = []
        for w in level:
            if broken := _look(w, parents, following, groups, found, recovery):
                found.violation, found.trace = broken[0], _trace(start, broken[1], parents, groups)
                break
        if len(parents) > most:
            found.complete = False
            break
        level = following
    found.states, found.seconds = len(parents), time.monotonic() - began
    return found


def _look(
    w: World,
    parents: dict[int, int],
    following: list[World],
    groups: list[list[int]],
    found: Found,
    recovery: Recovery,
) -> tuple[str, World] | None:
    """Checks a state and every step out of it. Returns what is wrong, and where."""
    if is_quiet(w):
        found.quiet += 1
        if (left := recovery.unreclaimed(w)) is not None:
            return left, w
    moved = False
    here = _digest(w, groups)
    for label, after in successors(w):
        found.steps += 1
        found.labels[label.partition(" ")[2]] += 1
        moved = moved or not label.endswith(("kill", "power"))
        key = _digest(after, groups)
        if key not in parents:
            parents[key] = here
            following.append(after)
            broken = [*violations(after), *changed_files(w, after)]
            if broken:
                return broken[0], after
    if not moved and not all(proc[0] in (DONE, DEAD) for proc in w.procs):
        return "deadlock: nobody can go on", w
    return None


# -- symmetry ---------------------------------------------------------------------------------------------------------


def symmetries(scenario: Scenario) -> list[list[int]]:
    """Groups of processes that may be renumbered among themselves: collectors, and adders of one document.

    Adders may be exchanged with their workspaces when nobody else names those.
    """
    groups: dict[object, list[int]] = {}
    taken = [workspace for _, workspace in (*scenario.stored, *scenario.adders)] + [*scenario.searchers]
    for pid, kind in enumerate(scenario.kinds):
        if kind == "collect":
            groups.setdefault(kind, []).append(pid)
        elif kind == "add":
            document, workspace = scenario.adders[scenario.number(pid)]
            if taken.count(workspace) == 1:
                groups.setdefault((kind, document), []).append(pid)
    return [group for group in groups.values() if len(group) > 1]


def _digest(w: World, groups: list[list[int]]) -> int:
    """Names a state and those that only call processes by other numbers: each group's are sorted by what they do.

    Where two do the same, either order may come out. Such states are then looked at twice, which costs only time.
    """
    if not groups:
        return int.from_bytes(blake2b(w.key(), digest_size=8).digest())
    order = list(range(len(w.procs)))
    for group in groups:
        rank = {pid: repr((w.procs[pid], w.scratch[pid])) for pid in group}
        for pid, old in zip(group, sorted(group, key=rank.__getitem__), strict=True):
            order[pid] = old
    same = all(pid == old for pid, old in enumerate(order))
    key = w.key() if same else _renumbered(w, order).key()
    return int.from_bytes(blake2b(key, digest_size=8).digest())


def _renumbered(w: World, order: list[int]) -> World:
    """The same state with process order[i] called i."""
    adders = w.scenario.adders
    new = w.copy()
    to = {old: pid for pid, old in enumerate(order)}
    new.procs = [_renamed(w.procs[old], to, w.scenario.kinds[old]) for old in order]
    new.scratch = [w.scratch[old] for old in order]
    new.lock = to[w.lock - 1] + 1 if w.lock else 0
    new.claims = [to[owner - 1] + 1 if owner else 0 for owner in w.claims]
    new.index = [_version(version, to) for version in w.index]
    new.now = [_version(version, to) for version in w.now]
    new.inside = [_versions(bits, to) for bits in w.inside]
    new.outside = [_versions(bits, to) for bits in w.outside]
    for document, refs in enumerate(w.refs):
        for old, pid in to.items():
            if old < len(adders) and pid != old:
                bit = refs >> adders[old][1] & 1
                new.refs[document] = new.refs[document] & ~(1 << adders[pid][1]) | bit << adders[pid][1]
    return new


def _version(version: int, to: dict[int, int]) -> int:
    return to[version - 2] + 2 if 2 <= version < TORN else version


def _versions(bits: int, to: dict[int, int]) -> int:
    return sum(1 << _version(version, to) for version in range(TORN + 1) if bits >> version & 1)


def _renamed(proc: Process, to: dict[int, int], kind: str) -> Process:
    """A process's variables that name processes: versions of sub-indexes in open transactions and in searches."""
    if kind == "add" and proc[0] == adding.FILES:
        status, index, *rest = proc[7]
        return (*proc[:7], (status, tuple(_version(each, to) for each in index), *rest), *proc[8:])
    if kind == "collect" and proc[0] == collecting.UNLINK:
        operations, status, index = proc[5]
        return (*proc[:5], (operations, status, tuple(_version(each, to) for each in index)))
    if kind == "search" and len(proc) == 4:
        return (*proc[:3], tuple(_version(each, to) for each in proc[3]))
    return proc


def _trace(start: World, end: World, parents: dict[int, int], groups: list[list[int]]) -> list[str]:
    """The steps that lead to a state, found again by walking the digests back and the model forth."""
    chain = [_digest(end, groups)]
    while parents[chain[-1]]:
        chain.append(parents[chain[-1]])
    trace, w = [], start
    for wanted in reversed(chain[:-1]):
        label, w = next((label, after) for label, after in successors(w) if _digest(after, groups) == wanted)
        trace.append(label)
    return trace


# -- command line -----------------------------------------------------------------------------------------------------


def report(scenario: Scenario, found: Found) -> str:
    """One line, and the way to the violation if there was one."""
    verdict = found.violation or ("no violation" if found.complete else "no violation, and not at its end")
    title = f"{scenario.name}{': ' + scenario.variation if scenario.variation else ''}"
    line = f"{title:60} {found.states:10,} states {found.steps:11,} steps {found.quiet:9,} quiet"
    trace = "".join(f"\n    {step}" for step in found.trace)
    return f"{line} {found.seconds:7.1f} s  {verdict}{trace}"


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", action="store_true", help="print which line of code each step is")
    parser.add_argument("--mistakes", action="store_true", help="explore the model made wrong, in every way")
    parser.add_argument("--scenario", help="only the scenario of this name")
    parser.add_argument("--most", type=int, default=sys.maxsize, help="states to look at, at most, in each scenario")
    for name in ("removals", "collectors", "kills", "powers", "errors"):
        parser.add_argument(f"--{name}", type=int, help="instead of the scenario's own number")
    arguments = parser.parse_args()
    if arguments.steps:
        print(table())
        return 0
    chosen = [scenario for scenario, _ in MISTAKES] if arguments.mistakes else LONG
    changes = {
        name: value
        for name in ("removals", "collectors", "kills", "powers", "errors")
        if (value := getattr(arguments, name)) is not None
    }
    failed = False
    for scenario in chosen:
        if arguments.scenario in (None, scenario.name):
            found = explore(replace(scenario, **changes), arguments.most)
            print(report(scenario, found), flush=True)
            failed = failed or bool(found.violation) != arguments.mistakes
    return int(failed)


if __name__ == "__main__":
    sys.exit(_main())
