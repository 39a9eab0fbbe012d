"""A document on its way in: what was asked, and what has been made of it so far."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from docstore.documents import Document
from docstore.durable import Staged
from docstore.errors import DocStoreError, InvalidArgument
from docstore.ingest import source
from docstore.ingest.extraction import Extraction
from docstore.ingest.pipeline import StagedSubindex
from docstore.metadata import encode
from docstore.model import NewDocument
from docstore.names import check_name
from docstore.scratch import Scratch
from docstore.texts import Text


@dataclass(eq=False, slots=True)
class Incoming:
    """A document on its way into a workspace."""

    hash: str
    source: source.Source | None
    """None for `link`: the store must have the document."""
    fallback_name: str
    """Display name of a new reference unless `name` says otherwise."""
    label: str
    """What to call it in errors."""
    name: str | None = None
    metadata: str | None = None
    """As `metadata.encode` spells it."""
    held: set[str] = field(default_factory=set)
    """Keys of the claims it holds."""
    blob: Staged | None = None
    extraction: Extraction | None = None
    text_hash: str = ""
    text: Text | None = None
    text_file: Staged | None = None
    subindex: StagedSubindex | None = None
    outcome: Document | DocStoreError | None = None
    reported: bool = False
    vain: int = 0
    """How often it could not be published, since what it relied on had changed."""

    def adopt(self, text_hash: str) -> None:
        """Goes on with the text of this hash; what was made of another one is void."""
        if self.text_hash != text_hash:
            self.text_hash, self.text, self.text_file, self.subindex = text_hash, None, None, None

    def let_go(self) -> None:
        """Of all that it was made of, once it is finished: others of its group may take long, and memory."""
        self.source = self.blob = self.extraction = self.text = self.text_file = self.subindex = None

    @property
    def staged(self) -> list[Staged]:
        """The pieces that wait to be published."""
        files = [file for file in (self.blob, self.text_file) if file is not None]
        return [*files, *(self.subindex.staged if self.subindex is not None else ())]

    @property
    def embedded(self) -> bool:
        """Whether this add computed vectors."""
        return self.subindex is not None


def label_of(given: NewDocument) -> str:
    """What to call a document in errors: what its giver does, if that is a name, or its source.

    Raises:
        UnreadableDocument: it has no name, and its source does not say one.
        InvalidArgument: it has no name, and is no source at all.
    """
    if given.name is not None:
        with suppress(InvalidArgument):
            return check_name(given.name, "name")
    return source.label_of(given.source)


def hashed(
    given: NewDocument,
    scratch: Scratch,
    *,
    metadata: str | None = None,
    before_long: Callable[[], object] = lambda: None,
) -> Incoming:
    """A document that somebody gives, once it is hashed.

    Args:
        metadata: as `metadata.encode` spells it, for one that brings none of its own.
        before_long: called before what may take long.

    Raises:
        UnreadableDocument: it is missing, empty, a folder, or reading failed.
        InvalidArgument: it is no source at all, or its name or metadata is not what it must be.
    """
    name = None if given.name is None else check_name(given.name, "name")
    own = metadata if given.metadata is None else encode(given.metadata)
    read = source.read(given.source, scratch, name, before_long)
    return Incoming(read.hash, read, read.name, read.label, name, own)
