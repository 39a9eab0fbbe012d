"""What tests of the command line share: a finished command, and the folders to run it in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from docstore import cli, cli_store
from docstore.store import DocStore
from docstore.testing import HashEmbedder

SCRIPT = Path(sys.executable).parent / "docstore"
FOX, TAX = "The quick red fox jumps over the dog.", "Income tax is due in spring."


class Run:
    """One finished command."""

    def __init__(self, *words: str) -> None:
        self.result = CliRunner().invoke(cli.app, list(words))
        if self.result.exception is not None and not isinstance(self.result.exception, SystemExit):
            raise self.result.exception
        self.code, self.out, self.err = self.result.exit_code, self.result.stdout, self.result.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an embedder without a model."""
    monkeypatch.chdir(tmp_path)
    for name in ("DOCSTORE_FOLDER", "DOCSTORE_MODEL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cli_store, "embedder_of", lambda _model: HashEmbedder())
    return tmp_path


@pytest.fixture
def filled(folder: Path) -> dict[str, str]:
    """Workspaces alice (fox.txt, tax.txt) and bob (fox.txt), made from Python. Gives the hashes by name."""
    with DocStore(folder / "data", embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        fox = alice.add(FOX.encode(), name="fox.txt", metadata={"year": 2024, "kind": "animal"})
        tax = alice.add(TAX.encode(), name="tax.txt")
        store.workspace("bob").link(fox.hash, name="fox.txt")
    return {"fox": fox.hash, "tax": tax.hash}


def workspaces(folder: Path) -> dict[str, list[str | None]]:
    with DocStore(folder / "data", embedder=HashEmbedder(), readonly=True) as store:
        return {name: [each.name for each in store.workspace(name).documents()] for name in store.workspaces()}
