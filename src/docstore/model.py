"""What callers give, and what a search gives them: frozen, without behaviour."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

AnySource = str | os.PathLike[str] | bytes | BinaryIO
"""A document to add: a path, bytes or a binary file object."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """One of the documents of `add_many`, with a name or metadata of its own."""

    source: AnySource
    name: str | None = None
    """What the workspace calls it; by default the file's name. See `add`."""
    metadata: Mapping[str, Any] | None = None
    """Instead of the `metadata` that `add_many` gives all; see `add`."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One chunk that a search found."""

    text: str
    score: float
    """Cosine similarity of query and chunk, in [-1, 1] up to the codec's rounding."""
    document: str
    """Hash of the document the chunk is in."""
    name: str
    """What the searching workspace calls that document."""
    chunk: int
    """Position of the chunk in the document, from 0."""
    start: int
    """First character of the chunk in the document's extracted text."""
    end: int
    """One past its last character."""
    page: int | None
    """Page the chunk's first visible character is on, from 1; None for types without pages."""
