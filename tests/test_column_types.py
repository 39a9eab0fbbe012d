"""What a damaged page of the catalog says may be of any type: it is refused where rows are read."""

from __future__ import annotations

from types import NoneType
from typing import Any

import pytest

from docstore import IntegrityError
from docstore.database import checked
from docstore.schema import column_types


def test_columns_of_one_name_are_of_one_type() -> None:
    assert column_types()["pages"] == {int, NoneType}
    assert {name for name, types in column_types().items() if len(types - {NoneType}) != 1} == set()


@pytest.mark.parametrize(("column", "value"), [("size", "12"), ("size", None), ("size", 1.0), ("hash", b"12")])
def test_another_type_is_damage(column: str, value: Any) -> None:
    with pytest.raises(IntegrityError, match=rf"holds a {column} .*docstore verify"):
        checked(("pages", column), [(1, {"size": 5, "hash": "12"}[column]), (None, value)])


def test_what_is_no_column_may_be_anything() -> None:
    assert checked(("detail", "size"), [(b"", 1), (None, 2)]) == [(b"", 1), (None, 2)]
    assert checked(("size",), []) == []
