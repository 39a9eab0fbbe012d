"""The process that extracts: `python -m docstore.ingest.worker`. Started, fed and killed by `extractor`.

One request a line on standard input, one answer a line on standard output, both JSON. Parsers of hostile input run
here, under a memory limit, where they can crash or hang without taking the application with them.
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

from docstore.ingest.extract import Unreadable, extract
from docstore.ingest.limits import Limits


def main() -> None:
    """Answers requests until standard input ends."""
    # A library that prints must not break the protocol: our answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)  # pypdf warns on every oddity of a file that it then reads well
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the application's; it ends us by closing our input
    sys.setrecursionlimit(20_000)  # HTML may nest 2,048 deep before its parser refuses, some calls for each level
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the parent was killed
        print("ready", file=answers, flush=True)
        while True:
            answers.write(json.dumps(_answer(json.loads(requests.get()))) + "\n")
            answers.flush()
    os._exit(0)  # what is left in the buffer has nowhere to go


def _read_requests(requests: queue.Queue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    # The parent is gone, perhaps killed. Whatever document is being worked on, nobody waits for it any more.
    os._exit(0)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    limits = Limits(**request["limits"])
    try:
        _limit_memory(limits.memory)
        found = extract(Path(request["path"]), limits, request["media_type"])
        Path(request["output"]).write_bytes(found.text.encode())
    except Unreadable as error:
        return {"reason": error.reason, "detail": error.detail}
    except MemoryError:
        return {"reason": "limit", "detail": f"reading it needs more than Limits.memory, {limits.memory:,} bytes. "
                                             "It may be hostile; or open the store with larger limits."}  # fmt: skip
    except OSError as error:
        return {"failed": f"{error.strerror or error} ({error.filename or 'temporary file'})"}
    except Exception as error:  # noqa: BLE001  (parsers of broken files raise anything)
        return {"reason": "corrupt", "detail": f"it cannot be read ({type(error).__name__}: {error}"[:300] + ")."}
    return {"media_type": found.media_type, "pages": found.pages}


def _limit_memory(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main()
