"""Twins: values that one flipped bit has made no value of their column, from the index that has a copy of each.

Of a value that is another one by now, and might be right, nothing says which of the two is. Most changes of a time or
of JSON leave none, and whatever reads that row then fails.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from docstore import metadata, moments
from docstore.database import Database
from docstore.errors import IntegrityError
from docstore.lifecycle import guards
from docstore.reports import Problem


class _Twin(NamedTuple):
    """An index that has a copy of some columns of each row."""

    table: str
    key: tuple[str, ...]
    copy: str
    columns: tuple[str, ...]

    @property
    def rows(self) -> str:
        """The table itself, in a query: of one without row ids that is the index of its primary key."""
        is_key = len(self.key) > 1
        return f"{self.table} INDEXED BY sqlite_autoindex_{self.table}_1" if is_key else f"{self.table} NOT INDEXED"


_TWINS = (
    _Twin("refs", ("workspace_id", "document_id"), "refs_by_document", ("added_at", "metadata", "name")),
    _Twin("documents", ("id",), "documents_twin", ("stored_at",)),
    _Twin("workspaces", ("id",), "workspaces_twin", ("created_at",)),
    _Twin("workspaces", ("id",), "workspaces_lifetime_twin", ("accessed_at", "lives_from", "expired_at")),
    _Twin("includes", ("workspace_id", "included_id"), "includes_twin", ("granted_at",)),
    _Twin("conversations", ("id",), "conversations_twin", ("created_at",)),
    _Twin("replacements", ("id",), "replacements_by_old", ("replaced_at", "rolled_back_at")),
    _Twin("pipelines", ("id",), "pipelines_twin", ("created_at",)),
)


class Value(NamedTuple):
    """What an index says of one value, whose row holds something else."""

    twin: _Twin
    column: str
    key: tuple[int, ...]
    value: str
    damaged: bytes | None
    """What the row holds."""


def told(db: Database) -> list[Value]:
    """Values that are what their column holds in an index, and not in their row."""
    found: list[Value] = []
    for twin in _TWINS:
        for column in twin.columns:
            try:
                found += _differing(db, twin, column)
            except sqlite3.DatabaseError:  # pages of one of the two are damaged
                continue
    return found


def _differing(db: Database, twin: _Twin, column: str) -> Iterator[Value]:
    # As bytes: a damaged text may be no UTF-8.
    columns = f"{', '.join(twin.key)}, CAST({column} AS BLOB)"
    of_index = f"SELECT {columns} FROM {twin.table} INDEXED BY {twin.copy}"
    of_rows = f"SELECT {columns} FROM {twin.rows}"
    wrong = {tuple(key): value for *key, value in db.execute(f"{of_rows} EXCEPT {of_index}")}
    told = {tuple(key): value for *key, value in db.execute(f"{of_index} EXCEPT {of_rows}")}
    for key in wrong.keys() & told.keys():
        if _is_right(column, told[key]) and not _is_right(column, wrong[key]):
            yield Value(twin, column, key, told[key].decode(), wrong[key])


def _is_right(column: str, value: Any) -> bool:
    try:
        text = value.decode()
        _RIGHT.get(column, _require_moment)(text)
    except (AttributeError, UnicodeDecodeError, IntegrityError):
        return False
    return True


def _require_moment(stored: str) -> None:
    if moments.spelled(moments.parsed(stored)) != stored:
        raise IntegrityError(f"{stored!r:.60} is not how docstore spells a time")


_RIGHT: dict[str, Callable[[str], object]] = {"metadata": metadata.decode, "name": str}  # any text is a name


def correct(db: Database, values: list[Value]) -> list[Problem]:
    """Puts them into their rows, once the indexes were made anew from these. Gives what was wrong."""
    found = []
    for twin, column, key, value, damaged in values:
        row_is = " AND ".join([*(f"{name} = ?" for name in twin.key), f"CAST({column} AS BLOB) IS ?"])
        with guards.lifted(db, twin.table):
            update = f"UPDATE {twin.table} SET {column} = ? WHERE {row_is}"  # unless somebody has changed it meanwhile
            changed = db.execute(update, (value, *key, damaged)).rowcount
        if changed == 1:
            row = ", ".join(f"{name} {number}" for name, number in zip(twin.key, key, strict=True))
            found.append(Problem("catalog", twin.table, f"{column} of {row} was damaged", ()))
    return found
