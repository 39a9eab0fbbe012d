"""Verify: names every damage, and only damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from docstore import DocStore, Progress, VerifyReport, Workspace
from docstore.testing import HashEmbedder
from tests.folders import files, lie


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
    ("change", "without", "kind"),
    [
        ("UPDATE documents SET refcount = 7, unreferenced_at = NULL", "documents_refcount", "count"),
        ("UPDATE workspaces SET refs = 9", "refs_delete", "count"),
        ("UPDATE totals SET chunks = chunks + 1", "refs_delete", "count"),
        ("UPDATE totals SET logical_bytes = 5", "refs_delete", "count"),
        ("DELETE FROM totals", "refs_delete", "count"),
        ("DELETE FROM checks", "refs_delete", "catalog"),
        ("DELETE FROM documents WHERE id = 1", "documents_delete", "reference"),
    ],
)
def test_a_catalog_that_contradicts_itself(
    report: Callable[[], VerifyReport], folder: Path, filled: list[Path], change: str, without: str, kind: str
) -> None:
    lie(folder, change, without=without)
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
