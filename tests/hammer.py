"""One process of a crowd: random operations on a shared folder, until told to stop or killed.

`python -m tests.hammer FOLDER SEED SECONDS`. It owns the workspace `own-SEED`, whose contents it knows, and shares
`common` with everybody. Prints what its own workspace must hold, as JSON, when it ends.
"""

from __future__ import annotations

import json
import random
import sys
import time
from contextlib import suppress

from docstore import DocStore, DocumentNotFound, Workspace, refcount
from docstore.testing import HashEmbedder
from tests.folders import hash_of

TEXTS = [f"text {number} " * (1 + number * 7 % 40) for number in range(24)]
DOCUMENTS = [text.strip().encode() + end for text in TEXTS for end in (b"\n", b"\r\n")]
BY_HASH = {hash_of(data): data for data in DOCUMENTS}


def moment(workspace: Workspace) -> tuple[object, set[str]]:
    """The workspace's version and its documents: an equal version means that nothing happened in between."""
    with workspace._parts.database.read() as db:
        version = refcount.workspace_state(db, workspace._id)
        rows = refcount.references(db, workspace._id, workspace._parts.pipeline.fingerprint)
    return version, {row.document for row in rows}


def check(workspace: Workspace, expected: set[str] | None) -> None:
    """A search must find the workspace's documents, all of them and no other, with their own text."""
    before = moment(workspace)
    hits = workspace.search("text", k=1000)
    found = {hit.document for hit in hits}
    assert found == before[1] or moment(workspace) != before, (before, found)
    for hit in hits:
        text = BY_HASH[hit.document].decode().replace("\r\n", "\n")
        assert hit.text == text[hit.start : hit.end]
    if expected is not None:
        assert found == expected, (found, expected)


def hammer(folder: str, seed: int, seconds: float) -> set[str]:
    """Random operations. Returns the hashes that the process's own workspace holds at the end."""
    generator = random.Random(seed)
    end = time.monotonic() + seconds
    with DocStore(folder, embedder=HashEmbedder()) as store:
        own, common = store.workspace(f"own-{seed}"), store.workspace("common")
        held = {document.hash for document in own.documents()}
        while time.monotonic() < end:
            some = generator.sample(DOCUMENTS, generator.randint(1, 6))
            match generator.randint(0, 6):
                case 0:
                    held.add(own.add(some[0]).hash)
                case 1:
                    report = own.add_many(some)
                    assert not report.failed, report.failed
                    held |= {hash_of(data) for data in some}
                case 2 if held:
                    hash = generator.choice(sorted(held))
                    own.remove(hash)
                    held.remove(hash)
                case 3:
                    with suppress(DocumentNotFound):
                        held.add(own.link(hash_of(some[0])).hash)
                case 4:
                    common.add_many(some)
                    with suppress(DocumentNotFound):
                        common.remove(hash_of(generator.choice(DOCUMENTS)))
                case 5:
                    store.collect()
                case _:
                    check(own, held)
                    check(common, None)
        check(own, held)
    return held


if __name__ == "__main__":
    print(json.dumps(sorted(hammer(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
