"""What the words on the command line mean: files, documents, metadata and durations."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import islice, takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from docstore.cas import is_hash
from docstore.documents import Document
from docstore.durable import storage_errors
from docstore.errors import DocumentNotFound, InvalidArgument, UnreadableDocument
from docstore.reports import Failure

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and errors as JSON too.")]
WorkspaceName = Annotated[str, typer.Argument(metavar="WORKSPACE", help="Name of the workspace.", show_default=False)]

MINIMUM_PREFIX = 4
"""Characters of a hash that name a document at least: a slip of the finger should not."""

_PREFIX = re.compile(rf"[0-9a-f]{{{MINIMUM_PREFIX},64}}")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # a link that leads nowhere is no document
_LONGEST_DAYS = 36_500  # a time so long before now must still be a date


def path(word: str) -> Path:
    """A path that is not empty: of `add alice "$FILE"`, where FILE is not set, the empty one would be this folder."""
    if not word:
        raise typer.BadParameter("a path is empty")
    return Path(word)


def files_under(paths: Sequence[Path], store: Path) -> tuple[list[Path], list[Failure]]:
    """The files that paths stand for, folders walked, and what could not be looked at.

    The store's own folder is left out: where it is among the documents, as `data` in `.` is, its files are copies.
    """
    files: list[Path] = []
    failed: list[Failure] = []
    with storage_errors("finding the store's folder"):
        own = os.path.realpath(store)

    def note(error: OSError) -> None:
        detail = f"it cannot be looked at ({error.strerror}). Check its permissions."
        failed.append(Failure(str(error.filename), UnreadableDocument(str(error.filename), "missing", detail)))

    def is_file(path: str) -> bool:
        try:
            return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  (of a Path: some Pythons' `is_file` keeps errors)
        except OSError as error:
            if error.errno not in _NOTHING:
                note(error)
            return False

    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112  (a Path's raises where it may not look; the library says why)
            files.append(path)
            continue
        try:
            top = os.path.realpath(path)
        except OSError as error:
            raise InvalidArgument(f"{path} is not found: {error.strerror}. Was the current folder deleted?") from error
        for folder, folders, names in os.walk(top, onerror=note):
            if folder == own:
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            shown = [f"{folder}/{name}" for name in sorted(names) if not name.startswith(".")]
            files += [Path(each) for each in shown if is_file(each)]
    return files, failed


def named(
    wanted: Sequence[str], workspace: str, find: Callable[[str], Document | None], listed: Callable[[], list[Document]]
) -> list[Document]:
    """As `referenced`, and where all words are whole hashes without a list of the documents: they may be very many.

    Args:
        find: gives the document of a hash.
        listed: gives all.
    """
    found: dict[str, Document] = {}
    for word in wanted:
        hash = word.lower()
        if not is_hash(hash) or (document := find(hash)) is None:
            return referenced(listed(), wanted, workspace)
        found[hash] = document
    return list(found.values())


def referenced(documents: Sequence[Document], wanted: Sequence[str], workspace: str) -> list[Document]:
    """The documents of a workspace that words stand for, each once.

    Raises:
        DocumentNotFound: a word stands for none.
        InvalidArgument: a word stands for several.
    """
    by_hash = {each.hash: each for each in sorted(documents, key=lambda each: each.hash)}
    hashes = list(by_hash)
    by_name: dict[str, list[Document]] = defaultdict(list)
    for each in documents:
        by_name[each.name or ""].append(each)

    def meant(word: str) -> list[Document]:
        prefix = word.lower()
        if prefix in by_hash:  # before names: a document called like another's hash must not hide that one
            return [by_hash[prefix]]
        # Or as names of files are stored: bytes that are no UTF-8 are replacement characters.
        named = by_name.get(word) or by_name.get(os.fsencode(word).decode(errors="replace"), [])
        found = {each.hash: each for each in named}
        if _PREFIX.fullmatch(prefix):
            first = bisect_left(hashes, prefix)
            begun = takewhile(lambda each: each.startswith(prefix), islice(hashes, first, None))
            found.update((hash, by_hash[hash]) for hash in begun)
        return list(found.values())

    found = [_the_one(meant(word), word, workspace) for word in wanted]
    return list({each.hash: each for each in found}.values())


def _the_one(found: list[Document], word: str, workspace: str) -> Document:
    if not found:
        raise DocumentNotFound(f"The workspace {workspace!r} has no document {word!r}. `docstore ls` lists what it "
                               f"has; the beginning of a hash needs {MINIMUM_PREFIX} characters.")  # fmt: skip
    if len(found) > 1:
        some = ", ".join(each.hash[:16] for each in found[:5]) + (", …" if len(found) > 5 else "")
        raise InvalidArgument(f"{word!r} stands for {len(found)} documents of the workspace {workspace!r}: {some}. "
                              "Give more of the hash.")  # fmt: skip
    return found[0]


def metadata(conditions: Sequence[str]) -> dict[str, Any]:
    """Metadata out of `KEY=VALUE` words.

    Raises:
        InvalidArgument: a word is not written so, or a key comes twice.
    """
    found: dict[str, Any] = {}
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"--where is {condition!r}; it must be KEY=VALUE")
        if key in found:
            raise InvalidArgument(f"--where has the key {key!r} twice; a document has one value of a key")
        found[key] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")  # Python reads NaN and Infinity, which no metadata can hold


def duration(text: str, least_seconds: int = 0) -> timedelta:
    """`30s`, `10m`, `12h` or `7d`.

    Raises:
        InvalidArgument: it is written otherwise, too short, or longer than a hundred years.

    >>> duration("90m")
    datetime.timedelta(seconds=5400)
    """
    found = re.fullmatch(r"([0-9]{1,12})([smhd])", text)
    if found is None:
        raise InvalidArgument(f"The duration is {text!r}; write a whole number and s, m, h or d, such as 12h")
    seconds = int(found[1]) * _SECONDS[found[2]]
    if seconds < least_seconds:
        raise InvalidArgument(f"The duration is {text}; it must be {least_seconds}s at least")
    if seconds > _LONGEST_DAYS * _SECONDS["d"]:
        raise InvalidArgument(f"The duration is {text}; at most {_LONGEST_DAYS}d are allowed")
    return timedelta(seconds=seconds)


def written(time: timedelta) -> str:
    """The same the other way round.

    >>> written(timedelta(minutes=90)), written(timedelta(days=7))
    ('90m', '7d')
    """
    seconds = int(time.total_seconds())
    unit = next(each for each in "dhms" if seconds % _SECONDS[each] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"
