"""What `import docstore` does to the process that imports it: nothing, but that the names are there."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_package_alone_imports_none_of_what_is_heavy() -> None:
    program = "import sys, docstore; sys.exit(any(name in sys.modules for name in ('faiss', 'numpy', 'sqlite3')))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
