"""How a store must end that many have used at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.folders import files, problems, query

_EMPTY = ("claims", "refs", "documents", "texts", "subindexes", "workspaces", "conversations", "messages", "includes",
          "pins", "chunks", "copies", "moved", "replacements")  # fmt: skip


def assert_ends_empty(folder: Path) -> None:
    """A store that nobody is using is sound; and nothing is left of it once everything is deleted and collected."""
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.collect()
        assert problems(folder) == []
        assert store.verify().leftovers == 0
        store.expire(grace=timedelta(0))
        for name in store.workspaces():
            store.delete_workspace(name)
        store.expire(grace=timedelta(0))
        store.collect()
        assert store.verify().ok
    assert files(folder) == []
    for table in _EMPTY:
        assert query(folder, f"SELECT * FROM {table}") == [], table
