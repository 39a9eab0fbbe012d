"""Sources: a path, bytes or a binary file object, hashed before anything is copied.

What can be read twice (a path, bytes, a seekable file) is hashed first, so that a document the store has already
costs one read. What cannot is copied while it is hashed.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import BinaryIO

from docstore.durable import Staged, copy, hash_stream, stage_stream
from docstore.errors import DocStoreError, InvalidArgument, UnreadableDocument
from docstore.model import AnySource
from docstore.ownfiles import is_own
from docstore.scratch import Scratch

_MAX_NAME = 255
_MOST_LABEL = 4096  # characters, as many as a path may have: what is longer is no path, but perhaps a whole text
_LONG = 64 << 20  # bytes that take some ten milliseconds, or longer


@dataclass(slots=True)
class Source:
    """A hashed source."""

    name: str
    """What to call it: the caller's name for it, or the file's."""
    label: str
    """What to call it in errors: the caller's name for it, or the path as given."""
    hash: str
    size: int
    origin: str | bytes | BinaryIO
    """A path, what it holds, or what gives it."""
    position: int
    """Where in `origin` it begins."""
    staged: Staged | None = None


def read(
    given: AnySource, scratch: Scratch, name: str | None = None, before_long: Callable[[], object] = lambda: None
) -> Source:
    """Hashes a source.

    Args:
        name: what the caller calls it, if it does.
        before_long: called before what may take long.

    Raises:
        UnreadableDocument: it is missing, empty, a folder, or reading failed.
        InvalidArgument: it is no source at all.
    """
    _require_source(given)
    label = label_of(given) if name is None else name
    if isinstance(given, str | os.PathLike) and not os.fspath(given):
        raise InvalidArgument("The path of a document to add is empty: pass that of a file")
    name = name_of(given) if name is None else name
    staged = None
    position = 0
    try:
        origin = os.fsdecode(given).rstrip("/") or "/" if isinstance(given, str | os.PathLike) else given
        if isinstance(origin, str):
            if _size_of_file(origin, label) >= _LONG:
                before_long()
            with _opened(origin) as stream:
                hash, size = hash_stream(stream)
        elif isinstance(origin, bytes):
            hash, size = hash_stream(io.BytesIO(origin))
        else:
            before_long()
            if _is_seekable(origin):
                position = origin.tell()
                hash, size = hash_stream(origin)
            else:
                path = scratch.file()
                hash, size = copy(origin, path)
                staged = Staged(path, hash, size)
    except (DocStoreError, MemoryError):
        raise
    except Exception as error:  # whatever a caller's path or file object comes up with
        raise _unreadable(label, error) from error
    if size == 0:
        raise UnreadableDocument(label, "empty", "it has no bytes. There is nothing to store.")
    return Source(name, label, hash, size, origin, position, staged)


def stage(source: Source, scratch: Scratch) -> Staged:
    """A copy of the source, in memory if it is small, made now unless hashing made it.

    Raises:
        UnreadableDocument: reading failed, or other bytes came than were hashed.
        StorageError: the copy could not be written.
    """
    if source.staged is None:
        path = scratch.file()
        try:
            with _opened(source.origin, source.position) as stream:
                staged = stage_stream(stream, path, source.size)
        except (DocStoreError, MemoryError):
            raise
        except Exception as error:
            raise _unreadable(source.label, error) from error
        if staged.hash != source.hash:
            raise UnreadableDocument(source.label, "missing", "it changed while it was read. Add it again once it is "
                                     "no longer being written.")  # fmt: skip
        source.staged = staged
    return source.staged


def label_of(given: AnySource) -> str:
    """What to call a source in errors: its path as given, so that two of one file name can be told apart.

    Raises:
        UnreadableDocument: it does not say.
        InvalidArgument: it is no source at all.
    """
    if isinstance(given, str | os.PathLike):
        label = _readable(given)
        return label if len(label) <= _MOST_LABEL else label[:_MOST_LABEL] + "…"
    if isinstance(given, bytes):
        return "untitled"
    _require_source(given)
    return name_of(given)


def _require_source(given: object) -> None:
    is_file = not isinstance(given, type) and callable(_attribute(given, "read"))
    if not isinstance(given, str | os.PathLike | bytes) and not is_file:
        raise InvalidArgument(f"Cannot add a {type(given).__name__}: pass a path, bytes or a binary file object")


def _attribute(given: object, name: str) -> object:
    """What a caller's file object has under a name, or None. It may have to ask a server for that."""
    try:
        return getattr(given, name, None)
    except MemoryError:
        raise
    except Exception as error:
        kind = type(given).__name__
        raise UnreadableDocument(kind, "missing", f"its `{name}` cannot be read ({type(error).__name__}: {error}). "
                                 "Check the file object.") from error  # fmt: skip


def name_of(given: AnySource) -> str:
    """The name of a source whose caller gave none: its file's, or `untitled`.

    Raises:
        UnreadableDocument: it does not say.
    """
    path = given if isinstance(given, str | os.PathLike) else _attribute(given, "name")
    if not isinstance(path, str | os.PathLike):
        return "untitled"
    name = _readable(path).rstrip("/").rpartition("/")[2].replace("\0", "")
    return name[-_MAX_NAME:].strip() or "untitled"


def _readable(path: str | os.PathLike[str]) -> str:
    """A path as text. It may hold bytes that are none; they show as replacement characters."""
    try:
        return os.fsencode(path).decode(errors="replace")
    except Exception as error:  # lone surrogates, or an __fspath__ that fails
        raise InvalidArgument(f"Cannot add {path!r:.100}: it is no valid path ({error})") from error


def _size_of_file(path: str, name: str) -> int:
    # Before it is opened: whoever writes to a pipe would take us for its reader. Not of a Path, which takes as long to
    # make as to look at.
    found = os.stat(path)  # noqa: PTH116
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableDocument(name, "unsupported", "it is a folder. Pass its files, for example "
                                 "workspace.add_many(p for p in folder.rglob('*') if p.is_file()).")  # fmt: skip
    if is_own(path, found):
        raise UnreadableDocument(name, "unsupported", "it is a file of a store that this process has open, and reading "
                                 "it would let go of that store's locks. Leave the store's folder out.")  # fmt: skip
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableDocument(name, "unsupported", "it is a pipe or device, not a file. Pass an open file object.")
    return found.st_size


def _is_seekable(stream: BinaryIO) -> bool:
    return bool(getattr(stream, "seekable", lambda: False)())


def _opened(origin: str | bytes | BinaryIO, position: int = 0) -> AbstractContextManager[BinaryIO]:
    if isinstance(origin, str):
        return open(origin, "rb", buffering=0)
    if isinstance(origin, bytes):
        return io.BytesIO(origin)
    origin.seek(position)
    return nullcontext(origin)  # the caller's own: not ours to close


def _unreadable(name: str, error: Exception) -> UnreadableDocument:
    if isinstance(error, FileNotFoundError):
        return UnreadableDocument(name, "missing", "there is no such file. Check the path.")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UnreadableDocument(name, "missing", f"it cannot be read ({error.strerror}). To add a text itself, pass "
                                  "its bytes, text.encode().")  # fmt: skip
    reason = getattr(error, "strerror", None) or str(error)
    return UnreadableDocument(name, "missing", f"it cannot be read ({reason}). Check the file and its permissions.")
