"""A chunk whose vector is stored, in whichever document, is not embedded again; and nothing but its text decides."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docstore import DocStore, Workspace, contents, texts
from docstore.ingest import digests
from docstore.ingest.digests import digest
from docstore.ingest.embed import SentenceTransformerEmbedder
from docstore.ingest.reuse import finder
from docstore.testing import HashEmbedder
from tests.folders import execute, problems, query
from tests.oracle import chunks_of, private_index
from tests.samples import pdf

PAGES = [" ".join(f"word{page}x{number}" for number in range(60)) for page in range(6)]
"""One chunk each."""
MANUAL = pdf(PAGES)
EDITED = pdf([*PAGES[:2], "A page that was written anew.", *PAGES[3:]])
REST = pdf(["Another beginning.", *PAGES[3:]])


def text_of(store: DocStore, hash: str) -> str:
    """The stored text of a document."""
    with store._parts.database.read() as db:
        document = contents.find_document(db, hash)
    assert document is not None
    with store._parts.texts.open(document.text.hash, texts.SUFFIX) as file:
        return texts.decompress(file.read(), document.text.hash, document.text.characters).content


def test_only_the_edited_page_is_embedded(store: DocStore, alice: Workspace, embedder: HashEmbedder) -> None:
    alice.add(MANUAL)
    assert embedder.embedded == 6
    assert not alice.add(EDITED).reused
    assert embedder.embedded == 7
    stats = store.stats()
    assert (stats.chunks, stats.embeddings_computed, stats.embeddings_avoided) == (12, 7, 5)


def test_copied_vectors_answer_as_computed_ones(folder: Path, tmp_path: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(MANUAL)
        edited = alice.add(EDITED)
    with DocStore(tmp_path / "other", embedder=HashEmbedder()) as store:
        store.workspace("alice").add(EDITED)
    name = f"{query(folder, 'SELECT max(id), hash FROM texts')[0][1]}"
    for suffix in ("index.faiss", "chunks.npy"):
        (ours,) = folder.glob(f"embeddings/*/*/{name}/{suffix}")
        (theirs,) = (tmp_path / "other").glob(f"embeddings/*/*/{name}/{suffix}")
        assert ours.read_bytes() == theirs.read_bytes()
    with DocStore(folder, embedder=HashEmbedder()) as store:
        (expected,) = private_index({edited.hash: text_of(store, edited.hash)}, ["word3x7 anew"], 9)
        hits = store.workspace("alice").search("word3x7 anew", 9, documents=[edited.hash])
        assert ([(hit.document, hit.chunk) for hit in hits], [hit.score for hit in hits]) == (
            expected[0], [float(score) for score in expected[1]])  # fmt: skip


def test_chunks_that_repeat_are_embedded_once(store: DocStore, alice: Workspace, embedder: HashEmbedder) -> None:
    first, *others = ["The first page.", *["The same page."] * 4]
    alice.add(pdf([first, *others]))
    assert embedder.embedded == 2
    alice.add_many([pdf([first, "Another."]), pdf([first, "Another.", "A third."]), pdf([first, "A third.", *others])])
    assert embedder.embedded == 4
    stats = store.stats()
    assert (stats.chunks, stats.embeddings_computed, stats.embeddings_avoided) == (16, 4, 12)


def test_a_vector_outlives_the_document_that_had_it_first(
    store: DocStore, alice: Workspace, embedder: HashEmbedder
) -> None:
    first = alice.add(MANUAL)
    alice.add(EDITED)
    alice.remove(first.hash)
    store.collect()
    alice.add(REST)
    assert embedder.embedded == 8
    for document in alice.documents():
        alice.remove(document.hash)
    store.collect()
    alice.add(REST)
    assert embedder.embedded == 12


def test_a_doomed_document_is_passed_over(
    store: DocStore, alice: Workspace, embedder: HashEmbedder, folder: Path
) -> None:
    alice.add(MANUAL)
    second = alice.add(EDITED)
    alice.remove(second.hash)
    execute(folder, "UPDATE documents SET doomed = 1 WHERE hash = ?", second.hash)
    ((text,),) = query(folder, "SELECT hash FROM texts ORDER BY id DESC LIMIT 1")
    next(folder.glob(f"embeddings/*/*/{text}/index.faiss")).unlink()  # as a collection that was killed leaves it
    alice.add(REST)
    assert embedder.embedded == 8


def test_rows_go_with_their_text(store: DocStore, alice: Workspace, folder: Path) -> None:
    alice.add(MANUAL)
    alice.add(EDITED)
    assert query(folder, "SELECT count(*) FROM chunks") == [(12,)]
    assert query(folder, "SELECT vectors FROM copies") == [(5,)]
    store.delete_workspace("alice")
    store.collect()
    assert query(folder, "SELECT (SELECT count(*) FROM chunks) + (SELECT count(*) FROM copies)") == [(0,)]


def test_of_what_was_read_only_the_vectors_that_are_wanted_stay(store: DocStore, alice: Workspace) -> None:
    """Documents that are built together may share a chunk each with a large one, each with another."""
    donors = [alice.add("\n\n".join(f"{donor} {line} ".ljust(900, "x") for line in range(300)).encode())
              for donor in range(5)]  # fmt: skip
    wanted = [next(iter(chunks_of(text_of(store, donor.hash)))) for donor in donors]
    find = finder(store._parts, None)
    marks = {chunk: digest(chunk, store._parts.pipeline.fingerprint) for chunk in wanted}
    find(marks)  # what is read of texts is in memory from now on
    tracemalloc.start()
    try:
        found = find(marks)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert list(found) == wanted
    assert kept < 300 * store._parts.pipeline.dimension * 2  # of one of them


@pytest.mark.parametrize("damaged", ["index.faiss", "chunks.npy", "text"])
def test_a_damaged_donor_is_a_miss(
    store: DocStore, alice: Workspace, embedder: HashEmbedder, folder: Path, damaged: str
) -> None:
    alice.add(MANUAL)
    (path,) = folder.glob("texts/*/*" if damaged == "text" else f"embeddings/*/*/*/{damaged}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    alice.add(EDITED)
    assert embedder.embedded == 12
    assert store.stats().embeddings_avoided == 0


@pytest.mark.parametrize("change", ["chunk = (chunk + 1) % 6 + 6", "chunk = chunk + 100", "digest = digest + 1"])
def test_wrong_rows_cost_an_embedding_and_never_a_wrong_vector(
    store: DocStore, alice: Workspace, embedder: HashEmbedder, folder: Path, change: str
) -> None:
    alice.add(MANUAL)
    execute(folder, f"UPDATE chunks SET {change}")
    execute(folder, "UPDATE chunks SET chunk = chunk - 6 WHERE chunk BETWEEN 6 AND 11")
    edited = alice.add(EDITED)
    assert embedder.embedded == 12
    assert alice.search(PAGES[4], 1, documents=[edited.hash])[0].chunk == 4


def test_chunks_of_one_digest_are_told_apart(
    store: DocStore, alice: Workspace, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docstore.ingest.pipeline.digest", lambda _chunk, _fingerprint: 7)
    alice.add(MANUAL)
    edited = alice.add(EDITED)
    assert store.verify().ok
    for number in (0, 1, 3, 4, 5):
        assert alice.search(PAGES[number], 1, documents=[edited.hash])[0].chunk == number


def test_another_pipeline_has_vectors_of_its_own(folder: Path, store: DocStore, alice: Workspace) -> None:
    alice.add(MANUAL)
    other = HashEmbedder(32)
    with DocStore(folder, embedder=other) as second:
        second.workspace("bob").add(EDITED)
    assert other.embedded == 6


def test_a_store_of_before_only_misses_and_repair_fills_in(
    store: DocStore, alice: Workspace, embedder: HashEmbedder, folder: Path
) -> None:
    alice.add(MANUAL)
    execute(folder, "DELETE FROM chunks")
    assert store.verify().ok
    next(folder.glob("embeddings/*/*/*/index.faiss")).unlink()
    assert store.repair().ok
    assert query(folder, "SELECT count(*) FROM chunks") == [(6,)]
    alice.add(EDITED)
    assert embedder.embedded == 6 + 6 + 1


def test_bytes_that_are_demanded_take_no_vector_of_another_workspace(folder: Path, embedder: HashEmbedder) -> None:
    with DocStore(folder, embedder=embedder, demand_bytes=True) as store:
        alice, mallory = store.workspace("alice"), store.workspace("mallory")
        alice.add(MANUAL)
        mallory.add(EDITED)
        assert embedder.embedded == 12
        alice.add(EDITED)  # its own are as good as ever
        assert embedder.embedded == 13
    assert problems(folder) == []


def test_what_reuse_looks_at_uses_an_index(folder: Path, store: DocStore, alice: Workspace) -> None:
    from docstore.ingest.reuse import _ANYWHERE, _WITHIN

    alice.add(MANUAL)
    for sql, arguments in ((_ANYWHERE, ("f", "[1]")), (_WITHIN, ("f", 1, "[1]"))):
        plan = [row[3] for row in query(folder, f"EXPLAIN QUERY PLAN {sql}", *arguments)]
        assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step], plan
        assert not [step for step in plan if "TEMP B-TREE" in step], plan
    within = [row[3] for row in query(folder, f"EXPLAIN QUERY PLAN {_WITHIN}", "f", 1, "[1]")]
    assert not [step for step in within if "chunks_by_digest" in step], "what others hold would show in the time"


def test_digests_are_keyed_and_fit_sqlite() -> None:
    fingerprints = ["0" * 32, "f" * 32]
    found = {digest(text, each) for text in ("", "a", "ä") for each in fingerprints}
    assert len(found) == 6
    assert all(0 <= each < 1 << 48 for each in found)
    assert digests._BYTES == 6


lines = st.lists(st.sampled_from(["red one", "green two", "blue three"]), min_size=1, max_size=12).map("\n".join)


@settings(max_examples=25)
@given(st.lists(lines, min_size=1, max_size=6))
def test_each_text_of_a_chunk_is_embedded_once(tmp_path_factory: Any, some: list[str]) -> None:
    embedder = HashEmbedder()
    with DocStore(tmp_path_factory.mktemp("reuse"), embedder=embedder, chunk_size=20, chunk_overlap=8) as store:
        alice = store.workspace("alice")
        hashes = {alice.add(text.encode()).hash: text for text in some}
        assert embedder.embedded == len({chunk for text in some for chunk in chunks_of(text, 20, 8)})
        stats = store.stats()
        assert (stats.embeddings_computed, stats.chunks) == (
            embedder.embedded, sum(len(chunks_of(text, 20, 8)) for text in hashes.values()))  # fmt: skip
        (expected,) = private_index(hashes, ["red two"], 50, size=20, overlap=8)
        hits = alice.search("red two", 50)
        assert [(hit.document, hit.chunk) for hit in hits] == expected[0]


@pytest.mark.parametrize("codec", ["float16", "float32"])
def test_a_real_model_embeds_a_page_alone_as_it_did_with_others(folder: Path, codec: Any) -> None:
    embedder = SentenceTransformerEmbedder()
    with DocStore(folder, embedder=embedder, codec=codec) as store:
        alice = store.workspace("alice")
        alice.add(pdf(["Leave is five days a year.", "The key hangs behind the door."]))
        second = alice.add(pdf(["Leave is five days a year.", "Nothing of this was here before."]))
        assert store.stats().embeddings_computed == 3
        hit = alice.search("How much leave do I get?", 1, documents=[second.hash])[0]
        assert (hit.chunk, hit.score > 0.5) == (0, True)
