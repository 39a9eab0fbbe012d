"""The operations that are spoiled, and the store that each of them finds."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from docstore import AddReport, DocStore, DocStoreError, Message, QuotaExceeded, Workspace
from docstore.testing import HashEmbedder
from tests.folders import execute, hash_of

REPORT = b"A report that both workspaces share, of more than one sentence. It has a second one.\n" * 20
TWIN = REPORT.replace(b"\n", b"\r\n")
OWN = b"A note that one workspace has for itself.\n"
GARBAGE = b"What nobody references any more.\n"
FIRST = b"The first version of a note.\n"
SECOND = b"The second version of a note.\n"
NEW = b"A document that nobody has added before.\n" * 30
ANOTHER = b"Another document that is new to the store.\n"
PACKED = [b"Packed document %d.\n" % number for number in range(5)]
GROUP = [b"Document %d of a new group.\n" % number for number in range(5)]

_GRANTS = """SELECT w.name, o.name FROM includes i JOIN workspaces w ON w.id = i.workspace_id
             JOIN workspaces o ON o.id = i.included_id ORDER BY 1, 2"""
_MESSAGES = """SELECT w.name, c.name, coalesce(m.number, '') || coalesce(m.role, ''), coalesce(m.content, '')
               FROM conversations c JOIN workspaces w ON w.id = c.workspace_id
               LEFT JOIN messages m ON m.conversation_id = c.id ORDER BY c.id, m.number"""
_LONG_AGO = "2020-01-01T00:00:00.000Z"

State = dict[str, list[tuple[str, str, str]]]
"""For each workspace, hash, name and metadata of what it references; what it includes; and what was said in it."""


def open_store(folder: Path) -> DocStore:
    """With waits as short as the driver's patience."""
    return DocStore(folder, embedder=HashEmbedder(), timeout=0.2)


def build(folder: Path) -> None:
    """A store with shared, twin and unreferenced documents, and with what a crash left."""
    with open_store(folder) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        alice.add_many([REPORT, OWN], metadata={"year": 2024})
        bob.add(REPORT, name="theirs.txt")
        bob.remove(bob.add(GARBAGE).hash)
        packed = alice.add_many(PACKED).added
        alice.remove(packed[0].hash)
        alice.include(bob)
        alice.conversation("chat").append("assistant", "It is a report.", hits=alice.search("report", k=2))
        bob.conversation("chat").append("user", "What does bob say?")
        store.workspace("expired").add(REPORT)
        _make_due(folder, "expired")
        store.expire()
        store.workspace("due").add(OWN)
        _make_due(folder, "due")
        store.replace(alice.add(FIRST).hash, SECOND)
    blob = folder / "documents" / hash_of(OWN)[:2] / f"{hash_of(OWN)}.txt"
    for hash in (hash_of(NEW), hash_of(ANOTHER)):
        orphan = folder / "documents" / hash[:2] / f"{hash}.txt"
        orphan.parent.mkdir(exist_ok=True)
        shutil.copy(blob, orphan)
    (folder / "tmp" / "dead").mkdir(parents=True)
    (folder / "tmp" / "dead" / "0").write_bytes(b"half a document")
    execute(folder, "INSERT INTO claims VALUES ('document:x', 'dead')")


def _make_due(folder: Path, name: str) -> None:
    execute(folder, "UPDATE workspaces SET ttl = 1, sliding = 0, lives_from = ? WHERE name = ?", _LONG_AGO, name)


def snapshot(folder: Path) -> State:
    """What the workspaces hold, read without the library."""
    if not (folder / "catalog.db").exists():
        return {}
    catalog = sqlite3.connect(folder / "catalog.db")
    try:
        if not catalog.execute("SELECT 1 FROM sqlite_master WHERE name = 'workspaces'").fetchone():
            return {}
        state: State = {name: [] for (name,) in catalog.execute("SELECT name FROM workspaces")}
        query = """SELECT w.name, d.hash, r.name, r.metadata FROM refs r JOIN workspaces w ON w.id = workspace_id
                   JOIN documents d ON d.id = document_id ORDER BY 1, 2"""
        for workspace, *reference in catalog.execute(query):
            state[workspace].append(tuple(reference))
        for workspace, included in catalog.execute(_GRANTS):
            state[workspace].append(("includes", included, ""))
        for workspace, *message in catalog.execute(_MESSAGES):
            state[workspace].append(tuple(message))
        return state
    finally:
        catalog.close()


@dataclass(frozen=True)
class Operation:
    """One thing that callers do."""

    run: Callable[[DocStore], Any]
    """On an open store; what it returns must be that of a run without fault."""
    opens: bool = False
    """Whether opening is what is spoiled."""
    empty: bool = False
    """Whether there is no store yet."""
    gradual: bool = False
    """Whether it commits as it goes: stopped midway, each document is there whole or not at all."""


def _outcome(report: AddReport) -> list[str]:
    if report.failed:
        raise Partial(report)
    return sorted(document.hash for document in (*report.added, *report.reused))


class Partial(Exception):
    """`add_many` reported some documents as failed, and must have added the others."""

    def __init__(self, report: AddReport) -> None:
        super().__init__(str(report.failed))
        self.report = report
        self.errors: list[DocStoreError] = [failure.error for failure in report.failed]


def _read(store: DocStore) -> None:
    file = store.read(hash_of(REPORT))
    with contextlib.suppress(OSError):  # from here on it is a file like any other
        file.read()
    with contextlib.suppress(OSError):
        file.close()


def _expire_for_good(store: DocStore) -> list[str]:
    """What is due stays out of it: it would go in a transaction of its own."""
    store.workspace("due").expire_after(None)
    return list(store.expire(grace=timedelta(0)).deleted)


def _add_beyond(store: DocStore) -> str | None:
    """Refused by a limit, in whatever state the disk is."""
    bob = store.workspace("bob")
    bob.limit(documents=1)
    try:
        return bob.add(NEW).hash
    except QuotaExceeded as error:
        return error.limited_by


def _in(workspace: str, do: Callable[[Any], Any]) -> Callable[[DocStore], Any]:
    return lambda store: do(store.workspace(workspace))


def _said(alice: Workspace) -> Any:
    return _sources([alice.conversation("chat").append("assistant", "So it is.", hits=alice.search("report", k=1))])


def _sources(messages: list[Message]) -> Any:
    return [(each.number, [(source.name, source.text) for source in each.sources]) for each in messages]


OPERATIONS: dict[str, Operation] = {
    "open": Operation(lambda store: None, opens=True),
    "open-new": Operation(lambda store: None, opens=True, empty=True),
    "workspace": Operation(lambda store: store.workspace("carol").name),
    "add": Operation(_in("bob", lambda bob: bob.add(NEW, metadata={"a": 1}).hash)),
    "add-stored": Operation(_in("bob", lambda bob: bob.add(OWN).hash)),
    "add-twin": Operation(_in("bob", lambda bob: bob.add(TWIN).hash)),
    "add-many": Operation(_in("bob", lambda bob: _outcome(bob.add_many([NEW, ANOTHER, OWN]))), gradual=True),
    "add-group": Operation(_in("bob", lambda bob: _outcome(bob.add_many(GROUP))), gradual=True),
    "link": Operation(_in("bob", lambda bob: bob.link(hash_of(OWN)).hash)),
    "link-many": Operation(_in("bob", lambda bob: _outcome(bob.link_many([hash_of(OWN), hash_of(PACKED[1])])))),
    "workspace-for": Operation(lambda store: store.workspace_for([NEW, OWN]).name, gradual=True),
    "include": Operation(lambda store: store.workspace("bob").include(store.workspace("alice"))),
    "exclude": Operation(lambda store: store.workspace("alice").exclude(store.workspace("bob"))),
    "conversation": Operation(_in("bob", lambda bob: bob.conversation("new").name)),
    "say": Operation(_in("alice", _said)),
    "read-conversation": Operation(_in("alice", lambda alice: _sources(alice.conversation("chat").messages()))),
    "rename-conversation": Operation(_in("alice", lambda alice: alice.conversation("chat").rename("talk"))),
    "delete-conversation": Operation(_in("alice", lambda alice: alice.conversation("chat").delete())),
    "remove": Operation(_in("alice", lambda alice: alice.remove(hash_of(REPORT)))),
    "remove-many": Operation(_in("alice", lambda alice: alice.remove_many([hash_of(REPORT), hash_of(PACKED[1])]))),
    "delete-workspace": Operation(lambda store: store.delete_workspace("alice")),
    "replace": Operation(lambda store: store.replace(hash_of(REPORT), NEW).moved),
    "replace-stored": Operation(lambda store: store.replace(hash_of(REPORT), OWN).moved),
    "rollback": Operation(lambda store: store.rollback(hash_of(SECOND)).moved),
    "pin": Operation(_in("bob", lambda bob: bob.pin(hash_of(REPORT)))),
    "search": Operation(_in("alice", lambda alice: [(hit.document, hit.text) for hit in alice.search("report", k=3)])),
    "documents": Operation(_in("alice", lambda alice: [document.hash for document in alice.documents()])),
    "read": Operation(_read),
    "stats": Operation(lambda store: store.stats().references),
    "verify": Operation(lambda store: store.verify().files),
    "repair": Operation(lambda store: len(store.repair().repairs)),
    "collect": Operation(lambda store: store.collect().documents),
    "expire": Operation(lambda store: store.expire().expired),
    "expire-for-good": Operation(_expire_for_good),
    "undelete": Operation(lambda store: len(store.undelete("expired"))),
    "expire-after": Operation(_in("bob", lambda bob: bob.expire_after(timedelta(days=1)))),
    "limit": Operation(_in("alice", lambda alice: alice.limit(documents=1))),
    "limit-store": Operation(lambda store: store.limit(physical_bytes=1, workspace_documents=1)),
    "add-beyond": Operation(_add_beyond),
    "collect-dry": Operation(lambda store: store.collect(dry_run=True).documents),
}
