"""Interpreter: the Python that runs what needs a process of its own.

That is this one, whose path is `sys.executable`; but where an application embeds Python, as uWSGI does, that may be the
application, or nothing. To start it would start the application again, and that would do the same.
"""

from __future__ import annotations

import os
import re
import sys

from docstore.errors import DocStoreError

_PYTHON = re.compile(r"\.?(python|pypy|graalpy)", re.IGNORECASE)
_NAMES = (f"python{sys.version_info.major}.{sys.version_info.minor}", "python3", "python")


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
    if _PYTHON.match(os.path.basename(program)):  # noqa: PTH119  (it need not be a path)
        return program
    folder = os.path.join(sys.exec_prefix, "bin")  # noqa: PTH118
    for name in _NAMES:
        if os.access(found := os.path.join(folder, name), os.X_OK):  # noqa: PTH118
            return found
    raise DocStoreError(f"sys.executable is {program!r}, which is no Python, and there is none in {folder}. docstore "
                        "reads documents in a Python process of its own: before the first is added, set "
                        "sys.executable to one that has what this application imports.")  # fmt: skip
