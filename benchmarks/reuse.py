"""Reuse benchmark: which share of a manual's vectors is reused when one page of it is edited, inserted or removed.

    python benchmarks/reuse.py measure --documents FOLDER --folder FOLDER

FOLDER of documents holds real PDFs, at whatever depth. The first that are long enough to be manuals are extracted,
edited page by page, and made anew, before and after alike: as a PDF, whose pages bound its chunks; as plain text with a
blank line between pages; and as plain text without. Every edit is a `DocStore.replace` in a store with the default
chunk sizes and the default model's tokens, so what is counted is what a user gets. `benchmarks/results/reuse.md` has
what the last committed run found.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from fpdf import FPDF
from pypdf import PdfReader

if not __package__:  # run as a file: its neighbours are found from the repository's root
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.reports import RESULTS, Results, provenance
from docstore import DocStore, SentenceTransformerEmbedder
from docstore.testing import HashEmbedder

_EDITS = 10  # of each kind, spread over the manual
_LEAST_PAGE = 500  # characters of a page that is edited: a title page is none
_LEAST_PAGES = 40  # such pages of a manual: of one of few pages an inserted one is most of what is new
_MOST = 6  # manuals: a minute each

Pages = list[str]

app = typer.Typer(pretty_exceptions_enable=False)


class FreeVectors(HashEmbedder):
    """Vectors that cost nothing, for chunks as the default model needs them."""

    def __init__(self) -> None:
        super().__init__()
        self._model = SentenceTransformerEmbedder()
        self.max_tokens = self._model.max_tokens

    def count_tokens(self, text: str) -> int:
        """The default model's."""
        return self._model.count_tokens(text)

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """The same vector for all: none is ever compared."""
        self.embedded += len(texts)
        return np.eye(1, self.dimension, dtype=np.float32).repeat(len(texts), axis=0)


@dataclass(frozen=True)
class Row:
    """One manual in one form, under one kind of edit."""

    manual: str
    form: str
    kind: str
    chunks: int
    reused: list[float]
    """Of each edit: the share of the new version's vectors that were not computed."""

    def __str__(self) -> str:
        worst, median = min(self.reused), statistics.median(self.reused)
        return f"| {self.manual} | {self.form} | {self.kind} | {self.chunks} | {median:.1%} | {worst:.1%} |"


def pages_of(path: Path) -> Pages:
    """The text of each page, of characters that a PDF's own fonts have."""
    pages = [page.extract_text() for page in PdfReader(path).pages]
    return [page.encode("latin-1", "replace").decode("latin-1") for page in pages]


def manuals(folder: Path, most: int) -> dict[str, Pages]:
    """The first PDFs of a folder, and of those below, that have enough full pages, by name."""
    chosen: dict[str, Pages] = {}
    for path in sorted(folder.rglob("*.pdf"), key=lambda path: (path.stem, path)):
        if len(chosen) == most:
            break
        if path.stem not in chosen and len(PdfReader(path).pages) >= _LEAST_PAGES:
            pages = pages_of(path)
            if len(_full(pages)) >= _LEAST_PAGES:
                chosen[path.stem] = pages
    if not chosen:
        raise typer.BadParameter(f"{folder} holds no PDF with {_LEAST_PAGES} pages of text. On Debian or Ubuntu: "
                                 "apt-get download texlive-latex-base-doc && dpkg -x texlive-latex-base-doc*.deb pdfs",
                                 param_hint="--documents")  # fmt: skip
    return chosen


def _full(pages: Pages) -> list[int]:
    return [number for number, page in enumerate(pages) if len(page) >= _LEAST_PAGE]


def as_pdf(pages: Pages) -> bytes:
    """A PDF of one page for each text, however long that is."""
    document = FPDF(format=(210, 600))
    document.set_creation_date(datetime(2026, 1, 1, tzinfo=UTC))
    document.set_font("Helvetica", size=8)
    for page in pages:
        document.add_page()
        document.multi_cell(0, text=page)
    return bytes(document.output())


FORMS: dict[str, Callable[[Pages], bytes]] = {
    "PDF": as_pdf,
    "text, a blank line between pages": lambda pages: "\n\n".join(pages).encode(),
    "text, no mark between pages": lambda pages: "\n".join(pages).encode(),
}


def edits(pages: Pages, count: int, seed: int = 0) -> Iterator[tuple[str, Pages]]:
    """New versions of a manual, with their kind."""
    chance = random.Random(seed)
    full = _full(pages)
    for turn in range(count):
        at = full[(2 * turn + 1) * len(full) // (2 * count)]
        lines = pages[at].split("\n")
        line = chance.randrange(len(lines))
        lines[line : line + 2] = [f"This sentence was written anew for edition {chance.randrange(10**6)}."]
        words = chance.choices(pages[chance.choice(full)].split(), k=350)
        new = "\n".join(" ".join(words[first : first + 10]) for first in range(0, len(words), 10))
        yield "edited", [*pages[:at], "\n".join(lines), *pages[at + 1 :]]
        yield "inserted", [*pages[:at], new, *pages[at:]]
        yield "removed", [*pages[:at], *pages[at + 1 :]]


def measured(folder: Path, manual: str, pages: Pages, count: int) -> Iterator[Row]:
    """Every form of a manual, in a store of its own."""
    for number, (form, made) in enumerate(FORMS.items()):
        reused: dict[str, list[float]] = {}
        with DocStore(folder / f"{manual} {number}", embedder=FreeVectors()) as store:
            manuals = store.workspace("manuals")
            old = manuals.add(made(pages))
            for kind, version in edits(pages, count):
                done = store.replace(old.hash, made(version))
                reused.setdefault(kind, []).append(done.reused)
                store.rollback(done.new)
                store.collect()  # the next edit finds the first version's vectors and no other's
        for kind, shares in reused.items():
            yield Row(manual, form, kind, old.chunks, shares)


def report(rows: Sequence[Row]) -> str:
    """The run, as Markdown."""
    lines = "\n".join(map(str, rows))
    return f"""# Embeddings reused when a manual changes

Real manuals, rebuilt from their extracted pages; one page edited, inserted or removed, {len(rows[0].reused)} times
each, at places spread over the manual. Reused is the share of the new version's vectors that `DocStore.replace` did not
compute: the median and the worst of these. An inserted page is new itself: in a manual of 200 chunks, some 2 %.

| manual | form | one page | chunks | reused, median | worst |
|---|---|---|---|---|---|
{lines}

{provenance()}
"""


@app.command()
def measure(
    documents: Annotated[Path, typer.Option(help="Folder of PDFs: the manuals.")],
    folder: Annotated[Path, typer.Option(help="Where the stores are made: a folder that is not there yet.")],
    count: Annotated[int, typer.Option(help="Edits of each kind.")] = _EDITS,
    most: Annotated[int, typer.Option(help="Manuals.")] = _MOST,
    results: Results = RESULTS,
) -> None:
    """Measures the manuals of a folder."""
    rows = []
    for manual, pages in manuals(documents, most).items():
        rows += list(measured(folder, manual, pages, count))
    print(report(rows))
    (results / "reuse.md").write_text(report(rows))


@app.callback()
def _commands() -> None:
    """Without it, typer would take the only command's name for an argument."""


if __name__ == "__main__":
    app()
