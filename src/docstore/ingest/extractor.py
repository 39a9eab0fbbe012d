"""Extractor: a pool of processes that extract text; one that takes too long is killed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from docstore.errors import StorageError, StoreClosed
from docstore.forking import in_child
from docstore.ingest.extraction import Extraction, Unreadable
from docstore.ingest.worker_process import WorkerProcess, request

if TYPE_CHECKING:
    from docstore.ingest.limits import Limits

CONCURRENCY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Worker processes at most: extraction is bound by the processors, of which this process may have only some."""

_IDLE_SECONDS = 60.0  # after which a worker ends when another comes back: a burst must not keep its memory for ever
_WAIT_SECONDS = 0.002  # for one place; another may be free by then

# Workers of the process we were forked from: theirs to stop, so never finalised here.
_inherited: list[WorkerProcess] = []


class Extractor:
    """A pool of worker processes, started when first needed and kept for the next document."""

    def __init__(self, limits: Limits | None) -> None:
        self._given = limits
        self._closed = False
        self._idle: list[WorkerProcess] = []
        self._make_locks()
        in_child(self._leave_parent)
        weakref.finalize(self, _kill_all, self._idle)  # a store that is dropped without close() leaves no process

    @cached_property
    def _limits(self) -> Limits:
        from docstore.ingest.limits import Limits  # who only searches needs none

        return self._given or Limits()

    def _make_locks(self) -> None:
        self._guard = threading.RLock()  # a signal's handler may close the store: in the thread that holds it
        self._slots = [threading.RLock() for _ in range(CONCURRENCY)]
        self._next = threading.Lock()

    def _leave_parent(self) -> None:
        self._make_locks()
        _inherited.extend(self._idle)
        self._idle.clear()

    def extract(self, document: Path | str | bytes, media_type: str | None = None) -> Extraction:
        """The text of a document.

        Args:
            document: its bytes, or the file that holds them.
            media_type: what a text was taken for when it was stored. Without, its content decides.

        Raises:
            Unreadable: there is no text to be had, and why; the limits are part of that.
            StorageError: the file could not be read.
        """
        (extraction,) = self.extract_each([document], media_type)
        if isinstance(extraction, Extraction):
            return extraction
        raise extraction

    def extract_each(
        self, documents: Sequence[Path | str | bytes], media_type: str | None = None
    ) -> Generator[Extraction | Unreadable | StorageError, None, None]:
        """What `extract` returns or raises for each of some documents. One worker reads them, and begins with the next
        while the caller goes on with the last. To be closed by a caller who may not take them all."""
        requests = [request(each, {"media_type": media_type, "limits": asdict(self._limits)}) for each in documents]
        answered = 0
        with self._slot():
            while answered < len(requests):
                worker = self._take_idle() or WorkerProcess()
                try:
                    for answer in worker.ask(requests[answered:], self._limits.seconds):
                        answered += 1
                        yield answer
                except Unreadable as error:  # by what is not answered yet the worker was killed, or must be
                    worker.kill()
                    answered += 1
                    yield error
                except BaseException:
                    worker.kill()
                    raise
                else:
                    self._give_back(worker)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        """One's place among those who extract at once."""
        # Not a semaphore: one of Python's loses a place for good where an interrupt comes between its instructions,
        # Ctrl-C for example. A lock knows who holds it, so that thread lets go of all that it has.
        try:
            with self._next:  # or who has just been would be again before those who wait
                while not any(slot.acquire(blocking=False) for slot in self._slots):
                    if self._slots[0].acquire(timeout=_WAIT_SECONDS):
                        break
            yield
        finally:
            for slot in self._slots:
                with contextlib.suppress(RuntimeError):  # it holds it no more
                    while True:
                        slot.release()

    def _take_idle(self) -> WorkerProcess | None:
        with self._guard:
            if self._closed:
                raise StoreClosed("The store was closed. Open it again.")
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive():
                    return worker
                worker.kill()
        return None

    def _give_back(self, worker: WorkerProcess) -> None:
        with self._guard:
            if not self._closed:
                worker.idle_since = time.monotonic()
                self._idle.append(worker)  # and the last is taken first, so the first are those that nobody needs
                while worker.idle_since - self._idle[0].idle_since > _IDLE_SECONDS:
                    self._idle.pop(0).kill()
                return
        worker.kill()

    def close(self) -> None:
        """Stops the workers: the idle ones now, the others when they have answered."""
        with self._guard:
            self._closed = True
            _kill_all(self._idle)


def _kill_all(workers: list[WorkerProcess]) -> None:
    while workers:
        workers.pop().kill()
