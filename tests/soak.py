"""Users come, chat, get updates, share, meet limits, expire and leave: processes of threads on one store.

    python -m tests.soak --processes 2 --threads 3 --seconds 600

Each user knows which manuals its workspace has, which versions it pinned, and every message it wrote. In the end all of
that is still so, the store verifies, counts are what the references say, and nothing is left of it once everything is
deleted and collected. Prints what was done; exits with 1 and says what is wrong otherwise.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.emptying import assert_ends_empty
from tests.folders import problems
from tests.soak_users import Known, check

ROOT = Path(__file__).parent.parent
_LATE = 120  # seconds that a process may need for the operation it is in


def soak(folder: Path, processes: int, threads: int, seconds: float, seed: int) -> Counter[str]:
    """All of it, in `folder`, which must be empty. Returns how often each thing was done."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.soak_users", str(folder / "store"), str(folder / f"{number}.json"),
             str(number), str(threads), str(seconds), str(seed)],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    errors = "".join(process.communicate(timeout=seconds + _LATE)[1] for process in running)
    assert not errors and all(process.returncode == 0 for process in running), errors
    done = Counter[str]()
    with DocStore(folder / "store", embedder=HashEmbedder(), chunk_size=200, chunk_overlap=40) as store:
        for number in range(processes):
            for name, each in json.loads((folder / f"{number}.json").read_text()).items():
                known = Known(**each)
                done.update(known.done)
                check(store.workspace(name), known, name)
        report = store.verify()
        assert report.ok, report.problems
        done["embeddings computed"] = store.stats().embeddings_computed
        done["embeddings avoided"] = store.stats().embeddings_avoided
    assert problems(folder / "store") == []
    assert_ends_empty(folder / "store")
    return done


def main(
    processes: int = 2,
    threads: int = 3,
    seconds: float = 600,
    seed: int = 1,
    folder: Annotated[Path | None, typer.Option(help="For the store; kept. By default a temporary one.")] = None,
) -> None:
    """Lets users work on a store, and prints what they did."""
    root = Path(tempfile.mkdtemp()) if folder is None else folder
    root.mkdir(exist_ok=True)
    for what, count in soak(root, processes, threads, seconds, seed).most_common():
        print(f"{count:>9,}  {what}")
    if folder is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    typer.run(main)
