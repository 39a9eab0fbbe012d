"""Extraction: each type by its content, each defect by its own error, and bounds that hold."""

from __future__ import annotations

import io
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from docstore import DocStore, Limits, UnreadableDocument, Workspace
from docstore.ingest import prepare, worker
from docstore.ingest.extract import extract, is_whole
from docstore.ingest.extraction import Extraction, Unreadable
from docstore.ingest.extractor import Extractor
from docstore.ingest.worker_process import WorkerProcess, request
from docstore.testing import HashEmbedder
from tests.folders import files
from tests.samples import bomb, encrypted, justified, of_a_gigabyte, pdf, recursive

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\x02\0\0\0" + bytes(range(200))

GERMAN = "Die Straße führt über die Brücke nach Süden – „schön“, sagte er, und überquerte müde den Fluß. " * 3
RUSSIAN = "Съешь же ещё этих мягких французских булок да выпей чаю. " * 4
JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた。" * 3
)


def text_of(workspace: Workspace, document: bytes, name: str = "untitled") -> str:
    workspace.add(document, name=name)
    return workspace.search("anything at all", k=1)[0].text


@pytest.mark.parametrize(
    ("data", "name", "media_type", "expected"),
    [
        (pdf(["Hello PDF"]), "a.pdf", "application/pdf", "Hello PDF"),
        (pdf(["Hello PDF"]), "wrong.txt", "application/pdf", "Hello PDF"),
        (b"junk before\n" + pdf(["Hello PDF"]), "a.pdf", "application/pdf", "Hello PDF"),
        (justified("Two", "words"), "a.pdf", "application/pdf", "Two words"),
        (encrypted(["Open to all"], ""), "a.pdf", "application/pdf", "Open to all"),
        (b"plain text\r\nsecond line\r", "a.txt", "text/plain", "plain text\nsecond line\n"),
        (GERMAN.encode("cp1252"), "a.txt", "text/plain", GERMAN),
        (RUSSIAN.encode("cp1251"), "a.txt", "text/plain", RUSSIAN),
        ("Ωμέγα".encode("utf-16"), "a.txt", "text/plain", "Ωμέγα"),
        ("﻿with a mark".encode(), "a.txt", "text/plain", "with a mark"),
        (JAPANESE.encode("shift-jis"), "a.txt", "text/plain", JAPANESE),
        (b"\r\n" + pdf(["Hello PDF"]) + b"\n" * 3000, "a.pdf", "application/pdf", "Hello PDF"),
        (b"A PDF begins with %PDF-1.7.", "a.txt", "text/plain", "A PDF begins with %PDF-1.7."),
        (b"# Title\n\nSome *words* and [a link](http://x).\n", "a", "text/markdown",
         "Title\n\nSome words and a link."),
        (b"---\r\ntitle: x\r\n---\r\n\r\n# Head\r\n\r\nBody\r\n", "a", "text/markdown", "Head\n\nBody"),
        (b"# Use\n\n```sh\nls *.md\n```\n", "a.txt", "text/markdown", "Use\n\nls *.md"),
        (b"|a|b|\n|--|:---:|\n|c|![d](e.png)|\n", "a", "text/markdown", "a  b\nc"),
        (b"# Title", "a.md", "text/plain", "# Title"),
        (b"# make\n\nf = *g\n", "a.md", "text/plain", "# make\n\nf = *g"),
        (b"# a comment\n\nhandlers[name](event) * f(**a, **b)", "a", "text/plain",
         "# a comment\n\nhandlers[name](event) * f(**a, **b)"),
        (b"---\nkind: Pod\n---\nkind: Job\n# a *comment*\n- item", "a", "text/plain",
         "---\nkind: Pod\n---\nkind: Job\n# a *comment*\n- item"),
        (b"<!DOCTYPE html><title>T</title><p>One <b>two</b><p>three<script>x()</script>", "a.txt", "text/html",
         "One two\n\nthree"),
        (b"<!-- c --><HTML><body>Body</body></HTML>", "page", "text/html", "Body"),
        ("<?xml version='1.0' encoding='utf-8'?><html><p>XHTML é</html>".encode(), "a", "text/html", "XHTML é"),
        (b"a < b and <not html>", "a.html", "text/plain", "a < b and <not html>"),
        (b"page one\x0cpage two", "a.txt", "text/plain", "page one\npage two"),
    ],
)  # fmt: skip
def test_types_are_decided_by_content(alice: Workspace, data: bytes, name: str, media_type: str, expected: str) -> None:
    document = alice.add(data, name=name)
    assert document.media_type == media_type
    assert alice.search("x", k=1)[0].text.strip() == expected.strip()
    assert (document.pages is None) == (media_type != "application/pdf")


def test_text_of_which_puremagic_knows_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # As puremagic 2 answers, which Python has from 3.12 on. Of 1, which 3.11 has, an answer is never empty.
    monkeypatch.setattr("puremagic.magic_string", lambda head: [])
    assert extract(GERMAN.encode("cp1252"), Limits()).text == GERMAN


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "empty", "no bytes"),
        (b" \n\t ", "empty", "no text"),
        (b"<html><body> </body></html>", "empty", "no text"),
        (pdf(["secret"])[:300], "corrupt", "damaged|cannot be read"),
        (b"%PDF-1.7\nthis is not really a PDF at all", "corrupt", "damaged|cannot be read"),
        (encrypted(["secret"], "pass"), "encrypted", "password"),
        (pdf(["", ""]), "no-text", "none of its 2 pages has text: it is probably scanned"),
        (PNG, "unsupported", "image|PNG|Portable"),
        (b"PK\x03\x04" + bytes(range(256)) * 4, "unsupported", "its content is a ZIP archive, as documents of office"),
        (os.urandom(4000), "unsupported", "Supported are"),
        (bytes(5000), "unsupported", "binary data"),
        (b"<html>before" + b"<div>" * 3000 + b"deep</html>after", "corrupt", "cannot be parsed to its end"),
    ],
)
def test_each_defect_has_its_own_error(alice: Workspace, folder: Path, data: bytes, reason: str, message: str) -> None:
    with pytest.raises(UnreadableDocument, match=message) as error:
        alice.add(data, name="report.pdf")
    assert error.value.reason == reason
    assert str(error.value).startswith("report.pdf: ")
    assert "Traceback" not in str(error.value)
    assert files(folder) == []
    assert len(alice) == 0


def test_a_truncated_pdf_never_loses_pages_silently(alice: Workspace) -> None:
    whole = pdf([f"Page number {number} of ten" for number in range(10)])
    for end in range(len(whole) // 10, len(whole), len(whole) // 10):
        try:
            document = alice.add(whole[:end], name=f"{end}.pdf")
        except UnreadableDocument:
            continue
        assert document.pages == 10


def _streams(data: bytes) -> list[tuple[int, int]]:
    """Where the contents of the pages begin and end."""
    found = re.finditer(rb"[^d]stream\n(.*?)\nendstream", data, re.DOTALL)
    return [match.span(1) for match in found][:5]


def test_a_page_whose_stream_is_damaged_is_not_stored_without_its_text(alice: Workspace) -> None:
    """pypdf would go on with what there is of it, or without its checksum."""
    whole = pdf([" ".join(f"word{n * number}" for n in range(200)) for number in range(1, 6)])
    for begin, end in _streams(whole):
        for offset in range(2, end - begin, 45):
            damaged = bytearray(whole)
            damaged[begin + offset] ^= 0x10
            with pytest.raises(UnreadableDocument, match="the PDF is damaged") as error:
                alice.add(bytes(damaged), name="book.pdf")
            assert error.value.reason == "corrupt"
    assert alice.add(whole, name="book.pdf").pages == 5


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_stream_that_ends_early_is_damaged(share: float) -> None:
    stream = zlib.compress(os.urandom(5000))
    assert not is_whole(stream[: int(share * (len(stream) - 4))])


def test_streams_as_writers_leave_them_are_whole() -> None:
    for content in (b"", b"x", b"BT (text) Tj ET " * 500, os.urandom(3 << 20)):
        stream = zlib.compress(content)
        for found in (stream, stream + b"\r", stream + b"\r\n and more", stream[:-4], stream[:-4] + b"\r\n"):
            assert is_whole(found)
    assert is_whole(b"") and is_whole(b"\n")
    assert not is_whole(zlib.compress(b"some content")[:-1] + b"\0")


def test_page_numbers_of_every_chunk(alice: Workspace) -> None:
    pages = [f"Chapter {number}. " + f"word{number} " * 400 for number in range(1, 6)]
    pages.insert(2, "")
    alice.add(pdf(pages), name="book.pdf")
    for number in (1, 2, 3, 4, 5):
        for hit in alice.search(f"word{number}", k=2):
            assert f"word{number}" in hit.text
            assert hit.page == (number if number < 3 else number + 1)


@pytest.mark.parametrize(
    "html", ["<p>" + "word " * 2_100_000 + "END", "<div>" * 1000 + "deep</div>END", "<p>a<p>" * 99_999 + "END"]
)
def test_html_is_read_to_its_end(alice: Workspace, html: str) -> None:
    document = alice.add(html.encode(), name="long.html")
    assert alice.search_many(["END"], document.chunks)[0][-1].text is not None
    assert any(hit.text.rstrip().endswith("END") for hit in alice.search("END", k=document.chunks))


class TestBounds:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(pages=3, seconds=1.5, memory=600 << 20, characters=5000)

    @pytest.fixture
    def bounded(self, folder: Path, limits: Limits) -> Iterator[Workspace]:
        with DocStore(folder, embedder=HashEmbedder(), limits=limits) as store:
            yield store.workspace("alice")

    @pytest.mark.parametrize(
        ("data", "times", "bound"),
        [
            (pdf(["x"] * 4), 1, "Limits.pages is 3"),
            (b"a line of text\n", 400, "Limits.characters, 5,000"),
            (pdf(["words and words " * 120] * 3), 1, "Limits.characters, 5,000"),
            # Repeated by the test: each process that collects it would keep 660 MB.
            pytest.param(b"some words ", 60 << 20, "Limits.memory|Limits.characters", marks=of_a_gigabyte),
        ],
    )
    def test_the_error_names_the_bound(self, bounded: Workspace, data: bytes, times: int, bound: str) -> None:
        with pytest.raises(UnreadableDocument, match=bound) as error:
            bounded.add(data * times, name="big")
        assert error.value.reason == "limit"
        assert bounded.add(b"and the store goes on").hash

    def test_time(self, folder: Path) -> None:
        slow = pdf(["many words on a page " * 100] * 100)
        with DocStore(folder, embedder=HashEmbedder(), limits=Limits(seconds=0.05)) as store:
            began = time.monotonic()
            with pytest.raises(UnreadableDocument, match=r"Limits.seconds, 0.05 s"):
                store.workspace("alice").add(slow)
            assert time.monotonic() - began < 5

    def test_one_that_takes_too_long_takes_no_other_with_it(self, folder: Path) -> None:
        # They are small enough for one worker to get them all at once.
        slow = pdf(["many words on a page " * 100] * 100)
        documents = [b"before it", slow, b"after it", b"and the last"]
        with DocStore(folder, embedder=HashEmbedder(), limits=Limits(seconds=0.25)) as store:
            report = store.workspace("alice").add_many(documents)
        assert [document.size for document in report.added] == [9, 8, 12]
        assert [failure.error.reason for failure in report.failed] == ["limit"]  # type: ignore[attr-defined]

    def test_a_worker_that_reads_nothing_takes_no_more_time(self) -> None:
        documents = [bytes([65 + number]) * 60_000 for number in range(8)]  # far more than a pipe holds
        extractor = Extractor(Limits(seconds=1.0))
        extractor.extract(b"starts a worker")
        os.kill(extractor._idle[0]._process.pid, signal.SIGSTOP)
        found = list(extractor.extract_each(documents))
        extractor.close()
        first, *others = found
        assert isinstance(first, Unreadable)
        assert first.reason == "limit"
        assert [each.text[0] for each in others if isinstance(each, Extraction)] == list("BCDEFGH")

    @pytest.mark.parametrize("data", [bomb(200), recursive(), b"<html>" + b"<div>" * 300_000 + b"x"])
    def test_hostile_files_end_soon_and_disturb_nothing(self, folder: Path, data: bytes) -> None:
        with DocStore(folder, embedder=HashEmbedder(), limits=Limits(seconds=20, memory=1 << 30)) as store:
            workspace = store.workspace("alice")
            began = time.monotonic()
            with pytest.raises(UnreadableDocument) as error:
                workspace.add(data, name="hostile")
            assert time.monotonic() - began < 25
            assert error.value.reason in ("limit", "corrupt", "no-text", "empty")
            assert workspace.add(b"and the store goes on").chunks == 1


def test_a_library_that_prints_does_not_break_extraction(alice: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    # pypdf logs warnings on this: a wrong startxref, which it repairs.
    data = pdf(["Readable all the same"])
    position = data.rindex(b"startxref")
    assert "Readable" in text_of(alice, data[:position] + b"startxref\n7\n%%EOF\n")
    assert capfd.readouterr().out == ""


def test_modules_in_the_working_directory_are_not_imported(
    alice: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "queue", "pypdf", "resource"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.chdir(tmp_path)
    assert alice.add(pdf(["Read by the real library"])).pages == 1


def test_sources(alice: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"one note")
    assert alice.add(path).name == "note.txt"
    assert alice.add(str(path)).reused
    assert alice.add(b"one note").reused
    assert alice.add(io.BytesIO(b"one note")).reused
    with path.open("rb") as file:
        assert alice.add(file).reused
    assert len(alice.documents()) == 1


def test_what_else_stands_in_the_import_path_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, folder])  # Python itself takes no notice of it
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.workspace("alice").add(b"A note.").chunks == 1


def test_what_python_prints_when_it_starts_is_no_answer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os; os.write(1, b'loaded\\n')")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])  # which the worker process gets
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.workspace("alice").add(b"A note.").chunks == 1


@pytest.mark.parametrize("most", [0, 1, 3])
def test_where_few_threads_can_be_started_documents_are_added_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    start, left = threading.Thread.start, iter(range(most))

    def few(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", few)
    monkeypatch.setattr("docstore.ingest.prepare.CONCURRENCY", 4)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        report = store.workspace("alice").add_many([b"Note %d." % number for number in range(100)])
        assert len(report.added) == 100
        assert len(store.workspace("alice").search("note", k=200)) == 100
    monkeypatch.undo()
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.verify().ok


def test_where_the_system_refuses_a_limit_of_memory_documents_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS does, where every document was refused."""

    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    found, text = worker._answer({"limits": asdict(Limits()), "media_type": "text/plain"}, b"A note.")
    assert (found["media_type"], text) == ("text/plain", b"A note.")


def test_what_a_pool_kept_and_its_user_did_is_done_once() -> None:
    calls: list[str] = []
    once = prepare._Once(lambda: calls.append("called"))
    once()
    once()
    assert (calls, once.done.result(timeout=0)) == (["called"], None)


def test_a_thread_that_outlives_the_main_one_goes_on(folder: Path) -> None:
    program = f"""
import threading, time
from docstore import DocStore
from docstore.testing import HashEmbedder

def work():
    with DocStore({str(folder)!r}, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(b"A note.")
        threading.main_thread().join()
        print(len(alice.add_many([b"Note %d." % number for number in range(100)]).added))

thread = threading.Thread(target=work)
thread.start()
time.sleep(2)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("100\n", 0), done.stderr


def test_a_module_beside_the_script_is_not_taken_for_pythons_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "html.py").write_text("raise RuntimeError('this is an application')")
    script = tmp_path / "app.py"
    script.write_text(f"""
from docstore import DocStore
from docstore.testing import HashEmbedder

with DocStore({str(folder)!r}, embedder=HashEmbedder()) as store:
    print(store.workspace("alice").add(b"<html><p>A page.</p></html>").media_type)
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("text/html\n", 0), done.stderr


def test_workers_that_only_a_burst_needed_end(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = Extractor(None)
    several = [extractor.extract_each([b"red", b"fox"]) for _ in range(3)]
    for each in several:
        next(each)
    for each in several:
        list(each)
    last, used = extractor._idle[-1], list(extractor._idle)
    assert len(used) == 3
    assert extractor.extract(b"snow").text == "snow" and extractor._idle == used
    monkeypatch.setattr("docstore.ingest.extractor._IDLE_SECONDS", 0)
    assert extractor.extract(b"snow").text == "snow" and extractor._idle == [last]
    assert [each.is_alive() for each in used] == [False, False, True]
    extractor.close()


@pytest.mark.parametrize("written", [0, 10, -50])
def test_a_worker_ends_when_its_parent_does_wherever_that_stopped_writing(written: int) -> None:
    worker = WorkerProcess()
    asked = request(b"A note of some words. " * 5, {"media_type": None, "limits": asdict(Limits())})
    os.write(worker._input, asked[:written])
    assert worker._process.stdin is not None
    worker._process.stdin.close()
    try:
        assert worker._process.wait(20) == 0
    finally:
        worker.kill()
