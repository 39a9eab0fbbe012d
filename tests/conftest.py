"""Fixtures that most tests share: a folder, a store on it with a deterministic embedder, and two workspaces."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from docstore import Conversation, DocStore, SentenceTransformerEmbedder, Workspace
from docstore.testing import HashEmbedder
from tests.clock import Clock
from tests.packing import notes, open_store

collect_ignore = ["hostile/guided.py"]  # imports atheris, which is not among the dependencies

# Collecting imports all tests and what they test, a heap that stays for good. Each full collection of garbage would go
# through all of it anew: in a model that makes many objects, that was a third of its time.
gc.disable()

# fsync makes examples uneven in time, and a deadline would report the disk instead of a bug.
_common: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("short", max_examples=30, stateful_step_count=30, derandomize=True, **_common)
settings.register_profile("long", max_examples=1000, stateful_step_count=60, **_common)
settings.load_profile(os.environ.get("DOCSTORE_TESTS", "short"))


def pytest_collection_finish() -> None:
    """From here on garbage is collected as everywhere: what the tests themselves make is what is looked at."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def store(folder: Path, embedder: HashEmbedder) -> Iterator[DocStore]:
    with DocStore(folder, embedder=embedder) as store:
        yield store


@pytest.fixture
def alice(store: DocStore) -> Workspace:
    return store.workspace("alice")


@pytest.fixture
def bob(store: DocStore) -> Workspace:
    return store.workspace("bob")


@pytest.fixture
def chat(alice: Workspace) -> Conversation:
    return alice.conversation("chat")


@pytest.fixture
def filled(folder: Path) -> Path:
    """A store with packed pieces, that nobody has open."""
    with open_store(folder) as store:
        store.workspace("alice").add_many(notes())
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(scope="module")
def default() -> SentenceTransformerEmbedder:
    """The default embedder with its real weights, PyTorch's copy too."""
    embedder = SentenceTransformerEmbedder()
    embedder._load()
    return embedder
