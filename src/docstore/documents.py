"""A document as callers receive it, and how rows of the catalog become one. A search needs none of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from docstore.contents import DocumentRow
from docstore.moments import parsed
from docstore.refcount import ReferenceRow


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
    metadata: Mapping[str, Any] = field(hash=False)
    """What this workspace attached to the reference. JSON values."""
    added_at: datetime
    """When the reference was made, UTC."""
    reused: bool
    """True when the store held the vectors of this very text already. Equal chunks of other texts do not count."""


def document_of(row: ReferenceRow) -> Document:
    """A document as its workspace refers to it."""
    return Document(
        hash=row.document,
        name=row.name,
        media_type=row.media_type,
        size=row.size,
        chunks=row.chunks or 0,
        pages=row.pages,
        metadata=row.metadata,
        added_at=parsed(row.added_at),
        reused=row.avoided > 0,
    )


def stored_document(row: DocumentRow, chunks: int) -> Document:
    """A document as the store knows it, without any workspace's name for it."""
    return Document(
        hash=row.hash,
        name=None,
        media_type=row.media_type,
        size=row.size,
        chunks=chunks,
        pages=row.pages,
        metadata={},
        added_at=parsed(row.stored_at),
        reused=False,
    )
