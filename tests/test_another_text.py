"""A document that another version of the extractor gave another text keeps it, for everybody who adds it later; and
what the catalog says of texts may contradict itself, which must end."""

from __future__ import annotations

from pathlib import Path

import pytest

from docstore import DocStore, IntegrityError
from docstore.ingest.known import Known
from docstore.testing import HashEmbedder
from tests.folders import files, hash_of, lie, problems, query

THEN, DATA = b"what was extracted then", b"what is extracted today"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store where bob's DATA has the text of THEN."""
    folder = tmp_path / "store"
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("bob").add(THEN)
    lie(folder, f"UPDATE documents SET hash = '{hash_of(DATA)}'")
    (folder / files(folder, "documents")[0]).unlink()
    blob = folder / "documents" / hash_of(DATA)[:2] / f"{hash_of(DATA)}.txt"
    blob.parent.mkdir()
    blob.write_bytes(DATA)
    return folder


@pytest.mark.parametrize("demand_bytes", [False, True])
@pytest.mark.parametrize("lost", ["nothing", "embeddings", "documents"])
def test_the_text_it_has_stays(folder: Path, demand_bytes: bool, lost: str) -> None:
    for path in files(folder, lost) if lost != "nothing" else []:
        (folder / path).unlink()
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=demand_bytes) as store:
        assert store.workspace("alice").add(DATA).hash == hash_of(DATA)
        for name in ("alice", "bob"):
            assert [hit.text for hit in store.workspace(name).search("then")] == [THEN.decode()]
        assert store.verify().ok
    assert query(folder, "SELECT * FROM claims") == []
    assert problems(folder) == []


@pytest.mark.parametrize("demand_bytes", [False, True])
def test_when_that_text_is_lost_the_error_says_what_to_do(folder: Path, demand_bytes: bool) -> None:
    (folder / files(folder, "texts")[0]).unlink()
    with DocStore(folder, embedder=HashEmbedder(), demand_bytes=demand_bytes) as store:
        with pytest.raises(IntegrityError, match="Remove the document from every workspace, collect, and add it again"):
            store.workspace("alice").add(DATA)
        store.workspace("bob").remove(hash_of(DATA))
        store.collect()
        store.workspace("alice").add(DATA)
        assert [hit.text for hit in store.workspace("alice").search("x")] == [DATA.decode()]
        assert store.verify().ok
    assert problems(folder) == []


def test_a_catalog_that_contradicts_itself_is_not_asked_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DocStore(folder, embedder=HashEmbedder(), chunk_size=300) as store:
        monkeypatch.setattr(Known, "text", lambda *_: None)  # as where an index lacks what its table has
        with pytest.raises(IntegrityError, match="contradicts itself"):
            store.workspace("alice").link(hash_of(DATA))
        monkeypatch.undo()
        assert store.workspace("alice").link(hash_of(DATA)).chunks == 1
    assert query(folder, "SELECT * FROM claims") == []
