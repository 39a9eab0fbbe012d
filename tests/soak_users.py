"""One process of the soak: threads that each are a user, on one shared folder.

`python -m tests.soak_users FOLDER REPORT PROCESS THREADS SECONDS SEED`. Writes what its users are sure of to REPORT, as
JSON. Exits with 1, and a traceback on standard error, when the store shows what it must not.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from docstore import (
    DocStore,
    DocumentNotFound,
    InvalidArgument,
    Message,
    QuotaExceeded,
    Workspace,
    WorkspaceNotFound,
)
from docstore.testing import HashEmbedder
from tests.folders import hash_of

FAMILIES = 6
VERSIONS = 40
MOST = 7  # documents that a user may have
SHORT = timedelta(seconds=1)
_GRACE = timedelta(seconds=2)


def manual(family: int, version: int) -> bytes:
    """A manual of some sections, of which each version changes one."""
    return (
        "\n\n".join(
            f"Section {section} of manual {family}, as of {version // 8 if section == version % 8 else version // 16}. "
            + "It says what it says. " * (5 + section)
            for section in range(8)
        ).encode()
        + b"\nversion %d" % version
    )


HASHES = [[hash_of(manual(family, version)) for version in range(VERSIONS)] for family in range(FAMILIES)]
FAMILY_OF = {hash: family for family, some in enumerate(HASHES) for hash in some}


@dataclass
class Known:
    """What a user is sure of."""

    families: dict[str, list[int]] = field(default_factory=dict)
    """By workspace: of which manuals it has some version, at least."""
    pinned: dict[str, list[str]] = field(default_factory=dict)
    """By workspace: what it has for sure."""
    messages: dict[str, list[str]] = field(default_factory=dict)
    """By conversation of the user's own workspace: what was said, in order."""
    done: Counter[str] = field(default_factory=Counter)


class User:
    """One thread's work."""

    def __init__(self, store: DocStore, name: str, known: Known, generator: random.Random) -> None:
        self.store, self.name, self.known, self.random = store, name, known, generator
        self.chats = self.steps = 0
        self.own = store.workspace(name)
        self.own.limit(documents=MOST)
        known.families[name], known.pinned[name] = [], []

    def step(self) -> None:
        """One operation: each once, and then at random."""
        operations: list[tuple[int, Callable[[], None]]] = [
            (5, self._add), (2, self._remove), (2, self._pin), (6, self._chat), (3, self._look), (3, self._update),
            (1, self._roll_back), (3, self._share), (4, self._brief_chat), (2, self._expire), (2, self._collect),
            (1, self._verify), (2, self._set),
        ]  # fmt: skip
        weights, choices = zip(*operations, strict=True)
        (operation,) = choices[self.steps : self.steps + 1] or self.random.choices(choices, weights)
        self.steps += 1
        operation()
        self.known.done[operation.__name__.strip("_")] += 1

    def _any(self) -> tuple[int, bytes]:
        family, version = self.random.randrange(FAMILIES), self.random.randrange(VERSIONS)
        return family, manual(family, version)

    def _add(self) -> None:
        family, data = self._any()
        before = len(self.own)
        try:
            self.own.add(data, name=f"manual {family}")
        except QuotaExceeded:
            assert before == MOST or len(self.own) == MOST, before
            self.known.done["refused by its limit"] += 1
        else:
            if family not in self.known.families[self.name]:
                self.known.families[self.name].append(family)

    def _remove(self) -> None:
        held = self.own.documents()
        if not held:
            return
        gone = self.random.choice(held)
        with suppress(DocumentNotFound):  # it was replaced meanwhile
            self.own.remove(gone.hash)
            if gone.hash in self.known.pinned[self.name]:
                self.known.pinned[self.name].remove(gone.hash)
        self.known.families[self.name] = sorted({FAMILY_OF[each.hash] for each in self.own.documents()})

    def _pin(self) -> None:
        held = [each.hash for each in self.own.documents()]
        free = [hash for hash in held if hash not in self.known.pinned[self.name]]
        if self.known.pinned[self.name] and self.random.random() < 0.5:
            self.own.unpin(self.known.pinned[self.name].pop())
        elif free:
            with suppress(DocumentNotFound):
                hash = self.random.choice(free)
                self.own.pin(hash)
                self.known.pinned[self.name].append(hash)

    def _chat(self) -> None:
        name = f"chat {self.random.randrange(3)}"
        said = f"{self.name} asks {self.random.randrange(10**9)}"
        hits = self.own.search("manual section", k=3)
        chat = self.own.conversation(name)
        chat.append("user", said)
        chat.append("assistant", f"answer to {said}", hits=hits)
        self.known.messages.setdefault(name, []).extend([said, f"answer to {said}"])

    def _look(self) -> None:
        check(self.own, self.known, self.name)

    def _update(self) -> None:
        family = self.random.randrange(FAMILIES)
        old, new = self.random.sample(range(VERSIONS), 2)
        with suppress(DocumentNotFound):
            done = self.store.replace(HASHES[family][old], manual(family, new))
            self.known.done["references moved"] += len(done.moved)
            self.known.done["chunks of new versions"] += done.chunks
            self.known.done["of them embedded"] += done.embedded

    def _roll_back(self) -> None:
        family, version = self.random.randrange(FAMILIES), self.random.randrange(VERSIONS)
        with suppress(DocumentNotFound, InvalidArgument):
            done = self.store.rollback(HASHES[family][version])
            self.known.done["references moved back"] += len(done.moved)

    def _share(self) -> None:
        others = [name for name in self.store.workspaces() if name.startswith("user ") and name != self.name]
        if others:
            with suppress(WorkspaceNotFound):
                other = self.store.workspace(self.random.choice(others))
                (self.own.include if self.random.random() < 0.6 else self.own.exclude)(other)
        self.own.search("section", k=50)

    def _set(self) -> None:
        some = [self._any()[1] for _ in range(self.random.randint(1, 3))]
        shared = self.store.workspace_for(some)
        self.own.include(shared)
        found = {hit.document for hit in self.own.search("manual", k=1000)}
        assert found or not len(shared)

    def _brief_chat(self) -> None:
        self.chats += 1
        name = f"{self.name} brief {self.chats}"
        sliding = self.random.random() < 0.5
        chat = self.store.workspace(name, ttl=SHORT, sliding=sliding)
        with suppress(WorkspaceNotFound):  # somebody may be slow enough for it to expire at once
            chat.add(self._any()[1])
            chat.conversation("talk").append("user", "is this kept?")
            assert len(chat.search("manual", k=5)) > 0

    def _expire(self) -> None:
        report = self.store.expire(grace=_GRACE)
        mine = [name for name in report.expired if name.startswith(f"{self.name} brief")]
        for name in mine[:1]:
            with suppress(WorkspaceNotFound):  # its grace is over, or somebody was faster
                back = self.store.undelete(name)
                assert len(back) == 1, len(back)
                assert [each.content for each in back.conversation("talk").messages()] == ["is this kept?"]
                self.known.done["undeleted"] += 1

    def _collect(self) -> None:
        self.store.collect(self.random.choice([timedelta(0), timedelta(seconds=1)]))

    def _verify(self) -> None:
        report = self.store.verify()
        assert report.ok, report.problems


def check(workspace: Workspace, known: Known, name: str) -> None:
    """The workspace has what its user knows, within its limit; and every message, in order."""
    held = [each.hash for each in workspace.documents()]
    assert len(held) <= MOST, len(held)
    assert set(known.pinned[name]) <= set(held), (known.pinned[name], held)
    assert set(known.families[name]) == {FAMILY_OF[hash] for hash in held}, (known.families[name], held)
    for chat, said in known.messages.items():
        messages: list[Message] = []
        while page := workspace.conversation(chat).messages(after=messages[-1].number if messages else 0, limit=50):
            messages += page
        assert [each.content for each in messages] == said, chat
        for message in messages:
            for source in message.sources:
                assert source.text or source.name.startswith("was "), source


def main(folder: Path, report: Path, process: int, threads: int, seconds: float, seed: int) -> int:
    """Works until the time is up. Returns the exit code."""
    warnings.simplefilter("ignore")  # of limits that are nearly reached
    failures: list[str] = []
    end = time.monotonic() + seconds

    def work(user: User) -> None:
        try:
            while time.monotonic() < end and not failures:
                user.step()
        except BaseException:  # noqa: BLE001  (whatever it is, the parent must hear of it)
            failures.append(traceback.format_exc())

    with DocStore(folder, embedder=HashEmbedder(), chunk_size=200, chunk_overlap=40) as store:
        users = [User(store, f"user {process}-{each}", Known(), random.Random(f"{seed} {process} {each}"))
                 for each in range(threads)]  # fmt: skip
        running = [threading.Thread(target=work, args=(user,)) for user in users]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        known = {user.name: vars(user.known) for user in users}
    report.write_text(json.dumps(known))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]),
                  int(sys.argv[6])))  # fmt: skip
