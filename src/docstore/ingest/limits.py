"""The bounds on what one document may cost. All of them are here; each error names the one that was met."""

from __future__ import annotations

from dataclasses import dataclass, fields

from docstore import arguments


@dataclass(frozen=True, slots=True)
class Limits:
    """What extraction of one document may use before it is given up as unreadable.

    Pass your own to `DocStore(…, limits=Limits(pages=50_000))`.
    """

    pages: int = 10_000
    """Pages of a PDF."""
    seconds: float = 300.0
    """Wall-clock time."""
    memory: int = 2 << 30
    """Bytes of address space of the process that extracts, of which Python and its libraries take some 160 MB: with
    less than 512 MB sound documents may be refused."""
    characters: int = 50_000_000
    """Characters of extracted text."""

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = f"Limits.{field.name}", getattr(self, field.name)
            is_time = field.name == "seconds"
            checked = arguments.positive(name, value) if is_time else arguments.whole(name, value, 1, arguments.MOST)
            object.__setattr__(self, field.name, checked)  # plain numbers, which the worker is told in JSON
