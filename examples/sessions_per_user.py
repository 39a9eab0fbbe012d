"""`python -m examples.sessions_per_user`: a workspace per user, reused by all chats of the user.

The first chat adds the user's files; every later chat finds them, and embeds nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from docstore import DocStore, Embedder, Message
from examples.embedder import installed_embedder


def chat(store: DocStore, user: str, title: str, files: list[Path], question: str) -> Message:
    """One chat of a user: makes sure of the files, searches, and keeps what was said."""
    workspace = store.workspace(user)
    for failure in workspace.add_many(files).failed:  # what is there costs a look
        print(failure.error)  # what the user should hear of, and can mend
    conversation = workspace.conversation(title)
    conversation.append("user", question)
    hits = workspace.search(question, k=1)
    answer = hits[0].text if hits else "There is nothing to search yet."  # where a language model would write it
    return conversation.append("assistant", answer, hits=hits)


def main(embedder: Embedder | None = None) -> int:
    """Runs it. Returns how many chunks the second chat embedded."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("keys.txt", "leave.txt")]
        files[0].write_text("The key of the store room hangs behind the kitchen door.")
        files[1].write_text("Employees may carry over five days of leave into the next year.")
        with DocStore(Path(folder) / "data", embedder=embedder or installed_embedder()) as store:
            chat(store, "alice", "Keys", files, "Where is the key?")
            before = store.stats().embeddings_computed
            answer = chat(store, "alice", "Leave", files, "How many days of leave may I carry over?")
            embedded = store.stats().embeddings_computed - before
            print(f"The second chat embedded {embedded} chunks.")
            print(f"assistant: {answer.content} (from {answer.sources[0].name})")
            print("alice's chats:", ", ".join(each.name for each in store.workspace("alice").conversations()))
    return embedded


if __name__ == "__main__":
    main()
