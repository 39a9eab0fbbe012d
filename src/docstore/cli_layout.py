"""How tables, sizes and times look on the terminal, and that nothing printed can command it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len
from rich.filesize import decimal
from rich.table import Column, Table
from rich.text import Text

SHORT_HASH = 12
"""Characters of a hash in tables: 48 bits, so that two documents of one store practically never share them."""
_EXCERPT = 240
_BETWEEN = 2  # spaces between columns
# Terminals obey these, and names and texts come from whoever wrote the documents. The second half reorders text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def size(count: int) -> str:
    """Bytes for people: `1.2 MB`."""
    return ("-" if count < 0 else "") + decimal(abs(count))


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows under their columns, which are made when they are shown. What they hold is shown as it is."""

    columns: list[Column]
    rows: Iterable[Iterable[str]]
    header: bool = True

    def __rich__(self) -> Table:
        """As a terminal shows it, folded to its width."""
        table = Table(
            *self.columns, box=None, pad_edge=False, show_header=self.header, header_style="bold",
            padding=(0, _BETWEEN, 0, 0),
        )  # fmt: skip
        for row in self.rows:
            table.add_row(*(Text(harmless(cell)) for cell in row))  # Text: a name like [red] is no markup
        return table

    def lines(self) -> Iterator[str]:
        """As a pipe or file gets it: a line for each row, however long. To lay it out as for a terminal, where nothing
        has to fit, takes a hundred times as long."""
        rows = [[harmless(cell) for cell in row] for row in self.rows]
        if self.header:
            rows.insert(0, [str(column.header) for column in self.columns])
        widths = [max(map(cell_len, cells)) for cells in zip(*rows)]
        for row in rows:
            cells = zip(row, widths, self.columns, strict=True)
            padded = [_padded(cell, width - cell_len(cell), column.justify) for cell, width, column in cells]
            yield (" " * _BETWEEN).join(padded).rstrip()


def _padded(cell: str, lacking: int, justify: str) -> str:
    return " " * lacking + cell if justify == "right" else cell + " " * lacking


def hash_column() -> Column:
    """The column of hashes, which is never cut short."""
    return Column("Hash", no_wrap=True, min_width=SHORT_HASH)


def wide(title: str, ratio: int | None = None) -> Column:
    """A column of text, which is broken where it is too long."""
    return Column(title, overflow="fold", ratio=ratio)


def narrow(title: str) -> Column:
    """A column of numbers."""
    return Column(title, justify="right", no_wrap=True)


def count(number: int, noun: str) -> str:
    """`1 document`, `2 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def local(moment: datetime) -> str:
    """A time for people, in their time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    text = one_line(text)
    return text if len(text) <= _EXCERPT else text[:_EXCERPT].rstrip() + "…"


def one_line(text: str) -> str:
    """A text on one line."""
    return harmless(" ".join(text.split()))


def harmless(text: str) -> str:
    """A text that cannot command the terminal."""
    return _CONTROLS.sub("\ufffd", text)
