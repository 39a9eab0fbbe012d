"""What tests of limits share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.packing import notes

NOTES = notes(12)


def reasons(failed: Sequence[Any]) -> list[str | None]:
    return [each.error.limited_by for each in failed]
