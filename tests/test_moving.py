"""`examples/from_faiss.py`: what LangChain's FAISS store wrote for each chat, moved into one store."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.samples import pdf

pytestmark = [
    pytest.mark.skipif(find_spec("langchain_community") is None, reason="it is not installed: `make applications`"),
    pytest.mark.filterwarnings("default"),  # frameworks warn of one another, and in the tests a warning is an error
]

MANUAL = "\n\n".join(f"Rule {each}: nobody enters room {each} without the key of room {each + 1}." for each in range(9))


def write(chat: Path, texts: list[tuple[str, str]]) -> None:
    """An index of these texts, each with its source, as an application makes it of what LangChain's splitter gives."""
    from langchain_community.vectorstores import FAISS
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(chunk_size=300, chunk_overlap=100)
    pieces = splitter.split_documents([Document(text, metadata={"source": source}) for source, text in texts])
    FAISS.from_documents(pieces, DeterministicFakeEmbedding(size=16)).save_local(str(chat))


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Three chats: a PDF that lies where it was indexed, one that lies beside the index, and a text that is gone."""
    handbook, copied = tmp_path / "handbook.pdf", tmp_path / "chats" / "bob-1" / "handbook.pdf"
    write(tmp_path / "chats" / "alice-1", [(str(handbook), "Five days of leave."), ("uploads/1/manual.txt", MANUAL)])
    write(tmp_path / "chats" / "bob-1", [("uploads/7/handbook.pdf", "Five days of leave.")])
    write(tmp_path / "chats" / "bob-2", [("uploads/8/the manual.txt", MANUAL)])
    for path in (handbook, copied):
        path.write_bytes(pdf(["Five days of leave."]))
    return tmp_path / "chats"


def contents(store: DocStore) -> dict[str, dict[str, str]]:
    """By workspace and name, the hash."""
    given = {name: store.workspace(name).documents() for name in store.workspaces()}
    return {name: {str(each.name): each.hash for each in documents} for name, documents in given.items()}


def test_what_chats_share_is_stored_once_and_found_as_before(chats: Path, folder: Path) -> None:
    from examples.from_faiss import move

    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert move(chats, store) == 0
        found = contents(store)
        assert set(found) == {"alice-1", "bob-1", "bob-2"}
        assert found["alice-1"]["handbook.pdf"] == found["bob-1"]["handbook.pdf"]
        assert found["alice-1"]["manual.txt"] == found["bob-2"]["the manual.txt"]
        assert (store.stats().documents, store.stats().references) == (2, 4)
        with store.workspace("bob-2").read(found["bob-2"]["the manual.txt"]) as file:
            assert file.read().decode().split() == MANUAL.split()
        hits = store.workspace("bob-2").search("nobody enters room 7 without the key of room 8", k=3)
        assert any("Rule 7:" in hit.text for hit in hits)
        computed = store.stats().embeddings_computed
        assert move(chats, store) == 0
        assert contents(store) == found and store.stats().embeddings_computed == computed


def test_what_cannot_be_moved_is_told_and_the_rest_is_moved(chats: Path, folder: Path, capsys: Any) -> None:
    from examples.from_faiss import move

    (chats / "bob-1" / "handbook.pdf").write_bytes(b"%PDF-1.7 broken")
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert move(chats, store) == 1
        assert "bob-1: handbook.pdf: the PDF is damaged" in capsys.readouterr().err
        assert sorted(contents(store)["alice-1"]) == ["handbook.pdf", "manual.txt"]


def test_sources_of_one_name_and_those_that_are_no_paths_lose_nothing(tmp_path: Path) -> None:
    from examples.from_faiss import documents

    address = f"https://example.com/page?{'q' * 300}"
    write(tmp_path, [("a/x.txt", "The first."), ("b/x.txt", "The second."), (address, "A page."), ("", "Of nothing.")])
    (tmp_path / "x.txt").write_text("The first, or the second?")
    assert {(each.source, each.name) for each in documents(tmp_path)} == {
        (b"The first.", "x.txt"),
        (b"The second.", "x.txt"),
        (b"A page.", Path(address).name),
        (b"Of nothing.", "unnamed"),
    }


@pytest.mark.parametrize("damaged", ["index.faiss", "index.pkl"])
def test_a_chat_whose_index_is_damaged_is_told_and_the_others_are_moved(
    chats: Path, folder: Path, capsys: Any, damaged: str
) -> None:
    from examples.from_faiss import move

    (chats / "alice-1" / damaged).write_bytes(b"damaged")
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert move(chats, store) == 1
        assert "alice-1: not moved: " in capsys.readouterr().err
        assert [contents(store).get(chat, {}).keys() for chat in ("bob-1", "bob-2")] == [
            {"handbook.pdf"},
            {"the manual.txt"},
        ]


@pytest.mark.parametrize(("count", "length"), [(20_000, 1_000), (2, 2_000_000)])
def test_many_and_long_pieces_are_joined_at_once(count: int, length: int) -> None:
    from examples.from_faiss import joined

    step, text = length * 4 // 5, "".join(f"{number:08x}" for number in range(count * length // 10 + length // 8))
    pieces = [text[first : first + length] for first in range(0, count * step, step)]
    began = time.process_time()
    assert joined(pieces) == text[: (count - 1) * step + length]
    assert time.process_time() - began < 5  # some 0.1 s


def test_pieces_are_joined_without_what_they_share() -> None:
    from examples.from_faiss import joined

    shared = "and this is what both of them have, "
    assert joined([f"The first, {shared}".strip(), f"{shared.strip()} and more."]) == f"The first, {shared}and more."
    assert joined(["It ends in an e", "even so"]) == "It ends in an e\neven so"  # by chance, not overlapping
    assert joined([]) == "" and joined(["one"]) == "one"
