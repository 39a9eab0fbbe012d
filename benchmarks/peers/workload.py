"""The workload, the same for every engine: documents, workspaces that share them, queries, what brute force answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import synthetic
from benchmarks.synthetic import CHUNKS, DIMENSION, ClusteredEmbedder
from docstore.ingest.chunk import Chunker

K = 5
"""Hits of a timed search."""
RECALL_K = 10

_ZIPF = 1.0
_CHUNKER = Chunker(1000, 200)
_GROUP = 100  # documents that are embedded, or handed to an engine, at once


@dataclass(frozen=True, slots=True)
class Size:
    """Everything that decides the workload."""

    documents: int = 10_000
    workspaces: int = 1_000
    each: int = 500
    """Documents that a workspace references."""
    measured: int = 20
    """Workspaces that are searched and changed: the first ones."""
    queries: int = 10
    """Timed queries of each of those, and as many others for recall."""
    cold_starts: int = 5

    @classmethod
    def quick(cls) -> Size:
        """A workload that every engine takes seconds for."""
        return cls(documents=500, workspaces=50, each=50, measured=10)


@dataclass(frozen=True, slots=True)
class Document:
    """One document, cut and embedded."""

    number: int
    content: bytes
    texts: list[str]
    vectors: npt.NDArray[np.float32]
    """Unit vectors, shape (CHUNKS, DIMENSION)."""

    @property
    def chunks(self) -> range:
        """Numbers of its chunks, among the chunks of all documents."""
        return range(self.number * CHUNKS, (self.number + 1) * CHUNKS)


class Workload:
    """What `prepare` wrote to a folder, read as it is needed."""

    def __init__(self, folder: Path) -> None:
        self.vectors: npt.NDArray[np.float32] = np.load(folder / "vectors.npy", mmap_mode="r")
        self._contents = np.memmap(folder / "contents", np.uint8, "r")
        with np.load(folder / "workload.npz") as stored:
            self._ends: npt.NDArray[np.int64] = stored["ends"]
            self._spans: npt.NDArray[np.int64] = stored["spans"]
            self.workspaces: npt.NDArray[np.int64] = stored["workspaces"]
            """Numbers of the documents of each workspace, shape (workspaces, each)."""
            self.queries: npt.NDArray[np.float32] = stored["queries"]
            """Of each measured workspace, to be timed. Shape (measured, queries, DIMENSION)."""
            self.recall_queries: npt.NDArray[np.float32] = stored["recall_queries"]
            self._truth: npt.NDArray[np.int64] = stored["truth"]

    def document(self, number: int) -> Document:
        """A document by its number."""
        chunks = slice(number * CHUNKS, (number + 1) * CHUNKS)
        start = int(self._ends[number - 1]) if number else 0
        content = self._contents[start : int(self._ends[number])].tobytes()
        texts = [content[first:last].decode() for first, last in self._spans[chunks].tolist()]
        return Document(number, content, texts, np.asarray(self.vectors[chunks]))

    def groups(self) -> Iterator[list[Document]]:
        """All documents, some at a time."""
        for first in range(0, len(self._ends), _GROUP):
            yield [self.document(number) for number in range(first, min(len(self._ends), first + _GROUP))]

    def references(self) -> Iterator[tuple[int, int]]:
        """Every pair of a workspace and a document that it references."""
        for workspace, documents in enumerate(self.workspaces.tolist()):
            for document in documents:
                yield workspace, document

    def truth(self, workspace: int, query: int) -> set[str]:
        """The texts nearest to a recall query, by brute force over the float32 vectors of a measured workspace."""
        return {
            self.document(chunk // CHUNKS).texts[chunk % CHUNKS] for chunk in self._truth[workspace, query].tolist()
        }

    def stranger(self, workspace: int) -> Document:
        """A document that a workspace does not have."""
        own = set(self.workspaces[workspace].tolist())
        return self.document(next(number for number in range(len(self._ends)) if number not in own))

    def new_documents(self, count: int, after: int) -> list[Document]:
        """Documents that no engine has been given, but `after` others."""
        first = len(self._ends) + after
        return [_cut(number, synthetic.document(number))[0] for number in range(first, first + count)]


def prepare(folder: Path, size: Size) -> None:
    """Writes the workload to a folder."""
    folder.mkdir(parents=True)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (size.documents * CHUNKS, DIMENSION))
    ends, spans = _write_documents(folder, size, vectors)
    generator = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, size.documents + 1) ** _ZIPF
    weights = generator.permutation(weights / weights.sum())  # popularity has nothing to do with the number
    workspaces = np.stack([generator.choice(size.documents, size.each, replace=False, p=weights)
                           for _ in range(size.workspaces)])  # fmt: skip
    queries = synthetic.queries(2 * size.measured * size.queries).reshape(2, size.measured, size.queries, DIMENSION)
    truth = np.stack([_nearest(vectors, workspaces[number], queries[1, number]) for number in range(size.measured)])
    np.savez(folder / "workload.npz", ends=ends, spans=spans, workspaces=workspaces, queries=queries[0],
             recall_queries=queries[1], truth=truth)  # fmt: skip


def _write_documents(
    folder: Path, size: Size, vectors: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cuts as docstore does by default, so that all engines hold the same chunks.

    Returns:
        Where each document ends in the file of all, and where each chunk lies in its document.
    """
    ends, spans = [], []
    with (folder / "contents").open("wb") as file:
        for number, content in enumerate(synthetic.documents(size.documents)):
            document, found = _cut(number, content)
            vectors[number * CHUNKS : (number + 1) * CHUNKS] = document.vectors
            file.write(content)
            ends.append(file.tell())
            spans.append(np.stack([found["first_byte"], found["last_byte"]], axis=1))
    return np.array(ends), np.concatenate(spans).astype(np.int64)


def _cut(number: int, content: bytes) -> tuple[Document, npt.NDArray[np.void]]:
    """A document, and where its chunks lie."""
    text = content.decode()
    found = _CHUNKER.spans(text)
    texts = [text[start:end] for start, end in zip(found["start"], found["end"], strict=True)]
    return Document(number, content, texts, ClusteredEmbedder().embed(texts)), found


def _nearest(
    vectors: npt.NDArray[np.float32], documents: npt.NDArray[np.int64], queries: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Numbers of the chunks of some documents that are nearest to each query, by brute force."""
    chunks = (documents[:, np.newaxis] * CHUNKS + np.arange(CHUNKS)).ravel()
    scores = queries @ vectors[chunks].T
    return np.asarray(chunks[np.argsort(-scores, axis=1)[:, :RECALL_K]])
