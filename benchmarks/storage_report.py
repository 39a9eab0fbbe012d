"""What the storage benchmark found, as a table, as JSON and as a plot. Extrapolated numbers are marked everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.storage_disk import FOLDERS, Usage, size, total
from benchmarks.storage_private import PrivateLayout
from benchmarks.storage_shared import SharedLayout
from benchmarks.storage_workload import Settings

LEGEND = (
    "~ is extrapolated: measured bytes times the factor in the last column. Everything else is measured or counted."
)
_HEADINGS = ("layout", "kept as", "index and text", "PDFs", "total", "allocated on disk", "chunks to embed", "from")


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    settings: Settings
    machine: dict[str, Any]
    documents: int
    document_bytes: int
    per_chat: PrivateLayout
    per_user: PrivateLayout
    shared: SharedLayout
    seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One layout's numbers for all owners."""

    name: str
    indexes: str
    index: float
    documents: float
    allocated: float
    embeddings: int
    factor: float
    source: str

    @property
    def total(self) -> float:
        """Index and documents."""
        return self.index + self.documents

    def size(self, value: float) -> str:
        """Bytes as text, marked when extrapolated."""
        return ("~ " if self.factor > 1 else "") + size(value)


def rows(result: Result) -> list[Row]:
    """The three layouts."""
    shared = result.shared
    documents = shared.parts.get("documents", Usage()).apparent + shared.packed_documents
    everything = total(shared.parts)
    return [
        _private("(a) LangChain FAISS, one per chat", result.per_chat),
        _private("(b) LangChain FAISS, one per user", result.per_user),
        Row(
            "(c) docstore, shared", f"1 store, {shared.workspaces:,} workspaces",
            everything.apparent - documents, documents, everything.allocated,
            shared.stats.embeddings_computed, 1, "all measured, at full scale",
        ),
    ]  # fmt: skip


def _private(name: str, layout: PrivateLayout) -> Row:
    measured = total(layout.parts)
    source = f"{layout.written:,} of {layout.owners:,} indexes written, {size(measured.apparent)} measured"
    return Row(
        name, f"{layout.owners:,} indexes", layout.factor * layout.parts["index"].apparent,
        layout.factor * layout.parts["documents"].apparent, layout.factor * measured.allocated, layout.chunks,
        layout.factor, source + (f"; x {layout.factor:.3f}" if layout.factor > 1 else ""),
    )  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    return (
        row.name, row.indexes, row.size(row.index), row.size(row.documents), row.size(row.total),
        row.size(row.allocated), f"{row.embeddings:,}", row.source,
    )  # fmt: skip


def notes(result: Result) -> list[str]:
    """What has to be said beside the table, a sentence or two each."""
    stats, parts, settings = result.shared.stats, result.shared.parts, result.settings
    walked = total(parts)
    a, b, c = rows(result)
    told = [
        f"{settings.users} users with {settings.chats} chats each; every chat uses {settings.per_chat} of "
        f"{result.documents} PDFs ({size(result.document_bytes)}, {stats.chunks:,} chunks), by a Zipf popularity with "
        f"exponent {settings.zipf:g} (seed {settings.seed}); a user's index is over the documents "
        "of all chats of that user.",
        f"In total bytes, (a) is {_times(a, c)} and (b) is {_times(b, c)} what (c) takes; without "
        f"the PDFs, {_times(a, c, 'index')} and {_times(b, c, 'index')}.",
        "The store by part: " + ", ".join(f"{name} {size(usage.apparent)}" for name, usage in sorted(parts.items())
                                         if name != FOLDERS and usage.files)
        + f"; {walked.files:,} files, and {size(parts[FOLDERS].allocated)} of blocks for folders.",
        f"`stats().physical_bytes` says {stats.physical_bytes:,}; walking the folder at the same moment finds "
        f"{walked.apparent:,} bytes in files (difference {stats.physical_bytes - walked.apparent:+,}) and "
        f"{walked.allocated:,} bytes of allocated blocks. After closing: {total(result.shared.closed).apparent:,}.",
        f"The store embedded {stats.embeddings_computed:,} chunks, as `stats().embeddings_computed` says, and "
        f"references asked for {stats.embeddings_avoided:,} more that were there. (a) and (b) count the chunks of "
        "their indexes: with nothing to share, each has to be embedded. For this benchmark they were given the store's "
        "vectors.",
        f"Filling the store took {_seconds(result.shared)}; the whole benchmark {result.seconds:,.0f} s. "
        f"The load average before it was {result.machine['load_average_before']:.1f} on {result.machine['cores']} "
        "cores: other programs ran, which slows the times and leaves the bytes.",
        *_checks("(a)", result.per_chat),
        *_checks("(b)", result.per_user),
        "(a) and (b) hold the same chunks and vectors as (c), as float32 in `IndexFlatL2`, with the metadata of "
        "`PyPDFLoader`. (c) holds float16 vectors (its default), the text once, compressed, and its catalog.",
    ]  # fmt: skip
    if result.shared.unreadable:
        told.append(f"Left out of all layouts, being unreadable: {', '.join(sorted(result.shared.unreadable))}.")
    return told


def _times(private: Row, shared: Row, of: str = "total") -> str:
    ratio = getattr(private, of) / getattr(shared, of)
    return ("about " if private.factor > 1 else "") + (f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.1f} times")


def _seconds(shared: SharedLayout) -> str:
    chunks = shared.stats.embeddings_computed
    each = shared.referencing_seconds / max(1, shared.referencing_calls)
    return (
        f"{shared.embedding_seconds + shared.referencing_seconds:,.0f} s: {shared.embedding_seconds:,.0f} s in the "
        f"{shared.embedding_calls:,} calls of `add_many` that met a new document (loading the model, extracting and "
        f"embedding; {chunks / shared.embedding_seconds:.1f} chunks a second), {shared.referencing_seconds:,.1f} s in "
        f"the other {shared.referencing_calls:,} ({1e3 * each:.1f} ms each, "
        "making the workspace and hashing the files included)"
    )


def _checks(name: str, layout: PrivateLayout) -> list[str]:
    if layout.factor == 1:
        return []
    chunks = layout.factor * layout.written_chunks / layout.chunks - 1
    documents = layout.factor * layout.written_document_bytes / layout.document_bytes - 1
    return [
        f"How good the extrapolation of {name} is: the same factor puts its chunks {chunks:+.1%} and the bytes of its "
        f"PDFs {documents:+.1%} off what counting over all {layout.owners:,} gives."
    ]


def print_table(result: Result) -> None:
    """To the terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    table = Table(title="Bytes on disk", show_lines=True)
    for position, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if position in (0, len(_HEADINGS) - 1) else "right")
    for row in rows(result):
        table.add_row(*cells(row))
    console.print(table)
    console.print(LEGEND, *(f"- {note}" for note in notes(result)), sep="\n", markup=False, highlight=False)


def write(result: Result, folder: Path) -> None:
    """`storage.json`, `storage.md` and `storage.png`."""
    (folder / "storage.json").write_text(json.dumps(_as_json(result), indent=2, default=str) + "\n")
    (folder / "storage.md").write_text(_markdown(result))
    _plot(result, folder / "storage.png")


def _as_json(result: Result) -> dict[str, Any]:
    layouts = {
        row.name: {
            "extrapolated": row.factor > 1, "factor": row.factor, "index_bytes": round(row.index),
            "document_bytes": round(row.documents), "total_bytes": round(row.total),
            "allocated_bytes": round(row.allocated), "chunks_to_embed": row.embeddings, "from": row.source,
        }
        for row in rows(result)
    }  # fmt: skip
    return {**result.machine, "layouts": layouts, "measured": asdict(result)}


def _markdown(result: Result) -> str:
    machine = result.machine
    lines = [
        "# Storage: private indexes against one shared store", "",
        "| " + " | ".join(_HEADINGS) + " |", "|" + "---|" * len(_HEADINGS),
        *("| " + " | ".join(cells(row)) + " |" for row in rows(result)),
        "", LEGEND, "", *(f"- {note}" for note in notes(result)), "",
        f"{machine['date']}, {machine['cpu']} ({machine['cores']} cores), Python {machine['python']}, "
        f"faiss {machine['faiss']}, langchain-community {machine['langchain_community']}, "
        f"docstore {machine['docstore']}:", "", "```", machine["command"], "```", "", "![plot](storage.png)", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _plot(result: Result, path: Path) -> None:
    from matplotlib.figure import Figure

    found = rows(result)
    figure = Figure(figsize=(10, 4.6), layout="constrained")  # not pyplot: there may be no display
    axes = figure.subplots()
    series: list[tuple[str, str, Callable[[Row], float], float]] = [
        ("index and text, with the PDFs", "#4c72b0", lambda row: row.total, -0.19),
        ("index and text alone", "#dd8452", lambda row: row.index, 0.19),
    ]
    for label, colour, value, offset in series:
        heights = [position + offset for position in range(len(found))]
        axes.barh(heights, [value(row) for row in found], height=0.36, color=colour, label=label)
        for height, row in zip(heights, found, strict=True):
            axes.text(value(row) * 1.08, height, row.size(value(row)), va="center", fontsize=10)
    axes.set_xscale("log")
    largest = max(row.total for row in found)
    axes.set_xlim(min(row.index for row in found) / 4, largest * 6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e9:g} GB" if value >= 1e9 else f"{value / 1e6:g} MB")
    axes.set_yticks(range(len(found)), [f"{row.name}\n{row.indexes}" for row in found])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    written = [f"{each.written:,} of {each.owners:,}" for each in (result.per_chat, result.per_user) if each.factor > 1]
    origin = f"; ~ is extrapolated from {', '.join(written)} indexes" if written else ""
    axes.set_xlabel("bytes in files, log scale" + origin)
    settings = result.settings
    axes.set_title(f"{settings.users} users, {settings.chats} chats each, {settings.per_chat} of {result.documents} "
                   f"PDFs in every chat")  # fmt: skip
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=130)
