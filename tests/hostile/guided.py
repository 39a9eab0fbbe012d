"""Coverage-guided fuzzing of what runs in one process, with atheris, which is not among this project's dependencies.

    pip install atheris && python -m tests.hostile.guided index -max_total_time=60

Targets: index, spans, text, metadata, chunks. What is found ends the process; the input is kept in a file.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")
with atheris.instrument_imports(include=["docstore", "json", "numpy.lib", "backports.zstd"]):
    from docstore import DocStoreError
    from docstore.ingest.chunk import Chunker
    from docstore.metadata import encode
    from docstore.texts import blocks_of, cut, decompress, read_blocks
    from docstore.vectors import decode_index, decode_spans
    from tests.hostile import tampering

_CHUNKER = Chunker(50, 10, 12)


def index(data: bytes) -> None:
    codes = decode_index(data, 64, "float16")
    assert codes.shape[1] == 128 and codes.nbytes <= len(data)


def spans(data: bytes) -> None:
    assert decode_spans(data).nbytes <= len(data)


def text(data: bytes) -> None:
    for first, last in ((0, 1), (5, 3), (100, 70_000)):
        try:
            blocks = read_blocks(io.BytesIO(data), "0" * 64, blocks_of("0" * 64, first, last))
            cut("0" * 64, blocks, first, last)
        except DocStoreError:
            continue
    decompress(data, "0" * 64, 100_000)


def metadata(data: bytes) -> None:
    """Whatever JSON can say; what is accepted must come back."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(given, dict):
        encoded = encode(given)
        assert encoded is not None and encode(json.loads(encoded)) == encoded


def chunks(data: bytes) -> None:
    """Together they cover the text, none is too long, and none crosses a page."""
    content = data.decode("utf-8", "ignore").replace("\0", "")
    if not content.strip():
        return
    covered = 0
    for span in _CHUNKER.spans(content):
        start, end = int(span["start"]), int(span["end"])
        piece = content[start:end]
        assert start <= covered and 0 < len(piece) <= 50
        assert content.encode()[span["first_byte"] : span["last_byte"]].decode() == piece
        covered = max(covered, end)
    assert covered == len(content.rstrip("\f")) or covered == len(content)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "index": index, "spans": spans, "text": text, "metadata": metadata, "chunks": chunks,
}  # fmt: skip
SEEDS: dict[Callable[[bytes], None], list[bytes]] = {
    index: [data for _, data in tampering.indexes()],
    spans: [data for _, data in tampering.spans()],
    text: [data for _, data in tampering.texts() if len(data) < 10_000],
    metadata: [
        b'{"a":[1,2.5,null,true,"x",{"b":-0.0}]}',
        b'{"":1e99,"\\ud800":"\\u0000"}',
        b'{"a":' + b"9" * 5000 + b"}",
    ],
}


def main() -> None:
    """Fuzzes the target that the first argument names; the rest is libFuzzer's."""
    target = TARGETS[sys.argv.pop(1)]

    def once(data: bytes) -> None:
        with suppress(DocStoreError):
            target(data)

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS.get(target, [])):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
