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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from docstore.errors import DocStoreError, StorageError
from docstore.ingest.extract import Extraction, Unreadable
from docstore.ingest.limits import Limits

CONCURRENCY = os.cpu_count() or 1
"""Worker processes at most: extraction is bound by the processor."""


class Extractor:
    """A pool of worker processes, started when first needed and kept for the next document."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._guard = threading.Lock()
        self._slots = threading.BoundedSemaphore(CONCURRENCY)
        self._idle: list[_Worker] = []

    def extract(self, path: Path, name: str, output: Path) -> Extraction:
        """The text of the document at `path`. `output` is a temporary file that may be written and is removed.

        Raises:
            Unreadable: there is no text to be had, and why; the limits are part of that.
            StorageError: the temporary file could not be written.
        """
        with self._slots:
            with self._guard:
                worker = self._idle.pop() if self._idle and self._idle[-1].usable() else _Worker()
            try:
                answer = worker.ask(
                    {"path": str(path), "name": name, "output": str(output), "limits": asdict(self._limits)},
                    self._limits.seconds,
                )
            except BaseException:
                worker.kill()
                raise
            with self._guard:
                self._idle.append(worker)
        return _extraction(answer, output)

    def close(self) -> None:
        """Stops the idle workers."""
        with self._guard:
            while self._idle:
                self._idle.pop().kill()


class _Worker:
    def __init__(self) -> None:
        self._parent = os.getpid()
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

    def usable(self) -> bool:
        """False when it died, or belongs to the process we were forked from."""
        return self._parent == os.getpid() and self._process.poll() is None

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
        if not ready.poll(seconds * 1000):
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
