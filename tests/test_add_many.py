"""Many documents in one call: past what is bad, with names of their own, from generators, in few batches."""

from __future__ import annotations

import io
from collections import UserDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import (
    DocStore,
    EmbeddingError,
    NewDocument,
    Progress,
    QuotaWarning,
    UnreadableDocument,
    Workspace,
    workspace,
)
from docstore.testing import HashEmbedder
from tests.folders import hash_of

NOTE = b"A note about nothing in particular."


def test_add_many_goes_on_past_bad_files(alice: Workspace, tmp_path: Path, embedder: HashEmbedder) -> None:
    sources: list[Any] = []
    for number in range(150):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(b"" if number % 50 == 7 else f"Document number {number}".encode())
        sources.append(path)
    sources += [tmp_path / "missing.txt", 42, sources[0]]
    seen: list[Progress] = []
    report = alice.add_many(sources, progress=seen.append)
    assert [each.name for each in report.failed] == [
        *(str(tmp_path / name) for name in ("7.txt", "57.txt", "107.txt", "missing.txt")),
        "int",
    ]
    assert all(str(each.error) for each in report.failed)
    assert len(report.added) == 147
    assert [each.name for each in report.reused] == ["0.txt"]
    assert [each.name for each in report.added][:8] == [f"{n}.txt" for n in (0, 1, 2, 3, 4, 5, 6, 8)]
    assert (seen[-1].done, seen[-1].total, seen[-1].chunks) == (153, 153, 147)
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert embedder.embedded == 147


@pytest.mark.parametrize("number", [1, 40])  # files, and pieces that are packed
def test_each_of_many_may_have_a_name_and_metadata_of_its_own(alice: Workspace, tmp_path: Path, number: int) -> None:
    named = tmp_path / "on disk.txt"
    named.write_bytes(b"One that lies on the disk.")
    documents = [NewDocument(b"Text %d" % each, f"{each}.txt", {"year": each}) for each in range(number)]
    report = alice.add_many(
        [*documents, NewDocument(named), NewDocument(NOTE, "note.txt"), NOTE + b"!"], metadata={"year": 7}
    )
    assert not report.failed
    kept = {each.name: each.metadata["year"] for each in alice.documents()}
    assert kept == {f"{each}.txt": each for each in range(number)} | {"on disk.txt": 7, "note.txt": 7, "untitled": 7}
    assert [hit.name for hit in alice.search("Text", where={"year": 0})] == ["0.txt"]

    again = alice.add_many([NewDocument(named, "renamed.txt", {}), NewDocument(NOTE), NOTE])
    assert len(again.reused) == 3
    kept = {each.name: dict(each.metadata) for each in alice.documents()}
    assert kept["renamed.txt"] == {} and kept["note.txt"] == {"year": 7}
    assert "on disk.txt" not in kept


def test_of_several_of_one_hash_the_last_says_its_name_and_metadata(alice: Workspace) -> None:
    alice.add_many([NewDocument(NOTE, f"{number}.txt", {"n": number}) for number in range(5)])
    (only,) = alice.documents()
    assert (only.name, only.metadata) == ("4.txt", {"n": 4})


class _Gone(UserDict[str, int]):
    """A mapping that cannot be read, as rows of a database whose connection was closed."""

    def __getitem__(self, key: str) -> int:
        raise KeyError("gone")


def test_one_of_many_that_is_wrong_does_not_stop_the_others(alice: Workspace, tmp_path: Path) -> None:
    wrong: list[Any] = [
        NewDocument(b"", "empty.txt"),
        NewDocument(tmp_path / "missing.txt", "renamed.txt"),
        NewDocument(NOTE, ""),
        NewDocument(NOTE, "note.txt", ["no object"]),  # type: ignore[arg-type]
        NewDocument(NOTE, "record-42", _Gone({"a": 1})),
        NewDocument(7, "seven"),  # type: ignore[arg-type]
        NewDocument(NewDocument(NOTE)),  # type: ignore[arg-type]
    ]
    report = alice.add_many([*wrong, NewDocument(NOTE, "sound.txt")])
    assert [each.name for each in report.added] == ["sound.txt"]
    assert [(each.name, str(each.error)) for each in report.failed] == [
        ("empty.txt", "empty.txt: it has no bytes. There is nothing to store."),
        ("renamed.txt", "renamed.txt: there is no such file. Check the path."),
        ("untitled", "name is ''; it must be text that is not empty"),
        ("note.txt", "metadata is list; it must be a dictionary with text keys"),
        ("record-42", "metadata cannot be read: KeyError: 'gone'"),
        ("seven", "Cannot add a int: pass a path, bytes or a binary file object"),
        ("NewDocument", "Cannot add a NewDocument: pass a path, bytes or a binary file object"),
    ]


@pytest.mark.parametrize("attribute", ["name", "read"])
def test_a_file_object_that_fails_to_say_what_it_has_does_not_stop_the_others(alice: Workspace, attribute: str) -> None:
    def fail(_: object) -> str:
        raise TimeoutError("the server is gone")

    remote = type("Remote", (io.BytesIO,), {attribute: property(fail)})(b"A third note.")
    report = alice.add_many([NOTE, remote, b"another"])
    assert len(report.added) == 2
    (failure,) = report.failed
    assert isinstance(failure.error, UnreadableDocument)
    assert (failure.name, failure.error.detail) == (
        "Remote",
        f"its `{attribute}` cannot be read (TimeoutError: the server is gone). Check the file object.",
    )


def test_add_many_takes_a_generator_and_fills_the_embedders_batches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = HashEmbedder()
    batches: list[int] = []
    real = embedder.embed

    def counted(texts: Sequence[str]) -> Any:
        batches.append(len(texts))
        return real(texts)

    monkeypatch.setattr(embedder, "embed", counted)
    with DocStore(folder, embedder=embedder) as store:
        report = store.workspace("alice").add_many(f"text {number}".encode() for number in range(64))
    assert len(report.added) == 64
    assert batches == [64]


def test_an_embedder_that_refuses_one_document_fails_only_that(folder: Path) -> None:
    class Picky(HashEmbedder):
        def embed(self, texts: Any, /) -> Any:
            if any("poison" in text for text in texts):
                raise ValueError("cannot embed this")
            return super().embed(texts)

    with DocStore(folder, embedder=Picky()) as store:
        report = store.workspace("alice").add_many([b"good", b"poison", b"fine"])
        assert len(report.added) == 2
        assert "cannot embed this" in str(report.failed[0].error)
        assert store.verify().leftovers == 0


class Moody(HashEmbedder):
    """Refuses some texts, or all, and counts how often it is asked."""

    calls, is_down, refused = 0, False, frozenset[str]()

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.calls += 1
        if self.is_down or not self.refused.isdisjoint(texts):
            raise RuntimeError("503")
        return super().embed(texts)


def test_an_embedder_that_changes_its_list_changes_nobody_elses_vectors(folder: Path) -> None:
    class Choosy(HashEmbedder):
        """Takes texts without letters out of the list, and gives vectors of what is left. Empties it then."""

        def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
            assert isinstance(texts, list)
            texts[:] = [text for text in texts if any(map(str.isalpha, text))]
            vectors = super().embed(texts)
            texts.clear()
            return vectors

    notes = [f"Note {number} about subject {chr(97 + number)}.".encode() for number in range(20)]
    with DocStore(folder, embedder=Choosy()) as store:
        alice = store.workspace("alice")
        report = alice.add_many([*notes[:7], b"123 456", *notes[7:]])
        assert len(report.added) == 20
        assert [str(each.error).split(" for ")[0] for each in report.failed] == ["The embedder returned shape (0, 64)"]
        for note in notes:
            (hit,) = alice.search(note.decode(), k=1)
            assert (hit.document, round(hit.score, 2)) == (hash_of(note), 1)


def test_an_embedder_that_is_down_is_not_asked_for_each_document(folder: Path) -> None:
    moody, notes = Moody(), [f"note number {number}" for number in range(100)]
    with DocStore(folder, embedder=moody) as store:
        alice = store.workspace("alice")
        moody.is_down = True
        report = alice.add_many([note.encode() for note in notes])
        assert len(report.failed) == 100 and all("503" in str(each.error) for each in report.failed)
        assert moody.calls <= 2
        moody.is_down, moody.calls, moody.refused = False, 0, frozenset(notes[20:23] + notes[70:71])
        report = alice.add_many([note.encode() for note in notes])
        assert len(report.added) == 96 and {each.name for each in report.failed} == {"untitled"}
        assert moody.calls < 60  # the halves of halves of two places
        moody.refused = frozenset()
        assert len(alice.add_many([note.encode() for note in notes]).added) == 4


class Words(HashEmbedder):
    """Knows few words, and not the one that is asked for to see whether it is down."""

    def __init__(self, unknown: str) -> None:
        super().__init__()
        self.unknown = unknown
        self.calls = 0

    def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.calls += 1
        known = np.array(["note" in text for text in texts])
        if self.unknown == "are refused" and "poison" in texts:
            raise KeyError("poison")
        vectors = super().embed(texts)
        vectors[~known] = 0
        if self.unknown == "give nothing" and not known.any():
            return np.array([], np.float32)
        return vectors[known] if self.unknown in ("are left out", "give nothing") else vectors


@pytest.mark.parametrize("unknown", ["have no direction", "are left out", "give nothing", "are refused"])
def test_of_an_embedder_that_knows_few_words_only_what_it_does_not_know_fails(folder: Path, unknown: str) -> None:
    words, notes = Words(unknown), [b"note number %d" % number for number in range(100)]
    with DocStore(folder, embedder=words) as store:
        report = store.workspace("alice").add_many([*notes[:30], b"poison", *notes[30:]])
        assert len(report.added) == 100
        assert [isinstance(each.error, EmbeddingError) for each in report.failed] == [True]
        assert words.calls < 30  # the halves of halves of one place


def test_an_embedder_whose_dimension_is_wrong_is_not_asked_for_each_document(folder: Path) -> None:
    class Narrow(Moody):
        def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
            return np.delete(super().embed(texts), 0, axis=1)

    narrow = Narrow()
    with DocStore(folder, embedder=narrow) as store:
        report = store.workspace("alice").add_many([b"note number %d" % number for number in range(100)])
        assert len(report.failed) == 100
        assert narrow.calls <= 2


class Odd(Exception):
    """Of no type that this library knows."""


@pytest.mark.parametrize("kind", [BrokenPipeError, EmbeddingError, Odd])
@pytest.mark.parametrize("stored", [0, 30])
def test_what_the_progress_callback_raises_comes_out_as_it_is(
    store: DocStore, alice: Workspace, kind: type[Exception], stored: int
) -> None:
    raised = kind("of the caller's own")

    def tell(progress: Progress) -> None:
        if (progress.done > 0) == (stored > 0):
            raise raised

    notes = [b"note number %d" % number for number in range(30)]
    with pytest.raises(kind) as error:
        alice.add_many(notes, progress=tell)
    assert error.value is raised
    assert error.value.__cause__ is error.value.__context__ is None
    assert len(alice) == stored
    assert store.verify().leftovers == 0
    report = alice.add_many(notes)
    assert (len(report.reused), len(report.added)) == (stored, 30 - stored)


def test_what_a_generator_gave_before_it_failed_is_added(alice: Workspace) -> None:
    def crawl() -> Iterator[bytes]:
        yield b"the first page"
        yield b"the second page"
        raise TimeoutError("the crawl broke")

    told: list[Progress] = []
    alice.limit(documents=2)
    with pytest.raises(TimeoutError, match="the crawl broke") as error, pytest.warns(QuotaWarning):
        alice.add_many(crawl(), progress=told.append)
    assert error.value.__notes__ == ["Of what it gave before, docstore added 2 and refused 0."]
    assert {each.size for each in alice.documents()} == {14, 15}
    assert told[-1].done == 2


@pytest.mark.filterwarnings("error")
def test_what_a_generator_raised_comes_out_where_warnings_are_errors(alice: Workspace) -> None:
    def crawl() -> Iterator[bytes]:
        yield b"the first page"
        raise TimeoutError("the crawl broke")

    alice.limit(documents=1)
    with pytest.raises(TimeoutError, match="the crawl broke") as error:
        alice.add_many(crawl())
    assert isinstance(error.value.__context__, QuotaWarning)
    assert error.value.__notes__ == ["Of what it gave before, docstore added 1 and refused 0."]


def test_what_a_slow_generator_gives_is_added_meanwhile(alice: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_GROUP_SECONDS", 0.0)
    found = []

    def crawl() -> Iterator[bytes]:
        for number in range(4):
            yield b"page %d" % number
            found.append(len(alice))

    report = alice.add_many(crawl())
    assert len(report.added) == len(alice) == 4
    assert found == [1, 2, 3, 4]
