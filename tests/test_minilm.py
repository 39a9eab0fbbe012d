"""The default model as we run it, in NumPy and in PyTorch: the vectors are sentence-transformers', and nobody waits."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from docstore import EmbeddingError, SentenceTransformerEmbedder
from docstore.ingest import embed, minilm, minilm_few
from docstore.ingest.chunk import Chunker

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ROOT = Path(__file__).parent.parent

rounds = pytest.mark.skipif(not minilm.multiplies_bfloat16(), reason="this processor does not multiply bfloat16")


@pytest.fixture(scope="module")
def unrounded() -> SentenceTransformerEmbedder:
    """The default in float32, as where the processor does not multiply bfloat16."""
    embedder = SentenceTransformerEmbedder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minilm, "multiplies_bfloat16", lambda: False)
        embedder._load()
    assert embedder._own is not None and embedder._own.dtype == torch.float32
    return embedder


@pytest.fixture(scope="module")
def library() -> SentenceTransformer:
    """The default as sentence-transformers runs it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(embed._default_folder()), device="cpu")


@pytest.fixture(scope="module")
def chunks(default: SentenceTransformerEmbedder) -> list[str]:
    """Real text, this project's own, and what is unlike any."""
    cut = Chunker(1000, 200, default.max_tokens, default.count_tokens)
    texts = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "README.md", ROOT / "docs" / "architecture.md", ROOT / "Makefile")
    ]
    odd = ["", " ", "a", "7", "…" * 300, ". " * 100, "0" * 99, "word " * 400, "日本語の文章です。", "😀", "\x00\ufffd"]
    return odd + [text[span["start"] : span["end"]] for text in texts for span in cut.spans(text)]


def test_what_it_says_before_loading_is_what_it_loads(
    default: SentenceTransformerEmbedder, library: SentenceTransformer
) -> None:
    assert default.dimension == library.get_embedding_dimension() == 384
    assert default.max_tokens == library.max_seq_length == minilm_few.MAX_TOKENS == 256
    assert embed.DEFAULT_MODEL_SHA256 in default.fingerprint
    with (embed._default_folder() / "model.safetensors").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == embed.DEFAULT_MODEL_SHA256


def test_vectors_are_those_of_sentence_transformers(
    unrounded: SentenceTransformerEmbedder, library: SentenceTransformer, chunks: list[str]
) -> None:
    expected = library.encode(chunks, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(unrounded.embed(chunks), expected, atol=2e-6)
    few = minilm_few.load(embed._default_folder())
    assert few is not None
    np.testing.assert_allclose(few.embed(chunks), expected, atol=2e-6)
    assert few.embed([]).shape == (0, 384)
    assert unrounded.fingerprint == SentenceTransformerEmbedder().fingerprint
    whole = library.tokenizer(chunks, truncation=False, verbose=False)["input_ids"]
    assert [unrounded.count_tokens(chunk) for chunk in chunks] == [len(ids) for ids in whole]


def _off(exact: Callable[..., Any]) -> Callable[..., Any]:
    return lambda first, *rest: exact(first * 1.01, *rest)


def _renamed(_: Callable[..., Any]) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise KeyError("as another version calls it")

    return fail


@pytest.mark.parametrize("mistake", [_off, _renamed])
@pytest.mark.parametrize("texts", [["one", "two"], ["words " * 200]])
def test_where_they_would_not_be_sentence_transformers_is_asked(
    monkeypatch: pytest.MonkeyPatch, library: SentenceTransformer, mistake: Any, texts: list[str]
) -> None:
    for module in (minilm, minilm_few):
        monkeypatch.setattr(module, "_attention", mistake(module._attention))
    embedder = SentenceTransformerEmbedder(device="cpu")
    found = embedder.embed(texts)
    assert embedder._own is None and embedder._few is None
    assert (found == library.encode(texts, normalize_embeddings=True, show_progress_bar=False)).all()


def test_vectors_of_nothing_but_nan_are_not_taken_for_the_models() -> None:
    assert not minilm_few.are_expected(np.full((3, 384), np.nan, np.float32))


def test_without_its_tokenizers_file_texts_are_counted_as_they_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default: SentenceTransformerEmbedder
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(embed._default_folder(), folder)
    (folder / "tokenizer.json").unlink()
    monkeypatch.setattr(embed, "_default_folder", lambda: folder)
    embedder = SentenceTransformerEmbedder()
    assert embedder.count_tokens("What is attention?") == default.count_tokens("What is attention?")
    assert float((embedder.embed(["one"]) @ default.embed(["one"]).T).min()) > minilm.AGREEMENT


@pytest.mark.parametrize("available", [0, 2])
def test_without_enough_threads_the_error_says_so_and_leaves_nothing_changed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], available: int
) -> None:
    left, start, before = [None] * available, threading.Thread.start, torch.get_num_threads()

    def limited(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    torch.set_num_threads(3)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", limited)
            embedder = SentenceTransformerEmbedder(device="cpu")
            with pytest.raises(EmbeddingError, match=r"needs 3 threads, which cannot be started \(can't start.*ulimit"):
                embedder.embed(["one " * 1000])
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
        assert embedder.embed(["one " * 1000]).shape == (1, 384) and embedder._own is not None
    finally:
        torch.set_num_threads(before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("word", ["one", "one " * 1000])
def test_texts_can_be_whatever_gives_them(default: SentenceTransformerEmbedder, word: str) -> None:
    expected = default.embed([word, "two"])
    for given in ((word, "two"), np.array([word, "two"]), iter([word, "two"])):
        assert (default.embed(given) == expected).all()  # type: ignore[arg-type]


def test_what_numpy_raises_for_others_it_does_not_raise_for_us(default: SentenceTransformerEmbedder) -> None:
    embedder = SentenceTransformerEmbedder()
    with np.errstate(all="raise"):
        found = embedder.embed(["What is attention?"])
    assert embedder._few is not None
    assert (found == default.embed(["What is attention?"])).all()


def test_many_texts_are_not_a_few_words_however_short(default: SentenceTransformerEmbedder) -> None:
    assert default._are_few(["What is attention?"] * 10)
    for text in ("", "a"):
        assert not default._are_few([text] * 11)


def test_what_is_faster_than_the_processor_is_left_to_sentence_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert minilm.is_chosen("cpu") and not minilm.is_chosen("cuda")
    for found in (True, False):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda found=found: found)
        assert minilm.is_chosen(None) is not found
    for device in ("cuda", torch.device("cuda")):
        assert not SentenceTransformerEmbedder(device=device)._are_few(["one"])  # type: ignore[arg-type]
    assert SentenceTransformerEmbedder(device=torch.device("cpu"))._are_few(["one"])  # type: ignore[arg-type]


def waiting(embedder: SentenceTransformerEmbedder) -> int:
    return embedder._thread._work_queue.qsize()


def test_a_question_waits_for_nobodys_chunks(default: SentenceTransformerEmbedder) -> None:
    going_on = threading.Event()
    default._thread.submit(going_on.wait, 60)  # as another thread's chunks
    try:
        assert default.embed(["What is attention?"]).shape == (1, 384)
        assert waiting(default) == 0
    finally:
        going_on.set()


def test_with_another_model_it_waits_for_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, began, asked, order = SentenceTransformerEmbedder("any"), threading.Event(), threading.Event(), []

    class Library:
        def encode(self, texts: list[str], **_: object) -> object:
            order.append(texts[0])
            began.set()
            assert asked.wait(60)
            return np.ones((len(texts), 4), np.float32)

    monkeypatch.setattr(SentenceTransformerEmbedder, "_open", lambda _: Library())
    found: list[Any] = []
    chunks = threading.Thread(target=lambda: found.append(embedder.embed([f"chunk {number}" for number in range(200)])))
    question = threading.Thread(target=lambda: embedder.embed(["question"]))
    chunks.start()
    assert began.wait(60)
    question.start()
    while not waiting(embedder):
        time.sleep(0.001)
    asked.set()
    chunks.join()
    question.join()
    assert order == ["chunk 0", "question", "chunk 64", "chunk 128", "chunk 192"]
    assert found[0].shape == (200, 4)


@rounds
def test_vectors_in_bfloat16_are_those_of_float32(
    default: SentenceTransformerEmbedder, unrounded: SentenceTransformerEmbedder, chunks: list[str]
) -> None:
    ours, exact = default.embed(chunks), unrounded.embed(chunks)
    assert default._own is not None and default._own.dtype == torch.bfloat16
    assert float((ours * exact).sum(axis=1).min()) >= minilm.AGREEMENT
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    scores = exact @ exact.T
    for near, row in zip(ours @ ours.T, scores, strict=True):  # what is found instead is as near as what is not
        assert row[np.argsort(-near)[:10]].min() >= np.sort(row)[-10] - 0.005


def test_it_hardly_matters_what_stands_beside_a_text(default: SentenceTransformerEmbedder, chunks: list[str]) -> None:
    together = default.embed(chunks)
    assert float((default.embed(chunks[::-1])[::-1] * together).sum(axis=1).min()) > 0.99995
    for row in range(0, len(chunks), 7):
        assert float(default.embed(chunks[row : row + 1])[0] @ together[row]) > 0.99995
    assert default.embed([]).shape == (0, 384)


@pytest.mark.parametrize("agreement", [1.1, 0.9999])
def test_bfloat16_that_is_further_off_is_not_used(monkeypatch: pytest.MonkeyPatch, agreement: float) -> None:
    monkeypatch.setattr(minilm, "multiplies_bfloat16", lambda: True)  # slowly, where it does not
    monkeypatch.setattr(minilm, "AGREEMENT", agreement)
    embedder = SentenceTransformerEmbedder()
    embedder._load()
    assert embedder._own is not None
    assert embedder._own.dtype == (torch.float32 if agreement > 1 else torch.bfloat16)


def test_many_threads_get_their_own_vectors(default: SentenceTransformerEmbedder, chunks: list[str]) -> None:
    expected, found = default.embed(chunks[-8:]), {}
    before = torch.get_num_threads()

    def one(row: int) -> None:
        found[row] = default.embed([chunks[row - 8]])[0]
        assert torch.get_num_threads() == before

    threads = [threading.Thread(target=one, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[row] @ expected[row] > 0.99995 for row in range(8))


@pytest.mark.parametrize(("rounding", "words"), [(True, 50), (False, 50), (False, 1)])
def test_a_forked_child_embeds_what_its_parent_did(rounding: bool, words: int) -> None:
    code = f"""
import os, signal
from docstore import SentenceTransformerEmbedder
from docstore.ingest import minilm
if not {rounding}:
    minilm.multiplies_bfloat16 = lambda: False
embedder = SentenceTransformerEmbedder()
texts = ["some words " * {words}] * 8
before = embedder.embed(texts)
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if (embedder.embed(texts) == before).all() else 1)
assert os.waitpid(child, 0)[1] == 0
assert (embedder.embed(texts) == before).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=180)


def test_a_long_text_is_counted_while_other_threads_work(default: SentenceTransformerEmbedder) -> None:
    default.count_tokens("")
    thread = threading.Thread(target=default.count_tokens, args=("Words of a text about macros. " * 30_000,))
    moments = [time.perf_counter()]
    thread.start()
    while thread.is_alive():
        time.sleep(0.001)
        moments.append(time.perf_counter())
    assert max(np.diff(moments)) < (moments[-1] - moments[0]) / 2
