"""What the peers benchmark found, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from benchmarks.comparison import digits
from benchmarks.peers.measure import Failed, Measured
from benchmarks.peers.workload import RECALL_K, K, Size
from benchmarks.reports import provenance
from benchmarks.storage_disk import size as in_bytes
from benchmarks.synthetic import CHUNKS, DIMENSION


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    values: Sequence[float]
    texts: Sequence[str]
    best: float

    def cell(self, row: int) -> str:
        """Bold where no other row's is better, as far as what is printed shows."""
        best = self.texts[list(self.values).index(self.best)]
        return f"**{self.texts[row]}**" if self.texts[row] == best else self.texts[row]


def _time(milliseconds: float) -> str:
    rounded = float(f"{milliseconds:.3g}")
    return f"{digits(rounded)} ms" if rounded < 1000 else f"{digits(rounded / 1000)} s"


def _columns(rows: Sequence[Measured], workspaces: int) -> list[_Column]:
    factors = [workspaces / row.built.written for row in rows]
    marks = ["~ " if factor > 1 else "" for factor in factors]

    def column(heading: str, values: Sequence[float], texts: Sequence[str]) -> _Column:
        return _Column(heading, values, texts, min(values))

    def times(heading: str, values: Sequence[float]) -> _Column:
        return column(heading, values, [_time(value) for value in values])

    stored = [factor * row.built.bytes for factor, row in zip(factors, rows, strict=True)]
    built = [factor * row.built.seconds for factor, row in zip(factors, rows, strict=True)]
    recalls = [row.recall for row in rows]
    return [
        column("on disk", stored, [mark + in_bytes(value) for mark, value in zip(marks, stored, strict=True)]),
        column("build", built, [f"{mark}{digits(value)} s" for mark, value in zip(marks, built, strict=True)]),
        times("search, median", [float(np.median(row.searches)) for row in rows]),
        times("search, p95", [float(np.percentile(row.searches, 95)) for row in rows]),
        times("cold start", [float(np.median(row.cold)) for row in rows]),
        _Column(f"recall@{RECALL_K}", recalls, [f"{recall:.4f}" for recall in recalls], max(recalls)),
        times("attach", [float(np.median(row.attach)) for row in rows]),
        times("detach", [float(np.median(row.detach)) for row in rows]),
        times("add", [float(np.median(row.store)) for row in rows]),
        times("add alone", [float(np.median(row.alone)) for row in rows]),
    ]


def table(found: Sequence[Measured | Failed], size: Size) -> str:
    """The table alone."""
    measured = [each for each in found if isinstance(each, Measured)]
    columns = _columns(measured, size.workspaces) if measured else []
    lines = ["| engine | " + " | ".join(column.heading for column in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for each in found:
        if isinstance(each, Measured):
            cells = [column.cell(measured.index(each)) for column in columns]
            lines.append(f"| {each.entry.name} | " + " | ".join(cells) + " |")
        else:
            reason = each.reason.replace("|", r"\|")
            lines.append(f"| {each.entry.name} | not measured: {reason}" + " |" * len(columns))
    return "\n".join(lines)


def report(found: Sequence[Measured | Failed], size: Size, seconds: float) -> str:
    """The run."""
    how = "\n".join(f"- **{each.entry.name}** ({_about(each)}). {each.entry.how}" for each in found)
    return f"""# Shared workspaces, on docstore and its peers

{size.documents:,} documents of {CHUNKS} chunks, {DIMENSION} dimensions (`benchmarks/synthetic.py`).
{size.workspaces:,} workspaces reference {size.each} documents each, drawn by a Zipf popularity:
{size.workspaces * size.each:,} references, {size.each * CHUNKS:,} chunks to search in each workspace. All engines get
the same chunks and vectors, so no time below has any embedding in it. Every answer is texts, k = {K}.

{table(found, size)}

The best of each column is bold; `~` is extrapolated from the first {size.measured} workspaces, which were written.

- *on disk*: blocks allocated, folders included. *build*: all documents and all references, durable unless
  said below, indexes made.
- *search*: {size.queries} queries in each of {size.measured} workspaces, which were searched for others before.
- *cold start*: from starting a process to its first answer, imports included; median of {size.cold_starts}. What
  the operating system took back from memory since the searches before is read from the disk.
- *recall@{RECALL_K}*: of what brute force over the float32 vectors of the workspace finds. docstore keeps float16, and
  is exact over these.
- *attach*: a document that others have is added to a workspace and found by a search; *detach*: it is removed, and a
  search does not find it. *add*: a document that nobody has is stored with its vectors, which are there, and found by a
  search. All durable, unless said below, and with the time of that search; medians. *add alone* is without it.

{how}

Each step of each engine ran in a process of its own, one after another, with all its threads and servers on one core.
Threads were limited to one where an engine or its libraries allow it; how many there were is said above.

{provenance(f"{seconds / 60:,.0f} min")}
"""


def _about(each: Measured | Failed) -> str:
    if isinstance(each, Failed):
        return "not measured"
    versions = [f"{package} {version(package)}" for package in each.entry.packages]
    changed = len(each.attach) + len(each.store)
    missed = [f"{each.missed} of {changed} documents attached or added not found by the next search"]
    return ", ".join([*versions, f"{each.threads} thread{'s' * (each.threads > 1)}", *(missed if each.missed else [])])
