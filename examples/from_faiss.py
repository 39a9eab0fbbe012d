"""`python -m examples.from_faiss CHATS DATA`: a FAISS index for each chat, as LangChain keeps them, moved into a store.

CHATS has a folder for each chat, with `index.faiss` and `index.pkl` in it. The files that were indexed are added from
where they lie; those that are gone are put together from their chunks. It can be stopped and run again: what is moved
already is not embedded again.

`index.pkl` is a pickle, and reading one runs what it says: only for indexes that your own application wrote.
"""

from __future__ import annotations

import sys
from collections import Counter
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
        found.setdefault(str(document.metadata.get("source") or "unnamed"), []).append(document.page_content)
    return found


def joined(pieces: list[str]) -> str:
    """One text of its pieces, with what two neighbours share, as splitters make them, once."""
    longest = max(map(len, pieces), default=0)
    parts: list[str] = []
    end = ""  # of the text, as much as a piece can share: of the whole, thousands of pieces would take the square
    for piece in pieces:
        shared = _shared(end, piece)
        parts.append(piece[shared:] if shared or not end else f"\n{piece}")
        end = (end + parts[-1])[-longest:]
    return "".join(parts)


def _shared(end: str, piece: str) -> int:
    """How many characters, as many as there are, that the piece begins with are what the text ends in."""
    if len(piece) < SHORTEST_OVERLAP:
        return 0
    start = end.find(piece[:SHORTEST_OVERLAP])
    while start >= 0 and not piece.startswith(end[start:]):
        start = end.find(piece[:SHORTEST_OVERLAP], start + 1)
    return len(end) - start if start >= 0 else 0


def documents(chat: Path) -> Iterator[NewDocument]:
    """What a chat has: the file where there is one, or a text of its chunks under its name."""
    found = chunks(chat)
    names = Counter(Path(source).name for source in found)
    for source, pieces in found.items():
        name = Path(source).name
        # Beside the index a file of this name can be of one source only.
        places = [Path(source), chat / name] if names[name] == 1 else [Path(source)]
        original = next(filter(_is_file, places), None)
        yield NewDocument(original or joined(pieces).encode(), name=name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # an address on the web, which may be too long for a name
        return False


def move(chats: Path, store: DocStore) -> int:
    """Gives each chat a workspace of its name.

    Returns:
        How many files, and whole chats, could not be moved; why is printed.
    """
    failed = 0
    for chat in sorted(path.parent for path in chats.glob("*/index.faiss")):
        try:
            workspace, found = store.workspace(chat.name), list(documents(chat))
        except Exception as error:  # noqa: BLE001  (a damaged pickle raises anything; the other chats are moved)
            print(f"{chat.name}: not moved: {type(error).__name__}: {error}", file=sys.stderr)
            failed += 1
            continue
        report = workspace.add_many(found)
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
