"""The whole promise on real documents: `python -m tests.acceptance run --docs FOLDER`.

Adds real PDFs to many workspaces with overlap, under the default embedder, in a process that is killed with SIGKILL
again and again; checks after every kill that the store opens and verifies; then that each blob, text and sub-index
is there once, that every search equals brute force over the same vectors, and that removing everything and
collecting, again under kills, leaves no document byte. Prints what it counted.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import faiss
import numpy as np
import numpy.typing as npt
import typer

from docstore import DocStore, SentenceTransformerEmbedder
from tests.folders import files, hash_of, packed, problems, query

app = typer.Typer(pretty_exceptions_enable=False)
INDEX = "index.faiss"
QUERIES = ["How do I change the page margins?", "package options", "font encoding", "license and copyright", "index"]


def share(paths: list[Path], workspaces: int) -> dict[str, list[Path]]:
    """Which workspace has which documents: each about a third of all, so that each document is in several."""
    generator = random.Random(1)
    return {f"w{number:02}": generator.sample(paths, max(1, len(paths) // 3)) for number in range(workspaces)}


def documents(folder: Path, limit: int) -> list[Path]:
    """The smallest PDFs of a folder."""
    return sorted(folder.rglob("*.pdf"), key=lambda path: (path.stat().st_size, path))[:limit]


@app.command()
def fill(store: Path, docs: Path, limit: int, workspaces: int) -> None:
    """Adds everything. Run in a process of its own, to be killed; finds on every start what is done already."""
    with DocStore(store) as opened:
        for name, paths in share(documents(docs, limit), workspaces).items():
            report = opened.workspace(name).add_many(paths)
            for failure in report.failed:
                print(f"not added: {failure.error}", flush=True)


@app.command()
def empty(store: Path) -> None:
    """Removes everything, document by document, and collects. Run in a process of its own, to be killed."""
    with DocStore(store) as opened:
        for name in opened.workspaces():
            workspace = opened.workspace(name)
            for document in workspace.documents():
                workspace.remove(document.hash)
                opened.collect()
            opened.delete_workspace(name)
        opened.collect()


def under_kills(arguments: list[str], store: Path, kills: int, pause: tuple[float, float], seed: int) -> int:
    """Runs a command of this program, killing it some times before it may end; the store must be sound each time.
    Returns how often it was killed: less, where it ended before."""
    generator = random.Random(seed)
    done = 0
    while True:
        process = subprocess.Popen([sys.executable, "-m", "tests.acceptance", *arguments])
        try:
            process.wait(generator.uniform(*pause) if done < kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done += 1
            with DocStore(store) as opened:
                report = opened.verify()
            assert report.ok, report.problems
            print(f"kill {done}: opens and verifies, {report.files} files, {report.leftovers} leftovers", flush=True)
            continue
        assert process.returncode == 0, process.returncode
        return done


def brute_force(
    store: Path, workspace: str, vectors: npt.NDArray[np.float32]
) -> list[tuple[list[tuple[str, int]], list[float]]]:
    """Rankings by comparing with every stored vector of the workspace's documents, decoded by FAISS alone."""
    loose = {path.name: path for path in (store / "embeddings").glob("*/*/*") if (path / INDEX).exists()}
    archive = {Path(name).parent.name: data for name, data in packed(store).items() if name.endswith(INDEX)}
    held = query(
        store,
        """SELECT d.hash, t.hash FROM refs r JOIN documents d ON d.id = r.document_id JOIN texts t ON t.id = d.text_id
           JOIN workspaces w ON w.id = r.workspace_id WHERE w.name = ? ORDER BY d.hash""",
        workspace,
    )
    names: list[tuple[str, int]] = []
    stored = []
    for document, text in held:
        data = (loose[text] / INDEX).read_bytes() if text in loose else archive[text]
        index: Any = faiss.deserialize_index(np.frombuffer(data, np.uint8))
        stored.append(index.reconstruct_n(0, index.ntotal))
        names += [(document, number) for number in range(index.ntotal)]
    scores = np.concatenate(stored).astype(np.float64) @ vectors.T.astype(np.float64)
    order = np.argsort(-scores, axis=0, kind="stable")
    return [([names[row] for row in column], scores[column, each].tolist()) for each, column in enumerate(order.T)]


def assert_searches_are_exact(store: Path) -> int:
    """Every workspace's searches against brute force. Returns how many were compared."""
    embedder = SentenceTransformerEmbedder()
    vectors = embedder.embed(QUERIES)
    compared = 0
    with DocStore(store, embedder=embedder) as opened:
        for name in opened.workspaces():
            found = opened.workspace(name).search_many(QUERIES, k=20)
            for hits, (ranking, scores) in zip(found, brute_force(store, name, vectors), strict=True):
                by_name = dict(zip(ranking, scores, strict=True))
                np.testing.assert_allclose([hit.score for hit in hits], scores[: len(hits)], atol=1e-5)
                for hit in hits:  # the same hit, or one whose score differs by less than float32 can tell
                    assert abs(by_name[hit.document, hit.chunk] - hit.score) < 1e-5
                assert len({(hit.document, hit.chunk) for hit in hits}) == len(hits) == min(20, len(ranking))
                compared += 1
    return compared


def assert_each_once(store: Path, paths: list[Path]) -> None:
    """One blob for each distinct file, one text and one sub-index for each distinct text."""
    blobs = {hash_of(path.read_bytes()) for path in paths}
    stored = {path.stem for path in files(store, "documents")}
    assert stored <= blobs
    ((texts,),) = query(store, "SELECT count(*) FROM texts")
    assert len(files(store, "documents")) == len(stored)
    assert len(files(store, "texts")) == texts
    assert len(files(store, "embeddings")) == 2 * texts
    print(f"{len(paths)} files, {len(blobs)} distinct, {len(stored)} stored once; {texts} texts; {texts} sub-indexes")


@app.command()
def run(
    docs: Annotated[Path, typer.Option(help="Folder with real PDFs.")],
    work: Annotated[Path, typer.Option(help="Folder for the store; emptied.")] = Path("demo/acceptance"),
    limit: int = 100,
    workspaces: int = 20,
    kills: int = 8,
) -> None:
    """All of it."""
    shutil.rmtree(work, ignore_errors=True)
    began = time.monotonic()
    killed = under_kills(["fill", str(work), str(docs), str(limit), str(workspaces)], work, kills, (5, 40), seed=1)
    with DocStore(work) as store:
        swept = store.collect().leftovers
        stats = store.stats()
    print(f"filled in {time.monotonic() - began:.0f} s under {killed} kills; {swept} leftovers swept; {stats}")
    assert problems(work) == []
    assert_each_once(work, documents(docs, limit))
    print(f"{assert_searches_are_exact(work)} searches equal brute force")
    killed = under_kills(["empty", str(work)], work, kills, (0.7, 1.5), seed=2)
    left = files(work)
    assert left == [], left
    print(f"removed and collected under {killed} kills: no file left beside the catalog")


if __name__ == "__main__":
    app()
