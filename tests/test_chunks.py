"""Chunks: natural boundaries, no gap, nothing longer than the model reads."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docstore import DocStore, InvalidArgument, SentenceTransformerEmbedder
from docstore.ingest import chunk
from docstore.ingest.chunk import Chunker, _cuts
from docstore.testing import HashEmbedder

MINILM = SentenceTransformerEmbedder()

DENSE = "f(x_1,x_2)=\\sum_{i=0}^{n-1}a_{ij}\\cdot\\frac{\\partial u}{\\partial x_i}; %$#@! 3.14159e-26 0xDEADBEEF "
PROSE = "The committee met again on Tuesday. It was raining, and nobody had brought the minutes of the last meeting. "


def assert_covered(content: str, chunker: Chunker, size: int) -> None:
    spans = chunker.spans(content)
    covered = 0
    for span in spans:
        assert span["start"] <= covered, "a gap"
        assert span["start"] < span["end"]
        assert span["end"] - span["start"] <= size
        assert content[span["start"] : span["end"]].encode() == content.encode()[span["first_byte"] : span["last_byte"]]
        covered = max(covered, int(span["end"]))
    assert covered == len(content)


@pytest.mark.parametrize(
    "content",
    [
        DENSE * 200,
        PROSE * 100,
        "x" * 5000,
        "word " * 60_000,
        "漢字かな交じり文" * 700,
        "e" + "\u0301" * 3000,
        "👨‍👩‍👧‍👦" * 800,
        "\n" * 3000 + "a",
        "한국어 문장입니다 " * 500,
        "ﷺ﷽" * 500,
        "\f\f".join([PROSE * 20, DENSE * 30, "end"]) + "\f",
    ],
)
def test_every_character_is_read_whole_by_the_model(content: str) -> None:
    chunker = Chunker(1000, 200, MINILM.max_tokens, MINILM.count_tokens)
    assert_covered(content, chunker, 1000)
    model = MINILM._as_library()
    for span in chunker.spans(content):
        chunk = content[span["start"] : span["end"]]
        # What the model itself makes of the chunk, truncation included, is all there is of it.
        read = model.tokenizer([chunk], truncation=True, max_length=256)["input_ids"][0]
        whole = model.tokenizer([chunk], truncation=False, verbose=False)["input_ids"][0]
        assert read == whole


text = st.text(
    alphabet=st.sampled_from("ab .\n\f\t€𝄞é") | st.characters(codec="utf-8"), min_size=1, max_size=3000
).filter(lambda content: content.strip("\f") != "")


@given(text, st.integers(1, 300), st.data())
def test_chunks_cover_any_text(content: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    assert_covered(content, Chunker(size, overlap), size)


@given(text, st.integers(8, 60))
def test_without_a_tokenizer_bytes_bound_the_tokens(content: str, max_tokens: int) -> None:
    chunker = Chunker(1000, 100, max_tokens)
    assert_covered(content, chunker, 1000)
    for span in chunker.spans(content):
        assert span["last_byte"] - span["first_byte"] + 2 <= max_tokens


def test_neighbours_overlap_on_natural_boundaries() -> None:
    content = PROSE * 100
    spans = Chunker(1000, 200).spans(content)
    overlaps = spans["end"][:-1].astype(int) - spans["start"][1:].astype(int)
    assert (overlaps > 0).all()
    assert (overlaps <= 200).all()
    for span in spans[:-1]:
        assert content[: span["end"]].endswith(". ")


def test_long_texts_are_cut_like_their_parts() -> None:
    # Windows are an economy; where they begin must not show.
    content = "".join(f"Sentence number {number} stands here. " for number in range(20_000))
    spans = Chunker(1000, 200).spans(content)
    lengths = np.diff(spans["start"].astype(int))
    assert lengths.min() > 700
    assert lengths.max() <= 1000


def test_chunks_do_not_cross_pages() -> None:
    content = "\f".join(PROSE * 15 for _ in range(4))
    for span in Chunker(1000, 200).spans(content):
        chunk = content[span["start"] : span["end"]]
        assert "\f" not in chunk.strip("\f")
        assert span["page"] == content[: span["start"]].count("\f") + 1 + chunk.startswith("\f")


LINES = [f"{(number * 7919) % 1009} sentences stand in line {number} of a text without pages." for number in range(600)]


def chunk_texts(content: str, size: int = 300, overlap: int = 60) -> list[str]:
    spans = Chunker(size, overlap).spans(content)
    return [content[span["start"] : span["end"]] for span in spans]


@given(st.integers(0, 599), st.integers(0, 40), st.integers(0, 60), st.sampled_from(["\n", "\n\n"]))
def test_an_edit_moves_no_boundary_far_from_it(at: int, removed: int, inserted: int, end: str) -> None:
    new = [f"Inserted line {number} says something else." for number in range(inserted)]
    old_chunks = set(chunk_texts(end.join(LINES)))
    chunks = chunk_texts(end.join([*LINES[:at], *new, *LINES[at + removed :]]))
    strange = [chunk for chunk in chunks if chunk not in old_chunks and "Inserted" not in chunk]
    assert len(strange) <= 30  # of 200: what lies between the cuts before and behind the edit


@pytest.mark.parametrize("end", ["\n", "\n\n"])
def test_sections_are_not_short_and_begin_at_lines(end: str) -> None:
    content = end.join(LINES)
    cuts = _cuts(content, 0, len(content), 600)
    bounds = [0, *cuts, len(content)]
    assert len(cuts) > 10
    assert min(after - before for before, after in pairwise(bounds)) > 600
    for cut in cuts:
        assert content[:cut].endswith(end)
        assert content[cut] != "\n"


def test_a_section_begins_after_a_blank_line_if_there_is_one() -> None:
    content = "\n".join(line + "\n" * (number % 5 == 0) for number, line in enumerate(LINES))
    cuts = _cuts(content, 0, len(content), 600)
    assert cuts
    for cut in cuts:
        assert content[:cut].endswith("\n\n")


def test_lines_that_repeat_make_no_cut() -> None:
    assert _cuts("the same line\n" * 5000, 0, 70_000, 600) == []


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (100, 100), (100, -1), (-5, 0)])
def test_sizes_that_make_no_sense(tmp_path: object, size: int, overlap: int) -> None:
    with pytest.raises(InvalidArgument, match=r"chunk_(size|overlap) is"):
        DocStore(f"{tmp_path}/store", embedder=HashEmbedder(), chunk_size=size, chunk_overlap=overlap)


def test_no_chunk_is_too_long_to_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `texts` takes for damage when it reads it, whatever size was asked for."""
    monkeypatch.setattr(chunk, "LONGEST_CHUNK", 100)
    with DocStore(folder, embedder=HashEmbedder(), chunk_size=10**9) as store:
        assert store.workspace("alice").add(b"some words " * 50).chunks >= 6


def test_who_counts_tokens_goes_with_the_chunker() -> None:
    class Model:
        def count(self, text: str) -> int:
            return len(text)

    model = Model()
    alive = weakref.ref(model)
    assert len(Chunker(100, 20, 50, model.count).spans(PROSE * 10)) > 1
    del model
    gc.collect()
    assert alive() is None, "with a store that is closed, 100 MB of the default model, and its threads, stay for good"
