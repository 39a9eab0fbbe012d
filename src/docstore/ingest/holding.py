"""Holding: the claims that one addition has taken for its documents, and gives up when they are done or have failed."""

from __future__ import annotations

from docstore import claims
from docstore.database import Database
from docstore.ingest.incoming import Incoming
from docstore.parts import Parts
from docstore.scratch import Scratch


class Holding:
    """What one addition holds, under the name of its scratch folder."""

    def __init__(self, parts: Parts, scratch: Scratch) -> None:
        self._parts = parts
        self._scratch = scratch

    def claim(self, db: Database, item: Incoming, key: str) -> bool:
        """Takes a claim for a document, if it is not held for it. False: somebody else has it."""
        if self._parts.demand_bytes:
            # A key of this operation's own, so nobody waits for anybody: a wait would tell that others add the same.
            # The claim then only tells a collection when its owner has died.
            key = f"{key}:{self._scratch.token}"
        if key in item.held:
            return True
        # Two documents of one group may need the same: the claim is then held by our own, living operation, and the
        # second finds the result in the next round.
        if not claims.claim(db, key, self._scratch.token, self._parts.owner_is_alive):
            return False
        item.held.add(key)
        return True

    def give_up(self, db: Database, item: Incoming) -> None:
        """All that is held for a document, in the transaction that ends the need for it."""
        if item.held:
            claims.release(db, item.held, self._scratch.token)

    def release(self, items: list[Incoming]) -> None:
        """All that is held for documents, after a failure."""
        held = {key for item in items for key in item.held}
        if held:
            with self._parts.write() as db:
                claims.release(db, held, self._scratch.token)
