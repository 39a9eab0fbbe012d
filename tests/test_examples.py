"""The examples do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docstore import DocStore
from docstore.testing import HashEmbedder
from examples import sessions_global, sessions_per_set, sessions_per_user
from tests.samples import pdf

ROOT = Path(__file__).parent.parent


def test_a_second_chat_of_a_user_never_embeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert sessions_per_user.main(HashEmbedder()) == 0
    assert "alice's chats: Leave, Keys" in capsys.readouterr().out


def test_a_chat_about_a_file_that_cannot_be_read_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    with DocStore(tmp_path / "data", embedder=HashEmbedder()) as store:
        answer = sessions_per_user.chat(store, "alice", "Keys", [tmp_path / "empty.txt"], "Where is the key?")
    assert answer.content == "There is nothing to search yet."
    assert "empty.txt: it has no bytes." in capsys.readouterr().out


def test_two_users_of_the_same_files_have_one_set_and_chats_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    shared, alice, bob = sessions_per_set.main(HashEmbedder())
    assert shared.startswith("set:") and (alice, bob) == ("user:alice", "user:bob")
    printed = capsys.readouterr().out
    assert "In bob's chat: ['For user:bob: The key" in printed and "Embedded: 2 chunks" in printed


def test_no_user_of_a_set_can_be_called_as_the_set(tmp_path: Path) -> None:
    files = [tmp_path / "keys.txt", tmp_path / "leave.txt"]
    for each in files:
        each.write_text(f"What is said of {each.stem}.")
    with DocStore(tmp_path / "data", embedder=HashEmbedder()) as store:
        (shared,) = sessions_per_set.session(store, "alice", files[:1]).includes()
        sessions_per_set.session(store, shared, files[1:]).add(b"The key is lost.", name="keys.txt")
        assert [each.name for each in store.workspace(shared).documents()] == ["keys.txt"]


def test_what_a_repository_lends() -> None:
    assert list(sessions_global.main(HashEmbedder()).values()) == [
        {"keys.txt", "leave.txt"},
        {"keys.txt", "leave.txt", "note.txt"},
        {"keys.txt", "leave.txt", "travel.txt", "canteen.txt"},
    ]


@pytest.mark.parametrize("name", ["sessions_per_user", "sessions_per_set", "sessions_global"])
def test_each_runs_as_a_program(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{name}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_demo_shows_what_the_readme_says(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "leave.pdf").write_bytes(pdf(["Twenty-eight days of leave."]))
    (docs / "keys.md").write_text("# Keys\nThe key hangs [bold]behind[/usr/bin] the :door:.")
    (docs / "[red].txt").write_bytes(b"")
    command = [sys.executable, "-m", "examples.demo", "--docs", str(docs), "--ask", "Where is the key?"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert said.startswith("3 documents, ") and "[red].txt: it has no bytes." in said
    assert "bob adds 2 documents in" in said and "0 chunks embedded, 2 reused" in said
    assert said.index("keys.md: # Keys The key hangs [bold]behind[/usr/bin] the :door:.") < said.index(
        "leave.pdf, page 1: Twenty-eight days"
    )
    assert said.endswith("documents left: 0, with 0 files; verify: ok")


def test_the_demo_asks_about_a_document_that_it_could_add(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").write_bytes(b"")
    try:
        (docs / os.fsdecode(b"b\xff.txt")).write_bytes(b"Five days of leave.")
    except OSError:
        pytest.skip("names of files are UTF-8 here")
    (tmp_path / "demo" / "store").mkdir(parents=True)
    (tmp_path / "demo" / "store" / "left.txt").write_bytes(b"Of a demo that was interrupted.")
    command = [sys.executable, "-m", "examples.demo", "--docs", str(tmp_path), "--ask", " "]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "bob asks: What is b" in done.stdout and "Five days of leave." in done.stdout
