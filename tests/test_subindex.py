"""Sub-index files: valid FAISS, float16 by default, never given to FAISS before their hash was checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore, EmbeddingError, IntegrityError, InvalidArgument, PipelineMismatch, Workspace
from docstore.ingest import pipeline
from docstore.testing import HashEmbedder
from docstore.vectors import decode, decode_index, decode_spans, empty_index, encode, encode_index
from tests.folders import execute, files, hash_of
from tests.oracle import chunks_of

TEXT = "".join(f"Sentence number {number} is about topic {number % 7}. " for number in range(100))


def index_path(folder: Path) -> Path:
    return next(folder / path for path in files(folder, "embeddings") if path.name == "index.faiss")


def test_any_faiss_opens_it(alice: Workspace, folder: Path, embedder: HashEmbedder) -> None:
    document = alice.add(TEXT.encode())
    index = faiss.read_index(str(index_path(folder)))
    assert isinstance(index, faiss.IndexScalarQuantizer)
    assert index.sq.qtype == faiss.ScalarQuantizer.QT_fp16
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert (index.ntotal, index.d) == (document.chunks, 64)
    vectors = index.reconstruct_n(0, index.ntotal)
    np.testing.assert_allclose(vectors, embedder.embed(chunks_of(TEXT)), atol=1e-3)
    spans = np.load(index_path(folder).with_name("chunks.npy"), allow_pickle=False)
    assert [TEXT[span["start"] : span["end"]] for span in spans] == chunks_of(TEXT)


def test_float32_is_exact(folder: Path, embedder: HashEmbedder) -> None:
    with DocStore(folder, embedder=embedder, codec="float32") as store:
        store.workspace("alice").add(TEXT.encode())
    index = faiss.read_index(str(index_path(folder)))
    assert isinstance(index, faiss.IndexFlat)
    np.testing.assert_array_equal(index.reconstruct_n(0, index.ntotal), embedder.embed(chunks_of(TEXT)))


def test_chunks_of_like_length_are_embedded_together(
    alice: Workspace, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []
    embed = embedder.embed

    def recorded(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        batches.append([len(text) for text in texts])
        return embed(texts)

    monkeypatch.setattr(embedder, "embed", recorded)
    monkeypatch.setattr(pipeline, "EMBED_AT_ONCE", 4)
    texts = [TEXT, "Short.", "A little longer.", TEXT[:900], TEXT[300:2500]]
    alice.add_many(text.encode() for text in texts)
    lengths = [length for batch in batches for length in batch]
    assert lengths == sorted(lengths, reverse=True)
    assert max(map(len, batches)) == 4
    for text in texts:
        for chunk in chunks_of(text):  # each vector is still its own chunk's
            hit = alice.search(chunk, k=1)[0]
            assert hit.score == pytest.approx(1, abs=1e-3)
            assert hit.text == chunk


def test_unknown_codec(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="float16"):
        DocStore(folder, embedder=HashEmbedder(), codec="int4")  # type: ignore[arg-type]


def test_faiss_never_sees_bytes_that_do_not_hash(
    folder: Path, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DocStore(folder, embedder=embedder) as store:
        store.workspace("alice").add(TEXT.encode())
    path = index_path(folder)
    data = bytearray(path.read_bytes())
    data[8:16] = b"\xff" * 8  # the number of vectors, which FAISS's reader believes
    path.write_bytes(data)

    def forbidden(_: object) -> object:
        raise AssertionError("FAISS was given bytes that were not checked")

    monkeypatch.setattr(faiss, "deserialize_index", forbidden)
    with DocStore(folder, embedder=embedder) as store, pytest.raises(IntegrityError, match="changed or damaged"):
        store.workspace("alice").search("topic")


def test_a_catalog_that_lies_about_a_hash_does_not_crash_the_process(folder: Path, embedder: HashEmbedder) -> None:
    with DocStore(folder, embedder=embedder) as store:
        store.workspace("alice").add(TEXT.encode())
    path = index_path(folder)
    other = encode_index(encode(np.eye(64, dtype=np.float32)[:2], "float32"), 64, "float32")
    path.write_bytes(other)
    execute(folder, "UPDATE subindexes SET index_hash = ?, index_size = ?", hash_of(other), len(other))
    with DocStore(folder, embedder=embedder) as store, pytest.raises(IntegrityError, match="no float16 index of 64"):
        store.workspace("alice").search("topic")


@pytest.mark.parametrize("data", [b"", b"IxSQ", b"IxFI" + bytes(30), b"IHNf" + b"\xff" * 100])
def test_what_is_no_index(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode_index(data, 64, "float16")


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"\x80\x04\x95pickle"])
def test_what_are_no_spans(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode_spans(data)


def test_a_lost_file_is_not_deduplicated_onto(store: DocStore, alice: Workspace, bob: Workspace, folder: Path) -> None:
    hash = alice.add(TEXT.encode()).hash
    for path in files(folder):
        (folder / path).unlink()
        if path.parts[0] == "embeddings":
            assert not bob.add(TEXT.encode()).reused
        else:
            bob.add(TEXT.encode())
        assert (folder / path).is_file(), path
        assert store.verify().ok
        bob.remove(hash)
    (folder / path).write_bytes(b"cut")
    bob.add(TEXT.encode())
    assert store.verify().ok
    assert alice.search("topic 3", k=1) == bob.search("topic 3", k=1)


def test_reused_is_about_this_add_not_about_the_reference(alice: Workspace, bob: Workspace, folder: Path) -> None:
    assert not alice.add(TEXT.encode()).reused
    assert alice.add(TEXT.encode()).reused
    assert bob.add(TEXT.encode()).reused
    index_path(folder).unlink()
    assert not bob.add(TEXT.encode()).reused


def test_a_lost_document_is_healed_under_any_name(store: DocStore, alice: Workspace, folder: Path) -> None:
    data = b"some *words*\n"
    alice.add(data, name="a.txt")
    (blob,) = files(folder, "documents")
    (folder / blob).unlink()
    document = alice.add(data, name="a.md")
    assert (document.media_type, document.reused) == ("text/plain", True)
    assert files(folder, "documents") == [blob]
    assert store.verify().ok
    assert alice.search("words")[0].text == data.decode()


def test_a_missing_index_says_what_to_do(folder: Path, embedder: HashEmbedder) -> None:
    with DocStore(folder, embedder=embedder) as store:
        store.workspace("alice").add(TEXT.encode())
        index_path(folder).unlink()
        with pytest.raises(IntegrityError, match=r"is missing.*docstore repair"):
            store.workspace("alice").search("topic")
        store.workspace("alice").add(TEXT.encode())
        assert store.workspace("alice").search("topic")


class TestPipelines:
    def test_another_embedder_is_another_index_version(self, folder: Path) -> None:
        with DocStore(folder, embedder=HashEmbedder(64)) as store:
            hash = store.workspace("alice").add(TEXT.encode()).hash
        with DocStore(folder, embedder=HashEmbedder(32)) as store:
            alice = store.workspace("alice")
            with pytest.raises(PipelineMismatch, match="1 of 1 documents"):
                alice.search("topic")
            assert not alice.link(hash).reused
            assert alice.search("topic")
            assert len(files(folder, "embeddings")) == 4
            assert len(files(folder, "documents")) == 1
            assert store.verify().ok
        with DocStore(folder, embedder=HashEmbedder(64)) as store:
            assert store.workspace("alice").search("topic")
            store.delete_workspace("alice")
            store.collect()
        assert files(folder) == []

    @pytest.mark.parametrize("others", [0, 2, 6])
    def test_what_another_program_stored_again_is_no_damage(self, folder: Path, others: int) -> None:
        """Its vectors are in memory, and the file with the places of its chunks is gone."""
        with DocStore(folder, embedder=HashEmbedder(64)) as store, DocStore(folder, embedder=HashEmbedder(32)) as new:
            alice = store.workspace("alice")
            alice.add_many([b"The red fox.", TEXT.encode(), b"A white hare."])
            assert alice.search("fox", k=1)
            alice.remove(hash_of(TEXT.encode()))
            store.collect()
            new.workspace("alice").add(TEXT.encode())
            for number in range(others):  # by more steps the next view is made of all that the workspace references
                alice.add(b"Another animal, number %d." % number)
            for _ in range(2):
                with pytest.raises(PipelineMismatch):
                    alice.search("topic", k=9)
            assert store.verify().ok

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"chunk_size": 500}, "chunk_size 1000 instead of 500."),
            ({"chunk_overlap": 100}, "chunk_overlap 200 instead of 100."),
            ({"codec": "float32"}, "codec 'float16' instead of 'float32'."),
            (
                {"embedder": HashEmbedder(32), "codec": "float32"},
                "the fingerprint 'docstore.testing.HashEmbedder/64' instead of 'docstore.testing.HashEmbedder/32', "
                "the dimension 64 instead of 32, codec 'float16' instead of 'float32'.",
            ),
        ],
    )
    def test_what_changes_vectors_changes_the_fingerprint_and_a_search_says_what(
        self, folder: Path, change: dict[str, Any], told: str
    ) -> None:
        with DocStore(folder, embedder=HashEmbedder()) as store:
            store.workspace("alice").add(TEXT.encode(), name="a.txt")
        settings: dict[str, Any] = {"embedder": HashEmbedder()} | change
        told = f"this store was opened with. 'a.txt' was embedded with {told} Open it with"
        with DocStore(folder, **settings) as store, pytest.raises(PipelineMismatch, match=re.escape(told)):
            store.workspace("alice").search("topic")

    def test_of_several_ways_a_document_was_embedded_a_search_names_the_nearest(self, folder: Path) -> None:
        for embedder in (HashEmbedder(64), HashEmbedder(32)):
            with DocStore(folder, embedder=embedder) as store:
                store.workspace("alice").add(TEXT.encode())
        with (
            DocStore(folder, embedder=HashEmbedder(32), chunk_size=500) as store,
            pytest.raises(PipelineMismatch, match=r"with chunk_size 1000 instead of 500\."),
        ):
            store.workspace("alice").search("topic")

    @pytest.mark.parametrize("described", ["no JSON", "[]", "[" * 100_000, '{"chunker": 3}'])
    def test_what_nobody_described_well_is_not_named(self, folder: Path, described: str) -> None:
        with DocStore(folder, embedder=HashEmbedder()) as store:
            store.workspace("alice").add(TEXT.encode())
        execute(folder, "UPDATE pipelines SET description = ?", described)
        with (
            DocStore(folder, embedder=HashEmbedder(), chunk_size=500) as store,
            pytest.raises(PipelineMismatch, match=r"opened with\. Open it with those"),
        ):
            store.workspace("alice").search("topic")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((1, 64), np.float32), "zero or not finite"),
        (np.full((1, 64), np.nan, np.float32), "zero or not finite"),
        (np.full((1, 64), np.inf, np.float32), "zero or not finite"),
        (np.ones((1, 63), np.float32), r"shape \(1, 63\)"),
        (np.ones((2, 64), np.float32), r"shape \(2, 64\)"),
        ("text", "failed on 1 texts"),
        (None, "failed on 1 texts|returned shape"),
    ],
)
def test_an_embedder_is_not_trusted(folder: Path, vectors: object, message: str) -> None:
    class Wrong(HashEmbedder):
        def embed(self, texts: object, /) -> np.ndarray:
            return vectors  # type: ignore[return-value]

    with DocStore(folder, embedder=Wrong()) as store, pytest.raises(EmbeddingError, match=message):
        store.workspace("alice").add(b"one")
    assert files(folder) == []


def test_what_is_no_embedder(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="needs fingerprint, dimension"):
        DocStore(folder, embedder=object())  # type: ignore[arg-type]


@pytest.mark.parametrize("subnormals_count", [True, False])
def test_halves_are_decoded_as_faiss_decodes_them(subnormals_count: bool) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    halves = halves[np.isfinite(halves.view(np.float16))]
    codes = halves.view(np.uint8).reshape(-1, 2 * len(halves) // 64)
    faisss = empty_index(codes.shape[1] // 2, "float16").sa_decode(codes)
    torch = pytest.importorskip("torch")
    assert subnormals_count or torch.set_flush_denormal(True), "this processor cannot take them for zero"
    try:
        ours = decode(codes, codes.shape[1] // 2, "float16")
    finally:
        torch.set_flush_denormal(False)
    assert np.array_equal(ours.view(np.int32), faisss.view(np.int32))
    assert np.count_nonzero(ours) == len(halves) - 2, "all but the two zeros"
