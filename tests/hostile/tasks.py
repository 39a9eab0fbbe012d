"""What `contained` can run: each task takes and returns what JSON can hold."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from docstore import DocStoreError
from docstore.texts import blocks_of, cut, decompress, read_blocks
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
    """Reads pieces of a stored text, each for itself, and the whole."""
    data, ended = Path(path).read_bytes(), Counter[str]()
    uses: list[Callable[[], object]] = [partial(_read_piece, data, hash, first, last) for first, last in pieces]
    uses.append(partial(decompress, data, hash, 10_000_000))
    for use in uses:
        try:
            use()
            ended["a result"] += 1
        except DocStoreError as error:
            ended[type(error).__name__] += 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(ended.items()))


def _read_piece(data: bytes, hash: str, first: int, last: int) -> str:
    blocks = read_blocks(io.BytesIO(data), hash, blocks_of(hash, first, last))
    return cut(hash, blocks, first, last)


TASKS: dict[str, Callable[..., Any]] = {"index": index, "spans": spans, "text": text, "explore": explore}
