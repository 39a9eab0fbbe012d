"""The short form of `tests.acceptance`: a few small documents, no kill, and all that the long form looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import acceptance
from tests.folders import packed
from tests.samples import pdf


def test_the_whole_promise_in_short(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, store = tmp_path / "docs", tmp_path / "store"
    docs.mkdir()
    for number in range(51):  # a third of which is enough for one workspace's to be packed
        (docs / f"{number}.pdf").write_bytes(pdf([f"Document {number} tells how to change margins.", "Its license."]))
    in_archive: list[str] = []
    real = acceptance.assert_searches_are_exact

    def exact(store: Path) -> int:
        in_archive.extend(packed(store))
        return real(store)

    def in_this_process(arguments: list[str], store: Path, *_: object, **__: object) -> int:
        if arguments[0] == "fill":
            acceptance.fill(store, docs, limit=51, workspaces=2)
        else:
            acceptance.empty(store)
        return 0

    monkeypatch.setattr(acceptance, "assert_searches_are_exact", exact)
    monkeypatch.setattr(acceptance, "under_kills", in_this_process)  # one that is not killed needs none of its own
    acceptance.run(docs, store, limit=51, workspaces=2, kills=0)
    said = capfd.readouterr().out
    assert "10 searches equal brute force" in said
    assert "under 0 kills: no file left beside the catalog" in said
    assert in_archive
