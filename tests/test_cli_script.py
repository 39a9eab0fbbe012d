"""The installed program: what it prints and returns where its output, or its input, is not what it hopes for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docstore import cli_output
from docstore.cli_output import ExitCode
from docstore.errors import InvalidArgument
from docstore.store import DocStore
from docstore.testing import HashEmbedder
from tests.commands import SCRIPT, filled, folder

__all__ = ["filled", "folder"]


WITHOUT_A_MODEL = """
from docstore import cli, cli_store
from docstore.testing import HashEmbedder
cli_store.embedder_of = lambda _: HashEmbedder()
cli.app()
"""


def script(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *words], stderr=subprocess.PIPE, text=True, check=False, timeout=60, **more)


def test_the_installed_script(filled: dict[str, str]) -> None:
    shown = script("--help", stdout=subprocess.PIPE)
    assert shown.returncode == 0 and "collect" in shown.stdout
    missing = script("-s", "nowhere", "stats", stdout=subprocess.PIPE)
    assert (missing.returncode, missing.stdout) == (5, "") and missing.stderr.startswith("error: nowhere is no store.")
    assert script("ls", "nobody", stdout=subprocess.PIPE).returncode == 3
    assert script("bogus", stdout=subprocess.PIPE).returncode == 2


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"], ["read", "alice", "fox.txt"]], ids=" ".join)
def test_a_closed_pipe_is_quiet(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = script(*words, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (ExitCode.CLOSED_PIPE, "")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"], ["stats"], ["read", "alice", "fox.txt"]], ids=" ".join)
def test_a_full_disk_behind_standard_output_is_one_line(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = script(*words, stdout=full)
    assert done.returncode == ExitCode.STORE
    assert " cannot be written to standard output: No space left on device." in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["read alice large.txt", "search alice fox -k99 --json"])
def test_what_is_cut_off_is_no_success(folder: Path, filled: dict[str, str], words: str, unbuffered: str) -> None:
    with DocStore(folder / "data", embedder=HashEmbedder()) as store:
        store.workspace("alice").add(b"A large document. " * 10_000, name="large.txt")
    # Unlike a full device, which takes no byte at all, this takes some of the first write.
    command = f"ulimit -f 1; exec {sys.executable} -c '{WITHOUT_A_MODEL}' {words} > out"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert done.returncode == ExitCode.STORE and "cannot be written to standard output: File too large" in done.stderr


@pytest.mark.usefixtures("filled")
def test_a_document_for_a_closed_standard_output_is_lost() -> None:
    command = ["sh", "-c", f"{SCRIPT} read alice fox.txt >&-"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == ExitCode.STORE and "standard output is closed" in done.stderr


@pytest.mark.usefixtures("filled")
def test_a_closed_standard_output_is_nobody_who_reads() -> None:
    done = subprocess.run(["sh", "-c", f"{SCRIPT} ls >&-"], stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = script("--help", stdout=full)
    assert done.returncode == ExitCode.STORE
    assert done.stderr == "error: The help cannot be written to standard output: No space left on device.\n"


def test_what_is_no_help_is_named_where_it_cannot_be_written() -> None:
    # Else it is made for the shell that runs the tests.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": os.devnull}
    done = script("--install-completion", "bash", stdout=subprocess.PIPE, env={**os.environ, **named})
    assert done.returncode == ExitCode.STORE
    assert done.stderr.startswith(f"error: {os.devnull}") and done.stderr.count("\n") == 1


def test_a_current_folder_that_was_deleted_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = script("--store", str(tmp_path / "data"), "add", "alice", ".", stdout=subprocess.PIPE)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == "error: . is not found: No such file or directory. Was the current folder deleted?\n"


@pytest.mark.usefixtures("filled")
def test_a_warning_that_cannot_be_written_takes_nothing_with_it() -> None:
    Path("third.txt").write_text("A third note.")
    script("limit", "alice", "--documents", "3", stdout=subprocess.PIPE)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_A_MODEL, "add", "alice", "third.txt"],
            stdout=subprocess.PIPE, stderr=full, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0 and "1 added, 0 reused, 0 failed." in done.stdout


@pytest.mark.usefixtures("filled")
def test_the_exit_code_stays_where_the_error_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([SCRIPT, "ls", "nobody"], stderr=full, check=False, timeout=60)
    assert done.returncode == ExitCode.NOT_FOUND


@pytest.mark.usefixtures("filled")
def test_nobody_is_asked_where_standard_input_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidArgument, match="Nobody can be asked"):
        cli_output.confirmed("Delete it?", False)


INTERRUPTED = """
import sys

class Slow:
    def __getattr__(self, name):
        raise KeyboardInterrupt

sys.modules["docstore.cli"] = Slow()
from docstore.__main__ import main
main()
"""


def test_an_interrupt_before_the_command_begins_exits_130() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "error: Interrupted.\n")
