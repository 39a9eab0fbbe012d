"""One process of the long form: reads tasks on standard input, one a line, and answers with results, both JSON.

`python -m tests.crash.process FOLDER [BREAKAGE]`, under the shim: `images` starts it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.crash.breakage import break_durability
from tests.crash.explore import Explorer
from tests.crash.sequences import Task


def main() -> None:
    """Answers until standard input ends."""
    if len(sys.argv) > 2:
        break_durability(sys.argv[2])
    explorer = Explorer(Path(sys.argv[1]), stops=len(sys.argv) > 2)
    try:
        for line in sys.stdin:
            task, bounds, seed = json.loads(line)
            sequence, first = task
            result = explorer.explore(Task(tuple(sequence), first), bounds, seed)
            print(json.dumps(asdict(result)), flush=True)
    finally:
        explorer.workers.close()


if __name__ == "__main__":
    main()
