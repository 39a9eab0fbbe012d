"""One run of one operation with one fault, and every check that follows it. Runs under the interposer's shim."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from docstore import DocStore, DocStoreError
from docstore import store as store_module
from docstore.ingest import extractor as extractor_module
from docstore.ingest.extractor import Extractor
from docstore.ingest.limits import Limits
from tests.faults.operations import OPERATIONS, Operation, Partial, State, build, open_store, snapshot
from tests.folders import files, query
from tests.syscalls.interpose import Event, Interposer, Kind

_HANGS_AFTER = 3.0  # seconds; a run takes some 20 ms
_ADVICE = re.compile(r"try again|[Cc]heck|[Rr]estore|[Ff]ree|[Rr]un `|[Uu]pgrade|[Rr]aise|[Oo]pen|[Aa]dd |[Rr]emove")
_KEPT = {"reserve"}
"""Files at the top that belong to the store, not to documents."""

_INTERRUPTIBLE = {Kind.OPEN, Kind.CLOSE, Kind.READ, Kind.WRITE, Kind.SYNC, Kind.TRUNCATE, Kind.ALLOCATE}
"""What Linux's manual says a signal may interrupt; looking at names and changing them it may not."""


class Hang(BaseException):
    """The watchdog's."""


@dataclass
class Problem:
    """Something that the library must not do."""

    kind: str
    detail: str
    fault: str
    trace: str = ""

    @property
    def cause(self) -> str:
        """What problems with one cause have in common."""
        lines = [line.strip() for line in self.trace.splitlines() if "/src/docstore/" in line]
        where = re.sub(r'^File ".*/src/docstore/(.*)", line (\d+), in (.*)$', r"\1:\2 \3", lines[-1]) if lines else ""
        detail = re.sub(r"/\S*/store\b", "FOLDER", re.sub(r"[0-9a-f]{16,}", "…", self.detail))
        detail = re.sub(r"\[Errno \d+\] [A-Za-z ]*:", "", detail)
        return f"{self.kind} | {detail[:160]} | {where}"


@dataclass
class Fault:
    """What is spoiled in a run."""

    operation: str
    nth: int
    error: int = 0
    forever: bool = False
    after: bool = False
    """Of a kill: right after the call instead of before it."""

    def __str__(self) -> str:
        what = errno.errorcode[self.error] if self.error else "SIGKILL " + ("after" if self.after else "before")
        return f"{self.operation} call {self.nth} {what}{' for ever' if self.forever else ''}"


@dataclass
class Bench:
    """Pristine stores, and what each operation does to them when nothing goes wrong."""

    root: Path
    calls: Interposer = field(default_factory=Interposer)
    effects: dict[str, tuple[State, State, Any]] = field(default_factory=dict)
    undecided: int = 0
    """Commits that raised and are there all the same."""

    def __post_init__(self) -> None:
        share_workers()
        self.pristine, self.folder = self.root / "pristine", self.root / "store"
        build(self.pristine)

    def restore(self, operation: Operation) -> None:
        """The folder as the operation finds it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if not operation.empty:
            shutil.copytree(self.pristine, self.folder)

    def effect(self, name: str) -> tuple[State, State, Any]:
        """Before, after, and the result, without a fault."""
        if name not in self.effects:
            self.restore(OPERATIONS[name])
            before = snapshot(self.folder)
            with open_store(self.folder) as store:
                result = OPERATIONS[name].run(store)
            self.effects[name] = before, snapshot(self.folder), result
        return self.effects[name]

    # -- errors -------------------------------------------------------------------------------------------------------

    def run(self, fault: Fault) -> tuple[bool, list[Problem]]:
        """Whether the fault's call was reached at all, and what went wrong."""
        operation = OPERATIONS[fault.operation]
        before, after, expected = self.effect(fault.operation)
        self.restore(operation)
        descriptors = _descriptors()
        problems: list[Problem] = []
        self.calls.track(self.folder)
        self.calls.record(everything=True)
        store = None if operation.opens else open_store(self.folder)
        self.calls.take_log()
        caught: BaseException | None = None
        result: Any = None
        # SQLite locks and unlocks through one call, and unlocking does not fail on local disks: if it did, SQLite would
        # wait 10 s and give up. So only our own locks are spoiled, by the one error that they know.
        locks = fault.error == errno.ENOLCK
        kinds, path = ({Kind.LOCK}, ".lock") if locks else (set(Kind) - {Kind.LOCK}, "")
        if fault.error == errno.EINTR:
            kinds = _INTERRUPTIBLE
        self.calls.fail(fault.nth, fault.error, kinds=kinds, path=path, forever=fault.forever)
        try:
            with _watchdog():
                store = store or open_store(self.folder)
                result = operation.run(store)
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is judged)
            caught = error
        fired = self.calls.fired
        self.calls.disarm()
        spoiled = [event for event in self.calls.take_log() if event.error == fault.error]
        self.calls.track(None)
        where = f"{fault} ({_called(spoiled)})"
        if fired:
            problems += _judged(caught, result, expected, fault, where)
            if not (caught and operation.gradual and _between(before, snapshot(self.folder), after)):
                problems += _later(where, lambda: self._effects(caught, before, after, spoiled))
            problems += _later(where, lambda: self._goes_on(fault.operation, store, caught))
        if store is not None:
            store.close()
        caught = result = store = None
        if fired:
            problems += _later(where, lambda: _nothing_stays(self.folder))
            problems += _descriptors_that_stay(descriptors, where)
        return bool(fired), problems

    def _effects(
        self, caught: BaseException | None, before: State, after: State, spoiled: list[Event]
    ) -> Iterator[str]:
        """The workspaces hold what they held before or, after a success, what they should."""
        now = snapshot(self.folder)
        if isinstance(caught, Partial):
            added = {document.hash for document in (*caught.report.added, *caught.report.reused)}
            missing = added - {reference[0] for reference in now["bob"]}
            if missing:
                yield f"effect: reported as added and missing: {missing}"
        elif caught is not None and now == after != before and _is_commit(spoiled):
            self.undecided += 1
        elif now != (after if caught is None else before) and (caught is None or any(now.values())):
            did, part = "raised" if caught else "succeeded", "its" if now == after else "a part of its"
            yield f"effect: it {did} and has {part} effect"

    def _goes_on(self, name: str, store: DocStore | None, caught: BaseException | None) -> Iterator[str]:
        """With the fault gone, the same handle works, and the operation does what it is for."""
        _, after, expected = self.effect(name)
        with store or open_store(self.folder) as handle:
            report = handle.verify()
            if not report.ok:
                yield f"verify finds {report.problems}"
            if caught is not None and snapshot(self.folder) != after:
                if OPERATIONS[name].run(handle) != expected and name not in ("collect", "collect-dry", "verify"):
                    yield "trying again gives something else"
                if snapshot(self.folder) != after:
                    yield "trying again has another effect"

    # -- kills --------------------------------------------------------------------------------------------------------

    def kill(self, fault: Fault) -> tuple[bool, list[Problem]]:
        """The same with SIGKILL, in a forked child."""
        operation = OPERATIONS[fault.operation]
        before, after, _ = self.effect(fault.operation)
        self.restore(operation)
        child = os.fork()
        if child == 0:
            self._be_killed(fault, operation)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return False, [] if status == 0 else [Problem("child", f"status {status}", str(fault))]
        problems = []
        now = snapshot(self.folder)
        if now not in (before, after) and not (operation.gradual and _between(before, now, after)):
            problems.append(Problem("effect", f"killed, and there is {_difference(before, now)}", str(fault)))
        problems += _later(str(fault), lambda: self._goes_on(fault.operation, None, RuntimeError("killed")))
        problems += _later(str(fault), lambda: _nothing_stays(self.folder))
        return True, problems

    def _be_killed(self, fault: Fault, operation: Operation) -> None:
        # The worker is ours for this while: the parent waits.
        _shared._idle.extend(extractor_module._inherited)
        try:
            self.calls.track(self.folder)
            store = None if operation.opens else open_store(self.folder)
            self.calls.kill(fault.nth, kinds=set(Kind) - {Kind.READ, Kind.STAT, Kind.LIST, Kind.CLOSE},
                            after=fault.after)  # fmt: skip
            store = store or open_store(self.folder)
            operation.run(store)
            self.calls.disarm()
            os._exit(0)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        os._exit(1)


_shared = Extractor(Limits())


def share_workers() -> None:
    """Workers outlive the stores of the runs: starting one takes longer than all else in a run."""
    vars(_shared)["close"] = lambda: None
    vars(store_module)["Extractor"] = lambda _limits: _shared


@contextlib.contextmanager
def _watchdog() -> Iterator[None]:
    def bark(number: int, frame: FrameType | None) -> None:
        raise Hang(f"longer than {_HANGS_AFTER:g} s")

    signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, _HANGS_AFTER)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _judged(caught: BaseException | None, result: Any, expected: Any, fault: Fault, where: str) -> list[Problem]:
    """What the caller got: the result, or an error that is ours and says what to do."""
    if caught is None:
        same = result == expected or fault.operation in ("verify", "collect")
        return [] if same else [Problem("result", f"{result} instead of {expected}", where)]
    for error in caught.errors if isinstance(caught, Partial) else [caught]:
        if not isinstance(error, DocStoreError):
            return [Problem("error", f"{type(error).__name__}: {error}", where, _trace(error))]
        if not _ADVICE.search(str(error)):
            return [Problem("advice", f"{type(error).__name__}: {error}", where, _trace(error))]
    return []


def _later(where: str, check: Callable[[], Iterator[str]]) -> list[Problem]:
    try:
        with _watchdog():
            return [Problem("afterwards", detail, where) for detail in check()]
    except BaseException as error:  # noqa: BLE001
        return [Problem("afterwards", f"{type(error).__name__}: {error}", where, _trace(error))]


def _nothing_stays(folder: Path) -> Iterator[str]:
    """When all references are dropped and collected, no file is left but the catalog."""
    with open_store(folder) as store:
        for name in store.workspaces():
            store.delete_workspace(name)
        store.expire(grace=timedelta(0))
        store.collect()
        if not (report := store.verify()).ok or report.leftovers:
            yield f"after everything was collected verify finds {report}"
    left = [path for path in files(folder) if str(path) not in _KEPT]
    if left:
        yield f"files stay: {left}"
    rows = query(folder, "SELECT 'document', hash FROM documents UNION ALL SELECT 'claim', key FROM claims "
                         "UNION ALL SELECT 'text', hash FROM texts")  # fmt: skip
    if rows:
        yield f"rows stay: {rows}"


def _between(before: State, now: State, after: State) -> bool:
    """Whether each workspace holds what it held before, and nothing that it should not hold after."""
    return before.keys() <= now.keys() <= after.keys() and all(
        set(before.get(name, [])) <= set(now[name]) <= set(after[name]) for name in now
    )


def _is_commit(spoiled: list[Event]) -> bool:
    """Whether it was the catalog that failed: a commit may then have become durable all the same."""
    return any("catalog.db" in event.path for event in spoiled)


def _called(spoiled: list[Event]) -> str:
    return (
        f"{spoiled[0].kind.name} {re.sub(r'[0-9a-f]{16,}', '…', Path(spoiled[0].path).name)}"
        if spoiled
        else "a call that only looks"
    )


def _difference(before: State, now: State) -> str:
    return str({name: now.get(name) for name in before.keys() | now.keys() if before.get(name) != now.get(name)})


def _trace(error: BaseException | None) -> str:
    return "".join(traceback.format_exception(error)) if error is not None else ""


def _descriptors() -> dict[str, str]:
    """What is open, without the pipes to the workers, which stay."""
    names = {}
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            names[link.name] = link.readlink().name.removesuffix(" (deleted)")
    return {number: name for number, name in names.items() if not name.startswith("pipe:")}


def _descriptors_that_stay(before: dict[str, str], where: str) -> list[Problem]:
    left = {name for number, name in _descriptors().items() if number not in before}
    if not left:
        return []
    gc.collect()
    stay = "stay open" if _descriptors().keys() - before else "stay open until the garbage collector runs"
    return [Problem("descriptors", f"{', '.join(sorted(left))} {stay}", where)]
