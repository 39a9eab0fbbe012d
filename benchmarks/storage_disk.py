"""Bytes on disk, as `du` counts them: by size and by allocated blocks, every inode once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 512  # what st_blocks counts in, whatever the file system's own block is

FOLDERS = "folders"


@dataclass(frozen=True, slots=True)
class Usage:
    """What some files take. Folders have blocks of their own, but no size: theirs says nothing about content."""

    files: int = 0
    apparent: int = 0
    allocated: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.files + other.files, self.apparent + other.apparent, self.allocated + other.allocated)


def walk(root: Path, kind: Callable[[Path], str]) -> dict[str, Usage]:
    """Usage of everything below a folder, the folder included, by kind of file; folders are kind `folders`.

    Args:
        kind: names the kind of a file, given its path relative to `root`.
    """
    found: dict[str, Usage] = {}
    seen: set[tuple[int, int]] = set()
    for folder, _, names in os.walk(root):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            status = path.lstat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            blocks = status.st_blocks * _BLOCK
            if path == Path(folder):
                found[FOLDERS] = found.get(FOLDERS, Usage()) + Usage(0, 0, blocks)
            else:
                name = kind(path.relative_to(root))
                found[name] = found.get(name, Usage()) + Usage(1, status.st_size, blocks)
    return found


def total(parts: dict[str, Usage]) -> Usage:
    """All kinds together."""
    return sum(parts.values(), Usage())


def size(value: float) -> str:
    """Bytes in decimal units."""
    return f"{value / 1e9:,.2f} GB" if value >= 1e9 else f"{value / 1e6:,.1f} MB"
