"""What looks after a store: the methods of a `DocStore` that measure, clean, check and repair it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import docstore
from docstore.database import CATALOG, row
from docstore.durable import size_of, storage_errors
from docstore.errors import IntegrityError
from docstore.ownfiles import BESIDE
from docstore.parts import Parts

# The work itself is imported where it is used: a process that only searches answers sooner without it. So are reports,
# which annotations find in `docstore`, whoever asks for them (tools that make forms of signatures do).


class Maintained:
    """A whole store, to look after."""

    _parts: Parts

    def stats(self) -> docstore.StorageStats:
        """What the store holds and what sharing saves."""
        from docstore.reports import StorageStats

        with self._parts.database.read() as db:
            totals = row(
                db,
                """SELECT documents, workspaces, expired, refs, chunks, file_bytes, logical_bytes, embedded,
                          avoided FROM totals""",
            )
        if totals is None:
            raise IntegrityError("The catalog has lost its totals. Run `docstore repair`.")
        with storage_errors("measuring the catalog"):
            file = os.path.realpath(self._parts.folder / CATALOG)  # beside it lies the log, where a link leads to it
            catalog = sum(size_of(Path(file + suffix)) for suffix in ("", *BESIDE))
        physical = totals["file_bytes"] + catalog + self._parts.archive.overhead() + self._parts.reserve.size()
        return StorageStats(
            documents=totals["documents"],
            workspaces=totals["workspaces"] - totals["expired"],
            expired=totals["expired"],
            references=totals["refs"],
            chunks=totals["chunks"],
            catalog_bytes=catalog,
            physical_bytes=physical,
            logical_bytes=totals["logical_bytes"],
            saved_bytes=totals["logical_bytes"] - physical,
            embeddings_computed=totals["embedded"],
            embeddings_avoided=totals["avoided"],
        )

    def collect(
        self,
        grace: timedelta = timedelta(0),
        *,
        dry_run: bool = False,
        progress: Callable[[docstore.Progress], object] | None = None,
    ) -> docstore.CollectReport:
        """Deletes documents that nothing references, with their texts and sub-indexes, and what crashes left.

        Safe beside any number of readers and writers. When it is interrupted, the next run finishes.

        Args:
            grace: spare what lost its last reference less than this ago.
            dry_run: only report what would go.
            progress: called after every group of deletions.

        Raises:
            InvalidArgument: `grace` is no duration, or negative.
        """
        from docstore.lifecycle.collect import collect

        return collect(self._parts, grace, dry_run, progress)

    def expire(self, *, grace: timedelta = timedelta(days=7), dry_run: bool = False) -> docstore.ExpireReport:
        """Takes away the workspaces whose time to live is over; deletes for good those taken longer ago than `grace`.

        Whoever holds an expired workspace gets WorkspaceNotFound, and its name is free; its references stay, and so do
        its documents, until a later `expire` deletes it. Until then, `undelete` brings it back. Then its documents go
        as others do: with `collect`, when no workspace references them. `collect` deletes no workspace.

        Run it now and then: nothing expires by itself. A sliding time to live ends some minute late, since accesses
        are not written at once.

        Args:
            grace: how long expired workspaces can be brought back.
            dry_run: only report which would go.

        Raises:
            InvalidArgument: `grace` is no duration, or negative.
        """
        from docstore.lifecycle.expire import expire

        return expire(self._parts, grace, dry_run)

    def limit(
        self,
        *,
        physical_bytes: int | None = None,
        keep_free: float | None = None,
        workspace_documents: int | None = None,
        workspace_logical_bytes: int | None = None,
        warn_at: float = 0.9,
    ) -> None:
        """Sets how much the store may hold. Replaces all limits that it had; those of workspaces stay.

        What is stored already may still be referenced when the store is full. Removing, expiring and collecting work
        whatever the limits are; so does lowering one below what is there, which deletes nothing. See `QuotaExceeded`.

        Args:
            physical_bytes: sizes of all stored pieces together, the catalog and the reserve not counted.
            keep_free: the share of the disk, from 0 to 0.999, that adding must leave free.
            workspace_documents: `documents` of `Workspace.limit`, for workspaces that are created from now on.
            workspace_logical_bytes: `logical_bytes`, likewise.
            warn_at: the share of `physical_bytes` from which on adding warns, once, with a QuotaWarning.

        Raises:
            InvalidArgument: a number is out of its range.
        """
        from docstore import quotas

        most = quotas.amount("physical_bytes", physical_bytes)
        kept = None if keep_free is None else quotas.thousandths("keep_free", keep_free, 0, 999)
        documents = quotas.amount("workspace_documents", workspace_documents)
        size = quotas.amount("workspace_logical_bytes", workspace_logical_bytes)
        share = quotas.thousandths("warn_at", warn_at, 1, 1000)
        with self._parts.write() as db:
            quotas.limit_store(db, most, kept, documents, size, share)

    def quota(self) -> docstore.StoreQuota:
        """How much the store holds, and may, and what its disk has left."""
        from docstore import quotas

        with self._parts.database.read() as db, storage_errors("measuring the disk"):
            return quotas.of_store(db, self._parts.folder)

    def verify(
        self,
        *,
        bytes_per_second: float | None = None,
        duration: timedelta | None = None,
        dry_run: bool = False,
        progress: Callable[[docstore.Progress], object] | None = None,
    ) -> docstore.VerifyReport:
        """Reads and hashes every stored file, and checks the catalog against itself. Repairs nothing.

        What was checked least recently is read first, and what was read is noted, unless the store is read-only: a run
        that ends early, by `duration` or by being killed, is resumed by the next. It holds no lock, so it can run in a
        thread or in another process beside readers and writers.

        Args:
            bytes_per_second: read no faster than this.
            duration: begin no further document after this time.
            dry_run: check the catalog, but of the files only count what would be read. Notes nothing.
            progress: called after every document.

        Raises:
            InvalidArgument: `bytes_per_second` or `duration` is not above 0.
        """
        from docstore.lifecycle.verify import verify

        return verify(self._parts, bytes_per_second, duration, dry_run, progress)

    def repair(
        self, *, dry_run: bool = False, progress: Callable[[docstore.Progress], object] | None = None
    ) -> docstore.RepairReport:
        """Verifies, restores what can be restored, and sets aside what cannot.

        A text comes back from its document, a sub-index from its text (under the pipeline this store was opened with),
        counts and totals from the references. A damaged document is moved to `quarantine/`: adding its bytes again
        heals it, for every workspace. Nothing is deleted, and nothing is replaced by anything but the very bytes that
        the catalog names, or vectors computed anew from them.

        Args:
            dry_run: only say what would be done.
            progress: called after every document that was checked.
        """
        from docstore.lifecycle.repair import repair

        return repair(self._parts, dry_run, progress)
