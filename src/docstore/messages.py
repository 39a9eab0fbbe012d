"""Messages as rows: written once, each with a checksum, and read in pages.

Plain functions on a transaction. What a source's text is, and whether it may still be shown, is `conversations`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from docstore.cas import is_hash
from docstore.database import Database, records
from docstore.errors import IntegrityError

_NAMES = ("conversation_id", "number", "role", "said_at", "checksum", "metadata", "sources", "content")
_MESSAGE = ", ".join(_NAMES)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A chunk that a message used, as it is stored."""

    document: str
    name: str
    chunk: int
    start: int
    end: int
    page: int | None
    score: float
    text: str | None
    """Hash of the text it is cut from; None where that was gone when the message was appended."""
    first_byte: int = 0
    """Where in that text in UTF-8 it lies."""
    last_byte: int = 0


_TYPES: tuple[tuple[type, ...], ...] = (
    (str,), (str,), (int,), (int,), (int,), (int, type(None)), (float, int), (str, type(None)), (int,), (int,),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message, as it is stored."""

    conversation: int
    number: int
    role: str
    said_at: str
    metadata: str
    sources: str
    content: str

    @property
    def checksum(self) -> str:
        """What its row must say."""
        values = [self.conversation, self.number, self.role, self.said_at, self.metadata, self.sources, self.content]
        return blake3(json.dumps(values).encode()).hexdigest()


def encode_sources(sources: Sequence[SourceRow]) -> str:
    """Sources as JSON: a list of values for each, in the order of the fields."""
    values = [
        (each.document, each.name, each.chunk, each.start, each.end, each.page, each.score,
         each.text, each.first_byte, each.last_byte) for each in sources
    ]  # fmt: skip
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode_sources(stored: str) -> list[SourceRow]:
    """The reverse.

    Raises:
        IntegrityError: it is nothing that `encode_sources` wrote.
    """
    try:
        found = json.loads(stored)
        if all(_is_source(each) for each in found):
            return [SourceRow(*each) for each in found]
    except (ValueError, TypeError, RecursionError):
        pass
    raise IntegrityError("The catalog holds sources of a message that are none of docstore's: it is damaged. Run "
                         "`docstore verify`, or restore a backup.")  # fmt: skip


def _is_source(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == len(_TYPES)
        and all(type(value) in types for value, types in zip(values, _TYPES))
        and is_hash(values[0])
        and (values[7] is None or is_hash(values[7]))
    )


def last_number(db: Database, conversation: int) -> int:
    """The number of its last message; 0 before the first."""
    query = "SELECT coalesce(max(number), 0) FROM messages WHERE conversation_id = ?"
    ((number,),) = records(db, ("number",), query, conversation)
    return int(number)


def append(db: Database, message: MessageRow) -> None:
    """Inserts a message."""
    db.execute(
        f"INSERT INTO messages ({_MESSAGE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (message.conversation, message.number, message.role, message.said_at, message.checksum, message.metadata,
         message.sources, message.content),
    )  # fmt: skip


def page(db: Database, conversation: int, after: int, limit: int) -> list[MessageRow]:
    """The messages that follow a number.

    Raises:
        IntegrityError: one is damaged.
    """
    query = f"SELECT {_MESSAGE} FROM messages WHERE conversation_id = ? AND number > ? ORDER BY number LIMIT ?"
    found = []
    for row, sound in _checked(records(db, _NAMES, query, conversation, after, limit)):
        if not sound:
            raise IntegrityError(f"Message {row.number} of the conversation is damaged: it is not what was written. "
                                 "Restore a backup, or delete the conversation.")  # fmt: skip
        found.append(row)
    return found


def damaged(db: Database) -> Iterator[tuple[int, int]]:
    """(conversation, number) of every message whose row is not what was written. Reads all of them."""
    last = (0, 0)
    query = f"""SELECT {_MESSAGE} FROM messages WHERE (conversation_id, number) > (?, ?)
                ORDER BY conversation_id, number LIMIT 64"""
    while found := records(db, _NAMES, query, *last):
        for row, sound in _checked(found):
            last = row.conversation, row.number
            if not sound:
                yield last


def _checked(found: list[tuple[Any, ...]]) -> Iterator[tuple[MessageRow, bool]]:
    for conversation, number, role, said_at, checksum, *rest in found:
        row = MessageRow(conversation, number, role, said_at, *rest)
        yield row, row.checksum == checksum
