"""Hostile documents, each through the real worker processes: text or a clear refusal, in bounded time and memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from docstore import DocStore, Limits, UnreadableDocument, Workspace
from docstore.ingest.chunk import Chunker
from docstore.testing import HashEmbedder
from tests.hostile.contained import ROOT
from tests.hostile.corpus import pdfs, texts

LIMITS = Limits(seconds=10, memory=1 << 30)
MARGIN = 5  # seconds: copying, and killing the worker, on a busy machine
CORPUS = dict([*pdfs(), *texts()])
# Seconds each, within the limits: with DOCSTORE_TESTS=long.
SLOW = {"attributes.html", "front matter.md", "one line.txt", "one word each.txt", "states without an end",
        "forms, ten to the twelfth", "nested 50,000 deep in a page (1)", "xml declarations.html",
        "page breaks.txt", "spaces.txt"}  # fmt: skip
NAMES = [name for name in CORPUS if name not in SLOW or os.environ.get("DOCSTORE_TESTS") == "long"]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DocStore, Workspace]]:
    with DocStore(tmp_path_factory.mktemp("hostile") / "store", embedder=HashEmbedder(), limits=LIMITS) as store:
        bystander = store.workspace("bystander")
        bystander.add(b"A document of somebody who means no harm.")
        yield store, store.workspace("hostile")
        assert store.verify().problems == ()
        assert len(bystander.search("harm")) == 1
        store.delete_workspace("hostile")
        store.collect()
        assert store.stats().documents == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_is_read_or_refused(victim: tuple[DocStore, Workspace], name: str) -> None:
    store, workspace = victim
    began, before = time.monotonic(), len(workspace)
    try:
        document = workspace.add(CORPUS[name], name=name)
    except UnreadableDocument as error:
        refused: UnreadableDocument | None = error
        assert len(workspace) == before
    else:
        refused = None
        assert document.chunks >= 1
        assert len(workspace) == before + 1
        workspace.remove(document.hash)
    assert time.monotonic() - began < LIMITS.seconds + MARGIN
    if refused is not None:
        assert refused.reason in ("corrupt", "encrypted", "unsupported", "no-text", "limit", "empty")
        assert str(refused).startswith(name) and "Traceback" not in str(refused) and len(str(refused)) < 1000
    assert [hit.text for hit in store.workspace("bystander").search("harm")] == [
        "A document of somebody who means no harm."
    ]


@pytest.mark.parametrize(
    ("name", "forbidden"),
    [
        ("JavaScript and files inside", ["alert", "MZ", "evil", "calc"]),
        ("external entity.html", ["root:"]),
        ("script.html", ["evil", "root:"]),
        ("billion laughs.html", ["lollol"]),
        ("PDF before a zip", ["evil"]),
        ("HTML before a PDF", ["Not this text"]),
    ],
)
def test_what_is_no_text_is_ignored(victim: tuple[DocStore, Workspace], name: str, forbidden: list[str]) -> None:
    workspace = victim[1]
    document = workspace.add(CORPUS[name], name=name)
    found = "".join(hit.text for hit in workspace.search("x", k=1000, documents=[document.hash]))
    assert found and not [word for word in forbidden if word in found]


def test_a_file_of_somewhere_else_is_not_read(victim: tuple[DocStore, Workspace]) -> None:
    with pytest.raises(UnreadableDocument) as error:
        victim[1].add(CORPUS["a file of somewhere else"])
    assert error.value.reason == "no-text"


@pytest.mark.parametrize("name", ["quotes.md", "lists.md", "deep list.md"])
def test_markdown_loses_nothing_silently(victim: tuple[DocStore, Workspace], name: str) -> None:
    """Nested too deep is a reason to refuse, not to drop what is inside."""
    workspace, word = victim[1], "word" if name != "deep list.md" else "x"
    data = (
        CORPUS[name]
        if name == "deep list.md"
        else CORPUS[name][: CORPUS[name].index(b"\n\n", 15) + 2 + 2 * 25] + b"word after 25 levels"
    )
    try:
        document = workspace.add(data, name=name)
    except UnreadableDocument:
        return
    found = " ".join(hit.text for hit in workspace.search("x", k=1000, documents=[document.hash]))
    assert found.count(word) >= (1 if name != "deep list.md" else 1000)


@pytest.mark.parametrize("unit", [" ", "\n", "\f", "x", "x\n", "\u0301", "\U0001f468\u200d"])
def test_chunking_takes_time_in_proportion(unit: str) -> None:
    """It runs in the application's own process, where no limit of extraction reaches."""
    chunker = Chunker(1000, 200)

    def seconds(characters: int) -> float:
        began = time.process_time()
        chunker.spans(unit * (characters // len(unit)) + "word")
        return time.process_time() - began

    seconds(10_000)
    once, four_times = seconds(100_000), seconds(400_000)
    assert four_times < 8 * once + 0.1, (once, four_times)


def test_memory_of_a_worker_is_bounded(tmp_path: Path) -> None:
    """In a process of its own, whose children are the workers alone: their peak is then theirs."""
    script = f"""
import resource
from docstore import DocStore, DocStoreError, Limits
from docstore.testing import HashEmbedder
from tests.hostile.corpus import pdfs
limits = Limits(seconds=10, memory=200 << 20)
with DocStore({str(tmp_path / "store")!r}, embedder=HashEmbedder(), limits=limits) as store:
    refused = by_memory = 0
    for name, data in pdfs():
        if 'bomb' in name or 'GB' in name or 'lengths' in name:
            try:
                store.workspace('a').add(data, name=name)
            except DocStoreError as error:
                refused += 1
                by_memory += 'Limits.memory' in str(error)
print(refused, by_memory, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    refused, by_memory, peak = map(int, done.stdout.split())
    # With more, pypdf's own limits refuse them all, at 218 MiB.
    assert refused >= 8 and by_memory >= 1
    assert 10 << 20 < peak < 200 << 20
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
