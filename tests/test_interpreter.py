"""The process that extracts is started where `sys.executable` is no Python, or it is said in time that it cannot be."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, DocStoreError, StorageError, Workspace
from docstore.ingest import worker_process
from docstore.ingest.interpreter import interpreter

NOTE = b"The key hangs behind the door."


@pytest.mark.parametrize("executable", [None, "", "/usr/sbin/uwsgi", "application"])
def test_an_application_may_embed_python(alice: Workspace, monkeypatch: pytest.MonkeyPatch, executable: Any) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    assert alice.add(NOTE).chunks == 1


def test_a_program_without_python_is_not_started_again(alice: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(DocStoreError, match="Run the application with Python"):
        alice.add(NOTE)


@pytest.mark.parametrize(
    ("executable", "told"),
    [("/usr/sbin/uwsgi", "is no Python"), ("/nowhere/bin/python3", "is gone, or may not be run")],
)
def test_where_there_is_no_python_it_is_said(
    alice: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str, told: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    for prefix in ("exec_prefix", "base_exec_prefix"):
        monkeypatch.setattr(sys, prefix, str(tmp_path))
    with pytest.raises(DocStoreError, match=f"'{executable}', which {told}"):
        alice.add(NOTE)


def test_a_python_of_another_name_is_one(alice: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the only program of an environment is a link to it."""
    (tmp_path / "server").symlink_to(Path(sys.executable).resolve())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "server"))
    assert interpreter() == str(tmp_path / "server")
    assert alice.add(NOTE).chunks == 1


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("exec sleep 60", "nothing for 1 s"),
        ("echo hello; exit 7", "exit code 7"),
        ("exec sleep 60 >&-", "says nothing any more"),
    ],
)
def test_what_is_none_of_ours_is_not_waited_for(
    store: DocStore, alice: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, told: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setattr(worker_process, "_START_SECONDS", 1.0)
    monkeypatch.setattr(worker_process, "_END_SECONDS", 1.0)
    began = time.monotonic()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(program))
        with pytest.raises(DocStoreError, match=told):
            alice.add(NOTE)
    assert time.monotonic() - began < 20
    assert alice.add(NOTE).chunks == 1  # nobody holds it
    assert store.verify().ok


@pytest.mark.parametrize(("code", "advice"), [(errno.EMFILE, "ulimit -n"), (errno.EAGAIN, "ulimit -u")])
def test_where_there_is_no_room_for_a_process_it_is_said(
    alice: Workspace, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(StorageError, match=rf"^Starting the process that extracts text failed.*{advice}"):
        alice.add(NOTE)


@pytest.mark.parametrize("begun", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"LC_ALL": "C.UTF-8"}])
def test_paths_are_spelled_as_in_the_application(tmp_path: Path, begun: dict[str, str]) -> None:
    options = ["-X", "utf8"] if "PYTHONUTF8" in begun else []
    program = """
import os, sys
os.environ["LC_ALL"] = "C"  # for other programs that it starts
from docstore import DocStore
from docstore.testing import HashEmbedder
with DocStore(sys.argv[1], embedder=HashEmbedder()) as store:
    print(store.workspace("alice").add(b"a red fox " * 200_000).chunks)
"""
    done = subprocess.run(
        [sys.executable, *options, "-c", program, os.fsencode(tmp_path) + "/ström".encode()],
        env=os.environ | begun, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and int(done.stdout) > 100, done.stderr
