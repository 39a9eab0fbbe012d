"""Extraction workers kept for the next store: starting a process for each of a million stores would take days.

A worker has no part in what is tested. It reads a staged copy and writes one temporary file, unsynced, that its store
reads and removes at once; the interposer is loaded into it and stays inactive. On the simulated disk that file is an
entry whose data is lost, which is one of its legal images, and the one that is worst for whoever trusts it.
"""

from __future__ import annotations

from docstore import DocStore
from docstore.ingest.worker_process import WorkerProcess


class Workers:
    """Idle worker processes between two stores."""

    def __init__(self) -> None:
        self._idle: list[WorkerProcess] = []

    def lend(self, store: DocStore) -> None:
        """Gives a store that was just opened the workers of the last one."""
        store._parts.extractor._idle.extend(self._idle)
        self._idle.clear()

    def take_back(self, store: DocStore) -> None:
        """Before a store is closed, which would end them."""
        self._idle.extend(store._parts.extractor._idle)
        store._parts.extractor._idle.clear()

    def close(self) -> None:
        """Ends them."""
        while self._idle:
            self._idle.pop().kill()
