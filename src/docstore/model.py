"""A document as callers give it, and a document and a hit as they receive them: frozen, without behaviour."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

AnySource = str | os.PathLike[str] | bytes | BinaryIO
"""A path, bytes or a binary file object."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document, as one workspace refers to it.

    From `DocStore.document` it is seen without any workspace: then `name` is None, `metadata` is empty and
    `added_at` is when the bytes were stored.
    """

    hash: str
    """BLAKE3 of the bytes, 64 lowercase hexadecimal characters."""
    name: str | None
    """What this workspace calls it."""
    media_type: str
    """`application/pdf`, `text/html`, `text/markdown` or `text/plain`, decided from the content."""
    size: int
    """Bytes of the document itself."""
    chunks: int
    """Chunks under the pipeline the store was opened with; 0 when that pipeline has not seen its text."""
    pages: int | None
    """Pages, for types that have them."""
    metadata: Mapping[str, Any]
    """What this workspace attached to the reference. JSON values."""
    added_at: datetime
    """When the reference was made, UTC."""
    reused: bool
    """True when making the reference embedded nothing: the store held the text's vectors already."""


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
