"""What each tenant of the torture is sure to have done: written outside of the store, so that a kill cannot hide it.

A line is synced before an operation begins and after it returned. What a killed process leaves is therefore known but
for the one operation it was in, and of that one the store may show the state before or the state after.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Reference = tuple[str, int | None]
"""A reference's name, and the tag in its metadata."""
Contents = dict[str, Reference]
"""What a workspace references, by hash. A workspace that does not exist holds nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation makes of one workspace."""

    kind: str
    workspace: str
    sets: dict[str, Reference | None] = field(default_factory=dict)
    """References as they are afterwards; None for one that is gone."""
    empties: bool = False
    """The workspace is deleted."""

    def applied(self, contents: Contents) -> Contents:
        """The workspace's contents afterwards."""
        if self.empties:
            return {}
        merged = {**contents, **self.sets}
        return {hash: reference for hash, reference in merged.items() if reference is not None}

    @property
    def is_atomic(self) -> bool:
        """Whether nobody may ever see a part of it: `add_many` commits in groups."""
        return self.kind != "add_many"


class Journal:
    """One tenant's journal, replayed when its process starts again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contents: dict[str, Contents] = {}
        self.pending: Change | None = None
        self.counts: Counter[str] = Counter()
        """Operations that returned, by kind; `refused …` for those that raised what they may raise."""
        self.cut: Counter[str] = Counter()
        """Operations that a kill cut short, by kind and by which state the store then showed."""
        if path.exists():
            for line in path.read_text().splitlines():
                # The kill may have cut the last line: its operation then never began.
                if line.endswith("}"):
                    self._replay(json.loads(line))

    def _replay(self, entry: dict[str, Any]) -> None:
        if "begin" in entry:
            sets = {hash: None if each is None else (each[0], each[1]) for hash, each in entry["sets"].items()}
            self.pending = Change(entry["begin"], entry["workspace"], sets, entry["empties"])
        elif "end" in entry:
            self._finish(entry["end"])
        elif "read" in entry:
            self.counts[entry["read"]] += 1
        else:
            found = {hash: (each[0], each[1]) for hash, each in entry["found"].items()}
            self._settle(entry["workspace"], found)

    def begin(self, change: Change) -> None:
        """Durable before the operation begins."""
        self.pending = change
        self._write({"begin": change.kind, "workspace": change.workspace, "sets": change.sets,
                     "empties": change.empties})  # fmt: skip

    def end(self, *, done: bool) -> None:
        """Durable once the operation returned; not `done` when it raised, and changed nothing."""
        self._finish(done)
        self._write({"end": done})

    def read(self, kind: str) -> None:
        """Counts an operation that changes nothing of this tenant's."""
        self.counts[kind] += 1
        self._write({"read": kind})

    def settle(self, workspace: str, found: Contents) -> None:
        """What the store shows of the workspace of the operation that a kill cut short.

        Raises:
            AssertionError: neither the state before it nor the one after.
        """
        assert self.pending is not None and self.pending.workspace == workspace
        problem = self.contradiction(workspace, found)
        assert problem is None, problem
        self._settle(workspace, found)
        self._write({"found": found, "workspace": workspace})

    def contradiction(self, workspace: str, found: Contents) -> str | None:
        """What is wrong with what the store shows of a workspace; None if it may be so."""
        before = self.contents.get(workspace, {})
        pending = self.pending if self.pending is not None and self.pending.workspace == workspace else None
        after = pending.applied(before) if pending is not None else before
        if found in (before, after):
            return None
        if pending is not None and not pending.is_atomic:
            hashes = {*before, *after, *found}
            if all(found.get(hash) in (before.get(hash), after.get(hash)) for hash in hashes):
                return None
        return f"{workspace} holds {found}; journaled {before}, in flight {pending}"

    def _finish(self, done: bool) -> None:
        change, self.pending = self.pending, None
        assert change is not None
        self.counts[change.kind if done else f"refused {change.kind}"] += 1
        if done:
            self.contents[change.workspace] = change.applied(self.contents.get(change.workspace, {}))

    def _settle(self, workspace: str, found: Contents) -> None:
        assert self.pending is not None
        before = self.contents.get(workspace, {})
        after = self.pending.applied(before)
        state = "as if done" if found == after else "as if never begun" if found == before else "in part"
        self.cut[f"{self.pending.kind}, {state}"] += 1
        self.contents[workspace], self.pending = found, None

    def _write(self, entry: dict[str, Any]) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            if "read" not in entry:
                os.fsync(file.fileno())
