"""What is imported with what: `import docstore` brings nothing, and each process only what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.samples import pdf

HEAVY = "('faiss', 'numpy', 'sqlite3')"


def is_clean(program: str, *arguments: str) -> bool:
    """Whether a new process has imported none of what is heavy by the end of the program."""
    asked = f"{program}\nimport sys; sys.exit(3 if any(name in sys.modules for name in {HEAVY}) else 0)"
    code = subprocess.run([sys.executable, "-c", asked, *arguments], timeout=60, check=False).returncode
    assert code in (0, 3), "the program failed"
    return code == 0


def test_importing_the_package_alone_imports_none_of_what_is_heavy() -> None:
    assert is_clean("import docstore")
    assert not is_clean("from docstore import DocStore")


def test_the_process_that_extracts_imports_none_of_it_whatever_it_reads(tmp_path: Path) -> None:
    # It is started for the first document of each process that adds, and takes its memory for as long as that lives.
    contents = (
        pdf(["A page."]),
        b"<html><p>A page.",
        b"# A page\n\n- of Markdown",
        "Größe und Gewähr".encode("cp1252"),
    )
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    program = """
import sys
from pathlib import Path
from docstore.ingest import worker
for path in sorted(Path(sys.argv[1]).iterdir()):
    answer, text = worker._answer({"path": str(path), "media_type": None, "limits": {}}, b"")
    assert text, answer
"""
    assert is_clean(program, str(tmp_path))
