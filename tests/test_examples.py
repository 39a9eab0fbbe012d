"""The examples do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docstore.testing import HashEmbedder
from examples import sessions_global, sessions_per_set, sessions_per_user

ROOT = Path(__file__).parent.parent


def test_a_second_chat_of_a_user_never_embeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert sessions_per_user.main(HashEmbedder()) == 0
    assert "alice's chats: Leave, Keys" in capsys.readouterr().out


def test_two_users_of_the_same_files_have_one_set_and_chats_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    alice, bob, shared = sessions_per_set.main(HashEmbedder())
    assert (alice, bob) == ("alice", "bob") and shared.startswith("set:")
    printed = capsys.readouterr().out
    assert "In bob's chat: ['For bob: The key" in printed and "Embedded: 2 chunks" in printed


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
