"""The soak's short form: its long one is `python -m tests.soak`."""

from __future__ import annotations

from pathlib import Path

from tests.soak import soak


def test_users_come_chat_get_updates_and_leave(tmp_path: Path) -> None:
    done = soak(tmp_path, processes=2, threads=2, seconds=8, seed=1)
    assert {"add", "chat", "share", "set", "brief_chat", "expire", "update", "collect"} <= set(done)
    assert done["embeddings avoided"] > done["embeddings computed"]
