"""Runs what may crash, hang or eat all memory in a process that may: `python -m tests.hostile.contained` serves it.

One server imports everything once and forks for every task, so that thousands of tasks are affordable. What a task does
to its process (a segmentation fault, an endless loop) comes back as an `Outcome`.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SECONDS = 20.0
MEMORY = 1 << 30
"""Bytes of address space a task may take beyond what importing the library took."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task's process ended."""

    ended: str
    """`returned`, `raised`, `signal 11`, `time`, `exit 1`."""
    answer: Any
    """What the task returned, or the traceback of what it raised."""
    seconds: float
    peak: int
    """Bytes of memory that were resident at most."""


class Contained:
    """The server's client. Use as a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.contained"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Contained:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, task: str, /, seconds: float = SECONDS, memory: int = MEMORY, **arguments: Any) -> Outcome:
        """Runs a function of `tests.hostile.tasks` with arguments that JSON can hold."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"task": task, "arguments": arguments, "seconds": seconds, "memory": memory}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


def _serve(tasks: dict[str, Callable[..., Any]]) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        print(
            json.dumps(_contain(tasks[request["task"]], **{k: v for k, v in request.items() if k != "task"})),
            flush=True,
        )


def _contain(task: Callable[..., Any], arguments: dict[str, Any], seconds: float, memory: int) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _run(task, arguments, seconds, memory, write_end)
    os.close(write_end)
    answer = _receive(read_end, began + seconds)
    os.close(read_end)
    if answer is None:
        os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    took, peak = time.monotonic() - began, usage.ru_maxrss * 1024
    if answer is None:
        return {"ended": "time", "answer": None, "seconds": took, "peak": peak}
    if os.WIFSIGNALED(status):
        return {"ended": f"signal {os.WTERMSIG(status)}", "answer": None, "seconds": took, "peak": peak}
    if not answer:
        return {"ended": f"exit {os.WEXITSTATUS(status)}", "answer": None, "seconds": took, "peak": peak}
    return {**json.loads(answer), "seconds": took, "peak": peak}


def _receive(fd: int, deadline: float) -> bytes | None:
    """All that comes until the other end closes; None when that takes too long."""
    data = b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            block = os.read(fd, 1 << 16)
            if not block:
                return data
            data += block
    return None


def _run(task: Callable[..., Any], arguments: dict[str, Any], seconds: float, memory: int, answers: int) -> None:
    os.setpgid(0, 0)  # so that what it starts dies with it
    signal.alarm(int(seconds) + 5)  # and it dies by itself when the server was killed
    os.set_inheritable(answers, False)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = {"ended": "returned", "answer": task(**arguments)}
    except BaseException:  # noqa: BLE001  (it is reported, whatever it is)
        answer = {"ended": "raised", "answer": traceback.format_exc()}
    with os.fdopen(answers, "wb") as file:
        file.write(json.dumps(answer).encode())
    os._exit(0)


if __name__ == "__main__":
    from tests.hostile.tasks import TASKS

    _serve(TASKS)
