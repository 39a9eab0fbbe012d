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
import time
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docstore.durable import storage_errors
from docstore.errors import DocStoreError, StorageError, StoreClosed
from docstore.forking import in_child
from docstore.ingest.extraction import READY, Extraction, Unreadable
from docstore.ingest.interpreter import interpreter

if TYPE_CHECKING:
    from docstore.ingest.limits import Limits

CONCURRENCY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Worker processes at most: extraction is bound by the processors, of which this process may have only some."""


_LONGEST_POLL = 2**31 - 1  # milliseconds; poll(2) takes an int
_PIPE = 1 << 16  # bytes that a pipe holds
_START_SECONDS = 120.0  # a busy machine takes some; a program that is none of ours says nothing for ever
_END_SECONDS = 5.0  # from the end of its output to its own
_IDLE_SECONDS = 60.0  # after which a worker ends when another comes back: a burst must not keep its memory for ever
_WAIT_SECONDS = 0.002  # for one place; another may be free by then

# Workers of the process we were forked from: theirs to stop, so never finalised here.
_inherited: list[_Worker] = []


class Extractor:
    """A pool of worker processes, started when first needed and kept for the next document."""

    def __init__(self, limits: Limits | None) -> None:
        self._given = limits
        self._closed = False
        self._idle: list[_Worker] = []
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
        requests = [_request(each, {"media_type": media_type, "limits": asdict(self._limits)}) for each in documents]
        answered = 0
        with self._slot():
            while answered < len(requests):
                worker = self._take()
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


class _Worker:
    def __init__(self) -> None:
        self.idle_since = 0.0
        """When it last came back, by the monotonic clock."""
        self._ready = False
        self._received = bytearray()
        self._program = interpreter()
        # Paths are spelled as here, whatever the locale's encoding has become, or `-X utf8` says.
        is_utf8 = sys.getfilesystemencoding() == "utf-8"
        as_here = {"PYTHONPATH": os.pathsep.join(_import_path()), "PYTHONUTF8": str(int(is_utf8))}
        with storage_errors("Starting the process that extracts text"):
            self._process = subprocess.Popen(
                # -P: a json.py in the working directory must not be imported for the standard library's.
                [self._program, "-P", "-m", "docstore.ingest.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | as_here,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._input, False)  # see _send
        os.set_blocking(self._output, True)  # gevent's subprocess module makes it one that does not wait

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, requests: Sequence[bytes], seconds: float) -> Iterator[Extraction | Unreadable | StorageError]:
        """The answers, in order. Raises Unreadable for the first that does not come within `seconds` of the one before,
        or never will; the worker is then of no more use."""
        if not self._ready:
            self._require_start()
        unsent: bytes | None = b"".join(requests)
        for _ in requests:
            deadline = time.monotonic() + seconds
            try:
                if unsent is not None:
                    self._send(unsent, deadline)
                    unsent = None
                answer = self._answer(deadline)
            except TimeoutError as error:
                detail = f"reading it takes longer than Limits.seconds, {seconds:g} s. "
                raise Unreadable(
                    "limit", detail + "It may be hostile; or open the store with larger limits."
                ) from error
            except EOFError as error:
                detail = f"the process that read it died ({self._ended()}). "
                advice = "The file is damaged or hostile; or Limits.memory is too small for it."
                raise Unreadable("corrupt", detail + advice) from error
            yield answer

    def _require_start(self) -> None:
        # That line says that all imports worked: what goes wrong later is the document's fault.
        printed, deadline = bytearray(), time.monotonic() + _START_SECONDS
        try:
            while not printed.endswith(READY):
                printed = printed[-len(READY) :]
                self._receive(deadline, printed)
        except (TimeoutError, EOFError) as error:
            ended = isinstance(error, EOFError)
            why = self._ended() if ended else f"nothing for {_START_SECONDS:.0f} s"
            raise DocStoreError(f"The process that extracts text does not start ({why}): see what `{self._program} "
                                "-m docstore.ingest.worker` prints.") from error  # fmt: skip
        self._ready = True

    def _send(self, data: bytes, deadline: float) -> None:
        # A thread of the worker's reads while another parses. But what parses may keep that thread from running, for
        # as long as it takes, and then a write that waits would never end.
        ready = select.poll()
        ready.register(self._input, select.POLLOUT)
        rest = memoryview(data)
        with contextlib.suppress(BrokenPipeError):
            while rest:
                _require_ready(ready, deadline)
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._input, rest) :]

    def _answer(self, deadline: float) -> Extraction | Unreadable | StorageError:
        while not (start := self._received.find(b"\n") + 1):
            self._receive(deadline, self._received)
        answer = json.loads(self._received[:start])
        end = start + answer["bytes"]
        while len(self._received) < end:
            self._receive(deadline, self._received)
        text = self._received[start:end].decode()
        del self._received[:end]
        if "failed" in answer:
            return StorageError(f"Extracting a document failed: {answer['failed']}. Nothing was changed. Repair "
                                "permissions, then try again.")  # fmt: skip
        if "reason" in answer:
            return Unreadable(answer["reason"], answer["detail"])
        return Extraction(text, answer["media_type"], answer["pages"])

    def _receive(self, deadline: float, into: bytearray) -> None:
        ready = select.poll()
        ready.register(self._output, select.POLLIN)
        _require_ready(ready, deadline)
        if not (data := os.read(self._output, _PIPE)):
            raise EOFError
        into += data

    def _ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return _cause(self._process.wait(timeout=_END_SECONDS))
        return "it says nothing any more"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _import_path() -> list[str]:
    given = [path for path in sys.path if path and isinstance(path, str)]  # Python too passes over what is no text
    # The standard library first: an html.py beside the application's script must not be imported for its own.
    own = str(Path(os.__file__).parent)
    return sorted(given, key=lambda path: path not in (own, f"{own}/lib-dynload"))


def _require_ready(ready: select.poll, deadline: float) -> None:
    """Raises TimeoutError when the deadline passes first."""
    milliseconds = max(0, (deadline - time.monotonic()) * 1000)
    if not ready.poll(min(milliseconds, _LONGEST_POLL)):
        raise TimeoutError


def _request(document: Path | str | bytes, others: dict[str, Any]) -> bytes:
    """As `worker` reads it: a line of JSON, then as many bytes as that says."""
    data = document if isinstance(document, bytes) else b""
    where = {"bytes": len(data)} if isinstance(document, bytes) else {"path": str(document)}
    return json.dumps({**where, **others}).encode() + b"\n" + data


def _kill_all(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().kill()


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
