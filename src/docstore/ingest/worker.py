"""The process that extracts: `python -m docstore.ingest.worker`. Started, fed and killed by `extractor`.

One request a line on standard input, with the document's path, or its size and then its bytes; on standard output, in
the same order, one answer a line, both JSON, and after it as many bytes of text as it says. Parsers of hostile input
run here, under a memory limit, where they can crash or hang without taking the application with them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from docstore.ingest.extract import extract
from docstore.ingest.extraction import READY, Unreadable
from docstore.ingest.limits import Limits

Request = tuple[dict[str, Any], bytes]
"""What is asked, and the document if it came with it."""


def main() -> None:
    """Answers requests until standard input ends."""
    # A library that prints must not break the protocol: our answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)  # pypdf warns on every oddity of a file that it then reads well
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the application's; it ends us by closing our input
    sys.setrecursionlimit(20_000)  # HTML may nest 2,048 deep before its parser refuses, some calls for each level
    requests: queue.Queue[Request] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the parent was killed
        answers.write(READY)
        answers.flush()
        while True:
            answer, text = _answer(*requests.get())
            answers.write(json.dumps(answer | {"bytes": len(text)}).encode() + b"\n")
            answers.write(text)
            answers.flush()  # each at once: what is then not answered is what takes too long, or kills us
    os._exit(0)  # what is left in the buffer has nowhere to go


def _read_requests(requests: queue.Queue[Request]) -> None:
    try:
        while line := sys.stdin.buffer.readline():
            request = json.loads(line)
            requests.put((request, sys.stdin.buffer.read(request.get("bytes", 0))))
    finally:
        # The parent is gone, perhaps killed, and perhaps in the middle of a line. Whatever document is being worked on,
        # nobody waits for it any more.
        os._exit(0)


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    limits = Limits(**request["limits"])
    try:
        _limit_memory(limits.memory)
        found = extract(Path(request["path"]) if "path" in request else data, limits, request["media_type"])
        return {"media_type": found.media_type, "pages": found.pages}, found.text.encode()
    except Unreadable as error:
        return {"reason": error.reason, "detail": error.detail}, b""
    except MemoryError:
        detail = f"reading it needs more than Limits.memory, {limits.memory:,} bytes. "
        return {"reason": "limit", "detail": detail + "It may be hostile; or open the store with larger limits."}, b""
    except ImportError as error:
        causes = (
            f"an installation that is not whole, or Limits.memory, {limits.memory:,} bytes, is too little for Python"
        )
        return {"failed": f"{error} (another module of that name, {causes})"}, b""
    except OSError as error:
        return {"failed": f"{error.strerror or error} ({error.filename or 'temporary file'})"}, b""
    except Exception as error:  # noqa: BLE001  (parsers of broken files raise anything)
        detail = f"it cannot be read ({type(error).__name__}: {error}"[:300] + ")."
        return {"reason": "corrupt", "detail": detail}, b""


def _limit_memory(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    # macOS refuses: there a process has mapped more from the beginning.
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main()
