"""`python -m examples.sessions_global`: one repository for all, and workspaces that reference into it.

An operator adds documents to the repository once. A workspace gets some of them by a list, or all of them, also those
that come later, by including the repository; and one user shares what he has with another, for a while.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from docstore import DocStore, Embedder, Workspace
from examples.embedder import installed_embedder

NOTES = {
    "keys.txt": b"The key of the store room hangs behind the kitchen door.",
    "leave.txt": b"Employees may carry over five days of leave into the next year.",
    "travel.txt": b"Train journeys are paid in second class.",
}


def names(workspace: Workspace, question: str) -> set[str]:
    """What a search of it covers."""
    return {hit.name for hit in workspace.search(question, k=100)}


def main(embedder: Embedder | None = None) -> dict[str, set[str]]:
    """Runs it. Returns what the searches of each covered."""
    covered = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        DocStore(Path(folder) / "data", embedder=embedder or installed_embedder()) as store,
    ):
        repository, alice, bob = (store.workspace(name) for name in ("repository", "alice", "bob"))
        for name, data in NOTES.items():
            repository.add(data, name=name)

        alice.link_many([each for each in repository.documents() if each.name != "travel.txt"])  # a list
        covered["alice, by a list"] = names(alice, "leave")

        alice.add(b"A note that alice wrote on her own leave.", name="note.txt")
        bob.include(alice)  # read-only: bob searches what she has, and cannot change it
        covered["bob, who includes alice"] = names(bob, "leave")
        bob.exclude(alice)

        bob.include(repository)
        repository.add(b"The canteen opens at noon.", name="canteen.txt")
        covered["bob, who includes the repository"] = names(bob, "leave")
        print("\n".join(f"{who}: {', '.join(sorted(some))}" for who, some in covered.items()))
    return covered


if __name__ == "__main__":
    main()
