"""Metadata of references: JSON objects, checked and spelled in one way before anything else happens."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from docstore.errors import IntegrityError, InvalidArgument

_MAX_BYTES = 64 << 10
_MAX_DEPTH = 32  # far below the recursion limit of whoever reads it back


def encode(metadata: Mapping[str, Any] | None) -> str | None:
    """The one JSON spelling of metadata: equal objects compare equal as text. None stays None.

    Raises:
        InvalidArgument: it is no JSON object, nests too deep or is too large.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise InvalidArgument(f"metadata is {type(metadata).__name__}; it must be a dictionary with text keys")
    try:
        text = json.dumps(_plain(metadata, 0), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:  # whole numbers of thousands of digits
        raise InvalidArgument(f"metadata cannot be written as JSON: {error}") from error
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"metadata holds text that is no valid Unicode: {error.reason}") from error
    if size > _MAX_BYTES:
        raise InvalidArgument(f"metadata takes {size:,} bytes as JSON; at most {_MAX_BYTES:,} are allowed")
    return text


def decode(stored: str) -> Mapping[str, Any]:
    """The metadata of a reference, as the catalog holds it.

    Raises:
        IntegrityError: it is none that `encode` wrote.
    """
    if stored == "{}":  # most are: to parse it takes longer than to read the row
        return {}
    try:
        found = json.loads(stored) if len(stored) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IntegrityError("The catalog holds metadata that is no JSON object of docstore's: it is damaged. Run "
                             "`docstore verify`, or restore a backup.")  # fmt: skip
    return found


def same(stored: Any, wanted: Any) -> bool:
    """Whether two JSON values are equal. In JSON true is not 1, but 1 is 1.0; Python thinks all three equal."""
    if isinstance(wanted, dict):
        return isinstance(stored, dict) and stored.keys() == wanted.keys() and all(
            same(stored[key], value) for key, value in wanted.items()
        )  # fmt: skip
    if isinstance(wanted, list):
        return isinstance(stored, list) and len(stored) == len(wanted) and all(map(same, stored, wanted))
    return bool(stored == wanted) and isinstance(stored, bool) == isinstance(wanted, bool)


def weight(value: Any) -> int:
    """Bytes that a JSON value takes in memory, about."""
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = chain(value, value.values())
    elif isinstance(value, list):
        inner = value
    return sys.getsizeof(value) + sum(map(weight, inner))


def _plain(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise InvalidArgument(f"metadata nests deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InvalidArgument("metadata has a key that is not text; JSON knows no other")
        return {key: _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, depth + 1) for each in value]
    raise InvalidArgument(f"metadata holds {value!r:.60}, a {type(value).__name__}, which JSON cannot hold")
