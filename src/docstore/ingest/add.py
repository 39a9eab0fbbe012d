"""The add protocol: how documents come in, alone or many at once, against any number of others doing the same.

Work goes in rounds. Each round first asks the catalog, in one write transaction, what every pending document still
needs (`plan`). What is stored already is referenced in that same transaction. What is not is claimed there, so that of
all who want it one does the work and the others wait. Then, without any lock, the work: copying and extracting
(`prepare`); embedding, with chunks of many documents in the embedder's batches (`build`), while other documents are
still being extracted; syncing the files that this made. Last, one write transaction publishes (`publish`). See
docs/architecture/adding.md for why each order is the one that is safe.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from docstore.callbacks import Callback
from docstore.durable import storage_errors
from docstore.errors import DocStoreError
from docstore.ingest.admission import Admission
from docstore.ingest.build import batches, build
from docstore.ingest.holding import Holding
from docstore.ingest.incoming import Incoming
from docstore.ingest.plan import Planner, Step
from docstore.ingest.prepare import Preparation
from docstore.ingest.publish import Publisher
from docstore.ingest.reuse import finder
from docstore.ingest.target import Target
from docstore.parts import Parts
from docstore.scratch import Scratch

_POLL_SECONDS = 0.02  # between two looks at somebody else's claim: as long as embedding one chunk takes
_ENOUGH_CHARACTERS = 100_000  # extracted before these are embedded; with fewer, tiny documents take many rounds
_SOME = 32  # documents planned in a round while some have to wait until others are published
_COMMIT_SECONDS = 1.0  # of embedding that a crash may cost, or one batch of it


class Addition:
    """One call of `add`, `add_many`, `link` or `replace`, on one group of documents."""

    def __init__(
        self, parts: Parts, target: Target, scratch: Scratch, progress: Callable[[Incoming, int], None]
    ) -> None:
        """
        Args:
            progress: called with a document and the chunks embedded since the last call; also when it is finished.
        """
        self._parts = parts
        self._scratch = scratch
        self._tell = Callback(progress)
        self._admission = Admission(parts)
        self._holding = Holding(parts, scratch)
        self._publisher = Publisher(parts, target, self._admission, self._holding)
        self._planner = Planner(parts, target, self._admission, self._holding, self._publisher.refer)
        self._incoming: list[Incoming] = []
        self._find = finder(parts, target.donors)
        self._built: list[Incoming] = []  # embedded, not published yet: small ones are, many at once
        self._published = time.monotonic()

    def run(self, incoming: list[Incoming]) -> None:
        """Adds documents; afterwards each has its `outcome`. Raises what is not one document's own failure."""
        try:
            self._tell.during(lambda: self._run(incoming))
        except BaseException:
            if not self._publisher.is_unsure:
                with contextlib.suppress(DocStoreError):
                    self._holding.release(incoming)
            raise

    @property
    def warnings(self) -> list[str]:
        """Limits that this came near to."""
        return self._admission.warnings

    def _run(self, incoming: list[Incoming]) -> None:
        self._incoming = incoming
        preparing = Preparation(self._parts.extractor, self._scratch)
        with storage_errors("adding a document"), preparing as preparation:
            ready = incoming
            while ready or preparation.items or self._built:
                self._go_on(ready, preparation)
                # The rest is extracted while this is embedded.
                self._settle(preparation.wait(_ENOUGH_CHARACTERS))
                away = preparation.items.union(self._built)
                ready = [item for item in incoming if item.outcome is None and item not in away]
                if self._admission.has_waiting:  # little room is left: most would only wait again
                    begun = [item for item in ready if item.held]  # takes room until it is done
                    ready = begun + [item for item in ready if not item.held][:_SOME]

    def _go_on(self, ready: list[Incoming], preparation: Preparation) -> None:
        work: dict[Step, list[Incoming]] = {step: [] for step in Step}
        for item, step in zip(ready, self._planner.plan(ready, self._incoming), strict=True):
            work[step].append(item)
        preparation.start(work[Step.PREPARE])
        self._publisher.publish(work[Step.PUBLISH], self._incoming)
        for batch in batches(work[Step.EMBED], self._parts):
            build(batch, self._parts, self._scratch, self._tell, self._find)
            self._built += batch
            if time.monotonic() - self._published > _COMMIT_SECONDS:
                self._publish_built()
        away = preparation.items
        if not away:
            self._publish_built()
        self._settle([item for item in ready if item not in away])
        if len(work[Step.WAIT]) == len(ready) and not away:
            time.sleep(_POLL_SECONDS)

    def _publish_built(self) -> None:
        built, self._built = self._built, []
        self._publisher.publish([item for item in built if item.outcome is None], self._incoming)
        self._published = time.monotonic()
        self._settle(built)

    def _settle(self, items: list[Incoming]) -> None:
        """Releases the claims of documents that failed, and reports those that are finished."""
        self._holding.release([item for item in items if isinstance(item.outcome, DocStoreError)])
        for item in items:
            if item.outcome is not None and not item.reported:
                item.reported = True
                item.let_go()
                self._tell(item, 0)
