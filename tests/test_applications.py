"""The applications of docs/how-to/applications.md, in the frameworks they are written for.

Two of these bring hundreds of megabytes, and are not in the environment of `make test`: `make applications` runs all.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from docstore import DocStore
from tests.folders import files
from tests.samples import pdf

ROOT = Path(__file__).parent.parent
LEAVE = b"Five days of leave may be carried over."

# Frameworks warn of one another, and in the tests a warning is an error.
pytestmark = pytest.mark.filterwarnings("default")


def needs(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed: `make applications`")


@pytest.mark.parametrize(
    ("name", "prints"),
    [
        ("langchain_retriever", "Five days of leave may be carried over. (from leave.txt)"),
        pytest.param("llamaindex_retriever", "file_name: leave.txt\n\nFive days", marks=needs("llama_index")),
    ],
)
def test_a_retriever_finds_what_its_workspace_has(name: str, prints: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{name}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0 and prints in done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCSTORE_FOLDER", str(tmp_path / "data"))
    return tmp_path / "data"


def test_retrievers_run_in_threads_and_keep_users_apart(folder: Path) -> None:
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from examples.langchain_retriever import LangChainEmbedder, WorkspaceRetriever

    with DocStore(folder, embedder=LangChainEmbedder(DeterministicFakeEmbedding(size=64), "fake/64")) as store:
        for user in ("alice", "bob"):
            store.workspace(user).add(pdf([f"A note of {user}'s.", f"And another of {user}'s."]), name=f"{user}.pdf")
            found = WorkspaceRetriever(workspace=store.workspace(user)).batch(["a note"] * 8)
            assert {(each.metadata["source"], each.metadata["page"]) for some in found for each in some} == {
                (f"{user}.pdf", 1),
                (f"{user}.pdf", 2),
            }


def test_a_retriever_embeds_queries_as_its_model_embeds_queries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from examples.langchain_retriever import LangChainEmbedder, WorkspaceRetriever

    def for_queries(self: Any, text: str) -> Any:
        return self.embed_documents([f"The answer to: {text}"])[0]

    monkeypatch.setattr(DeterministicFakeEmbedding, "embed_query", for_queries)
    model = DeterministicFakeEmbedding(size=64)
    with DocStore(folder, embedder=LangChainEmbedder(model, "asymmetric/64")) as store:
        alice = store.workspace("alice")
        for text in ("leave", "The answer to: leave"):
            alice.add(text.encode(), name=f"{text}.txt")
        (found,) = WorkspaceRetriever(workspace=alice, k=1, model=model).invoke("leave")
    assert found.page_content == "The answer to: leave" and found.metadata["score"] > 0.99


@needs("llama_index")
def test_a_retriever_searches_for_what_a_transformation_makes_of_the_question(folder: Path) -> None:
    from llama_index.core.schema import QueryBundle

    from docstore.testing import HashEmbedder
    from examples.llamaindex_retriever import WorkspaceRetriever

    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        for text in ("How long?", "Five days of leave."):
            alice.add(text.encode(), name=f"{text}.txt")
        retriever = WorkspaceRetriever(alice, k=1)
        hypothetical = QueryBundle("How long?", custom_embedding_strs=["Seven days of leave."])  # as HyDEQueryTransform
        found = [retriever.retrieve(each)[0].text for each in ("How long?", hypothetical)]
    assert found == ["How long?", "Five days of leave."]


def test_a_service_serves_each_user_what_is_theirs(folder: Path) -> None:
    from fastapi.testclient import TestClient

    from examples.fastapi_app import app

    alice, bob = {"X-User": "alice"}, {"X-User": "bob"}
    with TestClient(app) as client:

        def upload(name: str, content: bytes, user: dict[str, str] = alice) -> Any:
            return client.post("/documents", headers=user, files={"file": (name, content)})

        def found(user: dict[str, str]) -> list[str]:
            return [hit["name"] for hit in client.get("/search", headers=user, params={"q": "leave"}).json()]

        hash = upload("leave.txt", LEAVE).json()["hash"]
        assert upload("mine.txt", LEAVE, bob).json()["reused"] is False  # whoever has it already
        assert (found(alice), found(bob)) == (["leave.txt"], ["mine.txt"])
        for user, name in ((alice, "leave.txt"), (bob, "mine.txt")):
            given = client.get(f"/documents/{hash}", headers=user)
            assert (given.status_code, given.content) == (200, LEAVE)
            assert given.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{name}"
            assert given.headers["Content-Length"] == str(len(LEAVE))
        assert client.get(f"/documents/{hash}", headers={"X-User": "carol"}).status_code == 404
        threads = [threading.Thread(target=upload, args=(f"{n}.txt", b"Note %d." % n)) for n in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(client.get("/documents", headers=alice).json()) == 9
        broken = upload("broken.pdf", b"%PDF-1.7 broken")
        assert broken.status_code == 422 and broken.json()["detail"].startswith("broken.pdf: the PDF is damaged")
        assert client.get("/search", headers=alice, params={"q": " "}).status_code == 422
        assert client.get("/documents").status_code == 422  # nobody
        assert [client.delete(f"/documents/{hash}", headers=bob).status_code for _ in range(2)] == [204, 404]
        assert (found(alice)[0], found(bob)) == ("leave.txt", [])


def test_a_service_answers_as_its_openapi_says(folder: Path) -> None:
    from fastapi.testclient import TestClient

    from examples.fastapi_app import app

    alice = {"X-User": "alice"}
    with TestClient(app) as client:
        said = client.get("/openapi.json").json()
        upload = client.post("/documents", headers=alice, files={"file": ("leave.txt", LEAVE)})
        for path, answer in (
            ("/documents", client.post("/documents", headers=alice, files={"file": ("empty.txt", b"")})),
            ("/documents/{hash}", client.get(f"/documents/{'0' * 64}", headers=alice)),
            ("/search", client.get("/search", headers=alice, params={"q": " "})),
            ("/search", client.get("/search", headers=alice)),
        ):
            declared = said["paths"][path][answer.request.method.lower()]["responses"][str(answer.status_code)]
            name = declared["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            detail = said["components"]["schemas"][name]["properties"]["detail"]
            given = "string" if isinstance(answer.json()["detail"], str) else "array"
            assert given in {each["type"] for each in detail.get("anyOf", [detail])}
        download = client.get(f"/documents/{upload.json()['hash']}", headers=alice)
        assert [*said["paths"]["/documents/{hash}"]["get"]["responses"]["200"]["content"]] == [
            download.headers["Content-Type"]
        ]


def test_what_is_the_servers_fault_tells_clients_nothing_and_the_log_all(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from fastapi.testclient import TestClient

    from examples.fastapi_app import app

    with TestClient(app) as client:
        client.post("/documents", headers={"X-User": "alice"}, files={"file": ("leave.txt", LEAVE)})
        for path in files(folder, "embeddings"):
            (folder / path).write_bytes(b"something else")
        answer = client.get("/search", headers={"X-User": "alice"}, params={"q": "leave"})
        assert (answer.status_code, answer.json()) == (500, {"detail": "IntegrityError"})
    assert "does not hold the bytes that were" in caplog.text and str(folder) in caplog.text


def test_searches_are_answered_however_many_uploads_there_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    from docstore.testing import HashEmbedder
    from examples import fastapi_app

    begun, go_on = threading.Semaphore(0), threading.Event()

    class Slow(HashEmbedder):
        def embed(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
            if any("Note" in each for each in texts):
                begun.release()
                assert go_on.wait(100)
            return super().embed(texts)

    monkeypatch.setattr(fastapi_app, "DocStore", functools.partial(DocStore, embedder=Slow()))
    with TestClient(fastapi_app.app) as client, ThreadPoolExecutor(60) as threads:

        def upload(number: int) -> int:
            file = {"file": ("note.txt", b"Note %d." % number)}
            return int(client.post("/documents", headers={"X-User": f"{number}"}, files=file).status_code)

        uploads = [threads.submit(upload, number) for number in range(50)]
        try:
            assert begun.acquire(timeout=100)
            time.sleep(1)  # all of them are on their way: FastAPI has 40 threads
            search = threads.submit(client.get, "/search", headers={"X-User": "alice"}, params={"q": "leave"})
            assert search.result(timeout=60).status_code == 200
        finally:
            go_on.set()
        assert {each.result() for each in uploads} == {200}


def test_a_user_is_told_of_limits_of_her_own_and_the_log_of_the_stores(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from fastapi.testclient import TestClient

    from examples.fastapi_app import app

    with TestClient(app) as client:

        def upload() -> tuple[int, str]:
            file = {"file": ("leave.txt", LEAVE)}
            answer = client.post("/documents", headers={"X-User": "alice"}, files=file)
            return answer.status_code, answer.json()["detail"]

        alice = app.state.store.workspace("user:alice")
        alice.limit(documents=0)
        status, said = upload()
        assert status == 413 and said.startswith("The workspace has 0 documents and may have 0.") and not caplog.text
        alice.limit()
        app.state.store.limit(keep_free=0.999)
        assert upload() == (507, "QuotaExceeded")
        assert "The disk has" in caplog.text


def chat_page() -> Any:
    """The chat, as in a process that begins: its store is opened anew."""
    import streamlit
    from streamlit.testing.v1 import AppTest

    streamlit.cache_resource.clear()
    return AppTest.from_file(str(ROOT / "examples" / "streamlit_app.py"), default_timeout=300).run()


@needs("streamlit")
def test_a_chat_shows_its_answers_and_their_sources(folder: Path) -> None:
    app = chat_page()
    app.file_uploader[0].upload("leave.txt", LEAVE, "text/plain").run()
    app.chat_input[0].set_value("How many days?").run()
    assert not app.exception and not app.error
    said = [(each.name, [text.value for text in each.get("text")]) for each in app.chat_message]
    assert said == [("user", ["How many days?"]), ("assistant", [LEAVE.decode(), "(leave.txt)"])]
    assert [each.value for each in app.sidebar.get("text")] == ["leave.txt"]
    assert not app.markdown and not app.caption  # an image in a document would call its author's server
    app.file_uploader[0].upload("broken.pdf", b"%PDF-1.7 broken", "application/pdf").run()
    assert app.error[0].value.startswith("broken.pdf: the PDF is damaged") and not app.exception
    app.text_input[0].set_value("bob").run()
    assert not app.chat_message and not app.error
    app.chat_input[0].set_value("How many days?").run()  # what alice uploaded on this page stays hers
    assert [each.value for each in app.chat_message[1].get("text")] == ["There is nothing to search yet."]


@needs("streamlit")
def test_a_chat_tells_users_what_they_can_mend_and_the_log_the_rest(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = chat_page()
    app.file_uploader[0].upload("n" * 1001, LEAVE, "text/plain").upload("leave.txt", LEAVE, "text/plain").run()
    assert [each.value for each in app.error] == ["name has 1,001 characters; at most 1,000 are allowed"]
    with DocStore(folder) as store:
        store.limit(keep_free=0.999)
    app.file_uploader[0].upload("more.txt", b"And a sixth.", "text/plain").run()
    assert app.error[0].value.startswith("That did not work (QuotaExceeded).")
    assert "The disk has" in caplog.text
    app.chat_input[0].set_value("How many days? " * 100_000).run()
    assert app.error[0].value.startswith("content takes 1,4") and not app.exception
    for path in files(folder, "embeddings"):
        (folder / path).write_bytes(b"something else")
    app = chat_page()
    app.chat_input[0].set_value("How many days?").run()
    assert "IntegrityError" in app.error[0].value and str(folder) not in app.error[0].value and not app.exception
    assert str(folder) in caplog.text and not app.chat_message
