"""The command line's `add`: what it walks, what it passes over, and what it says of what fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docstore.cli_output import ExitCode
from tests.commands import FOX, TAX, Run, filled, folder, workspaces

__all__ = ["filled", "folder"]


def test_add_walks_folders_and_skips_hidden_names_and_the_store(folder: Path) -> None:
    for name in ("a.txt", "sub/b.txt", "sub/.hidden", ".git/config", "sub/deep/c.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"Contents of {name}.")
    assert Run("add", "alice", ".").code == 0
    again = Run("add", "alice", ".", "--json")  # now the store lies inside
    assert again.code == 0
    assert again.json["added"] == []
    assert [each["name"] for each in again.json["reused"]] == ["a.txt", "b.txt", "c.txt"]


def test_add_takes_a_hidden_file_that_is_named(folder: Path) -> None:
    (folder / ".notes").write_text(FOX)
    assert Run("add", "alice", ".notes", "--json").json["added"][0]["name"] == ".notes"


def test_add_reports_each_failure_and_adds_the_rest(folder: Path) -> None:
    (folder / "fox.txt").write_text(FOX)
    (folder / "empty.txt").touch()
    run = Run("add", "alice", "empty.txt", "fox.txt", "missing.txt")
    assert run.code == ExitCode.INCOMPLETE
    assert "fox.txt" in run.out and "1 added, 0 reused, 2 failed." in run.out
    assert [line.split(": ")[:2] for line in run.err.splitlines()] == [["error", "empty.txt"], ["error", "missing.txt"]]
    failed = Run("add", "alice", "empty.txt", "missing.txt", "--json")
    assert failed.code == ExitCode.INCOMPLETE and failed.err == ""
    assert [each["reason"] for each in failed.json["failed"]] == ["empty", "missing"]


def test_add_without_any_file_creates_nothing(folder: Path) -> None:
    (folder / "none").mkdir()
    run = Run("add", "alice", "none")
    assert run.code == ExitCode.USAGE and run.err == "error: There are no files in none.\n"
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    "words", [["add", "alice", ""], ["--store", "", "ls"], ["replace", "0" * 64, ""]], ids=" ".join
)
def test_an_empty_path_is_not_the_current_folder(
    folder: Path, filled: dict[str, str], words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As from a variable that is not set."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "private.txt").write_text("Nobody asked for this.")
    before = workspaces(folder)
    monkeypatch.chdir(tmp_path / "here")
    done = Run(*words)
    assert done.code == ExitCode.USAGE and "a path is" in done.err
    assert workspaces(folder) == before


def test_a_folder_that_cannot_be_read_is_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "locked").mkdir()

    def refuse(top: Path, onerror: Callable[[OSError], None]) -> Iterator[tuple[str, list[str], list[str]]]:
        onerror(PermissionError(13, "Permission denied", str(top)))
        return iter(())

    monkeypatch.setattr("docstore.cli_arguments.os.walk", refuse)
    run = Run("add", "alice", "locked", "--json")
    assert run.code == ExitCode.INCOMPLETE
    assert "Permission denied" in run.json["failed"][0]["message"]


def test_what_cannot_be_looked_at_stops_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "fox.txt").write_text(FOX)
    # Not by permissions: root, as which these tests may run, may look everywhere. Longer than a path may be.
    (deep := folder / "deep").mkdir()
    monkeypatch.chdir(deep)
    length = len(os.fsencode(deep))
    while length < 4000:
        Path("d" * 90).mkdir()
        os.chdir("d" * 90)
        length += 91
    Path("n" * (4100 - length)).write_text(TAX)
    os.chdir(folder)
    run = Run("add", "alice", "fox.txt", "deep", "n" * 300, "--json")
    assert run.code == ExitCode.INCOMPLETE
    assert [each["name"] for each in run.json["added"]] == ["fox.txt"]
    assert [each["message"].count("File name too long") for each in run.json["failed"]] == [1, 1]


def test_a_current_folder_that_is_gone_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    run = Run("add", "alice", sys.executable)
    assert (run.code, run.err[:7]) == (ExitCode.STORE, "error: ")
