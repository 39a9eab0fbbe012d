"""Conversations: what was said in a workspace, and which chunks an answer used.

A message is a row that never changes; its number is given under the catalog's write lock, so writers never collide. Of
a chunk it keeps where the text lies, not the text: that is read while the workspace's searches cover the document, and
is gone with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from docstore import arguments, covered, messages, moments, passages, refcount, subindexes
from docstore.cas import none_missing
from docstore.covered import Owner
from docstore.database import Database, records, row
from docstore.durable import storage_errors
from docstore.errors import (
    ConversationNotFound,
    IntegrityError,
    InvalidArgument,
)
from docstore.messages import MessageRow, SourceRow
from docstore.metadata import decode, encode
from docstore.model import Hit
from docstore.moments import NOW, parsed, spelled
from docstore.names import check_hash, check_name, require_unicode
from docstore.parts import Parts
from docstore.segments import Spans

_MAX_CONTENT = 1 << 20
_MAX_SOURCES = 1 << 20
_PAGE = 100

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Source:
    """A chunk that a message used."""

    document: str
    """Hash of the document the chunk is in."""
    name: str
    """What the document was called when the message was appended; `was <name>` when `text` is None."""
    chunk: int
    """Position of the chunk in the document, from 0."""
    start: int
    """First character of the chunk in the document's extracted text."""
    end: int
    """One past its last character."""
    page: int | None
    """Page the chunk begins on; None for types without pages."""
    score: float
    """What the search that found it gave it."""
    text: str | None
    """The chunk. None once the workspace neither references nor includes the document, or if that was so already when
    the message was appended."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    number: int
    """Its place in the conversation, from 1."""
    role: str
    content: str
    at: datetime
    """When it was appended, UTC."""
    metadata: Mapping[str, Any] = field(hash=False)
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """A conversation, as a list of them shows it."""

    name: str
    created_at: datetime
    messages: int
    changed_at: datetime
    """When the last message was appended, or the conversation was made."""


class Conversation:
    """The messages of one conversation. Get one from `Workspace.conversation`. Safe for threads.

    It stays the same conversation when somebody renames it. Every method raises ConversationNotFound when it was
    deleted, by itself or with its workspace, and WorkspaceNotFound while its workspace is expired.
    """

    def __init__(self, parts: Parts, workspace: int, id: int, name: str) -> None:
        self._parts = parts
        self._workspace = workspace
        self._id = id
        self.name = name

    def __repr__(self) -> str:
        return f"Conversation({self.name!r})"

    def append(
        self, role: str, content: str, *, metadata: Mapping[str, Any] | None = None, hits: Iterable[Hit] = ()
    ) -> Message:
        """Adds a message after the last one. Durable when it returns.

        Args:
            role: who says it: `user`, `assistant`, whatever the application calls them, in 1,000 characters at most.
            content: at most 1 MiB in UTF-8, without NUL.
            metadata: a JSON object. At most 64 KiB, 32 levels deep.
            hits: what an answer used. Their texts are not kept: they are read from the documents while those are there.

        Raises:
            ConversationNotFound: it was deleted.
            InvalidArgument: `role`, `content`, `metadata` or `hits` is not what it must be.
        """
        role = check_name(role, "role")
        content = _checked(content)
        encoded = encode(metadata) or "{}"
        hits = list(arguments.several(hits, (str, bytes, Hit), "hits takes a list of what searches give"))
        sources = _sources(hits)
        if sources:
            sources = _located(self._parts, self._workspace, sources)
        stored = messages.encode_sources(sources)
        with self._parts.write(by=self._workspace) as db:
            self._require(db)
            number = messages.last_number(db, self._id) + 1
            now = spelled(moments.now())
            message = MessageRow(self._id, number, role, now, encoded, stored, content)
            messages.append(db, message)
        texts = {_place(source): hit.text for source, hit in zip(sources, hits) if source.text is not None}
        return _message(message, sources, texts)

    def messages(self, after: int = 0, limit: int = _PAGE) -> list[Message]:
        """A page of messages, in their order: the first 100, unless told otherwise. They are numbered from 1, without
        gaps: of a conversation of n messages, `after=n - 20` gives the last 20; `Workspace.conversations` knows n.

        Args:
            after: the number of the last message of the page before.
            limit: how many at most.

        Raises:
            ConversationNotFound: it was deleted.
            IntegrityError: a message, or the stored text of a source, is damaged.
        """
        after = arguments.whole("after", after, 0, arguments.MOST)
        limit = arguments.whole("limit", limit, 1, arguments.MOST)
        return self._at_one_moment(lambda db, owners: self._page(db, owners, after, limit))

    def rename(self, name: str) -> None:
        """Gives it another name.

        Raises:
            ConversationNotFound: it was deleted.
            InvalidArgument: the workspace has another of that name, or `name` is not what it must be.
        """
        name = check_name(name, "The conversation's name")
        with self._parts.write(by=self._workspace) as db:
            self._require(db)
            other = find(db, self._workspace, name)
            if other not in (None, self._id):
                raise InvalidArgument(f"There is a conversation {name!r} already. Delete it, or choose another name.")
            db.execute("UPDATE conversations SET name = ? WHERE id = ?", (name, self._id))
        self.name = name

    def delete(self) -> None:
        """Deletes it with its messages. The next collection gives their pages back to the file system; for what may be
        left in a gap of another page see docs/how-to/conversations.md.

        Raises:
            ConversationNotFound: it was deleted already.
        """
        self._parts.free_space(self._delete)

    def _delete(self) -> None:
        with self._parts.write(by=self._workspace) as db:
            self._require(db)
            db.execute("DELETE FROM conversations WHERE id = ?", (self._id,))

    def export(self) -> str:
        """All of it as JSON, of one moment: name, creation, and every message with its sources, as `messages` gives
        them.

        Raises:
            ConversationNotFound: it was deleted.
            IntegrityError: a message, or the stored text of a source, is damaged.
        """
        return self._at_one_moment(lambda db, owners: "".join(self._exported(db, owners)))

    def _exported(self, db: Database, owners: list[Owner]) -> Iterator[str]:
        (found,) = records(
            db, ("name", "created_at"), "SELECT name, created_at FROM conversations WHERE id = ?", self._id
        )
        head = {"name": found[0], "created_at": parsed(found[1]).isoformat()}
        yield json.dumps(head, ensure_ascii=False)[:-1] + ', "messages": ['
        last = 0
        while page := self._page(db, owners, last, _PAGE):
            for each in page:
                yield ",\n" if last else "\n"
                yield json.dumps(asdict(each) | {"at": each.at.isoformat()}, ensure_ascii=False)
                last = each.number
        yield "\n]}"

    def _page(self, db: Database, owners: list[Owner], after: int, limit: int) -> list[Message]:
        page = messages.page(db, self._id, after, limit)
        sources = [messages.decode_sources(each.sources) for each in page]
        texts = _texts(self._parts, self._workspace, db, owners, {each for some in sources for each in some})
        return [_message(each, some, texts) for each, some in zip(page, sources, strict=True)]

    def _at_one_moment(self, read: Callable[[Database, list[Owner]], _T]) -> _T:
        """Files of texts may be collected while they are read: then a version has changed, and it is read again."""
        self._parts.accesses.note(self._workspace)
        while True:
            with self._parts.database.read() as db, storage_errors("reading a stored text"):
                self._require(db)
                owners = covered.find_owners(db, self._workspace)
                try:
                    with none_missing():
                        return read(db, owners)
                except IntegrityError as error:
                    failure = error
            with self._parts.database.read() as db:
                if covered.find_owners(db, self._workspace) == owners:
                    raise failure

    def _require(self, db: Database) -> None:
        if row(db, "SELECT 1 FROM conversations WHERE id = ?", self._id) is None:
            raise ConversationNotFound(f"The conversation {self.name!r} was deleted, or its workspace was. "
                                       "workspace.conversation(name) makes it anew.")  # fmt: skip
        refcount.require_workspace(db, self._workspace)


# -- conversations of a workspace -----------------------------------------------------------------------------------


def find(db: Database, workspace: int, name: str) -> int | None:
    """The id of a workspace's conversation of this name, or None."""
    found = row(db, "SELECT id FROM conversations WHERE workspace_id = ? AND name = ?", workspace, name)
    return None if found is None else int(found["id"])


def open_conversation(parts: Parts, workspace: int, name: str) -> Conversation:
    """As `Workspace.conversation`."""
    name = check_name(name, "The conversation's name")
    with parts.database.read() as db:
        refcount.require_workspace(db, workspace)
        id = find(db, workspace, name)
    if id is None and parts.readonly:
        raise ConversationNotFound(f"There is no conversation {name!r}, and a read-only store cannot create one. Open "
                                   "it without readonly=True to do so.")  # fmt: skip
    if id is None:
        with parts.write(by=workspace) as db:
            refcount.require_workspace(db, workspace)
            id = find(db, workspace, name)
            if id is None:  # not ON CONFLICT: SQLite gives ids out to rows that a conflict keeps out, too
                insert = f"INSERT INTO conversations (workspace_id, name, created_at) VALUES (?, ?, {NOW}) RETURNING id"
                ((id,),) = records(db, ("id",), insert, workspace, name)
    return Conversation(parts, workspace, id, name)


def list_conversations(parts: Parts, workspace: int) -> list[ConversationInfo]:
    """As `Workspace.conversations`."""
    with parts.database.read() as db:
        refcount.require_workspace(db, workspace)
        found = records(
            db, ("name", "created_at", "number", "said_at"),
            """SELECT c.name, c.created_at, coalesce(m.number, 0), coalesce(m.said_at, c.created_at) AS changed_at
               FROM conversations c LEFT JOIN messages m ON m.conversation_id = c.id
                    AND m.number = (SELECT max(number) FROM messages WHERE conversation_id = c.id)
               WHERE c.workspace_id = ? ORDER BY changed_at DESC, c.id DESC""",
            workspace,
        )  # fmt: skip
    return [ConversationInfo(name, parsed(created), count, parsed(changed)) for name, created, count, changed in found]


# -- what a message holds -------------------------------------------------------------------------------------------


def _checked(content: object) -> str:
    if not isinstance(content, str):
        raise InvalidArgument(f"content is a {type(content).__name__}; it must be text")
    content = str.__str__(content)  # of a subclass, the text itself, whatever its methods say
    require_unicode(content, "content")
    if (size := len(content.encode())) > _MAX_CONTENT:
        raise InvalidArgument(f"content takes {size:,} bytes in UTF-8; at most {_MAX_CONTENT:,} are allowed")
    if "\0" in content:
        raise InvalidArgument("content holds NUL, which SQLite takes for the end of a text. Leave it out.")
    return content


def _sources(hits: Sequence[Hit]) -> list[SourceRow]:
    """Hits as they are stored, without the places of their texts."""
    for each in hits:
        if not isinstance(each, Hit):
            raise InvalidArgument(f"hits holds a {type(each).__name__}; it takes what searches give")
        check_hash(each.document)
        check_name(each.name, "A hit's name")
    try:
        sources = [SourceRow(each.document, each.name, each.chunk, each.start, each.end, each.page, float(each.score),
                             None) for each in hits]  # fmt: skip
        stored = messages.encode_sources(sources)
        messages.decode_sources(stored)
    except (ValueError, TypeError, IntegrityError) as error:
        raise InvalidArgument(f"hits holds values that no search gives: {error}") from error
    if len(stored.encode()) > _MAX_SOURCES:
        raise InvalidArgument(f"{len(hits):,} hits are too many for one message; pass those that the answer used")
    return sources


def _located(parts: Parts, workspace: int, sources: list[SourceRow]) -> list[SourceRow]:
    """Sources with the places of their texts, where the workspace's searches cover the document now."""
    with parts.database.read() as db:
        owners = covered.find_owners(db, workspace)
        if not owners:
            return sources  # who appends them will be told
        rows = covered.rows_of(db, owners, parts.pipeline.fingerprint, {each.document for each in sources})
    spans: dict[str, tuple[str, Spans]] = {}
    for found in rows:
        if found.chunks is not None:
            # Collected since we asked, or damaged, which is no reason to lose what was said.
            with storage_errors("reading a stored document"), suppress(FileNotFoundError, IntegrityError):
                spans[found.document] = found.text, subindexes.read_spans(parts, [subindexes.spans_file(found)])[0]
    return [_at(each, *spans[each.document]) if each.document in spans else each for each in sources]


def _at(source: SourceRow, text: str, spans: Spans) -> SourceRow:
    if 0 <= source.chunk < len(spans):
        start, end, first, last, _ = spans[source.chunk].item()
        if (start, end) == (source.start, source.end):
            return replace(source, text=text, first_byte=first, last_byte=last)
    return source


_Place = tuple[str, str, int, int]
"""Document, text, first byte, and one past the last."""


def _place(source: SourceRow) -> _Place:
    return source.document, source.text or "", source.first_byte, source.last_byte


def _texts(
    parts: Parts, workspace: int, db: Database, owners: list[Owner], sources: set[SourceRow]
) -> dict[_Place, str]:
    """What is at each place, of documents that the workspace's searches cover."""
    rows = covered.rows_of(db, owners, parts.pipeline.fingerprint, {each.document for each in sources})
    there = {(each.document, each.text) for each in rows}
    places = [place for each in sources if (place := _place(each))[:2] in there]
    pieces = passages.read(parts.texts, parts.memory, parts.scope(workspace), (place[1:] for place in places))
    return {place: pieces[place[1:]] for place in places}


def _message(row: MessageRow, sources: Sequence[SourceRow], texts: Mapping[_Place, str]) -> Message:
    shown = tuple(_source(each, texts.get(_place(each))) for each in sources)
    return Message(row.number, row.role, row.content, parsed(row.said_at), decode(row.metadata), shown)


def _source(row: SourceRow, text: str | None) -> Source:
    name = row.name if text is not None else f"was {row.name}"
    return Source(row.document, name, row.chunk, row.start, row.end, row.page, row.score, text)
