"""Quotas: what workspaces and the store may hold and do hold, and what it takes to exceed that.

Plain functions on a transaction, and values. `ingest.admission` asks them when documents are added.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docstore import arguments, lifetimes
from docstore.database import Database, row
from docstore.errors import IntegrityError, QuotaExceeded

_THOUSANDTHS = 1000
_UNLIMITED = (None, None)


@dataclass(frozen=True, slots=True)
class WorkspaceQuota:
    """What a workspace references, and may. None: it is not limited."""

    documents: int
    max_documents: int | None
    logical_bytes: int
    """Sizes of its documents, whoever else has them too."""
    max_logical_bytes: int | None
    warn_at: float
    """Share of a limit from which on adding warns."""

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_documents is not None or self.max_logical_bytes is not None

    def plus(self, documents: int, size: int) -> WorkspaceQuota:
        """With so much more."""
        return replace(self, documents=self.documents + documents, logical_bytes=self.logical_bytes + size)

    def refusal(self, size: int) -> QuotaExceeded | None:
        """What forbids a document of this size more."""
        if self.max_documents is not None and self.documents + 1 > self.max_documents:
            return QuotaExceeded(
                f"The workspace has {self.documents:,} documents and may have {self.max_documents:,}. Remove some, or "
                "raise its limit: workspace.limit(documents=…).",
                "documents", self.documents, 1, self.max_documents,
            )  # fmt: skip
        if self.max_logical_bytes is not None and self.logical_bytes + size > self.max_logical_bytes:
            return QuotaExceeded(
                f"The document has {size:,} bytes, and those of the workspace have {self.logical_bytes:,} of the "
                f"{self.max_logical_bytes:,} that it may have. Remove some, or raise its limit: "
                "workspace.limit(logical_bytes=…).",
                "logical_bytes", self.logical_bytes, size, self.max_logical_bytes,
            )  # fmt: skip
        return None

    def crossed(self, before: WorkspaceQuota, name: str) -> list[str]:
        """What to warn of, where it was `before` and is this now."""
        warned = []
        for what, used, was, most in (
            ("documents", self.documents, before.documents, self.max_documents),
            ("bytes of documents", self.logical_bytes, before.logical_bytes, self.max_logical_bytes),
        ):
            if _crosses(was, used, most, self.warn_at):
                warned.append(f"The workspace {name!r} has {used:,} of at most {most:,} {what}.")
        return warned


@dataclass(frozen=True, slots=True)
class StoreQuota:
    """What the store holds, and may. None: it is not limited."""

    physical_bytes: int
    """Sizes of all stored pieces: documents, texts, vectors. The catalog and the reserve are not counted."""
    max_physical_bytes: int | None
    free_bytes: int
    """What the file system has left."""
    disk_bytes: int
    keep_free: float | None
    """Share of the file system that adding must leave free."""
    workspace_documents: int | None
    """The limit that new workspaces get."""
    workspace_logical_bytes: int | None
    """As `workspace_documents`."""
    warn_at: float
    """Share of `max_physical_bytes` from which on adding warns."""

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit on the store as a whole."""
        return self.max_physical_bytes is not None or self.keep_free is not None

    def refusal(self, new: int, unwritten: int, secretive: bool) -> QuotaExceeded | None:
        """What forbids pieces of so many bytes more.

        Args:
            unwritten: how much of that is not on the disk yet.
            secretive: say nothing of what others hold.
        """
        if self.max_physical_bytes is not None and self.physical_bytes + new > self.max_physical_bytes:
            used = "" if secretive else f"It holds {self.physical_bytes:,} bytes. "
            return QuotaExceeded(
                f"The store may hold {self.max_physical_bytes:,} bytes, and would exceed that by storing {new:,} more. "
                f"{used}Remove documents and collect, or raise its limit: store.limit(physical_bytes=…).",
                "physical_bytes", None if secretive else self.physical_bytes, new, self.max_physical_bytes,
            )  # fmt: skip
        kept = int(self.disk_bytes * (self.keep_free or 0))
        if self.keep_free is not None and self.free_bytes - unwritten < kept:
            return QuotaExceeded(
                f"The disk has {self.free_bytes:,} bytes free, and {kept:,} of them must stay so. Remove documents and "
                "collect, free space otherwise, or keep less: store.limit(keep_free=…).",
                "keep_free", self.disk_bytes - self.free_bytes, unwritten, self.disk_bytes - kept,
            )  # fmt: skip
        return None

    def crossed(self, before: StoreQuota) -> list[str]:
        """What to warn of, where it was `before` and is this now."""
        if not _crosses(before.physical_bytes, self.physical_bytes, self.max_physical_bytes, self.warn_at):
            return []
        return [f"The store holds {self.physical_bytes:,} of at most {self.max_physical_bytes:,} bytes."]


def _crosses(before: int, after: int, most: int | None, warn_at: float) -> bool:
    if most is None:
        return False
    due = most * round(warn_at * _THOUSANDTHS)  # a product of floats may come out above what it is
    return before * _THOUSANDTHS < due <= after * _THOUSANDTHS


# -- in the catalog -----------------------------------------------------------------------------------------------


def of_workspace(db: Database, workspace: int) -> WorkspaceQuota:
    """What a workspace references and may.

    Raises:
        WorkspaceNotFound: it was deleted, or is expired.
    """
    found = row(
        db,
        """SELECT refs, bytes, most_documents, most_bytes, warn_at FROM workspaces
           WHERE id = ? AND expired_at IS NULL""",
        workspace,
    )
    if found is None:
        raise lifetimes.gone(db, workspace)
    return WorkspaceQuota(found["refs"], found["most_documents"], found["bytes"], found["most_bytes"],
                          found["warn_at"] / _THOUSANDTHS)  # fmt: skip


def of_adder(db: Database, workspace: int, folder: Path) -> tuple[WorkspaceQuota | None, StoreQuota | None]:
    """What a workspace references and may, and what the store holds and may, each None where it is not limited.

    In one statement where nothing is: every add asks.

    Args:
        workspace: whose limits apply; 0: nobody's.

    Raises:
        WorkspaceNotFound: it was deleted, or is expired.
    """
    found = row(
        db,
        """SELECT w.id IS NOT NULL AS is_there, most_documents, most_bytes, physical_bytes, keep_free
           FROM limits LEFT JOIN workspaces w ON w.id = ? AND w.expired_at IS NULL""",
        workspace,
    )
    if found is None:
        raise _lost()
    if workspace and not found["is_there"]:
        raise lifetimes.gone(db, workspace)
    own = found["most_documents"], found["most_bytes"]
    of_all = found["physical_bytes"], found["keep_free"]
    return (
        of_workspace(db, workspace) if own != _UNLIMITED else None,
        of_store(db, folder) if of_all != _UNLIMITED else None,
    )


def of_store(db: Database, folder: Path) -> StoreQuota:
    """What the store holds and may."""
    found = row(
        db,
        """SELECT file_bytes, physical_bytes, keep_free, workspace_documents, workspace_bytes, warn_at
           FROM limits, totals""",
    )
    if found is None:
        raise _lost()
    disk = os.statvfs(folder)
    kept = found["keep_free"]
    return StoreQuota(
        physical_bytes=found["file_bytes"],
        max_physical_bytes=found["physical_bytes"],
        free_bytes=disk.f_bavail * disk.f_frsize,
        disk_bytes=disk.f_blocks * disk.f_frsize,
        keep_free=None if kept is None else kept / _THOUSANDTHS,
        workspace_documents=found["workspace_documents"],
        workspace_logical_bytes=found["workspace_bytes"],
        warn_at=found["warn_at"] / _THOUSANDTHS,
    )


def _lost() -> IntegrityError:
    return IntegrityError("The catalog has lost its limits or its totals. Run `docstore repair`.")


@contextmanager
def lifted(db: Database) -> Iterator[None]:
    """While references move. A workspace's limits are on what it adds: a new version of what it has is in its place,
    and one workspace that is full must not keep the others from it."""
    db.execute("UPDATE limits SET lifted = 1")
    yield
    db.execute("UPDATE limits SET lifted = 0")


def limit_workspace(
    db: Database, workspace: int, documents: int | None, logical_bytes: int | None, warn_at: int
) -> None:
    """Sets the limits of a workspace, whatever it references."""
    db.execute(
        "UPDATE workspaces SET most_documents = ?, most_bytes = ?, warn_at = ? WHERE id = ?",
        (documents, logical_bytes, warn_at, workspace),
    )


def limit_store(
    db: Database,
    physical_bytes: int | None,
    keep_free: int | None,
    workspace_documents: int | None,
    workspace_bytes: int | None,
    warn_at: int,
) -> None:
    """Sets the limits of the store, whatever it holds."""
    db.execute(
        """UPDATE limits SET physical_bytes = ?, keep_free = ?, workspace_documents = ?, workspace_bytes = ?,
           warn_at = ?""",
        (physical_bytes, keep_free, workspace_documents, workspace_bytes, warn_at),
    )


# -- what callers pass --------------------------------------------------------------------------------------------


def amount(name: str, value: Any) -> int | None:
    """A number of documents or bytes that a caller passed, checked.

    Raises:
        InvalidArgument: it is neither None nor such a number.
    """
    return None if value is None else arguments.whole(name, value, 0, arguments.MOST, ", or None for no limit")


def thousandths(name: str, value: Any, least: int, most: int) -> int:
    """A share, as the catalog counts it.

    Raises:
        InvalidArgument: it is out of range.
    """
    return round(arguments.number(name, value, least / _THOUSANDTHS, most / _THOUSANDTHS) * _THOUSANDTHS)
