"""Errors cross from process to process: a pool that cannot unpickle one hangs, or fails for all its other work.
Each has an exit code."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from docstore import DocStore, DocStoreError, QuotaExceeded, UnreadableDocument, cli_output, errors
from docstore.cli_output import ExitCode
from docstore.testing import HashEmbedder

KINDS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DocStoreError)]
RAISED = [
    *(kind("What, why, and what next.") for kind in KINDS if kind is not UnreadableDocument),
    UnreadableDocument("a.pdf", "corrupt", "it is damaged"),
    QuotaExceeded("No more.", "documents", 3, 1, 3),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_each_is_the_same_in_another_process(error: DocStoreError) -> None:
    error.add_note("while adding")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301
        assert type(other) is type(error)
        assert (str(other), vars(other)) == (str(error), vars(error))


def test_so_is_a_report_with_failures(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        report = store.workspace("alice").add_many([b"A note.", b""])
    other = pickle.loads(pickle.dumps(report))  # noqa: S301
    assert other.added == report.added
    assert [(each.name, str(each.error)) for each in other.failed] == [
        (each.name, str(each.error)) for each in report.failed
    ]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_every_error_has_an_exit_code(error: DocStoreError) -> None:
    assert cli_output.exit_code(error) not in (ExitCode.OK, ExitCode.INTERRUPTED, ExitCode.CLOSED_PIPE)
