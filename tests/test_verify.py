"""Verify: names every damage, and only damage."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, Progress, VerifyReport, Workspace, cas, contents
from docstore.cas import ContentStore
from docstore.database import CatalogDatabase, Database
from docstore.lifecycle import verify as verify_module
from docstore.lifecycle.pace import Pace
from docstore.parts import Parts
from docstore.testing import HashEmbedder
from tests.folders import execute, files, hash_of, lie, query
from tests.races import Killed


@pytest.fixture
def report(folder: Path) -> Callable[[], VerifyReport]:
    """Damages are found by a store that had no part in them."""

    def verify() -> VerifyReport:
        with DocStore(folder, embedder=HashEmbedder()) as store:
            return store.verify()

    return verify


@pytest.fixture
def filled(folder: Path) -> list[Path]:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add_many([b"one thing", b"shared\n"])
        store.workspace("bob").add(b"shared\r\n")
    return files(folder)


def test_a_sound_store(report: Callable[[], VerifyReport], filled: list[Path], folder: Path) -> None:
    found = report()
    assert found.ok
    assert (found.files, found.leftovers) == (len(filled), 0)
    assert found.bytes == sum((folder / path).stat().st_size for path in filled)


def test_every_flipped_byte_of_every_file(folder: Path, filled: list[Path]) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        for path in filled:
            whole = (folder / path).read_bytes()
            for position in range(0, len(whole), max(1, len(whole) // 20)):
                damaged = bytearray(whole)
                damaged[position] ^= 0x40
                (folder / path).write_bytes(damaged)
                found = store.verify()
                assert [(each.kind, each.path) for each in found.problems] == [("damaged", str(path))]
                assert found.problems[0].workspaces
            (folder / path).write_bytes(whole)
        assert store.verify().ok


def test_missing_and_truncated_files_name_the_workspaces(
    report: Callable[[], VerifyReport], folder: Path, filled: list[Path]
) -> None:
    for path in filled:
        whole = (folder / path).read_bytes()
        (folder / path).write_bytes(whole[:-1])
        (problem,) = report().problems
        assert (problem.kind, problem.path) == ("damaged", str(path))
        (folder / path).unlink()
        (problem,) = report().problems
        assert (problem.kind, problem.path) == ("missing", str(path))
        assert set(problem.workspaces) <= {"alice", "bob"}
        (folder / path).write_bytes(whole)
    shared = {problem for problem in filled if problem.parts[0] != "documents"}
    affected = set()
    for path in shared:
        whole = (folder / path).read_bytes()
        (folder / path).unlink()
        affected.add(report().problems[0].workspaces)
        (folder / path).write_bytes(whole)
    assert affected == {("alice",), ("alice", "bob")}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE documents SET refcount = 7, unreferenced_at = NULL", "count"),
        ("UPDATE workspaces SET refs = 9", "count"),
        ("UPDATE totals SET chunks = chunks + 1", "count"),
        ("UPDATE totals SET logical_bytes = 5", "count"),
        ("DELETE FROM totals", "count"),
        ("DELETE FROM checks", "catalog"),
        ("DELETE FROM documents WHERE id = 1", "reference"),
    ],
)
def test_a_catalog_that_contradicts_itself(
    report: Callable[[], VerifyReport], folder: Path, filled: list[Path], change: str, kind: str
) -> None:
    lie(folder, change)
    assert kind in {problem.kind for problem in report().problems}


def test_strangers_are_reported_wherever_they_lie(
    report: Callable[[], VerifyReport], folder: Path, filled: list[Path]
) -> None:
    for path in ("notes.txt", "documents/notes.txt", "documents/ab/notes.txt", "texts/zz"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(b"mine")
        assert [(each.kind, each.path) for each in report().problems] == [("foreign", path)]
        (folder / path).unlink()


def test_progress_and_readonly(folder: Path, filled: list[Path]) -> None:
    seen: list[Progress] = []
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
        assert store.verify(progress=seen.append).ok
    assert [(each.done, each.total) for each in seen] == [(1, 3), (2, 3), (3, 3)]


def test_it_heals_by_adding_again(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(b"one thing")
    for path in files(folder):
        (folder / path).unlink()
        assert not store.verify().ok
        alice.add(b"one thing")
        assert store.verify().ok


def before_the_first_read(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], of: str = "") -> list[str]:
    """Lets somebody else act once the catalog was asked and before a file is read."""
    real = verify_module.fault
    done: list[str] = []

    def fault(expected: verify_module.Expected, pace: Any) -> verify_module.Fault | None:
        if not done and of in expected.path.parts:
            done.append(str(expected.path))
            act()
        return real(expected, pace)

    monkeypatch.setattr(verify_module, "fault", fault)
    return done


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_is_collected_while_it_is_read_is_no_problem(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch, folder: Path, interrupted: bool
) -> None:
    hash = alice.add(b"one thing").hash

    def dies(*_: object) -> None:
        raise Killed

    def collect() -> None:
        alice.remove(hash)
        if not interrupted:
            store.collect()
            return
        with monkeypatch.context() as patch:
            patch.setattr(contents, "delete_document", dies)
            with pytest.raises(Killed):
                store.collect()

    done = before_the_first_read(monkeypatch, collect, "documents")
    assert store.verify().problems == ()
    assert done and files(folder) == []


def test_what_is_replaced_while_it_is_read_is_no_problem(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    alice.add(b"one thing")
    (path,) = files(folder, "texts")

    def write_again() -> None:
        (folder / path).write_bytes(b"other bytes, of the same text")
        execute(folder, "UPDATE texts SET file_hash = ?", hash_of(b"other bytes, of the same text"))

    done = before_the_first_read(monkeypatch, write_again, "texts")
    assert store.verify().problems == ()
    assert done


def test_what_was_not_read_is_not_noted(
    store: DocStore, folder: Path, filled: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = 0

    def killed_at_the_second(progress: Progress) -> None:
        nonlocal documents
        documents = progress.done

    def dies() -> None:
        raise Killed

    real = verify_module.fault

    def fault(expected: verify_module.Expected, pace: Any) -> verify_module.Fault | None:
        if documents == 1:
            dies()
        return real(expected, pace)

    monkeypatch.setattr(verify_module, "_NOTE_SECONDS", 0.0)
    monkeypatch.setattr(verify_module, "fault", fault)
    with pytest.raises(Killed):
        store.verify(progress=killed_at_the_second)
    assert query(folder, "SELECT count(*) FROM checks WHERE checked_at <> ''") == [(1,)]


def test_what_it_finds_left_over_is_swept_by_the_next_collection(store: DocStore, folder: Path) -> None:
    orphan = folder / "texts" / "ab" / ("ab" * 32 + ".zst")
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"left by a crash that nothing noted")
    assert store.collect().leftovers == 0
    assert store.verify().leftovers == 1
    assert store.collect().leftovers == 1
    assert files(folder) == []


def test_what_is_being_published_is_no_leftover(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in place before its row is: a look without the write lock may meet it so."""
    alice.add(b"one thing")
    looks: list[str] = []

    def orphans(parts: Parts, db: Database, files: ContentStore, shard: str) -> list[Path]:
        looks.append(shard)
        return [files.root / shard / "in the middle"] if looks.count(shard) == 1 else []

    monkeypatch.setattr(verify_module, "orphans", orphans)
    assert store.verify().leftovers == 0
    assert looks


def test_a_second_run_at_once_reads_everything_again(store: DocStore, alice: Workspace) -> None:
    alice.add(b"one thing")
    for _ in range(100):  # now and then the two are within one tick of the clock
        assert store.verify().files == 4


def test_a_time_that_a_clock_noted_when_it_was_ahead_keeps_nothing_unread(
    store: DocStore, alice: Workspace, folder: Path
) -> None:
    alice.add(b"one thing")
    execute(folder, "UPDATE checks SET checked_at = '2999-01-01T00:00:00.000Z'")
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as reader:  # which corrects nothing
        assert reader.verify().files == 4
    assert store.verify().files == 4


@pytest.mark.parametrize("what", ["verify", "repair"])
def test_what_another_reads_meanwhile_is_read_all_the_same(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Which may have found damage, and noted that it looked."""
    monkeypatch.setattr(verify_module, "_PAGE", 4)
    alice.add_many([f"thing {number}".encode() for number in range(6)])
    last = alice.add(b"the last").hash
    ((text,),) = query(folder, "SELECT t.hash FROM texts t JOIN documents d ON text_id = t.id WHERE d.hash = ?", last)
    (folder / "texts" / text[:2] / f"{text}.zst").write_bytes(b"damaged")

    def meanwhile(progress: Progress) -> None:
        if progress.done == 1:
            assert not store.verify().ok

    if what == "verify":
        (problem,) = store.verify(progress=meanwhile).problems
        assert problem.documents == (last,)
    else:
        assert [each.action for each in store.repair(progress=meanwhile).repairs] == ["restored"]


def test_a_document_that_is_gone_is_nothing_to_come_back_for(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is what another run reads: the end was reached, and the store's folders are to be looked at too."""
    monkeypatch.setattr(verify_module, "_PAGE", 4)
    added = alice.add_many([f"thing {number}".encode() for number in range(12)]).added
    (folder / "foreign.txt").write_text("x")

    def meanwhile(progress: Progress) -> None:
        if progress.done == 2:
            alice.remove(added[-1].hash)
            store.collect()
            assert store.verify().problems

    found = store.verify(progress=meanwhile)
    assert [(each.kind, each.path) for each in found.problems] == [("foreign", "foreign.txt")]
    assert found.remaining == 0


def test_what_comes_while_it_runs_does_not_remain(store: DocStore, alice: Workspace, folder: Path) -> None:
    """Or a store that others add to would never have its folders looked at."""
    alice.add(b"one thing")
    (folder / "foreign.txt").write_text("x")
    found = store.verify(progress=lambda _: alice.add(b"another thing"))
    assert found.remaining == 0
    assert [each.path for each in found.problems] == ["foreign.txt"]


def test_one_that_is_stopped_says_that_something_remains(
    store: DocStore, alice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add_many([f"thing {number}".encode() for number in range(3)])
    monkeypatch.setattr(Pace, "is_over", lambda _: True)
    assert store.verify().remaining == 2  # one is read in any case


def _runs(store: DocStore, monkeypatch: pytest.MonkeyPatch, runs: int) -> list[VerifyReport]:
    """Runs whose time is over after three documents, each noted as a whole: what a slow machine notes on the way, just
    before a round ends, belongs to the round that ended."""
    monkeypatch.setattr(verify_module, "_NOTE_SECONDS", float("inf"))
    reports = []
    for _ in range(runs):
        calls = count()
        monkeypatch.setattr(Pace, "is_over", lambda _, calls=calls: next(calls) >= 3)
        reports.append(store.verify())
    return reports


@pytest.mark.parametrize("is_ahead", [False, True], ids=["", "after a clock was ahead"])
def test_runs_that_all_end_early_come_round(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch, is_ahead: bool
) -> None:
    alice.add_many([f"thing {number}".encode() for number in range(10)])
    (folder / "foreign.txt").write_text("x")
    if is_ahead:
        execute(folder, "UPDATE checks SET checked_at = '2999-01-01T00:00:00.000Z' WHERE document_id < 3")
    reports = _runs(store, monkeypatch, 7)
    assert [each.remaining for each in reports] == [7, 4, 1, 7, 4, 1, 7]
    assert [not each.ok for each in reports] == [False, False, False, True, False, False, True]
    assert query(folder, "SELECT count(*) FROM checks WHERE checked_at = ''") == [(0,)]


def test_what_is_noted_at_once_was_checked_at_once(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a millisecond ended meanwhile, those before would count as still to come in the round that begins."""
    alice.add_many([f"thing {number}".encode() for number in range(10)])
    monkeypatch.setattr(verify_module, "NOW", "hex(randomblob(8))")  # a clock that never says the same twice
    _runs(store, monkeypatch, 1)
    assert query(folder, "SELECT count(*), count(DISTINCT checked_at) FROM checks WHERE checked_at > ''") == [(3, 1)]


def test_a_round_that_ends_with_a_run_is_noticed(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add_many([f"thing {number}".encode() for number in range(6)])
    (folder / "foreign.txt").write_text("x")
    reports = _runs(store, monkeypatch, 4)
    assert [each.remaining for each in reports] == [3, 0, 3, 0]
    assert [not each.ok for each in reports] == [False, True, False, True]


@pytest.mark.parametrize("which", [1, 4, 6])
def test_a_round_ends_where_a_row_cannot_be_read(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    alice.add_many([f"thing {number}".encode() for number in range(6)])
    (folder / "foreign.txt").write_text("x")
    lie(folder, f"UPDATE documents SET text_id = 999 WHERE id = {which}")
    reports = _runs(store, monkeypatch, 4)
    assert [each.remaining for each in reports] == [3, 0, 3, 0]
    assert [any(each.kind == "foreign" for each in report.problems) for report in reports] == [False, True, False, True]


def test_who_holds_the_catalog_does_not_slow_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "_NOTE_SECONDS", 0.0)
    waited: list[float | None] = []
    write = CatalogDatabase.write

    def noting(self: CatalogDatabase, *, tampered: bool = False, timeout: float | None = None) -> Any:
        waited.append(timeout)
        return write(self, tampered=tampered, timeout=timeout)

    with DocStore(folder, embedder=HashEmbedder(), timeout=0.5) as store:
        store.workspace("alice").add_many([f"thing {number}".encode() for number in range(6)])
        monkeypatch.setattr(CatalogDatabase, "write", noting)
        with store._parts.database.write(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(store.verify).result().ok
    assert waited[:8] == [None, *[verify_module._PATIENCE_SECONDS] * 6, None]
    assert query(folder, "SELECT count(*) FROM checks WHERE checked_at = ''") == [(6,)]


def test_a_slow_run_that_is_killed_is_resumed(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add_many([f"thing {number}".encode() for number in range(6)])
    monkeypatch.setattr(verify_module, "_NOTE_SECONDS", 0.0)

    def die(progress: Progress) -> None:
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.verify(progress=die)
    assert query(folder, "SELECT count(*) FROM checks WHERE checked_at = ''") == [(2,)]


def test_a_folder_that_cannot_be_listed_costs_no_other_report(
    store: DocStore, alice: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add(b"one thing")
    (folder / "foreign.txt").write_text("x")
    listed = cas._listed

    def refused(directory: Path) -> list[tuple[str, bool]]:
        if directory.parent.name == "documents":  # a mode would not keep root out
            raise PermissionError(13, "Permission denied", str(directory))
        return listed(directory)

    monkeypatch.setattr(cas, "_listed", refused)
    found = {each.kind: each for each in store.verify().problems}
    assert found.keys() == {"foreign", "unreadable"}
    assert "it cannot be listed: Permission denied" in found["unreadable"].detail
    assert found["unreadable"].path.startswith("documents/")


def test_a_root_that_cannot_be_listed_is_reported(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(b"one thing")
    (folder / "embeddings").rename(folder / "moved")
    (folder / "embeddings").write_text("x")
    found = {each.path: each.kind for each in store.verify().problems}
    assert found["embeddings"] == "unreadable" and found["moved"] == "foreign"


def test_where_it_cannot_be_noted_what_was_read_it_is_told(store: DocStore, alice: Workspace, folder: Path) -> None:
    """Nothing rests on when something was last read, so a page of that may be lost and the report is not."""
    alice.add_many([b"Note %d." % number for number in range(2000)])
    store.close()
    ((page,),) = query(folder, "SELECT rootpage FROM sqlite_schema WHERE name = 'checks'")
    with open(folder / "catalog.db", "r+b") as file:
        file.seek((page - 1) * 4096 + 2000)
        file.write(b"\xff" * 2096)
    with DocStore(folder, embedder=HashEmbedder()) as damaged:
        for _ in range(2):
            assert "checks" in {each.path for each in damaged.verify().problems}
        assert not damaged.repair().ok
