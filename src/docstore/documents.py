"""From rows of the catalog to the `Document` that callers receive."""

from __future__ import annotations

from types import MappingProxyType

from docstore.contents import DocumentRow
from docstore.model import Document
from docstore.moments import parsed
from docstore.refcount import ReferenceRow


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
        metadata=MappingProxyType({}),
        added_at=parsed(row.stored_at),
        reused=False,
    )
