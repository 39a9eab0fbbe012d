"""One process of the torture: threads that each own workspaces whose contents they know, on one shared folder.

`python -m tests.torture_tenants FOLDER JOURNALS PROCESS THREADS SEED`, until standard input ends or somebody kills it.
Exits with 1, and a traceback on standard error, when the store shows what it must not.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from docstore import DocStore, DocumentNotFound
from docstore.testing import HashEmbedder
from tests.folders import hash_of
from tests.hammer import DOCUMENTS, check
from tests.torture_journal import Change, Contents, Journal, Reference

WORKSPACES = 2  # of each tenant
UNREADABLE = (b"", b" \n ", b"%PDF-1.7 nothing follows", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))


def names_of(process: int, thread: int) -> list[str]:
    """The workspaces of one tenant."""
    return [f"own-{process}-{thread}-{number}" for number in range(WORKSPACES)]


def contents(store: DocStore, workspace: str) -> Contents:
    """What the store shows of a workspace, which need not exist."""
    if workspace not in store.workspaces():
        return {}
    found = store.workspace(workspace).documents()
    return {each.hash: (str(each.name), each.metadata.get("tag")) for each in found}


class Tenant:
    """One thread's work."""

    def __init__(self, store: DocStore, journal: Journal, names: list[str], generator: random.Random) -> None:
        self._store, self._journal, self._random = store, journal, generator
        self._names = names
        if journal.pending is not None:
            workspace = journal.pending.workspace
            journal.settle(workspace, contents(store, workspace))
        for name in names:
            problem = journal.contradiction(name, contents(store, name))
            assert problem is None, problem

    def step(self) -> None:
        """One random operation."""
        operations: list[tuple[int, Callable[[str], None]]] = [
            (6, self._add), (5, self._add_many), (4, self._link), (6, self._remove), (1, self._delete),
            (3, self._search), (2, self._look), (3, self._common), (2, self._collect), (1, self._verify),
        ]  # fmt: skip
        weights, choices = zip(*operations, strict=True)
        (operation,) = self._random.choices(choices, weights)
        operation(self._random.choice(self._names))

    def _held(self, name: str) -> Contents:
        return self._journal.contents.get(name, {})

    def _tag(self) -> int:
        return self._random.randrange(1 << 30)

    def _add(self, name: str) -> None:
        data, tag = self._random.choice(DOCUMENTS), self._tag()
        self._journal.begin(Change("add", name, {hash_of(data): (f"document {tag}", tag)}))
        self._store.workspace(name).add(data, name=f"document {tag}", metadata={"tag": tag})
        self._journal.end(done=True)

    def _add_many(self, name: str) -> None:
        some, tag = self._random.sample(DOCUMENTS, self._random.randint(1, 12)), self._tag()
        held = self._held(name)
        sets: dict[str, Reference | None] = {
            hash_of(data): (held[hash_of(data)][0] if hash_of(data) in held else "untitled", tag) for data in some
        }
        self._journal.begin(Change("add_many", name, sets))
        bad = self._random.choice(UNREADABLE)
        report = self._store.workspace(name).add_many([*some, bad], metadata={"tag": tag})
        assert len(report.failed) == 1, report.failed
        self._journal.end(done=True)

    def _link(self, name: str) -> None:
        hash = hash_of(self._random.choice(DOCUMENTS))
        self._journal.begin(Change("link", name, {hash: self._held(name).get(hash, (hash, None))}))
        try:
            self._store.workspace(name).link(hash)
        except DocumentNotFound:
            assert hash not in self._held(name)
            self._journal.end(done=False)
        else:
            self._journal.end(done=True)

    def _remove(self, name: str) -> None:
        hash = self._random.choice([*self._held(name), hash_of(b"nobody has this")])
        self._journal.begin(Change("remove", name, {hash: None}))
        try:
            self._store.workspace(name).remove(hash)
        except DocumentNotFound:
            assert hash not in self._held(name)
            self._journal.end(done=False)
        else:
            assert hash in self._held(name)
            self._journal.end(done=True)

    def _delete(self, name: str) -> None:
        self._store.workspace(name)
        self._journal.begin(Change("delete_workspace", name, empties=True))
        self._store.delete_workspace(name)
        self._journal.end(done=True)

    def _search(self, name: str) -> None:
        workspace, held = self._store.workspace(name), self._held(name)
        check(workspace, set(held))
        if held:
            hash = self._random.choice(list(held))
            for hit in workspace.search("text", k=1000, where={"tag": held[hash][1]}, mmr=bool(self._tag() % 2)):
                assert held[hit.document][1] == held[hash][1], (hit, held)
        self._journal.read("search")

    def _look(self, name: str) -> None:
        assert contents(self._store, name) == self._held(name)
        assert len(self._store.workspace(name)) == len(self._held(name))
        for hash in self._held(name):
            assert self._store.refcount(hash) >= 1
            with self._store.read(hash) as file:
                assert hash_of(file.read()) == hash
        self._journal.read("documents, len, refcount, read")

    def _common(self, _name: str) -> None:
        common = self._store.workspace("common")
        common.add_many(self._random.sample(DOCUMENTS, self._random.randint(1, 6)))
        with suppress(DocumentNotFound):
            common.remove(hash_of(self._random.choice(DOCUMENTS)))
        check(common, None)
        self._journal.read("shared: add_many, remove, search")

    def _collect(self, _name: str) -> None:
        self._store.collect(self._random.choice([timedelta(0), timedelta(0), timedelta(milliseconds=500)]))
        self._journal.read("collect")

    def _verify(self, _name: str) -> None:
        report = self._store.verify()
        assert report.ok, report.problems
        self._journal.read("verify")


def main(folder: Path, journals: Path, process: int, threads: int, seed: int) -> int:
    """Works until standard input ends. Returns the exit code."""
    stop, failures = threading.Event(), []

    def work(tenant: Tenant) -> None:
        try:
            while not stop.is_set():
                tenant.step()
        except BaseException:  # noqa: BLE001  (whatever it is, the parent must hear of it)
            failures.append(traceback.format_exc())
            stop.set()

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    with DocStore(folder, embedder=HashEmbedder()) as store:
        tenants = [
            Tenant(store, Journal(journals / f"{process}-{each}.jsonl"), names_of(process, each),
                   random.Random(f"{seed} {process} {each} {os.getpid()}"))
            for each in range(threads)
        ]  # fmt: skip
        running = [threading.Thread(target=work, args=(tenant,)) for tenant in tenants]
        for thread in running:
            thread.start()
        print("ready", flush=True)
        threading.Thread(target=wait_for_end, daemon=True).start()
        for thread in running:
            thread.join()
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6])))
