"""Numbers and switches that callers pass: every argument of that kind, refused by its name, and as NumPy has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docstore import DocStore, InvalidArgument, Limits, Workspace
from docstore.testing import HashEmbedder
from tests.samples import pdf

Use = Callable[[DocStore, Workspace, Any], object]

# By the argument's name, which the error calls it by, and of which method it is where several have it.
COUNTS: dict[str, Use] = {
    "k": lambda _, a, value: a.search("x", k=value),
    "candidates": lambda _, a, value: a.search("x", candidates=value),
    "fetch_k": lambda _, a, value: a.search("x", mmr=True, fetch_k=value),
    "documents": lambda _, a, value: a.limit(documents=value),
    "logical_bytes": lambda _, a, value: a.limit(logical_bytes=value),
    "physical_bytes": lambda s, _, value: s.limit(physical_bytes=value),
    "workspace_documents": lambda s, _, value: s.limit(workspace_documents=value),
    "workspace_logical_bytes": lambda s, _, value: s.limit(workspace_logical_bytes=value),
    "after": lambda _, a, value: a.conversation("chat").messages(after=value),
    "limit": lambda _, a, value: a.conversation("chat").messages(limit=value),
    "chunk_size": lambda _s, a, value: opened(a, chunk_size=value, chunk_overlap=0),
    "chunk_overlap": lambda _s, a, value: opened(a, chunk_overlap=value),
    "Limits.pages": lambda _s, _a, value: Limits(pages=value),
    "Limits.memory": lambda _s, _a, value: Limits(memory=value),
    "Limits.characters": lambda _s, _a, value: Limits(characters=value),
}
NUMBERS: dict[str, Use] = {
    "lambda_mult": lambda _, a, value: a.search("x", mmr=True, lambda_mult=value),
    "warn_at": lambda s, _, value: s.limit(warn_at=value),
    "keep_free": lambda s, _, value: s.limit(keep_free=value),
    "bytes_per_second": lambda s, _, value: s.verify(bytes_per_second=value),
    "timeout": lambda _s, a, value: opened(a, timeout=value),
    "cache_bytes": lambda _s, a, value: opened(a, cache_bytes=value),
    "Limits.seconds": lambda _s, _a, value: Limits(seconds=value),
}
SWITCHES: dict[str, Use] = {
    "mmr": lambda _, a, value: a.search("x", mmr=value),
    "readonly": lambda _s, a, value: opened(a, readonly=value),
    "demand_bytes": lambda _s, a, value: opened(a, demand_bytes=value),
    "sliding": lambda _, a, value: a.expire_after(None, sliding=value),
    "dry_run of collect": lambda s, _, value: s.collect(dry_run=value),
    "dry_run of expire": lambda s, _, value: s.expire(dry_run=value),
    "dry_run of verify": lambda s, _, value: s.verify(dry_run=value),
    "dry_run of repair": lambda s, _, value: s.repair(dry_run=value),
}


def _said_of(name: str) -> str:
    return rf"^{re.escape(name.partition(' of ')[0])} is"


def opened(workspace: Workspace, **options: Any) -> None:
    """Opens the store once more."""
    with DocStore(workspace._parts.folder, embedder=HashEmbedder(), **options):
        pass


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("wrong", [-1, 2.5, True, "3", float("nan"), [3], np.float64(3)])
def test_what_is_no_count(store: DocStore, alice: Workspace, name: str, wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match=_said_of(name)):
        COUNTS[name](store, alice, wrong)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wrong", [-0.5, True, "0.5", float("nan"), float("inf"), 10**400, [0.5], 1j])
def test_what_is_no_number(store: DocStore, alice: Workspace, name: str, wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match=_said_of(name)):
        NUMBERS[name](store, alice, wrong)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("wrong", ["no", 0, 1, None, 0.0])
def test_what_is_no_switch(store: DocStore, alice: Workspace, name: str, wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match=_said_of(name)):
        SWITCHES[name](store, alice, wrong)


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_of_numpy_is_one(store: DocStore, alice: Workspace, name: str) -> None:
    COUNTS[name](store, alice, np.int64(200))


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_of_numpy_is_one(store: DocStore, alice: Workspace, name: str) -> None:
    NUMBERS[name](store, alice, np.float32(0.25))


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_of_numpy_is_one(store: DocStore, alice: Workspace, name: str) -> None:
    SWITCHES[name](store, alice, np.bool_(False))


def test_numbers_of_numpy_mean_what_pythons_do(folder: Path) -> None:
    """Those that are stored, or told to another process, in JSON."""
    limits = Limits(pages=np.int64(2), seconds=np.float32(60), memory=np.int64(1 << 30), characters=np.uint32(10**6))  # type: ignore[arg-type]
    with DocStore(folder, embedder=HashEmbedder(), chunk_size=np.int32(500), limits=limits) as store:  # type: ignore[arg-type]
        alice = store.workspace("alice")
        alice.add(pdf(["One page.", "Another."]), name="two.pdf")
        alice.limit(documents=np.int64(7), warn_at=np.float64(0.5))  # type: ignore[arg-type]
        assert alice.quota().max_documents == 7 and alice.quota().warn_at == 0.5
    with DocStore(folder, embedder=HashEmbedder(), chunk_size=500) as store:  # the same pipeline
        assert store.workspace("alice").search("Another.", k=1)[0].page == 2
