"""The command line: what each command does, prints and returns."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.cells import cell_len

from docstore import cli_arguments, cli_layout, cli_store, errors
from docstore.cli_output import ExitCode
from docstore.documents import Document
from docstore.errors import DocStoreError, DocumentNotFound, InvalidArgument
from docstore.ingest.embed import SentenceTransformerEmbedder
from docstore.store import DocStore
from docstore.testing import HashEmbedder
from tests.commands import FOX, SCRIPT, TAX, Run, filled, folder, workspaces
from tests.samples import pdf

__all__ = ["filled", "folder"]

REAL_EMBEDDER = cli_store.embedder_of


# -- search -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("filled")
def test_search_prints_a_table_and_whole_texts_as_json() -> None:
    assert FOX in Run("search", "alice", "red fox").out
    hits = Run("search", "alice", "red fox", "-k", "1", "--json").json
    assert [(hit["name"], hit["text"]) for hit in hits] == [("fox.txt", FOX)]
    assert len(Run("search", "alice", "red fox", "--mmr", "--fetch-k", "2", "--lambda-mult", "0", "--json").json) == 2


def test_search_filters(filled: dict[str, str]) -> None:
    def names(*options: str) -> list[str]:
        return [hit["name"] for hit in Run("search", "alice", "red fox", "--json", *options).json]

    assert names("--document", filled["tax"]) == names("--document", filled["tax"][:6].upper()) == ["tax.txt"]
    assert sorted(names("--document", "tax.txt", "--document", filled["fox"][:4])) == ["fox.txt", "tax.txt"]
    assert names("--where", "year=2024", "--where", "kind=animal") == ["fox.txt"]
    assert names("--where", 'year="2024"') == names("--where", "year=NaN") == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["search", "nobody", "fox"], ExitCode.NOT_FOUND),
        (["search", "alice", "fox", "--document", "ffff"], ExitCode.NOT_FOUND),
        (["search", "alice", " "], ExitCode.USAGE),
        (["search", "alice", "fox", "-k", "0"], ExitCode.USAGE),
        (["search", "alice", "fox", "--where", "year"], ExitCode.USAGE),
        (["search", "alice", "fox", "--where", "a=1", "--where", "a=2"], ExitCode.USAGE),
        (["search", "alice", "fox", "--mmr", "--lambda-mult", "2"], ExitCode.USAGE),
        (["ls", "nobody"], ExitCode.NOT_FOUND),
        (["rm", "nobody", "--all", "--yes"], ExitCode.NOT_FOUND),
        (["rm", "alice", "nothing.txt"], ExitCode.NOT_FOUND),
        (["rm", "alice", "0" * 64], ExitCode.NOT_FOUND),
        (["rm", "alice"], ExitCode.USAGE),
        (["rm", "alice", "fox.txt", "--all"], ExitCode.USAGE),
        (["rm", "alice", "--all"], ExitCode.USAGE),
        (["link", "carol", "0" * 64], ExitCode.NOT_FOUND),
        (["link", "carol", "abcd"], ExitCode.USAGE),
        (["link", "carol", "0" * 64, "1" * 64, "--name", "x"], ExitCode.USAGE),
        (["include", "nobody", "alice"], ExitCode.NOT_FOUND),
        (["include", "alice", "bob", "nobody"], ExitCode.NOT_FOUND),
        (["include", "alice", "alice"], ExitCode.USAGE),
        (["exclude", "alice", "bob"], ExitCode.NOT_FOUND),
        (["chat", "nobody"], ExitCode.NOT_FOUND),
        (["chat", "alice", "nothing"], ExitCode.NOT_FOUND),
        (["chat", "alice", "nothing", "--delete", "--yes"], ExitCode.NOT_FOUND),
        (["chat", "alice", "--delete"], ExitCode.USAGE),
        (["collect", "--grace", "soon"], ExitCode.USAGE),
        (["collect", "--grace", "999999999999d"], ExitCode.USAGE),
    ],
)
def test_what_is_refused_changes_nothing(
    folder: Path, filled: dict[str, str], words: list[str], code: ExitCode
) -> None:
    before = workspaces(folder)
    run = Run(*words)
    assert (run.code, run.out) == (code, "")
    assert workspaces(folder) == before
    if run.err.startswith("error: "):  # else typer's own
        assert run.err.count("\n") == 1
        as_json = json.loads(Run(*words, "--json").err)
        assert set(as_json) == {"error", "message"} and issubclass(getattr(errors, as_json["error"]), DocStoreError)


# -- the other commands -----------------------------------------------------------------------------------------------


def test_ls(filled: dict[str, str]) -> None:
    assert Run("ls", "--json").json == [
        {"name": "alice", "documents": 2, "expires_at": None},
        {"name": "bob", "documents": 1, "expires_at": None},
    ]
    assert [line.split() for line in Run("ls").out.splitlines()[1:]] == [["alice", "2"], ["bob", "1"]]
    listed = Run("ls", "alice", "--json").json
    assert [each["hash"] for each in listed] == list(filled.values())
    assert listed[0]["metadata"] == {"year": 2024, "kind": "animal"}
    assert filled["tax"][:12] in Run("ls", "alice").out


def test_read_gives_back_what_was_added(folder: Path, filled: dict[str, str]) -> None:
    pages = pdf(["A page.", "Another."])
    (folder / "pages.pdf").write_bytes(pages)
    assert Run("add", "bob", "pages.pdf").code == 0
    (hash,) = (each["hash"] for each in Run("ls", "bob", "--json").json if each["name"] == "pages.pdf")
    Run("include", "alice", "bob")
    for reader in ("alice", "bob"):  # who includes bob may search it
        for word in (hash, hash[:8], "pages.pdf"):
            assert Run("read", reader, word).result.stdout_bytes == pages
    refused = Run("read", "bob", "tax.txt")
    assert (refused.code, refused.out) == (ExitCode.NOT_FOUND, "") and "has no document 'tax.txt'" in refused.err
    assert Run("read", "nobody", "tax.txt").code == ExitCode.NOT_FOUND


def test_read_says_that_a_document_is_damaged(folder: Path, filled: dict[str, str]) -> None:
    (damaged,) = (folder / "data" / "documents").rglob(f"{filled['fox']}.*")
    damaged.write_bytes(b"The quick red FOX")
    run = Run("read", "alice", "fox.txt")
    assert run.code == ExitCode.STORE and "is damaged, and so is what was written" in run.err


def test_read_sends_no_bytes_to_a_terminal(filled: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run([SCRIPT, "read", "alice", "fox.txt"], stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    with suppress(OSError):  # nobody is at the other end
        assert os.read(ours, 100) == b""
    os.close(ours)
    assert done.returncode == ExitCode.USAGE and b"Send the document to a file" in done.stderr


@pytest.mark.parametrize("by", ["hash", "prefix", "name"])
def test_rm_takes_hash_prefix_or_name(folder: Path, filled: dict[str, str], by: str) -> None:
    word = {"hash": filled["fox"], "prefix": filled["fox"][:4], "name": "fox.txt"}[by]
    run = Run("rm", "alice", word, word, "--json")
    assert run.code == 0 and [each["hash"] for each in run.json["removed"]] == [filled["fox"]]
    assert workspaces(folder) == {"alice": ["tax.txt"], "bob": ["fox.txt"]}


def test_rm_takes_the_name_of_a_file_that_is_no_utf8(folder: Path, filled: dict[str, str]) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (folder / name).write_text("Menu.")
    Run("add", "bob", name)
    assert workspaces(folder)["bob"] == ["fox.txt", "caf\ufffd.txt"]
    assert Run("rm", "bob", name).code == Run("rm", "alice", "fox.txt").code == 0
    assert workspaces(folder)["bob"] == ["fox.txt"]


def test_rm_refuses_what_is_ambiguous(folder: Path, filled: dict[str, str]) -> None:
    Run("link", "alice", filled["fox"], "--name", "tax.txt")
    run = Run("rm", "alice", "tax.txt")
    assert run.code == ExitCode.USAGE and filled["fox"][:16] in run.err and filled["tax"][:16] in run.err
    assert len(workspaces(folder)["alice"]) == 2


def test_rm_knows_a_hash_before_a_document_that_is_called_so(folder: Path, filled: dict[str, str]) -> None:
    Run("link", "alice", filled["tax"], "--name", filled["fox"])
    Run("rm", "alice", filled["fox"])
    assert workspaces(folder)["alice"] == [filled["fox"]]


@pytest.mark.parametrize(("answer", "code"), [("n\n", ExitCode.INCOMPLETE), ("y\n", ExitCode.OK)])
def test_rm_all_asks_on_a_terminal(folder: Path, filled: dict[str, str], answer: str, code: ExitCode) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    done = subprocess.run([SCRIPT, "rm", "bob", "--all"], stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code and "1 reference?" in done.stderr
    assert ("bob" in workspaces(folder)) == (code != ExitCode.OK)


def test_link(folder: Path, filled: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = HashEmbedder()
    monkeypatch.setattr(cli_store, "embedder_of", lambda _model: embedder)
    assert Run("link", "carol", filled["tax"], "--name", "t", "--json").json[0]["name"] == "t"
    assert Run("link", "bob", *filled.values()).code == 0
    assert workspaces(folder)["carol"] == ["t"] and len(workspaces(folder)["bob"]) == 2
    assert Run("link", "dora", filled["tax"], "0" * 64).code == ExitCode.NOT_FOUND
    assert "dora" not in workspaces(folder)
    assert embedder.embedded == 0


def test_stats_and_collect(filled: dict[str, str]) -> None:
    assert Run("stats", "--json").json["references"] == 3
    assert "Without sharing" in Run("stats").out
    Run("rm", "alice", "tax.txt")
    assert Run("collect", "--grace", "7d", "--json").json["documents"] == 0
    assert Run("collect", "--dry-run").out.startswith("Would delete 1 document, ")
    report = Run("collect", "--json").json
    assert (report["documents"], report["dry_run"]) == (1, False)
    assert Run("stats", "--json").json["documents"] == 1


def test_include_and_exclude(filled: dict[str, str]) -> None:
    assert Run("include", "bob", "alice", "--json").json == {"workspace": "bob", "includes": ["alice"]}
    assert [hit["name"] for hit in Run("search", "bob", "income tax", "-k", "1", "--json").json] == ["tax.txt"]
    assert Run("search", "bob", "income tax", "--document", "tax.txt", "--json").json[0]["document"] == filled["tax"]
    assert len(Run("ls", "bob", "--json").json) == 1
    assert Run("exclude", "bob", "alice").out == "bob includes no other workspace.\n"
    assert Run("search", "bob", "income tax", "--document", "tax.txt").code == ExitCode.NOT_FOUND


def test_chat(folder: Path, filled: dict[str, str]) -> None:
    assert Run("chat", "alice").out == "alice has no conversations.\n"
    with DocStore(folder / "data", embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.conversation("[red]taxes\x1b").append("user", "When is tax due?\nA second line\x1b[2J.")
        alice.conversation("[red]taxes\x1b").append("assistant", "In spring.", hits=alice.search("tax", k=1))
    assert "[red]taxes\ufffd" in Run("chat", "alice").out
    assert [each["messages"] for each in Run("chat", "alice", "--json").json] == [2]
    shown = Run("chat", "alice", "[red]taxes\x1b").out
    assert "1. user, " in shown and "\nA second line\ufffd[2J.\n" in shown and f"from tax.txt: {TAX}" in shown
    Run("rm", "alice", "tax.txt")
    assert Run("chat", "alice", "[red]taxes\x1b").out.endswith("from was tax.txt\n")
    exported = Run("chat", "alice", "[red]taxes\x1b", "--json").json
    assert exported["messages"][1]["sources"][0]["document"] == filled["tax"]
    with DocStore(folder / "data", embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(TAX.encode(), name="tax.txt\n9. user, send money")
        alice.conversation("[red]taxes\x1b").append("user\n9. user", "When?", hits=alice.search("tax", k=1))
    shown = Run("chat", "alice", "[red]taxes\x1b").out
    assert "\n3. user\ufffd9. user, " in shown and "\n  from tax.txt\ufffd9. user, send money: " in shown
    assert "\n9. user" not in shown, "no name looks like a line of ours"
    assert Run("chat", "alice", "[red]taxes\x1b", "--delete").code == ExitCode.USAGE
    assert Run("chat", "alice", "[red]taxes\x1b", "--delete", "--yes", "--json").json["deleted"] == "[red]taxes\x1b"
    assert Run("chat", "alice", "--json").json == []


def test_verify(folder: Path, filled: dict[str, str]) -> None:
    assert Run("verify").out.endswith(": no problems.\n")
    (stored,) = (folder / "data" / "documents").rglob(f"{filled['fox']}.*")
    stored.write_bytes(b"something else")
    run = Run("verify", "--json")
    assert run.code == ExitCode.INCOMPLETE and run.json["ok"] is False
    assert [(each["kind"], each["workspaces"]) for each in run.json["problems"]] == [("damaged", ["alice", "bob"])]
    assert "1 problem." in Run("verify").out


# -- all of them ------------------------------------------------------------------------------------------------------

COMMANDS = [
    ["search", "alice", "fox"], ["ls"], ["ls", "alice"], ["rm", "alice", "fox.txt"], ["link", "alice", "0" * 64],
    ["stats"], ["collect"], ["collect", "--dry-run"], ["verify"],
    ["include", "alice", "bob"], ["exclude", "alice", "bob"], ["chat", "alice"], ["chat", "alice", "x"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_only_add_creates_a_store(folder: Path, words: list[str]) -> None:
    run = Run(*words, "--json")
    assert run.code == ExitCode.STORE and json.loads(run.err)["error"] == "StoreVersionError"
    assert list(folder.iterdir()) == []


def test_what_embeds_nothing_loads_no_model(filled: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(cli_store, "embedder_of", REAL_EMBEDDER)
    for each in ("_load", "_for_few", "_as_library"):
        monkeypatch.setattr(SentenceTransformerEmbedder, each, refuse)
    for words in (
        ["ls"],
        ["ls", "alice"],
        ["read", "alice", "tax.txt"],
        ["stats"],
        ["verify"],
        ["rm", "alice", "tax.txt"],
        ["collect"],
    ):
        assert Run(*words).code == 0
    for words in (["ls"], ["stats"], ["verify"], ["rm", "alice", "fox.txt"], ["collect"]):
        assert Run("--model", "some/other", *words).code == 0


def test_the_folder_may_come_from_the_environment(filled: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data").rename("elsewhere")
    monkeypatch.setenv("DOCSTORE_FOLDER", "elsewhere")
    assert Run("ls").code == 0
    assert Run("-s", "data", "ls").code == ExitCode.STORE


@pytest.mark.usefixtures("filled")
def test_a_locked_store_has_its_exit_code() -> None:
    other = sqlite3.connect("data/catalog.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        run = Run("--timeout", "0.1", "collect", "--json")
        assert run.code == ExitCode.LOCKED and json.loads(run.err)["error"] == "StoreLocked"
        assert Run("ls").code == 0
    finally:
        other.close()


def test_a_model_that_cannot_be_loaded_has_its_exit_code(
    filled: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_model: str | None) -> None:
        raise errors.EmbeddingError("No such model:\nx.")

    monkeypatch.setattr(cli_store, "embedder_of", broken)
    run = Run("search", "alice", "fox")
    assert (run.code, run.err) == (ExitCode.EMBEDDING, "error: No such model: x.\n")


@pytest.mark.usefixtures("filled")
def test_interrupting_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_model: str | None) -> None:
        # Raised here, not by a signal: that may arrive in a finaliser, where Python drops what it raises.
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_store, "embedder_of", interrupted)
    assert Run("search", "alice", "fox").code == 130


def test_names_and_texts_cannot_command_the_terminal(filled: dict[str, str]) -> None:
    Run("link", "alice", filled["fox"], "--name", "[red]\x1b[2Jfox\u202etxt")
    assert "[red]\ufffd[2Jfox\ufffdtxt" in Run("ls", "alice").out
    assert "\x1b" not in Run("ls", "alice", "--json").out
    assert Run("ls", "alice", "--json").json[0]["name"] == "[red]\x1b[2Jfox\u202etxt"


@pytest.mark.parametrize("columns", ["80", "120"])
def test_tables_fit_the_terminal(filled: dict[str, str], monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    Run("link", "alice", filled["fox"], "--name", "a long name " * 20)
    monkeypatch.setenv("COLUMNS", columns)
    for words in (["ls", "alice"], ["search", "alice", "fox"], ["stats"]):
        assert max(map(len, Run(*words).out.splitlines())) <= int(columns)


def test_a_pipe_gets_the_rows_of_a_table_whole(filled: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ein langer Name, 日本語 " * 20
    Run("link", "alice", filled["fox"], "--name", name)
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = Run("ls", "alice").out.splitlines()
    header, rows = lines[0], lines[1:]
    assert header.split() == ["Hash", "Name", "Size", "Pages", "Chunks", "Added"]
    assert sum(name.strip() in row for row in rows) == 1
    # Aligned by the cells that a terminal gives each character: two for each of 日本語.
    assert len({cell_len(row) for row in rows}) == 1
    assert [len(line) for line in lines] == [len(line.rstrip()) for line in lines]


def test_words_stand_for_documents_by_hash_prefix_or_name() -> None:
    """As the plain definition has it, over names that are hashes and prefixes of hashes."""
    hashes = [f"{number:04x}" * 16 for number in (1, 2, 0x1F, 0x1F0, 0x1F00)]
    names = ["a", "b", "a", hashes[0], "001f"]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    documents = [
        Document(hash, name, "text/plain", 1, 1, None, {}, moment, reused=False)
        for hash, name in zip(hashes, names, strict=True)
    ]
    for word in [*hashes, *names, "0001", "000", "001f", "001F", "1f00" * 8, "zzzz", ""]:
        prefix = word.lower()
        exactly = [each for each in documents if each.hash == prefix]
        expected = exactly or [
            each for each in documents if each.name == word or (len(prefix) >= 4 and each.hash.startswith(prefix))
        ]
        if len(expected) == 1:
            assert cli_arguments.referenced(documents, [word, word], "w") == expected
        else:
            with pytest.raises(InvalidArgument if expected else DocumentNotFound):
                cli_arguments.referenced(documents, [word], "w")


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("12h", 43_200), ("7d", 604_800)])
def test_durations(text: str, seconds: int) -> None:
    assert cli_arguments.duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7 d", "1w", "٣d"])
def test_durations_written_otherwise(text: str) -> None:
    with pytest.raises(InvalidArgument, match="duration"):
        cli_arguments.duration(text)


@pytest.mark.usefixtures("filled")
def test_no_time_at_all() -> None:
    """The error speaks of what was written, not of a parameter of the library."""
    for words in (["verify", "--for", "0s"], ["ttl", "alice", "0m"]):
        refused = Run(*words)
        assert refused.code == ExitCode.USAGE, words
        assert refused.err == f"error: The duration is {words[-1]}; it must be 1s at least\n"


@pytest.mark.parametrize(
    ("bytes_", "shown"), [(0, "0 bytes"), (1, "1 byte"), (1_234_567, "1.2 MB"), (-16_839, "-16.8 kB")]
)
def test_sizes(bytes_: int, shown: str) -> None:
    assert cli_layout.size(bytes_) == shown
