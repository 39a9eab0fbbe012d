"""What a mutant is, and how it is applied to a copy of the library."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src"


@dataclass(frozen=True, slots=True)
class Mutant:
    """An edit, what it breaks, and the tests that must turn red for it."""

    name: str
    file: str
    """Relative to src/docstore."""
    old: str
    """Occurs exactly once in the file."""
    new: str
    breaks: str
    killers: tuple[str, ...]
    """Pytest node ids or files, the narrowest first."""
    also: tuple[tuple[str, str], ...] = ()
    """More edits of the same file: to move a line, or to drop a defence together with the one that would hide it."""

    @property
    def edits(self) -> tuple[tuple[str, str], ...]:
        """All edits, as (old, new)."""
        return ((self.old, self.new), *self.also)

    def edited(self) -> str:
        """The file's text after the edits.

        Raises:
            ValueError: some `old` does not occur exactly once: the code has changed.
        """
        text = (SOURCE / "docstore" / self.file).read_text(encoding="utf-8")
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {old!r} occurs {text.count(old)} times in {self.file}")
            text = text.replace(old, new)
        return text


def copy_source(folder: Path, mutant: Mutant | None) -> Path:
    """Copies the library, with a mutant's edits. Returns what PYTHONPATH must name."""
    target = folder / "src"
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        (target / "docstore" / mutant.file).write_text(mutant.edited(), encoding="utf-8")
    return target
