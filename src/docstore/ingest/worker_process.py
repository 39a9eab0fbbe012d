"""WorkerProcess: one process that extracts text, as its parent sees it.

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
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from docstore.durable import storage_errors
from docstore.errors import DocStoreError, StorageError
from docstore.ingest.extraction import READY, Extraction, Unreadable
from docstore.ingest.interpreter import interpreter

_LONGEST_POLL = 2**31 - 1  # milliseconds; poll(2) takes an int
_PIPE = 1 << 16  # bytes that a pipe holds
_START_SECONDS = 120.0  # a busy machine takes some; a program that is none of ours says nothing for ever
_END_SECONDS = 5.0  # from the end of its output to its own


class WorkerProcess:
    """One of them, for one caller at a time."""

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
        """Whether it has not ended."""
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
            return StorageError(f"Extracting a document failed: {answer['failed']}. Nothing was changed. Mend that, "
                                "then try again.")  # fmt: skip
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
        """Ends it, whatever it does."""
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


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def request(document: Path | str | bytes, others: dict[str, Any]) -> bytes:
    """As `worker` reads it: a line of JSON, then as many bytes as that says."""
    data = document if isinstance(document, bytes) else b""
    where = {"bytes": len(data)} if isinstance(document, bytes) else {"path": str(document)}
    return json.dumps({**where, **others}).encode() + b"\n" + data
