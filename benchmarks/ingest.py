"""Ingestion benchmark: what adding costs, beside a plain loop that is as durable, and beside reading and hashing.

    taskset -c 0 python benchmarks/ingest.py measure --folder FOLDER

Every row is a ratio of two medians that were measured in turns, in one run; under `taskset -c 0` all on one core.
`benchmarks/results/ingest.md` has what the last committed run found.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from blake3 import blake3

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.comparison import Row, in_turns, table
from benchmarks.reports import RESULTS, ResultsOrNone, provenance
from benchmarks.synthetic import DIMENSION, document
from docstore import DocStore
from docstore.archive import Archive
from docstore.durable import Publication, Staged, stage
from docstore.ingest.extractor import CONCURRENCY
from docstore.workspace import GROUP_DOCUMENTS

_SMALL = 10_000
_CHUNKS = 3  # of a small document at most
_ROUNDS = 5
_TIMES = 500
_LARGE = 10_000_000  # bytes
_TINY = 1_000  # after which the processor's cache still holds what the rest needs
_READ = 1 << 19  # bytes at a time, which is fastest

_VECTORS = np.random.default_rng(0).standard_normal((4096, DIMENSION)).astype(np.float32)
_VECTORS /= np.linalg.norm(_VECTORS, axis=1, keepdims=True)

app = typer.Typer(pretty_exceptions_enable=False)


class ReadyVectors:
    """An embedder that costs nothing: the same vectors for any texts."""

    fingerprint = "benchmarks.ingest.ReadyVectors/1"
    dimension = DIMENSION
    max_tokens = None

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Unit vectors, shape (len(texts), 384), float32."""
        return _VECTORS[: len(texts)]


def small_documents(count: int) -> list[bytes]:
    """Texts of one to `_CHUNKS` chunks."""
    return [b"\n\n".join(document(number).split(b"\n\n")[: 1 + number % _CHUNKS]) for number in range(count)]


# -- many small documents ---------------------------------------------------------------------------------------------


def ours(folder: Path, documents: list[bytes]) -> float:
    """Seconds in which docstore acknowledges all of them."""
    with DocStore(folder, embedder=ReadyVectors()) as store:
        workspace = store.workspace("alice")
        workspace.add(b"The process that extracts is running now.")
        began = time.perf_counter()
        report = workspace.add_many(documents)
        seconds = time.perf_counter() - began
    assert len(report.added) == len(documents)
    return seconds


def plain(folder: Path, documents: list[bytes]) -> float:
    """Seconds of a loop that makes each document durable on its own: its bytes, its text, its vectors, and a row."""
    for name in ("documents", "texts", "vectors"):
        (folder / name).mkdir(parents=True)
    with closing(_catalog(folder)) as catalog:
        began = time.perf_counter()
        for number, data in enumerate(documents):
            hash, chunks = blake3(data).hexdigest(), 1 + number % _CHUNKS
            _write_durably(folder / "documents", hash, data)
            _write_durably(folder / "texts", hash, data.decode().encode())
            _write_durably(folder / "vectors", hash, _VECTORS[:chunks].tobytes())
            catalog.execute("INSERT INTO documents VALUES (?, ?, ?)", (hash, len(data), chunks))
        return time.perf_counter() - began


def one_file(folder: Path, documents: list[bytes]) -> float:
    """Seconds of the same loop with text and vectors in the row, where nobody shares or replaces one of them alone."""
    (folder / "documents").mkdir(parents=True)
    with closing(_catalog(folder, "text TEXT", "vectors BLOB")) as catalog:
        began = time.perf_counter()
        for number, data in enumerate(documents):
            hash, chunks = blake3(data).hexdigest(), 1 + number % _CHUNKS
            _write_durably(folder / "documents", hash, data)
            row = (hash, len(data), chunks, data.decode(), _VECTORS[:chunks].tobytes())
            catalog.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", row)
        return time.perf_counter() - began


def _catalog(folder: Path, *columns: str) -> sqlite3.Connection:
    catalog = sqlite3.connect(folder / "catalog.db", isolation_level=None)
    catalog.execute("PRAGMA journal_mode = WAL")
    catalog.execute("PRAGMA synchronous = FULL")
    every = ", ".join(["hash TEXT PRIMARY KEY", "size INTEGER", "chunks INTEGER", *columns])
    catalog.execute(f"CREATE TABLE documents ({every})")
    return catalog


def _write_durably(folder: Path, name: str, data: bytes) -> None:
    path = f"{folder}/{name}"
    with open(path + ".tmp", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".tmp", path)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def packed(folder: Path, documents: list[bytes]) -> float:
    """Seconds of disk-objectstore, which appends the same three to packs, synced once for every 1,000 documents."""
    from disk_objectstore import Container

    with closing(Container(folder)) as container:
        container.init_container()
        began = time.perf_counter()
        for first in range(0, len(documents), 1000):
            objects = []
            for number, data in enumerate(documents[first : first + 1000], first):
                objects += [data, b"text" + data, hash_of(number) + _VECTORS[: 1 + number % _CHUNKS].tobytes()]
            container.add_objects_to_pack(objects)
        return time.perf_counter() - began


def pieces_alone(folder: Path, documents: list[bytes]) -> float:
    """Seconds for the pieces that docstore makes of them, stored as it does; and nothing else."""
    folder.mkdir(parents=True)
    with closing(Archive(folder, readonly=False, timeout=60)) as archive:
        began = time.perf_counter()
        for first in range(0, len(documents), GROUP_DOCUMENTS):
            staged: list[tuple[Staged, str]] = []
            for number, data in enumerate(documents[first : first + GROUP_DOCUMENTS], first):
                hash, chunks = blake3(data).hexdigest(), 1 + number % _CHUNKS
                shard = f"{hash[:2]}/{hash}"
                contents = {
                    f"documents/{shard}.txt": data,
                    f"texts/{shard}.zst": data[: len(data) // 2],
                    f"embeddings/{shard}/index.faiss": _VECTORS[:chunks].astype(np.float16).tobytes(),
                    f"embeddings/{shard}/chunks.npy": bytes(128 + 20 * chunks),
                }
                for name, content in contents.items():
                    staged.append((stage(f"{folder}/{4 * number} {len(staged)}", content), f"{folder}/{name}"))
            publication = Publication([piece for piece, _ in staged], archive)
            with archive.writing():
                for piece, target in staged:
                    publication.place(piece.path, target, folder)
                publication.sync()
        return time.perf_counter() - began


def hash_of(number: int) -> bytes:
    """Something that makes equal vectors of different documents different: else they would be stored once."""
    return number.to_bytes(8)


def many(folder: Path, count: int, rounds: int) -> list[Row]:
    """All in turns, each into a folder of its own.

    Nothing is deleted in between: for minutes after, ext4 looks for inodes that were not just freed, and making a file
    takes ten times as long.
    """
    documents = small_documents(count)
    ways = (ours, plain, one_file, packed, pieces_alone)
    rates: dict[Callable[[Path, list[bytes]], float], list[float]] = {way: [] for way in ways}
    for round in range(rounds):
        for way, found in rates.items():
            found.append(count / way(folder / f"{way.__name__} {round}", documents))
            os.sync()  # what one left to be written must not slow the next
    what = f"adding {count:,} documents of 1 to {_CHUNKS} chunks"
    return [
        Row(what, "documents/s", rates[ours], rates[plain], "a plain loop, each document durable on its own"),
        Row(what, "documents/s", rates[ours], rates[one_file], "the same loop, with text and vectors in the row"),
        Row(what, "documents/s", rates[ours], rates[packed], "disk-objectstore, packs, synced every 1,000"),
        Row(
            what, "documents/s", rates[ours], rates[pieces_alone], "the same pieces without what docstore does for them"
        ),
    ]


# -- what is stored already -------------------------------------------------------------------------------------------


def stored(folder: Path, size: int, times: int) -> Iterator[Row]:
    """Adding a file that the store has already, to one workspace after the other; beside reading and hashing it, a part
    at a time or as a plain program does, and beside that and a commit, which no reference can do without."""
    path = folder / f"{size}.txt"
    path.write_bytes((document(0) * (size // len(document(0)) + 1))[:size])

    def read_whole(_: object) -> None:
        blake3(path.read_bytes()).hexdigest()

    def hashed(_: object) -> None:
        hasher = blake3()
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_READ):
                hasher.update(block)

    what = f"adding a stored file of {size / 1e6:g} MB" if size >= 1e6 else f"adding a stored file of {size:,} bytes"
    reading = "reading it and hashing it with BLAKE3"
    with (
        DocStore(folder / "store", embedder=ReadyVectors()) as store,
        closing(_one_table(folder / "after hashing.db")) as catalog,
    ):
        store.workspace("first").add(path)
        others = iter([store.workspace(f"other of {size} {number}") for number in range(3 * (times + 1))])

        def added(_: object) -> None:
            next(others).add(path)

        def hashed_and_committed(turn: object) -> None:
            hashed(turn)
            catalog.execute("INSERT INTO links VALUES ('a')")

        peers = {
            f"{reading}, {_READ >> 10} KiB at a time": hashed,
            "`blake3(path.read_bytes())`": read_whole,
            f"{reading}, and committing one row with SQLite": hashed_and_committed,
        }
        for peer, act in peers.items():
            yield Row(what, "ms", *in_turns(added, act, [None], times), peer)


def _one_table(path: Path) -> sqlite3.Connection:
    """A database as durable as the catalog."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS links (hash TEXT)")
    return database


def linked(folder: Path, times: int) -> Row:
    """Linking a stored document, to one workspace after the other; beside a commit of one row."""
    with (
        DocStore(folder / "store", embedder=ReadyVectors()) as store,
        closing(_one_table(folder / "row.db")) as catalog,
    ):
        hash = store.workspace("linked").add(document(1)).hash
        others = iter([store.workspace(f"linking {number}") for number in range(times + 1)])
        found = in_turns(
            lambda _: next(others).link(hash),
            lambda _: catalog.execute("INSERT INTO links VALUES (?)", (hash,)),
            [None],
            times,
        )
    return Row("linking a stored document", "ms", *found, "SQLite, committing one row")


# -- report -----------------------------------------------------------------------------------------------------------


def _where() -> str:
    cores = {1: "one core"}.get(CONCURRENCY, f"{CONCURRENCY} cores")
    real_time = hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER
    return f"{cores}{', at real-time priority' if real_time else ''}"


def report(rows: list[Row]) -> str:
    """The run, as Markdown."""
    return f"""# Adding documents

Medians, with quartiles in brackets; ours beside the peer in turns, in one run, all processes on {_where()}. Vectors of
{DIMENSION} dimensions that cost nothing to make; ours are float16, the peers' float32. Everything is synced to the disk
before it is acknowledged, on both sides. Of many documents higher is better, of the others lower.

{table(rows)}

{provenance(f"SQLite {sqlite3.sqlite_version}", f"disk-objectstore {version('disk-objectstore')}")}
"""


@app.command()
def measure(
    folder: Annotated[Path, typer.Option(help="Where the stores are made: a folder that is not there yet.")],
    quick: Annotated[bool, typer.Option(help="Small sizes; writes nothing without --results.")] = False,
    results: ResultsOrNone = None,
) -> None:
    """Measures adding, beside doing the least that is as durable."""
    folder.mkdir(parents=True)
    rows = many(folder, 1000 if quick else _SMALL, 2 if quick else _ROUNDS)
    rows += stored(folder, _LARGE, 20 if quick else _TIMES)
    rows += stored(folder, _TINY, 20 if quick else _TIMES)
    rows.append(linked(folder, 20 if quick else _TIMES))
    print(report(rows))
    if results is not None or not quick:
        ((results or RESULTS) / "ingest.md").write_text(report(rows))


@app.callback()
def _commands() -> None:
    """Without it, typer would take the only command's name for an argument."""


if __name__ == "__main__":
    app()
