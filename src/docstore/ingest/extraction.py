"""What extracting the text of a document gives, for those who only store, name or pass it on.

Apart from `extract`, which worker processes import: a search would wait for it too.
"""

from __future__ import annotations

from typing import NamedTuple

from docstore.errors import UnreadableDocument, UnreadableReason

REVISION = 1
"""Grows when what is stored should be extracted and embedded again. Part of the pipeline's description."""

READY = b"\0docstore extracts\n"
"""What a worker process writes before its first answer; and before that, whatever a `sitecustomize` prints."""

PAGE_BREAK = "\f"
"""What parts the pages of a text."""

SUFFIXES = {
    "application/pdf": ".pdf",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
}
"""What is stored, and the ending it is stored with."""


class Extraction(NamedTuple):
    """What extraction gives."""

    text: str
    media_type: str
    pages: int | None


class Unreadable(Exception):
    """Why there is no text. The parent process knows the document's name and makes an `UnreadableDocument` of it."""

    def __init__(self, reason: UnreadableReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: UnreadableReason = reason
        self.detail = detail

    def named(self, name: str) -> UnreadableDocument:
        """The public error."""
        return UnreadableDocument(name, self.reason, self.detail)
