"""Mismatch: the error of a search for documents that were embedded otherwise, which says what was otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from docstore.covered import CoveredRow
from docstore.database import Database, records
from docstore.errors import PipelineMismatch
from docstore.ingest.pipeline import Pipeline

_SETTINGS = {
    ("embedder", "fingerprint"): "the fingerprint",
    ("embedder", "dimension"): "the dimension",
    ("chunker", "max_tokens"): "max_tokens",
    ("chunker", "size"): "chunk_size",
    ("chunker", "overlap"): "chunk_overlap",
    ("codec",): "codec",
    ("chunker", "revision"): "docstore's way to cut",
    ("extractor",): "docstore's way to extract",
}
"""Where a pipeline's description has something, and what callers call that."""


def mismatch(db: Database, lacking: Sequence[CoveredRow], documents: int, pipeline: Pipeline) -> PipelineMismatch:
    """The error of a search.

    Args:
        lacking: what has no vectors under the pipeline, one at least.
        documents: how many are searched.
    """
    one = lacking[0]
    return PipelineMismatch(
        f"{len(lacking)} of {documents} documents of this workspace ({one.name!r} is one) have no vectors under the "
        f"embedder, codec and chunk sizes this store was opened with.{_had(db, one, pipeline)} Open it with those they "
        "were added with; or add each again, or link it, workspace.link(hash), to embed it under these."
    )


def _had(db: Database, document: CoveredRow, pipeline: Pipeline) -> str:
    """What it was embedded with that is otherwise now; of several, what differs least."""
    found = records(
        db, ("description",),
        """SELECT p.description FROM texts t CROSS JOIN subindexes s ON s.text_id = t.id
           CROSS JOIN pipelines p ON p.id = s.pipeline_id WHERE t.hash = ?""",
        document.text,
    )  # fmt: skip
    ours = _settings(pipeline.description)
    theirs = [_settings(description) for (description,) in found]
    differences = [
        [f"{name} {each[name]!r} instead of {ours[name]!r}" for name in each if each[name] != ours[name]]
        for each in theirs
    ]
    fewest = min(filter(None, differences), key=len, default=[])
    return f" {document.name!r} was embedded with {', '.join(fewest)}." if fewest else ""


def _settings(description: str) -> dict[str, Any]:
    found = {}
    # What another version described, or a damaged row, may lack any of them.
    with suppress(ValueError, RecursionError):
        described = json.loads(description)
        for path, name in _SETTINGS.items():
            with suppress(KeyError, TypeError):
                value = described
                for key in path:
                    value = value[key]
                found[name] = value
    return found
