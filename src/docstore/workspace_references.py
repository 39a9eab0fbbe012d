"""What a workspace holds on to: the methods of a `Workspace` that drop its references, and keep them at a version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import docstore
from docstore import arguments, refcount
from docstore.database import Database
from docstore.errors import not_referenced
from docstore.names import check_hash
from docstore.parts import Parts

_AT_ONCE, _FRUGALLY = 64, 8
"""References dropped in one commit; the smaller number on a full disk, where each may take five pages of the reserve.
With more than 64 a reference hardly takes less time, and others wait longer."""


class Referring:
    """One workspace, as it has references."""

    _parts: Parts
    _id: int
    name: str

    def remove(self, hash: str) -> None:
        """Drops this workspace's reference. The document goes when no workspace has one, with the next collection.

        Raises:
            DocumentNotFound: this workspace does not reference it.
        """
        check_hash(hash)
        self._parts.free_space(lambda: self._unrefer(hash))

    def remove_many(self, documents: Iterable[str | docstore.Document]) -> int:
        """Drops many references, faster than `remove` for each: `alice.remove_many(alice.documents())`.

        Passes over what this workspace does not reference, so running it again finishes what was interrupted. Commits
        every few dozen.

        Args:
            documents: hashes, or a `Document` each.

        Returns:
            How many references it dropped.

        Raises:
            InvalidArgument: one is neither; nothing was changed.
        """
        refusal = "remove_many takes many documents: pass a list, or one hash to remove"
        documents = arguments.several(documents, (str, docstore.Document), refusal)
        given = [each.hash if isinstance(each, docstore.Document) else check_hash(each) for each in documents]
        hashes = list(dict.fromkeys(given))
        # Once at least: what refuses some documents (a store that is closed, for one) must refuse an empty list too.
        return sum(self._drop(hashes[start : start + _AT_ONCE]) for start in range(0, len(hashes) or 1, _AT_ONCE))

    def _drop(self, hashes: Sequence[str]) -> int:
        dropped: list[int] = []  # by each try, also one that a full disk cut short
        self._parts.free_space(lambda: self._unrefer_many(hashes, dropped))
        return sum(dropped)

    def _unrefer(self, hash: str) -> None:
        with self._dropping() as db:
            if not refcount.unrefer(db, self._id, [hash]):
                raise not_referenced(self.name, hash)

    def _unrefer_many(self, hashes: Sequence[str], dropped: list[int]) -> None:
        at_once = _FRUGALLY if self._parts.database.is_frugal else _AT_ONCE
        for start in range(0, len(hashes) or 1, at_once):
            with self._dropping() as db:
                count = refcount.unrefer(db, self._id, hashes[start : start + at_once])
            dropped.append(count)

    @contextmanager
    def _dropping(self) -> Iterator[Database]:
        with self._parts.write(by=self._id) as db:
            refcount.require_workspace(db, self._id)
            self._parts.leave_room_to_collect(db)
            yield db

    def pin(self, hash: str) -> None:
        """Keeps this version: `DocStore.replace` leaves the reference where it is. May be called twice.

        Raises:
            DocumentNotFound: this workspace does not reference it.
        """
        self._pin(hash, keep=True)

    def unpin(self, hash: str) -> None:
        """Lets the next replacement move the reference again. Does not move it to what has replaced it meanwhile.

        Raises:
            DocumentNotFound: this workspace does not reference it.
        """
        self._pin(hash, keep=False)

    def _pin(self, hash: str, *, keep: bool) -> None:
        from docstore import pins

        check_hash(hash)
        with self._parts.write(by=self._id) as db:
            refcount.require_workspace(db, self._id)
            if not pins.pin(db, self._id, hash, keep=keep):
                raise not_referenced(self.name, hash)

    def pinned(self) -> list[str]:
        """Hashes of the documents that it has pinned, sorted."""
        from docstore import pins

        with self._parts.database.read() as db:
            refcount.require_workspace(db, self._id)
            return pins.pinned(db, self._id)
