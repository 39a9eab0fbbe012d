"""Commands that permissions bind: they do not bind root, unless it gives up what exempts it from them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_GIVEN_UP = [] if os.getuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
bound = pytest.mark.skipif(bool(_GIVEN_UP) and shutil.which("setpriv") is None, reason="is root, and cannot give it up")


def run_bound(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as who has no more than the files' permissions."""
    return subprocess.run([*_GIVEN_UP, *command], capture_output=True, text=True, check=False, timeout=60)
