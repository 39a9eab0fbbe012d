"""Numbers, switches and collections that callers pass, checked in one way everywhere.

Each refusal says which argument it was, what was passed, and what it must be. What comes back is Python's own, for SQL
and JSON, where NumPy's was passed. True and False are no numbers, though Python counts with them, and only they are
switches: `readonly="no"` would be read as yes.
"""

from __future__ import annotations

import numbers
import operator
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from docstore.errors import InvalidArgument

MOST = (1 << 63) - 1
"""The largest number of bytes, documents or seconds: what SQLite holds, and an operating system takes for a limit."""


def whole(name: str, value: Any, least: int, most: int | None = None, otherwise: str = "") -> int:
    """A whole number from `least` to `most`; `otherwise` tells what else may be passed, as ", or None for no limit".

    Raises:
        InvalidArgument: it is no such number.
    """
    try:
        count = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = None
    if count is None or count < least or (most is not None and count > most):
        must = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
        _refuse(name, value, f"a whole number {must}{otherwise}")
    return count


def number(name: str, value: Any, least: float, most: float) -> float:
    """A number from `least` to `most`.

    Raises:
        InvalidArgument: it is no such number.
    """
    if not _is_real(value) or not least <= value <= most:
        _refuse(name, value, f"a number from {least:,} to {most:,}")
    return float(value)


def positive(name: str, value: Any, otherwise: str = "") -> float:
    """A number above 0.

    Raises:
        InvalidArgument: it is no such number.
    """
    if not _is_real(value) or not 0 < value <= MOST:
        _refuse(name, value, f"a number above 0{otherwise}")
    return float(value)


def switch(name: str, value: Any) -> bool:
    """True or False.

    Raises:
        InvalidArgument: it is something else.
    """
    numpy = sys.modules.get("numpy")  # which the process that extracts does not need, and would import for this alone
    if not isinstance(value, bool) and not (numpy and isinstance(value, numpy.bool_)):
        _refuse(name, value, "True or False")
    return bool(value)


def several(given: Any, one: tuple[type, ...], refusal: str) -> Iterable[Any]:
    """What holds several, and is none of them itself. Python goes through text, bytes and open files too: each line of
    a file that somebody forgot to put into a list would become a document.

    Args:
        one: types of a single one.
        refusal: what to tell a caller who passed one, or what cannot be gone through.

    Raises:
        InvalidArgument: it is one, or cannot be gone through.
    """
    if isinstance(given, one) or _is_file(given) or not isinstance(given, Iterable):
        raise InvalidArgument(refusal)
    try:
        iter(given)
    except TypeError:  # an array of no dimension says that it can be gone through
        raise InvalidArgument(refusal) from None
    return given


def _is_file(given: Any) -> bool:
    """Whether it is read from by a method: a named tuple may have a field that is called `read`."""
    try:
        return callable(getattr(given, "read", None))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (a file object may have to ask a server)
        return True


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _refuse(name: str, value: Any, must: str) -> NoReturn:
    try:
        shown = f"{value!r:.80}"
    except ValueError:  # Python spells no number of more than 4,300 digits
        shown = "a number too long to show"
    raise InvalidArgument(f"{name} is {shown}; it must be {must}")
