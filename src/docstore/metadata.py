"""Metadata of references: JSON objects, checked and spelled in one way before anything else happens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from docstore.errors import IntegrityError, InvalidArgument

_MAX_BYTES = 64 << 10
_MAX_DEPTH = 32  # far below the recursion limit of whoever reads it back
_DECODER = json.JSONDecoder()


def encode(metadata: Mapping[str, Any] | None, what: str = "metadata") -> str | None:
    """The one JSON spelling of metadata: equal objects compare equal as text. None stays None.

    Args:
        what: what errors call it.

    Raises:
        InvalidArgument: it is no JSON object, nests too deep or is too large.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise InvalidArgument(f"{what} is {type(metadata).__name__}; it must be a dictionary with text keys")
    try:
        plain = _plain(metadata, 0, what)
    except (InvalidArgument, MemoryError):
        raise
    except Exception as error:  # whatever a caller's mapping comes up with
        raise InvalidArgument(f"{what} cannot be read: {type(error).__name__}: {error}") from error
    try:
        text = _spelled(plain)
    except ValueError as error:  # whole numbers of thousands of digits
        raise InvalidArgument(f"{what} cannot be written as JSON: {error}") from error
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{what} holds text that is no valid Unicode: {error.reason}") from error
    if size > _MAX_BYTES:
        raise InvalidArgument(f"{what} takes {size:,} bytes as JSON; at most {_MAX_BYTES:,} are allowed")
    return text


def require_object(stored: str) -> None:
    """Looks at the ends of metadata that the catalog holds and nobody parses yet.

    Raises:
        IntegrityError: not even these are those of an object.
    """
    if stored[:1] != "{" or stored[-1:] != "}":
        raise _damaged()


def decode(stored: str) -> Mapping[str, Any]:
    """The metadata of a reference, as the catalog holds it.

    Raises:
        IntegrityError: it is none that `encode` wrote.
    """
    if stored == "{}":  # most are: to parse it takes longer than to read the row
        return {}
    try:
        # Not json.loads: for what is as short as most, what it does besides takes as long again.
        found, end = _DECODER.raw_decode(stored) if len(stored) <= _MAX_BYTES else (None, 0)
    except (ValueError, RecursionError):
        found, end = None, 0
    if not isinstance(found, dict) or end != len(stored):
        raise _damaged()
    return found


def _damaged() -> IntegrityError:
    return IntegrityError("The catalog holds metadata that is no JSON object of docstore's: it is damaged. Run "
                          "`docstore repair`, or restore a backup.")  # fmt: skip


def same(stored: Any, wanted: Any) -> bool:
    """Whether two JSON values are equal. In JSON true is not 1, but 1 is 1.0; Python thinks all three equal."""
    if isinstance(wanted, dict):
        return isinstance(stored, dict) and stored.keys() == wanted.keys() and all(
            same(stored[key], value) for key, value in wanted.items()
        )  # fmt: skip
    if isinstance(wanted, list):
        return isinstance(stored, list) and len(stored) == len(wanted) and all(map(same, stored, wanted))
    return bool(stored == wanted) and isinstance(stored, bool) == isinstance(wanted, bool)


def matcher(where: Mapping[str, Any]) -> Callable[[str], bool]:
    """What says whether metadata, as the catalog holds it, has some keys with some values."""
    needed = [_needed(key, value) for key, value in where.items()]
    said: dict[str, bool] = {}  # in many a workspace, many documents have the same

    def matches(stored: str) -> bool:
        found = said.get(stored)
        if found is None:
            # To parse takes ten times as long as to see that there is no need to.
            found = said[stored] = all(each in stored for each in needed) and _has(decode(stored), where)
        return found

    return matches


def _needed(key: str, value: Any) -> str:
    """What stored metadata must contain to have this key with this value. For a number only the key: 1 is 1.0."""
    if value is None or isinstance(value, str | bool):
        return _spelled({key: value})[1:-1]
    return _spelled(key) + ":"


def _has(own: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(key in own and same(own[key], value) for key, value in where.items())


def _spelled(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any, depth: int, what: str) -> Any:
    if depth > _MAX_DEPTH:
        raise InvalidArgument(f"{what} nests deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InvalidArgument(f"{what} has a key that is not text; JSON has no others. Make it text, with str().")
        return {key: _plain(each, depth + 1, what) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, depth + 1, what) for each in value]
    raise InvalidArgument(f"{what} holds {value!r:.60}, a {type(value).__name__}, which JSON cannot hold. Make it "
                          "text, a finite number, a list or a dictionary.")  # fmt: skip
