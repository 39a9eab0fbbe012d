"""Text is a layer of its own: shared by documents that give the same, stored compressed, read in pieces."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import DocStore, IntegrityError, Workspace, passages, texts
from docstore.memory import Memory
from docstore.testing import HashEmbedder
from docstore.texts import Text, blocks_of, compress, cut, decompress, read_blocks
from tests.folders import files
from tests.samples import pdf, with_title
from tests.zstandard import zstd


def test_a_reexport_shares_text_and_vectors(
    store: DocStore, alice: Workspace, bob: Workspace, embedder: HashEmbedder, folder: Path
) -> None:
    original = pdf(["The same words", "on two pages"], title="Draft")
    export = with_title(original, "Final")
    assert original != export
    first, second = alice.add(original), bob.add(export)
    assert first.hash != second.hash
    assert (first.reused, second.reused) == (False, True)
    assert embedder.embedded == 2
    assert len(files(folder, "documents")) == 2
    assert len(files(folder, "texts")) == 1
    assert len(files(folder, "embeddings")) == 2
    alice.remove(first.hash)
    store.collect()
    assert bob.search("words")[0].document == second.hash
    bob.remove(second.hash)
    store.collect()
    assert files(folder) == []


def test_both_documents_of_a_shared_text_are_hits(alice: Workspace) -> None:
    hashes = {alice.add(data).hash for data in (b"the same words\n", b"the same words\r\n")}
    hits = alice.search("words")
    assert {hit.document for hit in hits} == hashes
    assert hits[0].score == hits[1].score
    assert hits[0].document < hits[1].document


def _piece(file: BinaryIO, hash: str, first: int, last: int) -> str:
    blocks = read_blocks(file, hash, blocks_of(hash, first, last))
    return cut(hash, blocks, first, last)


@given(st.text(min_size=1, max_size=2000), st.integers(1, 60), st.data())
def test_pieces_equal_slices(seed: str, repeat: int, data: st.DataObject) -> None:
    content = (seed * repeat).encode("utf-8", "ignore").decode()
    if not content:
        return
    text = Text.of(content)
    file = compress(text)
    assert decompress(file, text.hash, len(text.content)) == text
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    first, last = len(content[:start].encode()), len(content[:end].encode())
    assert _piece(io.BytesIO(file), text.hash, first, last) == content[start:end]


def test_a_piece_costs_a_frame_not_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Text.of("".join(f"{number:07} " for number in range(500_000)))
    file = compress(text)
    assert len(file) < len(text.content) / 2

    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.read_bytes += len(data)
            return data

        def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
            count = super().readinto(buffer)
            self.read_bytes += count
            return count

    source = Counting(file)
    assert _piece(source, text.hash, 2_000_000, 2_000_016) == "0250000 0250001 "
    assert source.read_bytes < 200_000


def test_any_zstd_reads_the_stored_file() -> None:
    text = Text.of("readable by others " * 10_000)
    assert zstd.decompress(compress(text)) == text.content.encode()


def test_every_damaged_byte_is_noticed() -> None:
    text = Text.of("some words that are stored " * 40)
    file = bytearray(compress(text))
    for position in range(len(file)):
        damaged = bytes(file[:position]) + bytes([file[position] ^ 1]) + bytes(file[position + 1 :])
        try:
            found = decompress(damaged, text.hash, len(text.content))
        except IntegrityError:
            continue
        assert found == text  # a byte that the format does not use, such as a checksum of the frame table


def test_a_hit_from_a_damaged_text_is_an_integrity_error(alice: Workspace, folder: Path) -> None:
    alice.add(b"some words that are stored " * 40)
    (path,) = files(folder, "texts")
    data = bytearray((folder / path).read_bytes())
    data[20] ^= 0xFF
    (folder / path).write_bytes(data)
    with pytest.raises(IntegrityError, match="docstore repair"):
        alice.search("words")


def test_no_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Text.of("some words that are stored " * 40)
    file = compress(text)

    class Full:
        def __init__(self, **_: object) -> None:
            pass

        def refuse(self, *_: object) -> bytes:
            raise zstd.ZstdError("Unable to compress Zstandard data: Allocation error : not enough memory")

        compress = decompress = refuse
        FLUSH_FRAME = 2

    for name in ("ZstdCompressor", "ZstdDecompressor"):
        monkeypatch.setattr(texts, name, Full)
    with pytest.raises(MemoryError):
        compress(text)
    with pytest.raises(MemoryError):
        decompress(file, text.hash, len(text.content))


def test_blocks_in_memory_count_what_they_take(store: DocStore, alice: Workspace) -> None:
    """Of short texts the objects take more than the texts."""
    alice.add_many([f"note {number}".encode() for number in range(500)])
    kept, some = Memory(1 << 30), [hit.document for hit in alice.search("note", k=500)]
    files = store._parts.texts
    assert len(some) == 500
    tracemalloc.start()
    try:
        passages.read(files, kept, 0, [(hash, 0, 4) for hash in some])
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(kept._values) == 500
    assert 0.8 * taken < kept._used < 1.3 * taken
