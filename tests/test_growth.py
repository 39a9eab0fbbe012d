"""Cost that grows with the work asked for: SQLite takes the same steps for it, however much else there is.

`test_query_plans` sees statements that go through a whole table; here it is how many rows of it a call asks for.
"""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, versions
from docstore.cli_output import ExitCode
from docstore.testing import HashEmbedder
from tests.commands import FOX, TAX, Run, filled, folder
from tests.folders import hash_of

__all__ = ["filled", "folder"]

FEW, MANY = 100, 2000

Steps = Callable[[Callable[[], object]], int]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """How many steps of SQLite's machine a call takes."""
    taken = 0
    real = sqlite3.connect

    def note() -> int:
        nonlocal taken
        taken += 1
        return 0

    def connect(*path: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*path, **options)
        connection.set_progress_handler(note, 1)
        return connection

    def of(call: Callable[[], object]) -> int:
        before = taken
        call()
        assert taken > before, "a store that was opened before this fixture was made is not looked at"
        return taken - before

    monkeypatch.setattr(sqlite3, "connect", connect)
    yield of
    monkeypatch.undo()


def opened(folder: Path) -> DocStore:
    return DocStore(folder / "data", embedder=HashEmbedder())


def make_workspaces(store: DocStore, count: int) -> list[int]:
    """Many that are empty, and their ids."""
    with store._parts.database.write() as db:
        (before,) = db.execute("SELECT max(id) FROM workspaces").fetchone()
        db.executemany(
            "INSERT INTO workspaces (name, created_at) VALUES (?, '2020-01-01T00:00:00.000Z')",
            [(f"one of many {number}",) for number in range(count)],
        )
        return [id for (id,) in db.execute("SELECT id FROM workspaces WHERE id > ?", (before,))]


# -- the library ------------------------------------------------------------------------------------------------------


def test_workspaces_are_listed_without_those_that_are_expired(steps: Steps, store: DocStore) -> None:
    names = ["\x01before", "\x1fexpired", "\x1fexpired ", "alice", "é"]
    for name in names:
        store.workspace(name)
    few = steps(store.workspaces), steps(store.workspace_infos)
    ids = make_workspaces(store, MANY)
    with store._parts.database.write() as db:
        db.executemany("UPDATE workspaces SET ttl = 1, sliding = 0 WHERE id = ?", [(id,) for id in ids])
    assert len(store.expire().expired) == MANY
    assert store.workspaces() == [each.name for each in store.workspace_infos()] == sorted(names)
    assert steps(store.workspaces) < few[0] + MANY
    assert steps(store.workspace_infos) < few[1] + MANY


def test_a_document_of_its_own_is_found_however_many_workspaces_are_included(steps: Steps, store: DocStore) -> None:
    alice, bob = store.workspace("alice"), store.workspace("bob")
    own, lent = alice.add(FOX.encode()).hash, bob.add(TAX.encode()).hash
    others = make_workspaces(store, MANY)
    alice.include(bob)
    few = steps(lambda: alice.document(own)), steps(lambda: alice.read(own).close())
    with store._parts.database.write() as db:
        db.executemany(
            "INSERT INTO includes VALUES (?, ?, '2020-01-01T00:00:00.000Z')", [(alice._id, other) for other in others]
        )
    assert steps(lambda: alice.document(own)) < few[0] + MANY
    assert steps(lambda: alice.read(own).close()) < few[1] + MANY
    assert steps(lambda: alice.document(lent)) < few[0] + MANY, "it is of the first of those that are included"


def note_replacements(db: sqlite3.Connection, pairs: Iterable[tuple[str, str]]) -> None:
    db.executemany(
        "INSERT INTO replacements (old_hash, new_hash, replaced_at) VALUES (?, ?, '2020-01-01T00:00:00.000Z')", pairs
    )


def test_documents_that_take_turns_do_not_take_the_square_of_their_number(steps: Steps, store: DocStore) -> None:
    alice = store.workspace("alice")
    fox, tax = alice.add(FOX.encode()).hash, hash_of(TAX.encode())
    others = make_workspaces(store, 8)

    def take_turns(times: int) -> int:
        with store._parts.database.write() as db:
            note_replacements(db, [(fox, tax), (tax, fox)] * times)
            db.executemany(
                """INSERT INTO moved SELECT id, ?, 0, '', '', '', 0 FROM replacements
                   WHERE id NOT IN (SELECT replacement_id FROM moved WHERE workspace_id = ?)""",
                [(each, each) for each in (alice._id, *others)],
            )
        taken = steps(lambda: store.replace(fox, TAX.encode()))
        assert store.rollback(tax).moved == ("alice",)
        return taken

    assert (few := take_turns(50)) < take_turns(150) < 6 * few


def test_lineage_is_kept_without_a_look_at_all_that_one_document_replaced(steps: Steps, store: DocStore) -> None:
    """Of many, each goes by the one that is gone to those that are left, of which the last is stored."""
    alice = store.workspace("alice")
    kept = alice.add(FOX.encode()).hash
    taken = []
    for count in (10, MANY):
        one, gone = hash_of(b"%d" % count), [hash_of(b"%d of %d" % (number, count)) for number in range(count)]
        with store._parts.database.write() as db:
            note_replacements(db, [(each, one) for each in (*gone, kept)])
            taken.append(steps(partial(versions.forget, db, gone[0])))
            assert len(db.execute("SELECT 1 FROM replacements WHERE new_hash = ?", (one,)).fetchall()) == count + 1
    assert taken[1] < taken[0] + MANY


def test_what_a_collection_would_delete_is_counted_and_not_listed(store: DocStore) -> None:
    kept = store.workspace("kept")
    page = b"<!DOCTYPE html><html><body><!-- %d --><p>Whatever is counted has the same text.</p></body></html>"

    def most(count: int) -> int:
        doomed = store.workspace("doomed")
        doomed.add_many([page % number for number in range(count)])
        store.delete_workspace("doomed")
        tracemalloc.start()
        assert store.collect(dry_run=True).documents == count
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    most(1)
    few = most(10)
    assert most(1000) < few + 100_000
    alone = store.collect(dry_run=True).bytes
    kept.link(hash_of(page % 1))
    shared = store.collect(dry_run=True)
    with store._parts.database.write() as db:
        db.execute(
            "UPDATE documents SET doomed = 1 WHERE refcount = 0 AND id % 2 = 0"
        )  # by a collection that was killed
    assert store.collect(dry_run=True) == shared
    assert (shared.documents, alone - shared.bytes > len(page % 1)) == (999, True), "nor the text, which stays"
    report = store.collect()
    assert (report.documents, report.bytes) == (shared.documents, shared.bytes)


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["search", "bob", "fox"],
        ["ls", "bob"],
        ["rm", "bob", "fox.txt"],
        ["chat", "bob"],
        ["ttl", "bob", "7d"],
        ["limit", "bob"],
        ["pin", "bob", "fox.txt"],
        ["include", "bob", "alice"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_on_one_workspace_does_not_ask_for_all(
    folder: Path, filled: dict[str, str], steps: Steps, words: list[str]
) -> None:
    def run() -> None:
        with opened(folder) as store:  # as it was, also after a command that changed it
            store.workspace("bob").add(FOX.encode(), name="fox.txt")
        assert Run(*words).code == ExitCode.OK

    run()
    few = steps(run)
    with opened(folder) as store:
        make_workspaces(store, MANY)
    assert steps(run) < few + MANY


@pytest.mark.parametrize("words", [["chat", "alice", "one"], ["chat", "alice", "one", "--delete", "--yes"]])
def test_a_command_on_one_conversation_does_not_ask_for_all(
    folder: Path, filled: dict[str, str], steps: Steps, words: list[str]
) -> None:
    def run() -> None:
        with opened(folder) as store:
            store.workspace("alice").conversation("one")
        assert Run(*words).code == ExitCode.OK

    run()
    few = steps(run)
    with opened(folder) as store, store._parts.database.write() as db:
        db.executemany(
            """INSERT INTO conversations (workspace_id, name, created_at)
               SELECT id, ?, created_at FROM workspaces WHERE name = 'alice'""",
            [(f"one of many {number}",) for number in range(MANY)],
        )
    assert steps(run) < few + MANY


@pytest.mark.parametrize(
    "words", [["read", "alice"], ["search", "alice", "fox", "--document"], ["pin", "alice"], ["rm", "alice"]]
)
def test_a_command_on_a_document_of_this_hash_does_not_ask_for_all(
    folder: Path, filled: dict[str, str], steps: Steps, words: list[str]
) -> None:
    def run() -> None:
        with opened(folder) as store:
            store.workspace("alice").add(FOX.encode(), name="fox.txt")
        assert Run(*words, filled["fox"].upper()).code == ExitCode.OK

    run()
    few = steps(run)
    with opened(folder) as store:
        store.workspace("alice").add_many([b"Note %d." % number for number in range(FEW)])
    # A search looks at all of its workspace, and in a process that begins at the rows of all.
    assert steps(run) < few + FEW * (60 if words[0] == "search" else 10)


def test_what_another_workspace_lends_is_none_of_its_own(folder: Path, filled: dict[str, str]) -> None:
    assert Run("include", "bob", "alice").code == ExitCode.OK
    assert Run("read", "bob", filled["tax"]).out == TAX
    for words in (["rm", "bob", filled["tax"]], ["pin", "bob", filled["tax"]], ["rm", "bob", "0" * 64, "fox.txt"]):
        assert Run(*words).code == ExitCode.NOT_FOUND
    assert [each["name"] for each in Run("rm", "bob", "fox.txt", filled["fox"], "--json").json["removed"]] == [
        "fox.txt"
    ]
