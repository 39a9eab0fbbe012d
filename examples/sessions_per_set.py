"""`python -m examples.sessions_per_set`: the same files are one workspace, whoever asks; chats stay private.

Two users upload the same files in another order. They get the same workspace, and so share its references and what
searches keep in memory. Each includes it in a workspace of his own, which holds his chats.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from docstore import DocStore, Embedder, Workspace
from examples.embedder import installed_embedder


def session(store: DocStore, user: str, uploaded: list[Path]) -> Workspace:
    """The user's own workspace, whose searches cover the uploaded set."""
    own = store.workspace(f"user:{user}")  # or one who calls himself as a set is called could write into that
    own.include(store.workspace_for(uploaded))
    return own


def main(embedder: Embedder | None = None) -> list[str]:
    """Runs it. Returns what workspaces there are."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("keys.txt", "leave.txt")]
        files[0].write_text("The key of the store room hangs behind the kitchen door.")
        files[1].write_text("Employees may carry over five days of leave into the next year.")
        with DocStore(Path(folder) / "data", embedder=embedder or installed_embedder()) as store:
            alice = session(store, "alice", files)
            bob = session(store, "bob", files[::-1])
            for user in (alice, bob):
                hits = user.search("Where is the key?", k=1)
                user.conversation("chat").append("assistant", f"For {user.name}: {hits[0].text}", hits=hits)
            print("alice includes", alice.includes(), "and bob", bob.includes())
            print("In bob's chat:", [each.content for each in bob.conversation("chat").messages()])
            print("Embedded:", store.stats().embeddings_computed, "chunks")
            return store.workspaces()


if __name__ == "__main__":
    main()
