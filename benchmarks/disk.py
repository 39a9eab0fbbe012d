"""Disk benchmark: the bytes of a store of real documents, beside each document, text and float32 vector once.

    python benchmarks/disk.py --docs FOLDER --folder FOLDER

Chunks are those of the default model; their vectors are drawn, since a vector takes as much whatever it says.
`benchmarks/results/disk.md` has what the last committed run found.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.reports import RESULTS, Results, provenance
from benchmarks.storage_disk import Usage, size, total, walk
from benchmarks.synthetic import DIMENSION, ClusteredEmbedder
from docstore import DocStore, SentenceTransformerEmbedder
from docstore.ingest.extractor import Extractor
from docstore.ingest.limits import Limits

_WHAT = {
    "documents": "documents, a file each",
    "texts": "texts, a file each",
    "embeddings": "vectors and places of chunks, two files each",
    "small.sqlar": "all these of small documents, in one file",
    "catalog.db": "the catalog",
    "reserve": "kept free for deleting on a full disk",
}


class TokensOfTheDefaultModel(ClusteredEmbedder):
    """Cuts as the default model does, and embeds nothing."""

    def __init__(self) -> None:
        self._model = SentenceTransformerEmbedder()
        self.max_tokens = self._model.max_tokens

    def count_tokens(self, text: str) -> int:
        """How many tokens it has."""
        return self._model.count_tokens(text)


@dataclass(frozen=True, slots=True)
class Stored:
    """A store of some documents, closed."""

    documents: int
    chunks: int
    document_bytes: int
    text_bytes: int
    parts: dict[str, Usage]

    @property
    def once(self) -> int:
        """Bytes of each document, text and float32 vector, once."""
        return self.document_bytes + self.text_bytes + self.chunks * DIMENSION * 4


def stored(paths: Sequence[Path], folder: Path) -> Stored:
    """Adds documents to a store, and closes it."""
    shutil.rmtree(folder, ignore_errors=True)
    with DocStore(folder, embedder=TokensOfTheDefaultModel()) as store:
        workspace = store.workspace("all")
        added = {each.hash: each for each in workspace.add_many(paths).added}
        contents = []
        for hash in added:
            with workspace.read(hash) as file:
                contents.append(file.read())
    extractor = Extractor(Limits())
    texts = [extractor.extract(content).text.encode() for content in contents]
    extractor.close()
    return Stored(len(added), sum(each.chunks for each in added.values()), sum(map(len, contents)),
                  sum(map(len, texts)), walk(folder, lambda path: path.parts[0]))  # fmt: skip


def report(found: Sequence[Stored]) -> str:
    """The run, as Markdown."""
    lines, parts = "", ""
    for each in found:
        used = total(each.parts)
        lines += (
            f"| {each.documents:,} of {each.chunks:,} chunks | {size(each.document_bytes)}, {size(each.text_bytes)}, "
            f"{size(each.chunks * DIMENSION * 4)} | {size(each.once)} | {size(used.apparent)} ({size(used.allocated)}) "
            f"| {used.apparent / each.once:.2f} ({used.allocated / each.once:.2f}) | "
            f"{each.document_bytes / each.once:.2f} |\n"
        )
    for name, usage in found[-1].parts.items():
        parts += f"| {_WHAT.get(name, name)} | {size(usage.apparent)} | {size(usage.allocated)} |\n"
    return f"""# What a store of real documents takes

PDFs as they are, {DIMENSION} dimensions, chunks of the default model; the store closed, and everything in its folder
counted. In brackets: blocks allocated, folders included.

| PDFs | documents, texts, float32 vectors | together | docstore | ratio | the documents alone |
|---|---|---|---|---|---|
{lines}
Of the last line:

| what | in files | allocated |
|---|---|---|
{parts}
{provenance()}
"""


def main(
    docs: Annotated[Path, typer.Option(help="A folder of PDFs.")],
    folder: Annotated[Path, typer.Option(help="Where the stores are made. What it holds is overwritten.")],
    results: Results = RESULTS,
) -> None:
    """Measures the bytes of the hundred smallest PDFs, and of all."""
    paths = sorted(docs.rglob("*.pdf"), key=lambda path: path.stat().st_size)
    found = [stored(some, folder / "disk") for some in (paths[:100], paths)]
    print(report(found))
    (results / "disk.md").write_text(report(found))


if __name__ == "__main__":
    typer.run(main)
