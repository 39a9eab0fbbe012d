"""The reserve: lent where the disk is full and for nothing else, filled again, and made whole or not at all."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest

from docstore import StorageError
from docstore.durable import storage_errors
from docstore.reserve import RESERVE, SIZE, Reserve


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_the_reserve_is_lent_and_filled_again(tmp_path: Path, code: int) -> None:
    reserve = Reserve(tmp_path, readonly=False)
    sizes: list[int] = []

    def needs_room() -> str:
        sizes.append(reserve.size())
        with storage_errors("deleting"):
            if reserve.size():
                raise OSError(code, "full")
        return "done"

    assert reserve.lend(needs_room) == "done"
    assert sizes == [SIZE, 0]
    assert reserve.size() == SIZE
    calls: list[int] = []

    def fails() -> None:
        calls.append(0)
        with storage_errors("deleting"):
            raise OSError(errno.EIO, "broken")

    with pytest.raises(StorageError, match="broken"):
        reserve.lend(fails)
    assert len(calls) == 1


def test_a_reserve_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        Reserve(tmp_path, readonly=False).fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / RESERVE).exists()
