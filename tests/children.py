"""Children that tests fork."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def child(run: Callable[[], bool]) -> Iterator[None]:
    """Forks, runs something in the child while the block runs here, and expects it to return True within 10 s."""
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        code = 1
        try:
            signal.alarm(10)
            code = 0 if run() else 2
        finally:
            os._exit(code)
    try:
        yield
    finally:
        assert os.waitpid(pid, 0)[1] == 0
