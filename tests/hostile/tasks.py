"""What `contained` can run: each task takes and returns what JSON can hold."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docstore import DocStoreError
from docstore.texts import decompress, read_spans
from docstore.vectors import decode_index, decode_spans
from tests.hostile.explore import explore


def index(path: str, dimension: int = 64, codec: str = "float16") -> str:
    """Decodes an index file."""
    data = Path(path).read_bytes()
    try:
        codes = decode_index(data, dimension, codec)  # type: ignore[arg-type]
    except DocStoreError as error:
        return type(error).__name__
    width = dimension * (2 if codec == "float16" else 4)
    assert codes.ndim == 2 and codes.shape[1] == width and codes.nbytes <= len(data), (codes.shape, len(data))
    return f"{len(codes)} vectors"


def spans(path: str) -> str:
    """Decodes a file of spans."""
    data = Path(path).read_bytes()
    try:
        found = decode_spans(data)
    except DocStoreError as error:
        return type(error).__name__
    assert found.ndim == 1 and found.nbytes <= len(data), (found.shape, len(data))
    return f"{len(found)} spans"


def text(path: str, hash: str, pieces: list[tuple[int, int]]) -> str:
    """Reads a stored text in pieces, and whole."""
    data, ended = Path(path).read_bytes(), []
    uses: list[Callable[[], object]] = [
        lambda: read_spans(io.BytesIO(data), hash, pieces),
        lambda: decompress(data, hash, len(data)),
    ]
    for use in uses:
        try:
            use()
            ended.append("a result")
        except DocStoreError as error:
            ended.append(type(error).__name__)
    return ", ".join(ended)


TASKS: dict[str, Callable[..., Any]] = {"index": index, "spans": spans, "text": text, "explore": explore}
