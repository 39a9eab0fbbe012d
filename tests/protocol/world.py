"""What the model's processes share: the catalog's rows, the files and how durable each is, locks, and crashes.

The catalog is exact: a commit is one step, durable when it is over (`synchronous=FULL`). Of the file system only what
POSIX promises is believed: a file's name survives a power loss for certain only once the directory that holds it, and
the entries of the directories above, were synced; until then any state it had since may come back, for each file on
its own. Sub-indexes have a version, who computed them, because nobody promises that embedding twice gives equal bytes.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

NONE, LIVE, DOOMED = 0, 1, 2
"""States of a document's row."""

Process = tuple[Any, ...]
"""A program counter, then the process's own variables."""

START, DONE, DEAD = "start", "done", "dead"

ABSENT = 1
"""The bit of 'no such file' in a set of what a power loss may leave; bit v is version v."""
TORN = 7
"""The version of a file whose bytes did not all reach the disk."""


@dataclass(frozen=True)
class Scenario:
    """Who does what, and how often something may go wrong."""

    name: str
    texts: tuple[int, ...] = (0, 0)
    """For each document, its text."""
    adders: tuple[tuple[int, int], ...] = ((0, 0), (1, 1))
    """For each adder, its document and its workspace."""
    stored: tuple[tuple[int, int], ...] = ()
    """References that there are at the beginning: document and workspace."""
    removals: int = 1
    """References that are dropped, whichever and whenever."""
    collectors: int = 1
    searchers: tuple[int, ...] = ()
    """For each search, its workspace."""
    readers: tuple[int, ...] = ()
    """For each `store.read`, its document."""
    kills: int = 1
    powers: int = 1
    errors: int = 0
    variation: str = ""
    """A deliberate mistake, by name (see `variations`); empty for the protocol as the code has it."""

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """What each process is, in the order of their numbers."""
        counts = (("add", len(self.adders)), ("collect", self.collectors))
        readers = (("search", len(self.searchers)), ("read", len(self.readers)))
        return tuple(kind for kind, count in (*counts, *readers) for _ in range(count))

    def number(self, process: int) -> int:
        """Which one of its kind a process is."""
        return process - self.kinds.index(self.kinds[process])

    @property
    def documents(self) -> int:
        """How many documents there are at most."""
        return len(self.texts)

    @property
    def files(self) -> int:
        """How many files there are at most: a blob a document; a text and a sub-index a text."""
        return self.documents + 2 * (max(self.texts) + 1)

    def text_file(self, text: int) -> int:
        """The number of a text's file. A blob's is its document's."""
        return self.documents + 2 * text

    def index_file(self, text: int) -> int:
        """The number of a sub-index's file: index.faiss and chunks.npy go together everywhere, so they are one."""
        return self.documents + 2 * text + 1

    def of_text(self, text: int) -> list[int]:
        """The documents that share a text."""
        return [document for document, its in enumerate(self.texts) if its == text]


class World:
    """One state. Changed in place by whoever made the copy."""

    __slots__ = (
        "claims", "count", "done", "errors", "index", "inside", "kills", "lock", "now", "outside", "powers", "procs",
        "refs", "removals", "scenario", "scratch", "status", "wanted",
    )  # fmt: skip

    def __init__(self, scenario: Scenario) -> None:
        documents, texts = scenario.documents, max(scenario.texts) + 1
        self.scenario = scenario
        self.status, self.count, self.refs = [NONE] * documents, [0] * documents, [0] * documents
        self.index = [0] * texts
        """For each text, the version its sub-index row names; 0 without a row."""
        self.claims = [0] * (documents + texts)
        """Owner + 1 of the claim on each document, then on each text's embedding."""
        self.wanted = self.done = 0
        self.now = [0] * scenario.files
        """The version each path holds; 0 when there is no such file."""
        self.inside, self.outside = [ABSENT] * scenario.files, [0] * scenario.files
        """What a power loss may leave: for want of a sync of the file's directory; and of those above it."""
        self.lock = 0
        """The process that holds the catalog's write lock, + 1."""
        self.scratch = [0] * len(scenario.kinds)
        """Whether each process's temporary folder exists."""
        self.procs: list[Process] = [(START,)] * len(scenario.kinds)
        self.kills, self.powers, self.errors = scenario.kills, scenario.powers, scenario.errors
        self.removals = scenario.removals
        for document, workspace in scenario.stored:
            self._store(document, workspace)

    def _store(self, document: int, workspace: int) -> None:
        text = self.scenario.texts[document]
        self.status[document] = LIVE
        self.count[document] += 1
        self.refs[document] |= 1 << workspace
        self.index[text] = 1
        for file in (document, self.scenario.text_file(text), self.scenario.index_file(text)):
            self.now[file], self.inside[file] = 1, 1 << 1

    def copy(self) -> World:
        """Another one like it."""
        new = World.__new__(World)
        new.scenario = self.scenario
        new.status, new.count, new.refs, new.index = self.status[:], self.count[:], self.refs[:], self.index[:]
        new.claims, new.wanted, new.done = self.claims[:], self.wanted, self.done
        new.now, new.inside, new.outside = self.now[:], self.inside[:], self.outside[:]
        new.lock, new.scratch, new.procs = self.lock, self.scratch[:], self.procs[:]
        new.kills, new.powers, new.errors, new.removals = self.kills, self.powers, self.errors, self.removals
        return new

    def stored_part(self) -> bytes:
        """What is left when nobody runs: catalog, files and temporary folders, spelled in one way."""
        return bytes((
            *self.status, *self.count, *self.refs, *self.index, *self.claims, self.wanted - self.done,
            *self.now, *self.inside, *self.outside, *self.scratch,
        ))  # fmt: skip

    def key(self) -> bytes:
        """The whole state, spelled in one way."""
        rest = (self.procs, self.wanted, self.lock, self.kills, self.powers, self.errors, self.removals)
        return self.stored_part() + marshal.dumps(rest, 2)

    # -- what the catalog derives ---------------------------------------------------------------------------------

    def has_text_row(self, text: int) -> bool:
        """A text's row lives exactly as long as a document's that has it."""
        return any(self.status[document] for document in self.scenario.of_text(text))

    def is_condemned(self, text: int) -> bool:
        """Whether all of a text's documents are doomed."""
        return all(self.status[document] != LIVE for document in self.scenario.of_text(text))

    def is_alive(self, process: int) -> bool:
        """Whether its scratch folder is locked by a living process."""
        return bool(self.scratch[process]) and self.procs[process][0] not in (DONE, DEAD)

    def refer(self, document: int, workspace: int) -> None:
        """INSERT … ON CONFLICT DO NOTHING; the trigger counts only what was inserted."""
        if not self.refs[document] >> workspace & 1:
            self.refs[document] |= 1 << workspace
            self.count[document] += 1
            self.version_grows(workspace)
        elif self.scenario.variation == "the count trusts itself":
            self.count[document] += 1

    def unrefer(self, document: int, workspace: int) -> None:
        """DELETE, and the trigger."""
        self.refs[document] &= ~(1 << workspace)
        self.count[document] -= 1
        self.version_grows(workspace)

    def row_is_replaced(self, document: int) -> None:
        """Whether a document's row is still the one that a reader began with is all anybody asks of its identity."""
        for process, kind in enumerate(self.scenario.kinds):
            proc = self.procs[process]
            if kind == "read" and self.scenario.readers[self.scenario.number(process)] == document:
                self.procs[process] = (proc[0], 1) if len(proc) > 1 else proc

    def version_grows(self, workspace: int) -> None:
        """Only whether a workspace's version is still the one that a search began with is of interest to anybody."""
        for process, kind in enumerate(self.scenario.kinds):
            proc = self.procs[process]
            if kind == "search" and self.scenario.searchers[self.scenario.number(process)] == workspace:
                self.procs[process] = (*proc[:2], 1, *proc[3:]) if len(proc) > 2 else proc

    # -- files ----------------------------------------------------------------------------------------------------

    def place(self, file: int, version: int, synced: bool) -> None:
        """Rename into a directory that is made where needed: each file has directories of its own here."""
        if not self.now[file]:
            self.outside[file] |= ABSENT
        self.now[file] = version
        self.inside[file] |= 1 << version | (0 if synced else 1 << TORN)

    def unlink(self, file: int) -> None:
        """Unlink, and rmdir of the directories that leaves empty."""
        if self.now[file]:
            self.now[file] = 0
            self.outside[file] |= self.inside[file] | ABSENT
            self.inside[file] = ABSENT

    def sync_directory(self, file: int) -> None:
        """fsync of the directory that holds a file. Data that never was synced stays in danger."""
        self.inside[file] = 1 << self.now[file] | (self.inside[file] & 1 << TORN if self.now[file] else 0)

    def sync_above(self, file: int) -> None:
        """fsync of the directories above that one."""
        self.outside[file] = 0

    # -- crashes --------------------------------------------------------------------------------------------------

    def kill(self, process: int) -> None:
        """SIGKILL: locks go, the open transaction is rolled back, which here means that its rows never were."""
        self.procs[process] = (DEAD,)
        if self.lock == process + 1:
            self.lock = 0

    def power_losses(self) -> Iterator[World]:
        """Every state that a power loss now may leave. Operations that have not begun may begin after it."""
        versions = [[v for v in range(TORN + 1) if (i | o) >> v & 1] for i, o in zip(self.inside, self.outside)]
        for chosen in product(*versions):
            after = self.copy()
            after.powers -= 1
            after.lock = 0
            after.procs = [proc if proc[0] in (START, DONE) else (DEAD,) for proc in self.procs]
            # Folders below tmp/ may be gone too. They are kept here: nobody but the sweep looks at a dead one's.
            after.now = list(chosen)
            after.inside, after.outside = [1 << version for version in chosen], [0] * len(chosen)
            yield after
