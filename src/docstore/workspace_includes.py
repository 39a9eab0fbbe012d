"""What workspaces lend one another: the methods of a `Workspace` that let its searches cover others' documents."""

from __future__ import annotations

from docstore import includes
from docstore.errors import InvalidArgument, WorkspaceNotFound
from docstore.parts import Parts


class Lending:
    """One workspace, as it lends and borrows."""

    _parts: Parts
    _id: int
    name: str

    def include(self, other: Lending) -> None:
        """Lets this workspace's searches cover what another references, now and later, until `exclude`, or until one
        of the two is deleted. Including twice is including once.

        The other one's documents stay its own: they are not listed, counted or removed here. Where both reference a
        document, this workspace's name and metadata for it count; of two included ones, those of the older workspace.
        What the other one includes in turn is not covered.

        Whoever can call this with a workspace can read its documents: hand it to applications, not to their users.

        Raises:
            InvalidArgument: it is this workspace, or of another store.
            StoreClosed: its store was closed.
            WorkspaceNotFound: one of the two was deleted.
        """
        included = self._other(other)
        if included == self._id:
            raise InvalidArgument(f"The workspace {self.name!r} cannot include itself: its searches cover it already")
        with self._parts.write(by=self._id) as db:
            includes.grant(db, self._id, included)

    def exclude(self, other: Lending) -> None:
        """Ends what `include` began: from the next search on, the other one's documents are not covered.

        Raises:
            WorkspaceNotFound: this workspace does not include it, or one of the two was deleted.
            StoreClosed: its store was closed.
        """
        included = self._other(other)
        with self._parts.write(by=self._id) as db:
            if not includes.revoke(db, self._id, included):
                raise WorkspaceNotFound(f"The workspace {self.name!r} does not include {other.name!r}. "
                                        "workspace.includes() lists what it does.")  # fmt: skip

    def includes(self) -> list[str]:
        """Names of the workspaces that this one includes, the oldest first."""
        with self._parts.database.read() as db:
            return includes.names(db, self._id)

    def _other(self, other: Lending) -> int:
        if not isinstance(other, Lending):
            raise InvalidArgument(f"{other!r:.100} is no workspace: pass what store.workspace(name) gives")
        if other._parts is not self._parts:
            # A handle of before the folder was exchanged may have a number that is somebody else's by now.
            other._parts.database.require_usable()
            if other._parts.database.file != self._parts.database.file:
                raise InvalidArgument(f"The workspace {other.name!r} is of another store; a search covers one store")
        return other._id
