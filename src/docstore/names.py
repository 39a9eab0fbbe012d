"""What may name documents, workspaces and whatever else callers name."""

from __future__ import annotations

from docstore.cas import is_hash
from docstore.errors import InvalidArgument

_MAX_NAME = 1000

EXPIRED = "\x1fexpired\x1f"
"""What the name of an expired workspace begins with, before its id, another U+001F, and the name it had."""
BEYOND_EXPIRED = EXPIRED[:-1] + chr(ord(EXPIRED[-1]) + 1)
"""What comes next, as text compares, to all that begins so."""


def check_hash(hash: object) -> str:
    """Returns it, if it is written as a document hash.

    Raises:
        InvalidArgument: it is not.
    """
    if not is_hash(hash):
        raise InvalidArgument(f"{hash!a:.80} is no document hash: those have 64 lowercase hexadecimal characters")
    return hash


def check_name(name: object, what: str) -> str:
    """Returns it, if it can name a document or workspace: as plain text, whatever kind of text it was.

    Raises:
        InvalidArgument: it is empty, too long, or holds what UTF-8 or SQLite cannot.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidArgument(f"{what} is {name!r}; it must be text that is not empty")
    if len(name) > _MAX_NAME:
        raise InvalidArgument(f"{what} has {len(name):,} characters; at most {_MAX_NAME:,} are allowed")
    require_unicode(name, what)
    if name.startswith(EXPIRED):
        raise InvalidArgument(f"{what} is {name!r}; such a beginning is kept for expired workspaces")
    if "\0" in name:
        raise InvalidArgument(f"{what} is {name!r}; it must not hold NUL")
    return name if type(name) is str else "".join(name)


def require_unicode(text: str, what: str) -> None:
    """Raises InvalidArgument where UTF-8 cannot spell a text: it holds half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{what} is {text!r:.80}, which is no valid Unicode: {error.reason}") from error


def name_before(stored: str) -> str:
    """The name that an expired workspace had."""
    return stored.removeprefix(EXPIRED).partition("\x1f")[2]


def shown(stored: str) -> str:
    """A workspace's name for people, who know nothing of how an expired one is called."""
    return f"{name_before(stored)} (expired)" if stored.startswith(EXPIRED) else stored
