"""How long a workspace lives and how much it may reference: the methods of a `Workspace` that set and tell it."""

from __future__ import annotations

from datetime import timedelta

import docstore
from docstore import lifetimes, refcount
from docstore.lifetimes import Lifetime
from docstore.parts import Parts

# Quotas and what is known of a workspace are imported where they are used, as in `maintenance`.


class Bounded:
    """One workspace, in its bounds."""

    _parts: Parts
    _id: int

    def expire_after(self, ttl: timedelta | None, *, sliding: bool = True) -> None:
        """Gives the workspace a time to live, from now on; `DocStore.expire` takes it away when that is over.

        Args:
            ttl: a second at least; None: it lives until it is deleted.
            sliding: every search and change begins the time anew. Otherwise it ends a `ttl` from now.

        Raises:
            InvalidArgument: `ttl` or `sliding` is not what it must be.
        """
        lifetime = Lifetime.of(ttl, sliding)
        with self._parts.write() as db:
            refcount.require_workspace(db, self._id)
            lifetimes.begin(db, self._id, lifetime)

    def limit(self, *, documents: int | None = None, logical_bytes: int | None = None, warn_at: float = 0.9) -> None:
        """Sets how much the workspace may reference. Replaces all limits that it had.

        A limit below what it references is allowed: it removes nothing; adding is refused then. See `QuotaExceeded`.

        Args:
            documents: how many documents; None: any number.
            logical_bytes: the sum of their sizes, whoever else has them too; None: any.
            warn_at: the share of a limit from which on adding warns, once, with a QuotaWarning.

        Raises:
            InvalidArgument: a number is out of its range.
        """
        from docstore import quotas

        most = quotas.amount("documents", documents), quotas.amount("logical_bytes", logical_bytes)
        share = quotas.thousandths("warn_at", warn_at, 1, 1000)
        with self._parts.write(by=self._id) as db:
            refcount.require_workspace(db, self._id)
            quotas.limit_workspace(db, self._id, *most, share)

    def quota(self) -> docstore.WorkspaceQuota:
        """How much the workspace references, and may."""
        from docstore import quotas

        with self._parts.database.read() as db:
            return quotas.of_workspace(db, self._id)

    def info(self) -> docstore.WorkspaceInfo:
        """When it was made and last used, and when it expires."""
        from docstore import workspace_info

        with self._parts.database.read() as db:
            return workspace_info.info(db, self._id)
