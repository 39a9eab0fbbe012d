"""Interrupts, as Ctrl-C makes them, at each place where Python lets one in.

That is where a call has returned, where a function begins, and where a loop goes round: between other instructions the
interpreter looks for no signal. So what a statement does without a call, it does whole.
"""

from __future__ import annotations

import dis
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import docstore

_CODE = f"{Path(docstore.__file__).parent}/"
_BEFORE = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME", "JUMP_BACKWARD")
           if name in dis.opmap}  # fmt: skip


class _Interrupt:
    """Raises KeyboardInterrupt at one of the places that code of some files comes to."""

    def __init__(self, number: int, files: str) -> None:
        self._left = number
        self._files = _CODE + files
        self._last: dict[FrameType, int] = {}
        self.place = ""

    def call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._files):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "return":
            self._last.pop(frame, None)
        if event != "opcode":
            return self._step
        before, self._last[frame] = self._last.get(frame), frame.f_code.co_code[frame.f_lasti]
        self._left -= before in _BEFORE
        if before in _BEFORE and self._left == 0:
            self.place = f"{frame.f_code.co_filename.removeprefix(_CODE)}:{frame.f_lineno}"
            raise KeyboardInterrupt
        return self._step


def interrupts(prepare: Callable[[], Callable[[], object]], files: str = "", every: int = 1) -> Iterator[str]:
    """Runs something again and again, each time interrupted at a later place; gives each place, when that was done.

    Args:
        prepare: called before each run; gives what to run.
        files: beginning of the names of the files in which it is interrupted, below `src/docstore`.
        every: which places; 1 for all.
    """
    number = 1
    while True:
        act, interrupt, before = prepare(), _Interrupt(number, files), sys.gettrace()
        sys.settrace(interrupt.call)
        try:
            act()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        if not interrupt.place:
            gc.collect()  # what interrupts left, and not in another test
            return
        yield interrupt.place
        number += every
