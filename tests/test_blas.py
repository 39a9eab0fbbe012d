"""A question's products are made by the thread that asks: it waits for none of OpenBLAS, and others keep theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from docstore import SentenceTransformerEmbedder
from docstore.ingest import blas, minilm_few
from tests.children import child

OPENBLAS = blas.library()
pytestmark = pytest.mark.skipif(OPENBLAS is None, reason="this NumPy multiplies with something else")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = OPENBLAS.num_threads
    _share(2)
    yield
    _share(before)


def _share(threads: int) -> None:
    OPENBLAS.set_num_threads(threads)
    OPENBLAS.clear_controlling_thread()


def test_a_question_is_multiplied_by_one_thread(
    default: SentenceTransformerEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, before = [], minilm_few.FewMiniLM._vector

    def counting(few: minilm_few.FewMiniLM, ids: list[int]) -> minilm_few.Floats:
        counts.append(OPENBLAS.num_threads)
        return before(few, ids)

    monkeypatch.setattr(minilm_few.FewMiniLM, "_vector", counting)
    default.embed(["What is attention?", "What else?"])
    assert counts == [1, 1] and OPENBLAS.num_threads == 2


def test_the_last_thread_that_leaves_gives_back_what_the_first_found() -> None:
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
    assert OPENBLAS.num_threads == 1
    leave.set()
    thread.join()
    assert OPENBLAS.num_threads == 2


def test_what_another_thread_kept_from_being_given_back_is_given_back_by_the_next() -> None:
    entered, leave = threading.Event(), threading.Event()

    def limited() -> None:
        with threadpool_limits(1):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=limited)
    with blas.alone():
        thread.start()
        assert entered.wait(10)
    leave.set()
    thread.join()
    assert OPENBLAS.num_threads == 1  # as that thread found it
    with blas.alone():
        pass
    assert OPENBLAS.num_threads == 2


def test_an_interrupt_in_it_keeps_nobody_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(OPENBLAS), "clear_controlling_thread", interrupted)
        with pytest.raises(KeyboardInterrupt), blas.alone():
            pass
    OPENBLAS.clear_controlling_thread()
    with blas.alone():
        assert OPENBLAS.num_threads == 1
    assert OPENBLAS.num_threads == 2


def test_a_child_has_what_its_parents_threads_had_not_given_back() -> None:
    def run() -> bool:
        count = OPENBLAS.num_threads
        with blas.alone():
            np.ones((300, 300)) @ np.ones((300, 300))
            return (count, OPENBLAS.num_threads) == (2, 1)

    with blas.alone(), child(run):
        pass
