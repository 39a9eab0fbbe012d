"""What a damaged page of the catalog says may be of any type: it is refused where rows are read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

from docstore import DocStore, IntegrityError, schema
from docstore.columns import COLUMN_TYPES
from docstore.database import checked
from docstore.testing import HashEmbedder


@pytest.fixture
def catalog(tmp_path: Path) -> sqlite3.Connection:
    DocStore(tmp_path / "data", embedder=HashEmbedder()).close()
    return sqlite3.connect(tmp_path / "data" / "catalog.db")


def test_columns_have_the_types_that_the_schema_gives_them(catalog: sqlite3.Connection) -> None:
    types: dict[str, set[type]] = {}
    with closing(catalog):
        for name, declared, is_nullable in catalog.execute(
            # A reference that is joined to no sub-index has none of these.
            """SELECT c.name, c.type, NOT (c."notnull" OR c.pk) OR t.name = 'subindexes'
               FROM sqlite_master t, pragma_table_info(t.name) c
               WHERE t.type = 'table' AND t.name NOT LIKE '%sqlite%'"""
        ):
            types.setdefault(name, set()).update([{"INTEGER": int, "TEXT": str}[declared]], [NoneType] * is_nullable)
    assert types == COLUMN_TYPES
    assert {name for name, some in types.items() if len(some - {NoneType}) != 1} == set()


def test_the_digest_is_that_of_a_new_schema(catalog: sqlite3.Connection) -> None:
    with closing(catalog):
        made = {(*row,) for row in catalog.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master")}
    assert schema.digest(made) == schema.DIGEST, "put this digest into schema.py"
    assert schema.digest(made - {min(made)}) != schema.DIGEST


@pytest.mark.parametrize(("column", "value"), [("size", "12"), ("size", None), ("size", 1.0), ("hash", b"12")])
def test_another_type_is_damage(column: str, value: Any) -> None:
    with pytest.raises(IntegrityError, match=rf"holds a {column} .*docstore repair"):
        checked(("pages", column), [(1, {"size": 5, "hash": "12"}[column]), (None, value)])


def test_what_is_no_column_may_be_anything() -> None:
    assert checked(("detail", "size"), [(b"", 1), (None, 2)]) == [(b"", 1), (None, 2)]
    assert checked(("size",), []) == []
