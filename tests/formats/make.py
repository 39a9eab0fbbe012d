"""Makes `tests/formats/<version>.tar.gz`: a small store as the installed docstore writes it.

`python -m tests.formats.make`, once for every release, before its version number changes. The archive is committed and
never made again: `tests/test_formats.py` opens all of them with the code of today.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import docstore
from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.samples import pdf

NOTE = "The store room key hangs behind the door.\n"
REPORT = "<!doctype html><title>Report</title><p>Revenue rose in spring and fell in autumn.</p>"
MANUAL = ["Switch the machine on with the green button.", "Switch it off with the red button."]
GONE = "Nobody references this any more.\n"


def fill(folder: Path) -> None:
    """What every archive holds: two workspaces, three documents, one of them shared, and one unreferenced."""
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        alice.add(NOTE.encode(), name="note.txt", metadata={"year": 2024, "tags": ["keys", "doors"]})
        bob.add(NOTE.encode(), name="keys.txt")
        alice.add(REPORT.encode(), name="report.html")
        bob.add(pdf(MANUAL), name="manual.pdf")
        alice.remove(alice.add(GONE.encode(), name="gone.txt").hash)


def main() -> None:
    archive = Path(__file__).parent / f"{docstore.__version__}.tar.gz"
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive, "x:gz") as tar:
        fill(Path(folder) / "store")
        tar.add(Path(folder) / "store", "store")
    print(archive)


if __name__ == "__main__":
    main()
