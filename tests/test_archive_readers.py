"""Who reads packed pieces: threads, processes, children, read-only stores; and many looks in one transaction."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docstore import IntegrityError, StorageError, StoreLocked, covered, hits, subindexes, texts, views
from docstore import archive as archive_module
from docstore.archive import ARCHIVE, Archive
from docstore.segments import Addition, Codes, Entry, Segment
from docstore.vectors import SPAN, SPANS_SUFFIX
from tests.folders import packed, problems
from tests.packing import MANY, change, notes, open_store
from tests.races import Killed


def test_a_store_that_is_read_only_is_not_written(filled: Path) -> None:
    before = {path: (filled / path).read_bytes() for path in (ARCHIVE, "catalog.db")}
    with open_store(filled, readonly=True) as store:
        assert len(store.workspace("alice").search("ships", k=9)) == MANY
        assert store.verify().ok
        assert store.stats().documents == MANY
    assert before == {path: (filled / path).read_bytes() for path in before}


def test_readers_and_writers_of_other_threads_and_processes_get_along(filled: Path) -> None:
    program = """
import sys
from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.packing import notes
with DocStore(sys.argv[1], embedder=HashEmbedder()) as store:
    own = store.workspace(sys.argv[2])
    for turn in range(4):
        assert not own.add_many(notes(12, 10 * int(sys.argv[2]))).failed
        for document in own.documents()[::2]:
            own.remove(document.hash)
        store.collect()
"""
    others = [subprocess.Popen([sys.executable, "-c", program, str(filled), str(name)]) for name in range(3)]
    with open_store(filled) as store:
        alice = store.workspace("alice")
        while any(each.poll() is None for each in others):
            store._parts.views.drop(alice._id)
            assert len(alice.search("ships", k=99)) == MANY
    assert [each.wait() for each in others] == [0, 0, 0]
    with open_store(filled) as store:
        assert store.verify().ok
    assert problems(filled) == []


def test_a_child_uses_no_connection_of_its_parent(filled: Path) -> None:
    with open_store(filled) as store:
        alice = store.workspace("alice")
        assert alice.search("ships")
        inside, go_on = threading.Event(), threading.Event()

        def write() -> None:
            with store._parts.write():
                store._parts.archive.put("documents/aa/" + "a" * 64 + ".txt", b"never committed")
                inside.set()
                go_on.wait(20)
                raise Killed

        def die_quietly() -> None:
            with pytest.raises(Killed):
                write()

        writing = threading.Thread(target=die_quietly)
        writing.start()
        inside.wait(20)
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            code = 1
            try:
                # The catalog, which the thread is writing too, is refused; the archive shows what is committed.
                with pytest.raises(StorageError, match="`spawn`"):
                    alice.documents()
                code = 0 if len(store._parts.archive.names("documents")) == MANY else 2
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        go_on.set()
        writing.join()
        assert len(packed(filled)) == 4 * MANY
        assert store.verify().ok


def test_a_commit_waits_for_no_more_than_some_looks(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "_TOGETHER_SECONDS", 0.2)
    with open_store(filled) as store, open_store(filled, timeout=0.1) as other:
        archive = store._parts.archive
        names = archive.names(f"documents/{archive.below('documents')[0]}")
        with archive.reading():
            assert archive.size(names[0])
            with pytest.raises(StoreLocked), other._parts.write():
                other._parts.archive.put("documents/00/x", b"new")
            time.sleep(0.2)
            assert archive.size(names[0])  # the last look, which ends the transaction
            with other._parts.write():
                other._parts.archive.put("documents/00/x", b"new")
            assert archive.size("documents/00/x") == 3
        assert archive.size(names[0])


def test_a_reader_that_was_stopped_keeps_no_single_document_out(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "_TOGETHER_SECONDS", 60)
    with open_store(filled) as store, open_store(filled, timeout=0.1) as other:
        archive, bob = store._parts.archive, other.workspace("bob")
        with archive.reading():
            assert archive.names("documents/00") is not None
            bob.remove(bob.add(b"On its own it is a file.").hash)
            with pytest.raises(StoreLocked, match="was stopped while it read"):
                bob.add_many(notes(MANY, 500))
        assert len(bob.add_many(notes(MANY, 500)).added) == MANY
        assert other.verify().ok


@pytest.mark.parametrize("mmr", [False, True])
def test_a_search_holds_up_no_commit_but_while_it_opens_texts(
    filled: Path, monkeypatch: pytest.MonkeyPatch, mmr: bool
) -> None:
    monkeypatch.setattr(archive_module, "_TOGETHER_SECONDS", 60)
    with open_store(filled) as store:
        alice, archive = store.workspace("alice"), store._parts.archive
        alice.search(notes()[1].decode(), k=1)  # reads one, which stays in memory, and nothing of the others yet
        alice.add(notes(1, 100)[0])
        held: list[str] = []

        def spied(module: Any, name: str) -> None:
            act = getattr(module, name)

            def watched(*arguments: Any) -> Any:
                reading = getattr(archive._local, "reading", None)
                assert reading is None or reading.connection is None
                held.append(name)
                return act(*arguments)

            monkeypatch.setattr(module, name, watched)

        for module, name in ((views, "nearest"), (texts, "read_blocks"), (texts, "cut"), (hits, "_made")):
            spied(module, name)
        assert len(alice.search("ships", k=MANY, mmr=mmr)) == MANY
    assert {name: held.count(name) for name in held}.items() >= {"nearest": 2, "cut": MANY - 1, "_made": 1}.items()
    assert held.count("read_blocks") >= 2


def test_a_look_that_fails_ends_the_transaction(filled: Path) -> None:
    with open_store(filled) as store, open_store(filled, timeout=0.1) as other:
        archive = store._parts.archive
        with archive.reading():
            assert archive.size("documents/00/none") is None
            with pytest.raises(IntegrityError):
                archive._rows("SELECT nothing")
            with other._parts.write():
                other._parts.archive.put("documents/00/x", b"new")
            assert archive.size("documents/00/x") == 3


def test_who_looks_waits_for_nobody_who_looks_too(filled: Path) -> None:
    # One has looked, so a commit waits for it; another would look, and waits for that commit. If the first then waited
    # for the second, because they add to the same memory, nobody would go on.
    with open_store(filled, timeout=3) as store, open_store(filled, timeout=3) as other, ThreadPoolExecutor(2) as pool:
        archive, segment = store._parts.archive, Segment(0, 1, "float32", 8)
        began, looked = threading.Event(), threading.Event()

        def look() -> list[Codes]:
            began.set()
            assert looked.wait(3)
            time.sleep(0.3)  # the commit waits by now
            archive.size("documents/00/x")
            return [np.zeros((1, 4), np.uint8)]

        def second() -> None:
            with archive.reading():
                segment.append(Addition([Entry(("second", ""), 1, np.zeros(1, SPAN), False)], look))

        def commit() -> None:
            assert looked.wait(3)
            with other._parts.write():
                other._parts.archive.put("documents/00/x", b"new")

        running = [pool.submit(second), pool.submit(commit)]
        with archive.reading():
            archive.size("documents/00/x")
            assert began.wait(3)
            looked.set()
            first = Entry(("first", ""), 1, np.zeros(1, SPAN), False)
            segment.append(Addition([first], lambda: [np.zeros((1, 4), np.uint8)]))
            time.sleep(0.5)
        for each in running:
            each.result()
        assert segment.has(("first", ""))
        assert segment.has(("second", ""))


def test_packed_pieces_are_opened_in_one_statement_and_files_count_before_them(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(filled) as store:
        archive, files = store._parts.archive, store._parts.texts
        hashes = [hash for shard in files.shards() for hash, _, _ in files.packed(shard)]
        assert len(hashes) == MANY
        each = {hash: files.open(hash, texts.SUFFIX).read() for hash in hashes}
        asked, rows = [], archive._rows

        def counted(*arguments: Any) -> Any:
            asked.append(arguments)
            return rows(*arguments)

        monkeypatch.setattr(archive, "_rows", counted)
        with files.open_all(hashes, texts.SUFFIX) as opened:
            assert {hash: file.read() for hash, file in opened.items()} == each
        assert len(asked) == 1
        path = files.path(hashes[3], texts.SUFFIX)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"as a file")
        with files.open_all(hashes[:5], texts.SUFFIX) as opened:
            assert {hash: file.read() for hash, file in opened.items()} == {
                **{hash: each[hash] for hash in hashes[:5]},
                hashes[3]: b"as a file",
            }
        assert opened[hashes[3]].closed
        with pytest.raises(FileNotFoundError), files.open_all([*hashes[:2], "0" * 64], texts.SUFFIX):
            pass


def names_asked_for(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Grows with every statement that reads pieces."""
    asked: list[list[str]] = []
    rows = archive._rows

    def noted(sql: str, *arguments: Any) -> Any:
        asked.append([each for each in arguments if isinstance(each, str)])
        return rows(sql, *arguments)

    monkeypatch.setattr(archive, "_rows", noted)
    return asked


def test_a_first_search_reads_what_it_needs_together_the_codes_the_spans_of_its_hits_and_their_texts(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(filled) as store:
        alice, asked = store.workspace("alice"), names_asked_for(store._parts.archive, monkeypatch)
        hits = alice.search("ships", k=5)
        assert len({hit.document for hit in hits}) == 5
        # The first piece of all says that the others are packed too.
        read = [({name.rpartition("/")[2].rpartition(".")[2] for name in names}, len(names)) for names in asked]
        assert read == [({"faiss"}, 1), ({"faiss"}, MANY - 1), ({"npy"}, 5), ({"zst"}, 5)]
        asked.clear()
        assert alice.search("ships", k=5) == hits
        assert not asked


def test_no_more_codes_are_in_memory_together_than_so_many_bytes(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(filled) as store:
        hits = store.workspace("alice").search("ships", k=MANY)
        size = len(next(data for name, data in packed(filled).items() if name.endswith(".faiss")))
    for bytes_together, indexes_together, expected in (
        (2 * size, 64, [1, 1, 2, 1]),
        (1, 64, [1] * MANY),
        (1 << 20, 3, [1, 2, 2]),
    ):
        monkeypatch.setattr(subindexes, "_CODES_TOGETHER", bytes_together)
        monkeypatch.setattr(subindexes, "_INDEXES_TOGETHER", indexes_together)
        with open_store(filled) as store:
            alice, asked = store.workspace("alice"), names_asked_for(store._parts.archive, monkeypatch)
            assert alice.search("ships", k=MANY) == hits
            assert [len(names) for names in asked if names[0].endswith(".faiss")] == expected


def test_of_documents_that_are_appended_together_some_may_be_there(filled: Path) -> None:
    # As when another thread has appended them meanwhile.
    with open_store(filled) as store:
        parts, alice = store._parts, store.workspace("alice")
        with parts.database.read() as db:
            rows, _ = covered.all_rows(db, covered.owners_of(db, alice._id), parts.pipeline.fingerprint)
        (every,) = subindexes.additions_of(parts, rows)
        codes = {entry.key: each for entry, each in zip(every.entries, every.codes(), strict=True)}
        assert len({each.tobytes() for each in codes.values()}) == MANY
        for before in ((), (0,), (1, 3), (MANY - 1,), range(MANY)):
            segment = Segment(0, parts.pipeline.dimension, parts.pipeline.codec, 1)
            for number in before:
                one = rows[number].document, rows[number].text
                segment.append(Addition([every.entries[number]], partial(list, [codes[one]])))
            segment.append(every)
            snapshot = segment.snapshot()
            assert sorted(snapshot.keys) == sorted(codes)
            for key, expected in codes.items():
                found = snapshot.addition(key)
                assert found is not None
                assert np.array_equal(found.codes()[0], expected)
                assert found.entries[0] in every.entries


def test_of_documents_of_one_text_the_index_is_read_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(tmp_path / "store") as store:
        every = notes() + [each + ending for each in notes() for ending in (b"\n", b"\r\n")]
        assert len(store.workspace("alice").add_many(every).added) == 2 * MANY
    with open_store(tmp_path / "store") as store:
        files, asked = store._parts.embeddings(store._parts.pipeline.fingerprint), []
        read = files._packed_copies

        def noted(*arguments: Any) -> Any:
            found = read(*arguments)
            asked.append(files._last_was_packed)
            return found

        monkeypatch.setattr(files, "_packed_copies", noted)
        assert len(store.workspace("alice").search("ships", k=99)) == 3 * MANY
        assert asked
        assert all(asked)


def test_a_damaged_index_among_others_is_named(filled: Path) -> None:
    names = [name for name in packed(filled) if name.endswith("/index.faiss")]
    damaged = names[MANY // 2]
    change(filled, "UPDATE sqlar SET data = zeroblob(length(data)) WHERE name = ?", damaged)
    with open_store(filled) as store, pytest.raises(IntegrityError, match=damaged.split("/")[3]):
        store.workspace("alice").search("ships", k=5)


def test_of_spans_that_are_read_together_each_is_checked(filled: Path) -> None:
    with open_store(filled) as store:
        alice, files = store.workspace("alice"), store._parts.embeddings(store._parts.pipeline.fingerprint)
        first = alice.search("ships", k=5)[0]
        with store._parts.database.read() as db:
            text, file_hash, size = db.execute(
                "SELECT t.hash, spans_hash, spans_size FROM documents d JOIN texts t ON t.id = d.text_id"
                " JOIN subindexes s ON s.text_id = t.id WHERE d.hash = ?", (first.document,),
            ).fetchone()  # fmt: skip
        piece = text, file_hash, size
        (sound,) = files.read_all_checked(SPANS_SUFFIX, [piece])
        assert len(sound) == size
        # Another file's hash for the same text, as a view of before may have it; and one that is not there at all.
        with pytest.raises(IntegrityError, match="does not hold the bytes"):
            files.read_all_checked(SPANS_SUFFIX, [piece, (text, "0" * 64, size)])
        with pytest.raises(FileNotFoundError):
            files.read_all_checked(SPANS_SUFFIX, [piece, ("0" * 64, file_hash, size)])
    change(filled, "UPDATE sqlar SET data = zeroblob(length(data)) WHERE name LIKE '%' || ? || '/chunks.npy'", text)
    with open_store(filled) as store, pytest.raises(IntegrityError, match=text):
        store.workspace("alice").search("ships", k=5)


def test_who_reads_files_meanwhile_lets_commits_in(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be on a slow disk, and who commits holds the catalog's write lock while it waits."""
    monkeypatch.setattr(archive_module, "_TOGETHER_SECONDS", 0.05)
    with open_store(filled) as store, open_store(filled, timeout=0.02) as other:
        archive = store._parts.archive
        large = other.workspace("bob").add(b"A text of some length. " * 20_000)
        with archive.reading():
            assert archive.size("nothing") is None
            with pytest.raises(StoreLocked):
                other.workspace("bob").add_many(notes(MANY, 700))
            time.sleep(0.05)
            path = store._parts.documents.path(large.hash, ".txt")
            assert path.exists()
            store._parts.documents._read(large.hash, ".txt", large.size)
            assert len(other.workspace("bob").add_many(notes(MANY, 900)).added) == MANY
