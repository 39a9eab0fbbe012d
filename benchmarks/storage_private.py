"""Layouts (a) and (b): a FAISS index and copies of the PDFs for every owner, written by LangChain's own FAISS store."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.storage_disk import Usage, total, walk
from benchmarks.storage_shared import Chunks
from benchmarks.storage_workload import Owner, Workload

with warnings.catch_warnings():
    # It is in maintenance only; the applications this is about use it all the same.
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.document_loaders import PyPDFLoader
    from langchain_community.vectorstores import FAISS
    from langchain_core.embeddings import FakeEmbeddings


@dataclass(frozen=True, slots=True)
class PrivateLayout:
    """What was written for some of the owners, measured; and what is known for all of them without writing."""

    owners: int
    written: int
    parts: dict[str, Usage]
    """On disk for those written: index, documents, folders."""
    written_chunks: int
    written_document_bytes: int
    chunks: int
    """Chunks of all owners' indexes, counted from the workload: what this layout has to embed."""
    document_bytes: int
    """Sizes of all owners' copies of PDFs, counted from the workload."""

    @property
    def factor(self) -> float:
        """What the measured bytes are multiplied with to stand for all owners; 1 when all were written."""
        return self.owners / self.written


class PrivateWriter:
    """Writes what one owner keeps on disk, from chunks and vectors that the shared store computed."""

    def __init__(self, workload: Workload, chunks: dict[str, Chunks]) -> None:
        self._paths = workload.paths
        self._chunks = chunks
        # FAISS demands an embedder; with the vectors given it is never called, and not saved.
        self._embedding = FakeEmbeddings(size=1)
        # PyPDFLoader's own metadata, page by page: its strings are a part of what index.pkl weighs.
        self._pages = {hash: [page.metadata for page in PyPDFLoader(str(path)).load()]
                       for hash, path in workload.paths.items()}  # fmt: skip

    def write(self, owner: Owner, folder: Path) -> None:
        """Copies of the owner's PDFs, `index.faiss` and `index.pkl`."""
        folder.mkdir(parents=True)
        texts: list[str] = []
        metadatas: list[dict[str, Any]] = []
        for hash in owner.documents:
            copy = folder / f"{hash[:8]}-{self._paths[hash].name}"
            shutil.copyfile(self._paths[hash], copy)
            source = str(copy)
            texts += self._chunks[hash].texts
            metadatas += [{**self._pages[hash][page - 1], "source": source} for page in self._chunks[hash].pages]
        vectors = np.concatenate([self._chunks[hash].vectors for hash in owner.documents])
        index = FAISS.from_embeddings(list(zip(texts, vectors)), self._embedding, metadatas)
        index.save_local(str(folder))

    def layout(self, owners: list[Owner], root: Path, budget: int, progress: Callable[[str], None]) -> PrivateLayout:
        """Writes owners, in the order given, until `budget` bytes are on disk; measures; deletes what it wrote."""
        spent, written = 0, 0
        for owner in owners:
            self.write(owner, root / owner.name)
            written += 1
            spent += total(walk(root / owner.name, _part)).apparent
            progress(f"LangChain, {root.name}: {written:,} of {len(owners):,} indexes, {spent / 1e9:.2f} GB")
            if spent >= budget:
                break
        os.sync()  # some file systems allocate blocks only when they write back
        parts = walk(root, _part)
        shutil.rmtree(root)
        return PrivateLayout(
            owners=len(owners), written=written, parts=parts,
            written_chunks=self._count(owners[:written]), written_document_bytes=self._size(owners[:written]),
            chunks=self._count(owners), document_bytes=self._size(owners),
        )  # fmt: skip

    def _count(self, owners: list[Owner]) -> int:
        return sum(len(self._chunks[hash].texts) for owner in owners for hash in owner.documents)

    def _size(self, owners: list[Owner]) -> int:
        sizes = {hash: path.stat().st_size for hash, path in self._paths.items()}
        return sum(sizes[hash] for owner in owners for hash in owner.documents)


def _part(path: Path) -> str:
    return "index" if path.name in ("index.faiss", "index.pkl") else "documents"
