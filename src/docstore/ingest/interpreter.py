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
    if any(_PYTHON.match(Path(path).name) for path in (program, os.path.realpath(program))):
        return program
    for prefix in (sys.exec_prefix, sys.base_exec_prefix):
        found = Path(prefix) / "bin" / _NAME
        if found.is_file() and os.access(found, os.X_OK):
            return str(found)
    raise DocStoreError(f"sys.executable is {program!r}, which is no Python, and there is no {found}. docstore "
                        "reads documents in a Python process of its own: before the first is added, set "
                        "sys.executable to one that has what this application imports.")  # fmt: skip
