"""Interpreter: the Python that runs what needs a process of its own.

That is this one, whose path is `sys.executable`; but where an application embeds Python, as uWSGI does, that may be the
application, or nothing. To start it would start the application again, and that would do the same.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from docstore.errors import DocStoreError

_PYTHON = re.compile(r"\.?(python|pypy|graalpy)", re.IGNORECASE)
_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"  # of another version, our modules may not load


def interpreter() -> str:
    """Its path.

    Raises:
        DocStoreError: none is known.
    """
    program = sys.executable or ""  # either may be said where it is not known
    if getattr(sys, "frozen", False):
        raise DocStoreError(f"This program, {program or 'whose path is unknown'}, was made to run without Python, and "
                            "docstore reads documents in a Python process of its own. Run the application with "
                            "Python.")  # fmt: skip
    is_python = any(_PYTHON.match(Path(path).name) for path in (program, os.path.realpath(program)))
    if is_python and _can_run(Path(program)):
        return program
    for prefix in (sys.exec_prefix, sys.base_exec_prefix):
        found = Path(prefix) / "bin" / _NAME
        if _can_run(found):
            return str(found)
    what = "is gone, or may not be run" if is_python else "is no Python"
    raise DocStoreError(f"sys.executable is {program!r}, which {what}, and there is no {found}. docstore "
                        "reads documents in a Python process of its own: before the first is added, set "
                        "sys.executable to one that has what this application imports.")  # fmt: skip


def _can_run(program: Path) -> bool:
    return program.is_file() and os.access(program, os.X_OK)
