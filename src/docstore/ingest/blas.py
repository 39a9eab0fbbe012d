"""NumPy's products, each by the thread that asks for it. OpenBLAS, which NumPy's wheels bring, shares each with threads
of its own, for which all who ask take turns. For a question, whose products are small, these take longer to meet than
to multiply, many times so where other work keeps the processors busy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np  # noqa: F401  (loads what is looked for)
from threadpoolctl import ThreadpoolController

from docstore.forking import in_child


def library() -> Any:
    """What multiplies for NumPy and for nobody else; None where that is no OpenBLAS. FAISS's own is left alone."""
    found = ThreadpoolController().select(internal_api="openblas").lib_controllers
    return next((each for each in found if Path(each.filepath).parent.name.startswith("numpy")), None)


class _Single:
    """Who is in `alone`."""

    def __init__(self) -> None:
        self._library = library()
        self._users = 0
        self._before = 1
        self._guard = threading.Lock()
        in_child(self._leave_parent)

    def _leave_parent(self) -> None:
        self._guard = threading.Lock()
        if self._users:
            self._users = 1
            self._leave()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While any thread is in it, those of OpenBLAS have nothing to do."""
        if self._library is None:
            yield
            return
        with self._guard:
            self._users += 1
            if self._users == 1:
                self._before = self._library.num_threads
                self._set(1)
        try:
            yield
        finally:
            with self._guard:
                self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._set(self._before)

    def _set(self, threads: int) -> None:
        if threads != self._library.num_threads:
            self._library.set_num_threads(threads)
            # Whoever sets it has it until then: another thread may be the last to leave, which would be ignored.
            self._library.clear_controlling_thread()


alone = _Single().alone
