"""The commands on time to live and limits: what they refuse, keep, and tell programs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from docstore.cli_output import ExitCode
from docstore.store import DocStore
from docstore.testing import HashEmbedder
from tests.clock import Clock
from tests.commands import FOX, TAX, Run, filled, folder

__all__ = ["filled", "folder"]


@pytest.mark.usefixtures("filled")
def test_ttl_is_shown_and_set() -> None:
    assert Run("ttl", "alice", "12h", "--json").json["ttl"] == 12 * 3600
    shown = Run("ttl", "alice").out
    assert shown.startswith("alice lives 12h from its last use, until ")
    assert "Expires" in Run("ls").out and Run("ls", "--json").json[0]["expires_at"]
    assert Run("ttl", "alice", "forever").out == "alice lives until it is deleted.\n"
    assert "Expires" not in Run("ls").out
    for words in (["nobody"], ["nobody", "7d"]):
        assert Run("ttl", *words).code == ExitCode.NOT_FOUND
    for words in (["alice", "7w"], ["alice", "--fixed"], ["alice", "forever", "--fixed"], ["alice", "0s"]):
        assert Run("ttl", *words).code == ExitCode.USAGE, words


@pytest.mark.usefixtures("filled")
def test_expire_and_undelete_say_what_they_did(clock: Clock) -> None:
    Run("ttl", "alice", "1h", "--fixed")
    clock.advance(timedelta(hours=1))
    assert Run("expire", "--dry-run", "--json").json == {"expired": ["alice"], "deleted": [], "dry_run": True}
    assert Run("expire").out == "Took away 1 workspace (alice).\n"
    assert Run("expire").out == "Took away 0 workspaces.\n"
    assert Run("undelete", "--json").json[0]["name"] == "alice"
    assert Run("undelete", "alice", "--name", "bob").code == ExitCode.USAGE
    assert Run("undelete", "alice").out.startswith("Brought back alice with 2 documents. alice lives 1h")
    assert Run("undelete").out == "Nothing is expired.\n"
    assert Run("undelete", "alice").code == ExitCode.NOT_FOUND
    clock.advance(timedelta(hours=1))
    assert (
        Run("expire", "--grace", "0s").out
        == "Took away 1 workspace (alice) and deleted 1 workspace (alice) for good.\n"
    )
    assert Run("collect", "--json").json["documents"] == 1


@pytest.mark.usefixtures("filled")
def test_the_name_of_what_expired_cannot_command_the_terminal(folder: Path, clock: Clock) -> None:
    with DocStore(folder / "data", embedder=HashEmbedder()) as store:
        store.workspace("evil \x1b[2J", ttl=timedelta(hours=1), sliding=False)
    clock.advance(timedelta(hours=1))
    for words in (["expire", "--dry-run"], ["expire"], ["undelete"]):
        shown = Run(*words).out
        assert "evil" in shown and "\x1b" not in shown, words


@pytest.mark.usefixtures("filled")
def test_limits_that_are_not_given_stay(folder: Path) -> None:
    for words in (["--bytes", "1MB"], ["--documents", "5"], ["--warn-at", "0.5"], ["--keep-free", "0.01"],
                  ["--workspace-bytes", "7kB"]):  # fmt: skip
        assert Run("limit", *words).code == 0
    shown = Run("limit", "--json").json
    assert (shown["max_physical_bytes"], shown["workspace_documents"], shown["warn_at"]) == (1_000_000, 5, 0.5)
    assert (shown["keep_free"], shown["workspace_logical_bytes"]) == (0.01, 7000)
    assert "at most 1.0 MB" in Run("limit").out and "at most 7.0 kB" in Run("limit").out
    Run("limit", "--keep-free", "none")
    assert Run("limit", "--json").json["keep_free"] is None
    Run("limit", "alice", "--documents", "9", "--bytes", "1kB")
    Run("limit", "alice", "--documents", "none")
    assert Run("limit", "alice").out.splitlines() == [
        "Documents: 2", f"Their size: {len(FOX) + len(TAX)} bytes of at most 1.0 kB"
    ]  # fmt: skip
    for words in (["alice", "--keep-free", "0.1"], ["alice", "--workspace-bytes", "1"], ["--bytes", "1.5GB"],
                  ["--bytes", "-1"], ["--documents", "1kB"], ["--keep-free", "much"], ["--warn-at", "2"]):  # fmt: skip
        assert Run("limit", *words).code == ExitCode.USAGE, words
    assert Run("limit", "nobody").code == ExitCode.NOT_FOUND


def test_add_warns_and_fails_at_a_limit(folder: Path) -> None:
    with DocStore(folder / "data", embedder=HashEmbedder()) as store:
        store.workspace("alice").limit(documents=1)
    (folder / "fox.txt").write_text(FOX)
    (folder / "tax.txt").write_text(TAX)
    warned = Run("add", "alice", "fox.txt")
    assert (warned.code, warned.err) == (0, "warning: The workspace 'alice' has 1 of at most 1 documents.\n")
    full = Run("add", "alice", "tax.txt", "--json")
    assert full.code == ExitCode.INCOMPLETE
    assert [each["error"] for each in full.json["failed"]] == ["QuotaExceeded"]
