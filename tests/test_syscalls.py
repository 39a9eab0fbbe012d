"""The interposer sees every call that changes the disk, SQLite's too, and can spoil any of them."""

from __future__ import annotations

import errno
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.syscalls import interpose

pytestmark = pytest.mark.skipif(bool(interpose.unavailable()), reason=interpose.unavailable())


def run(scenario: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    done = interpose.run_interposed("tests.syscalls.scenario", [scenario, str(folder)])
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_replaying_the_log_gives_the_folder_byte_for_byte(folder: Path) -> None:
    found = run("record", folder)
    assert found["while open"]["differ"] == found["when closed"]["differ"] == []
    # A blob, a text and a sub-index of two files for each of 5 documents, in directories of their own; catalog.db, its
    # -wal, the archive, its journal, tmp.
    assert found["while open"]["files"] > 5 * (4 + 4) + 5
    assert {"OPEN", "WRITE", "SYNC", "UNLINK", "CLOSE"} <= set(found["write-ahead log"])


def test_a_chosen_call_fails_and_no_other(folder: Path) -> None:
    found = run("fail_once", folder)
    assert "No space left" in found["error"]
    assert found["fired"] == 1
    assert found["again"] == "untitled"


def test_calls_fail_for_ever(folder: Path) -> None:
    assert run("fail_forever", folder) == {"errors": [errno.EIO, errno.EIO], "size": 2, "fired": 2}


def test_relative_paths_and_directory_descriptors_are_resolved(folder: Path) -> None:
    found = run("relative", folder)
    assert found["names"] == [
        ["MKDIR", "inner"],
        ["OPEN", "inner"],
        ["OPEN", "inner/file"],
        ["CLOSE", "inner/file"],
        ["UNLINK", "inner/file"],
        ["OPEN", "short"],
        ["WRITE", "short"],
        ["WRITE", "short"],  # Python writes what the short write left
        ["CLOSE", "short"],
    ]
    assert found["written"] == 2


@pytest.mark.parametrize(("scenario", "left"), [("kill_before", "old"), ("kill_after", "new")])
def test_the_process_dies_at_a_chosen_call(folder: Path, scenario: str, left: str) -> None:
    folder.mkdir()
    done = interpose.run_interposed("tests.syscalls.scenario", [scenario, str(folder)])
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in folder.iterdir()] == [left]


def test_without_the_shim_nothing_can_be_watched() -> None:
    with pytest.raises(RuntimeError, match="run_interposed"):
        interpose.Interposer()
