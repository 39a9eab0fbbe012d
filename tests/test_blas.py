"""A question's products are made by the thread that asks: it waits for none of OpenBLAS, and others keep theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from docstore import SentenceTransformerEmbedder
from docstore.ingest import blas, minilm_few
from tests.children import child

OPENBLAS = blas.library()
pytestmark = pytest.mark.skipif(OPENBLAS is None, reason="this NumPy multiplies with something else")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    assert OPENBLAS is not None
    before = OPENBLAS.threads()
    OPENBLAS.limit(2)
    yield
    OPENBLAS.limit(before)


def test_a_question_is_multiplied_by_one_thread(
    default: SentenceTransformerEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OPENBLAS is not None
    counts, before = [], minilm_few.FewMiniLM._vector

    def counting(few: minilm_few.FewMiniLM, ids: list[int]) -> minilm_few.Floats:
        assert OPENBLAS is not None
        counts.append(OPENBLAS.threads())
        return before(few, ids)

    monkeypatch.setattr(minilm_few.FewMiniLM, "_vector", counting)
    default.embed(["What is attention?", "What else?"])
    assert counts == [1, 1] and OPENBLAS.threads() == 2


def test_the_last_thread_that_leaves_gives_back_what_the_first_found() -> None:
    assert OPENBLAS is not None
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with blas.alone():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(10)
    with pytest.raises(ZeroDivisionError), blas.alone():
        raise ZeroDivisionError
    assert OPENBLAS.threads() == 1
    leave.set()
    thread.join()
    assert OPENBLAS.threads() == 2


def test_a_child_has_what_its_parents_threads_had_not_given_back() -> None:
    def run() -> bool:
        assert OPENBLAS is not None
        count = OPENBLAS.threads()
        with blas.alone():
            np.ones((300, 300)) @ np.ones((300, 300))
            return (count, OPENBLAS.threads()) == (2, 1)

    with blas.alone(), child(run):
        pass
