"""`python -m examples.from_faiss CHATS DATA`: a FAISS index for each chat, as LangChain keeps them, moved into a store.

CHATS has a folder for each chat, with `index.faiss` and `index.pkl` in it. The files that were indexed are added from
where they lie; those that are gone are put together from their chunks. It can be stopped and run again: what is moved
already is not embedded again.

`index.pkl` is a pickle, and reading one runs what it says: only for indexes that your own application wrote.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from langchain_community.vectorstores import FAISS
from langchain_core.embeddings import FakeEmbeddings

from docstore import DocStore, NewDocument

SHORTEST_OVERLAP = 20
"""Characters. Fewer may be the same by chance, and a text would lose them."""


def chunks(chat: Path) -> dict[str, list[str]]:
    """The chunks of each file that a chat has, in their order, by what LangChain's loaders call its source."""
    # The embeddings are asked where something is embedded, which nothing is here.
    index = FAISS.load_local(str(chat), FakeEmbeddings(size=1), allow_dangerous_deserialization=True)
    found: dict[str, list[str]] = {}
    for _, name in sorted(index.index_to_docstore_id.items()):
        document = index.docstore.search(name)
        found.setdefault(str(document.metadata.get("source", "unnamed")), []).append(document.page_content)
    return found


def joined(pieces: list[str]) -> str:
    """One text of its pieces, with what two neighbours share, as splitters make them, once."""
    text = ""
    for piece in pieces:
        lengths = range(min(len(text), len(piece)), SHORTEST_OVERLAP - 1, -1)
        shared = next((length for length in lengths if text.endswith(piece[:length])), None)
        text += piece[shared:] if shared else f"\n{piece}" if text else piece
    return text


def documents(chat: Path) -> Iterator[NewDocument]:
    """What a chat has: the file where there is one, or a text of its chunks under its name."""
    for source, pieces in chunks(chat).items():
        name = Path(source).name
        original = next((path for path in (Path(source), chat / name) if path.is_file()), None)
        yield NewDocument(original or joined(pieces).encode(), name=name)


def move(chats: Path, store: DocStore) -> int:
    """Gives each chat a workspace of its name.

    Returns:
        How many files could not be moved; why is printed.
    """
    failed = 0
    for chat in sorted(path.parent for path in chats.glob("*/index.faiss")):
        report = store.workspace(chat.name).add_many(documents(chat))
        print(f"{chat.name}: {len(report.added)} new, {len(report.reused)} that others have")
        for failure in report.failed:
            print(f"{chat.name}: {failure.error}", file=sys.stderr)
        failed += len(report.failed)
    return failed


def main() -> int:
    """Runs it."""
    if len(sys.argv) != 3:
        print("usage: python -m examples.from_faiss CHATS DATA", file=sys.stderr)
        return 2
    with DocStore(sys.argv[2]) as store:  # with the embedder that your application will search with
        failed = move(Path(sys.argv[1]), store)
        stats = store.stats()
        print(f"{stats.references} references to {stats.documents} documents, {stats.physical_bytes / 1e6:.1f} MB")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
