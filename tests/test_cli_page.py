"""docs/command-line.md tells the truth: every command and option is on it, and its examples print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from docstore import cli
from docstore.cli_output import ExitCode
from tests.commands import Run, folder

__all__ = ["folder"]

PAGE = Path(__file__).parent.parent / "docs" / "command-line.md"


def test_every_command_and_option_has_help_and_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    common, *sections = re.split(r"^## docstore (?=\w+$)", page, flags=re.MULTILINE)
    section_of = {section.split("\n", 1)[0]: section for section in sections}
    root: Any = typer.main.get_command(cli.app)
    assert set(root.commands) == set(section_of)
    for name, command in [("", root), *root.commands.items()]:
        assert command.help, f"docstore {name} lacks a help text"
        described = common if not name else section_of[name]
        for each in command.params:
            assert getattr(each, "help", None), f"docstore {name} {each.name} lacks a help text"
            for option in each.opts if each.param_type_name == "option" else []:
                text = common if option == "--json" else described
                assert re.search(rf"`{re.escape(option)}[ `]", text), f"docstore {name} {option} is not on the page"


def test_every_command_has_an_example_on_the_page() -> None:
    root: Any = typer.main.get_command(cli.app)
    shown = {command.split()[1] for command, _, _ in examples() if command.startswith("docstore ")}
    assert set(root.commands) - shown == set()


def test_the_page_has_every_exit_code() -> None:
    assert [int(each) for each in re.findall(r"^\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)] == list(
        ExitCode
    )


def examples() -> list[tuple[str, str, int]]:
    """(command, output, exit code) of each example on the page."""
    found: list[tuple[str, str, int]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, shown = step.split("\n", 1)
            if command == "echo $?":
                found[-1] = (*found[-1][:2], int(shown))
            else:
                found.append((command, shown, 0))
    return found


def shape(printed: str) -> str:
    """Output without what depends on the model, the clock or the width of columns."""
    printed = re.sub(r"-?[\d.,]+ (bytes?|kB|MB)", "SIZE", printed)
    printed = re.sub(r"(?<!\w)-?\d[\d.,]*(e-\d+)?(?!\w)", "NUMBER", printed)
    return " ".join(printed.split())


def test_the_examples_on_the_page_run_as_shown() -> None:
    assert len(examples()) > 20
    for command, shown, code in examples():
        if not command.startswith("docstore ") or " > " in command:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            subprocess.run(command, shell=True, check=True, env={**os.environ, "PATH": path})
            continue
        run = Run(*shlex.split(command)[1:])
        assert run.code == code, f"{command}: {run.result.output}"
        assert shape(run.result.output) == shape(shown), command
