"""Power loss at every point of every short history: the short form of `python -m tests.crash.images`."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.crash.choices import Bounds, choices, tears
from tests.crash.disk import Disk, Write
from tests.crash.images import Process, Run, plan
from tests.crash.sequences import Task
from tests.syscalls import interpose
from tests.syscalls.interpose import Event, Kind

COLLECTING = [
    ("add", "remove", "collect"),
    ("add", "remove", "reopen"),
    ("add-same-text", "delete-workspace", "collect"),
]
REPLACED = [("add", "link", "replace"), ("add", "link", "replace-and-roll-back"), ("add", "replace", "collect")]
PACKED = [("add-group", "delete-workspace", "collect")]
SESSIONS = [("add", "include", "say", "delete-workspace", "collect")]
EXPIRING = [
    ("add", "expire", "undelete"),
    ("add", "expire", "expire-for-good"),
    ("add", "expire", "collect"),
]
"""Histories of three whose crashes leave most to do. Beside these, the short form has all of two whose first leaves
something, but of those that add twice only those with `add`; the long form has all."""

ON_NOTHING = {"collect", "reopen"}
ADDING = {"add-many", "add-elsewhere", "add-same-text"}


def is_short(task: Task) -> bool:
    """Whether the short form has a history of two."""
    return task.sequence[0] not in ON_NOTHING and not ADDING.issuperset(task.sequence)


def short_form() -> list[Task]:
    """What takes longest comes first: each process takes the next, and in the end none waits long for another."""
    return [
        *(Task(sequence, 1) for sequence in PACKED),
        *(task for task, _, _ in plan([("light", 2)], seed=0) if is_short(task)),
        *(Task(sequence, 3) for sequence in (*SESSIONS, *REPLACED, *COLLECTING)),
        *(Task(sequence, 2) for sequence in EXPIRING),
    ]


interposed = pytest.mark.skipif(bool(interpose.unavailable()), reason=interpose.unavailable())


@interposed
def test_no_image_of_a_short_history_breaks_a_promise() -> None:
    run = Run(min(2, os.cpu_count() or 1), seconds=600, quiet=True)
    try:
        run.work(iter([(task, "light", 0) for task in short_form()]))
    finally:
        run.close()
    assert run.complete
    assert run.summary.broken == 0, str(run.summary)
    assert len(run.summary.distinct) > 5_000


@interposed
@pytest.mark.parametrize(
    ("breakage", "operation"),
    [("directories", "add"), ("files", "add"), ("catalog", "add"), ("archive", "add-group")],
)
def test_broken_durability_breaks_promises(tmp_path: Path, breakage: str, operation: str) -> None:
    process = Process(tmp_path, breakage)
    try:
        result = process.run(Task((operation,), 1), "least", 0)
    finally:
        process.close()
    assert result["failed"], "the images must show it"


def event(kind: Kind, path: str, *, handle: int = 0, target: str = "", offset: int = 0, data: bytes = b"") -> Event:
    flags = os.O_CREAT if kind is Kind.OPEN else 0
    return Event(kind, f"/disk/{path}", f"/disk/{target}", handle, offset, 0, 0, flags, data)


def disk_after(*events: Event) -> Disk:
    disk = Disk("/disk")
    for each in events:
        disk.apply(each)
    return disk


def images(disk: Disk) -> set[tuple[tuple[str, bytes], ...]]:
    """All that may be on the medium, without torn writes."""
    bounds = Bounds(exhaustive=99, lose=0, keep=0, boundaries=8)
    found = set()
    for kept in choices(disk.pending, bounds, Random(0)):
        if all(operation in disk.pending for operation in kept):
            found.add(tuple((path, content.data) for path, content in disk.image(kept).files))
    return found


def test_a_write_and_its_name_may_each_be_lost() -> None:
    disk = disk_after(event(Kind.OPEN, "a", handle=1), event(Kind.WRITE, "a", handle=1, data=b"12"))
    assert images(disk) == {(), (("a", b""),), (("a", b"12"),)}


def test_syncing_a_file_says_nothing_of_its_name_and_syncing_a_folder_nothing_of_its_files() -> None:
    written = [event(Kind.OPEN, "a", handle=1), event(Kind.WRITE, "a", handle=1, data=b"12")]
    assert images(disk_after(*written, event(Kind.SYNC, "a", handle=1))) == {(), (("a", b"12"),)}
    folder = [event(Kind.OPEN, "", handle=2), event(Kind.SYNC, "", handle=2)]
    assert images(disk_after(*written, *folder)) == {(("a", b""),), (("a", b"12"),)}


def test_a_renamed_file_is_under_one_name_or_both_or_none_and_its_target_never_empty() -> None:
    disk = disk_after(
        event(Kind.OPEN, "old", handle=1),
        event(Kind.OPEN, "new", handle=2),
        event(Kind.WRITE, "new", handle=2, data=b"2"),
        event(Kind.SYNC, "new", handle=2),
        event(Kind.OPEN, "", handle=3),
        event(Kind.SYNC, "", handle=3),
        event(Kind.WRITE, "old", handle=1, data=b"1"),
        event(Kind.SYNC, "old", handle=1),
        event(Kind.RENAME, "old", target="new"),
    )
    assert images(disk) == {
        (("new", b"2"), ("old", b"1")),
        (("new", b"1"), ("old", b"1")),
        (("new", b"1"),),
        (("new", b"2"),),
    }


def test_a_kept_write_after_a_lost_one_leaves_zeros_in_the_gap() -> None:
    disk = disk_after(
        event(Kind.OPEN, "a", handle=1),
        event(Kind.WRITE, "a", handle=1, data=b"12"),
        event(Kind.WRITE, "a", handle=1, offset=2, data=b"34"),
    )
    assert (("a", b"\0\x0034"),) in images(disk)


def test_a_write_tears_at_the_sectors_of_the_file() -> None:
    whole = Write(1, 1, 500, bytes(range(1, 31)), "write")
    found = [(part.offset, part.data) for part in tears(whole, 8)]
    assert found == [(500, whole.data[:12]), (512, whole.data[12:]), (530, b"")]


def test_bounds_beyond_the_exhaustive_take_all_small_losses_and_all_small_remainders() -> None:
    pending = disk_after(*(event(Kind.MKDIR, str(number)) for number in range(9))).pending
    bounds = Bounds(exhaustive=4, lose=2, keep=2, boundaries=1)
    sizes = [len(kept) for kept in set(choices(pending, bounds, Random(0)))]
    assert [sizes.count(size) for size in range(10)] == [1, 9, 36, 1, 1, 1, 1, 36, 9, 1]
