"""Rows that the catalog lost: told from what there still is, and never at the price of what is sound."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, Limits, StorageError, durable
from docstore.lifecycle import lost_rows
from docstore.testing import HashEmbedder
from tests.folders import execute, hash_of, lie, packed, problems, query
from tests.packing import change

_DOCUMENTS = [f"Paragraph {number} of the handbook.\n".encode() for number in range(1, 21)]


class _Refusing(HashEmbedder):
    def embed(self, texts: Sequence[str], /) -> Any:
        if any("Paragraph 7 " in text for text in texts):
            raise RuntimeError("not this one")
        return super().embed(texts)


@pytest.fixture
def filled(folder: Path) -> Path:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add_many(_DOCUMENTS)
    return folder


@pytest.mark.parametrize(
    ("sql", "embedded"),
    [
        ("DELETE FROM texts WHERE id = 5", 0),
        ("DELETE FROM texts", 0),
        ("DELETE FROM subindexes WHERE text_id = 5", 1),
        ("DELETE FROM subindexes", len(_DOCUMENTS)),
        ("DELETE FROM pipelines", 0),
    ],
)
def test_what_can_be_told_comes_back(filled: Path, sql: str, embedded: int) -> None:
    embedder = HashEmbedder()
    with DocStore(filled, embedder=embedder) as store:
        before = query(filled, "SELECT chunks, file_bytes, logical_bytes FROM totals")
        lie(filled, sql)
        assert not store.verify().ok
        with DocStore(filled, embedder=HashEmbedder()) as other:
            planned = other.repair(dry_run=True).repairs
            assert not other.verify().ok
        repairs = store.repair().repairs
        assert {(each.action, each.path) for each in planned} == {(each.action, each.path) for each in repairs}
        assert {each.action for each in repairs} <= {"restored", "corrected"}
        assert embedder.embedded == embedded
        assert store.repair().repairs == ()
        assert store.verify().ok
        alice = store.workspace("alice")
        hits = alice.search("handbook", k=99)
        assert {hit.document for hit in hits} == {hash_of(each) for each in _DOCUMENTS}
        assert query(filled, "SELECT chunks, file_bytes, logical_bytes FROM totals") == before
        assert store.collect().documents == 0
        assert problems(filled) == []
        store.delete_workspace("alice")
        assert store.collect().documents == len(_DOCUMENTS)


def test_searches_of_an_open_store_find_what_was_restored(filled: Path) -> None:
    """Though nobody made or dropped a reference since they looked."""
    every = {hash_of(each) for each in _DOCUMENTS}
    with DocStore(filled, embedder=HashEmbedder()) as store:
        (document,) = store.workspace("alice").search("handbook", k=1)
        text = f"(SELECT text_id FROM documents WHERE hash = '{document.document}')"
        execute(filled, f"DELETE FROM texts WHERE id = {text}")  # without foreign keys
    with DocStore(filled, embedder=HashEmbedder()) as store, DocStore(filled, embedder=HashEmbedder()) as other:
        for each in (store, other):
            assert {hit.document for hit in each.workspace("alice").search("handbook", k=99)} < every
        assert store.repair().ok
        for each in (store, other):
            assert {hit.document for hit in each.workspace("alice").search("handbook", k=99)} == every


def test_a_document_that_nothing_gives_a_text_can_be_removed_and_added_again(filled: Path) -> None:
    lost = hash_of(_DOCUMENTS[4])
    change(filled, "UPDATE sqlar SET data = x'00' WHERE name LIKE ?", f"documents/%{lost}%")
    lie(filled, f"DELETE FROM texts WHERE id = (SELECT text_id FROM documents WHERE hash = '{lost}')")
    with DocStore(filled, embedder=HashEmbedder()) as store:
        repairs = [each for each in store.repair().repairs if each.action == "unrepaired"]
        assert any(
            "Remove the document from every workspace, collect, and add it again" in each.detail for each in repairs
        )
        assert {each.documents for each in store.verify().problems} == {(lost,)}
        alice = store.workspace("alice")
        assert len(alice.documents()) == len(_DOCUMENTS)
        alice.remove(lost)
        assert store.collect().documents == 1
        assert alice.add(_DOCUMENTS[4]).hash == lost
        assert store.verify().ok
        assert len(alice.search("handbook", k=99)) == len(_DOCUMENTS)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("cause", ["no process", "a limit", "no descriptor"])
def test_what_cannot_be_told_now_is_not_given_up(
    filled: Path, monkeypatch: pytest.MonkeyPatch, cause: str, dry_run: bool
) -> None:
    """A text whose document cannot be read at the moment is not lost, and a row that says so would be for ever. Nor is
    anything corrected for which it seems to be; but what can be told is."""
    with DocStore(filled, embedder=HashEmbedder()) as store:
        long = store.workspace("alice").add(b"A long paragraph of the handbook. " * 9)
    lie(filled, "DELETE FROM texts WHERE id IN (5, 21)")
    limits = Limits(characters=100) if cause == "a limit" else Limits()
    with DocStore(filled, embedder=HashEmbedder(), limits=limits) as store, monkeypatch.context() as patched:
        if cause == "no process":
            patched.setattr(subprocess, "Popen", _no_memory)
        if cause == "no descriptor":
            patched.setattr(durable, "open_regular", _no_descriptor)
        repairs = store.repair(dry_run=dry_run).repairs
        lost = [each for each in repairs if each.action == "unrepaired"]
        assert long.hash in {hash for each in lost for hash in each.documents}
        assert all("larger limits" in each.detail for each in lost)
        assert len(repairs) == 2 and len(lost) == (1 if cause == "a limit" else 2)
        assert query(filled, "SELECT count(*) FROM texts WHERE id = 21") == [(0,)]
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert {each.action for each in store.repair().repairs} == {"restored", "corrected"}
        assert store.verify().ok
    assert problems(filled) == []


def test_another_document_of_the_same_text_gives_it(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DocStore(filled, embedder=HashEmbedder()) as store:
        store.workspace("alice").add_many(
            [b"<html><body><p>The same words.</p>%s</body></html>" % end for end in (b"", b" ")]
        )
    lie(filled, "DELETE FROM texts WHERE id = 21")
    answers = count()
    extracted = lost_rows.extracted

    def once(*given: Any) -> Any:
        if not next(answers):
            raise StorageError("no memory")
        return extracted(*given)

    monkeypatch.setattr(lost_rows, "extracted", once)
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert {each.action for each in store.repair().repairs} == {"restored", "corrected"}
        assert store.verify().ok


def _no_descriptor(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def _no_memory(*_: object, **__: object) -> None:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


def test_vectors_whose_text_is_damaged_too_come_back_in_one_run(filled: Path) -> None:
    lie(filled, "DELETE FROM subindexes WHERE text_id = 5")
    lost = query(filled, "SELECT hash FROM texts WHERE id = 5")[0][0]
    change(filled, "UPDATE sqlar SET data = x'00' WHERE name LIKE ?", f"texts/%{lost}%")
    with DocStore(filled, embedder=HashEmbedder()) as store:
        repairs = store.repair().repairs
        assert {each.action for each in repairs} == {"restored", "corrected"}
        assert len(set(repairs)) == len(repairs)
        assert store.repair().repairs == () and store.verify().ok


def test_one_text_that_the_embedder_refuses_keeps_no_other_from_coming_back(filled: Path) -> None:
    lie(filled, "DELETE FROM subindexes")
    with DocStore(filled, embedder=_Refusing()) as store:
        (repair,) = [each for each in store.repair().repairs if each.action == "unrepaired"]
        assert "not this one" in repair.detail
        assert [each.path for each in store.verify().problems] == ["subindexes"]
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert [each.action for each in store.repair().repairs] == ["restored"]
        assert store.verify().ok


def test_a_pipeline_of_another_is_not_taken_for_ours(filled: Path) -> None:
    with DocStore(filled, embedder=HashEmbedder(dimension=8)) as store:
        lie(filled, "DELETE FROM pipelines")
        assert not any(each.path == "pipelines" for each in store.repair().repairs)
        assert store.verify().ok  # embedded again, under the one it was opened with
        assert len(store.workspace("alice").search("handbook", k=99)) == len(_DOCUMENTS)


def test_nothing_is_restored_of_a_sound_store(filled: Path) -> None:
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert store.repair().repairs == ()


def test_damaged_vectors_are_made_again_together(filled: Path) -> None:
    """With a model each call costs as much as many texts in one."""
    calls: list[int] = []

    class Counting(HashEmbedder):
        def embed(self, texts: Sequence[str], /) -> Any:
            calls.append(len(texts))
            return super().embed(texts)

    # One whose text is damaged too is repaired on its own.
    text = next(name for name in packed(filled) if name.startswith("texts/"))
    change(filled, "UPDATE sqlar SET data = x'00' WHERE name LIKE '%/index.faiss' OR name = ?", text)
    with DocStore(filled, embedder=Counting()) as store:
        assert [each.action for each in store.repair().repairs] == ["restored"] * (len(_DOCUMENTS) + 1)
        assert len(calls) <= 3 and sum(calls) == len(_DOCUMENTS)
        assert store.verify().ok
        assert len(store.workspace("alice").search("handbook", k=99)) == len(_DOCUMENTS)


def test_where_the_embedder_fails_what_it_can_do_is_done(filled: Path) -> None:
    change(filled, "UPDATE sqlar SET data = x'00' WHERE name LIKE '%/index.faiss'")
    with DocStore(filled, embedder=_Refusing()) as store:
        actions = [each.action for each in store.repair().repairs]
        assert actions.count("restored") == len(_DOCUMENTS) - 1 and actions.count("unrepaired") == 1
