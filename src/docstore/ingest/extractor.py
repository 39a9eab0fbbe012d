"""Extractor: runs extraction in worker processes, and kills one that takes too long.

Not `multiprocessing`: its spawned children import the application's main module, which breaks every script without
a `__main__` guard, and a forked child of a process with threads may hang. Not a thread: it cannot be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Any

from docstore.errors import DocStoreError, StorageError, StoreClosed
from docstore.forking import in_child
from docstore.ingest.extract import Extraction, Unreadable
from docstore.ingest.limits import Limits

CONCURRENCY = os.cpu_count() or 1
"""Worker processes at most: extraction is bound by the processor."""


_LONGEST_POLL = 2**31 - 1  # milliseconds; poll(2) takes an int

# Workers of the process we were forked from: theirs to stop, so never finalised here.
_inherited: list[_Worker] = []


class Extractor:
    """A pool of worker processes, started when first needed and kept for the next document."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._closed = False
        self._idle: list[_Worker] = []
        self._make_locks()
        in_child(self._leave_parent)
        weakref.finalize(self, _kill_all, self._idle)  # a store that is dropped without close() leaves no process

    def _make_locks(self) -> None:
        self._guard = threading.Lock()
        self._slots = threading.BoundedSemaphore(CONCURRENCY)

    def _leave_parent(self) -> None:
        self._make_locks()
        _inherited.extend(self._idle)
        self._idle.clear()

    def extract(self, path: Path, output: Path, media_type: str | None = None) -> Extraction:
        """The text of the document at `path`. `output` is a temporary file that may be written and is removed.

        Args:
            media_type: what a text was taken for when it was stored. Without, its content decides.

        Raises:
            Unreadable: there is no text to be had, and why; the limits are part of that.
            StorageError: the temporary file could not be written.
        """
        request = {
            "path": str(path), "media_type": media_type, "output": str(output), "limits": asdict(self._limits),
        }  # fmt: skip
        with self._slots:
            worker = self._take()
            try:
                answer = worker.ask(request, self._limits.seconds)
            except BaseException:
                worker.kill()
                raise
            self._give_back(worker)
        return _extraction(answer, output)

    def _take(self) -> _Worker:
        with self._guard:
            if self._closed:
                raise StoreClosed("The store was closed. Open it again.")
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive():
                    return worker
                worker.kill()
        return _Worker()

    def _give_back(self, worker: _Worker) -> None:
        with self._guard:
            if not self._closed:
                self._idle.append(worker)
                return
        worker.kill()

    def close(self) -> None:
        """Stops the workers: the idle ones now, the others when they have answered."""
        with self._guard:
            self._closed = True
            _kill_all(self._idle)


class _Worker:
    def __init__(self) -> None:
        self._ready = False
        self._process = subprocess.Popen(
            # -P: a json.py in the working directory must not be imported for the standard library's.
            [sys.executable, "-P", "-m", "docstore.ingest.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            text=True,
            encoding="utf-8",
            bufsize=1,
        )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        if not self._ready:
            # Its first line says that all imports worked: what goes wrong later is the document's fault.
            if not self._process.stdout.readline():
                raise DocStoreError(f"The process that extracts text does not start ({_cause(self._process.wait())}): "
                                    f"see what `{sys.executable} -m docstore.ingest.worker` prints.")  # fmt: skip
            self._ready = True
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        ready = select.poll()
        ready.register(self._process.stdout, select.POLLIN)
        if not ready.poll(min(seconds * 1000, _LONGEST_POLL)):
            raise Unreadable("limit", f"reading it takes longer than Limits.seconds, {seconds:g} s. "
                                      "It may be hostile; or open the store with larger limits.")  # fmt: skip
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise Unreadable("corrupt", f"the process that read it died ({_cause(code)}). The file is damaged or "
                                        "hostile; or Limits.memory is too small for it.")  # fmt: skip
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _kill_all(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().kill()


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _extraction(answer: dict[str, Any], output: Path) -> Extraction:
    if "failed" in answer:
        raise StorageError(f"Extracting a document failed: {answer['failed']}. Nothing was changed. Free space or "
                           "repair permissions, then try again.")  # fmt: skip
    if "reason" in answer:
        raise Unreadable(answer["reason"], answer["detail"])
    text = output.read_bytes().decode()
    output.unlink()
    return Extraction(text, answer["media_type"], answer["pages"])
