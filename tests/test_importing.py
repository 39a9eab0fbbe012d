"""What `import docstore` does to the process that imports it: nothing, but that the names are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import docstore


def run(program: str) -> str:
    """What a new process prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_is_there_and_unknown_ones_are_not() -> None:
    assert all(getattr(docstore, name) is not None for name in docstore.__all__)
    with pytest.raises(AttributeError, match="no attribute 'DocStores'"):
        docstore.DocStores  # noqa: B018  (it is the looking that raises)


def test_importing_the_package_alone_imports_none_of_what_is_heavy() -> None:
    program = "import sys, docstore; print([name for name in ('faiss', 'numpy', 'sqlite3') if name in sys.modules])"
    assert run(program) == "[]"
