"""The default model's weights stay in their file: what is mapped is what is in it, and a question copies none of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from docstore.ingest import embed, weights


def test_tensors_are_what_the_formats_own_reader_finds() -> None:
    path = embed._default_folder() / "model.safetensors"
    expected, found = load_file(path), weights.load(path)
    assert expected.keys() - found.keys() == {"embeddings.position_ids"}  # whole numbers, which count to 511
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor, expected[name], strict=True)


def test_what_is_written_to_a_tensor_is_not_written_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"one": np.ones((2, 3), np.float32)}, path, metadata={"format": "np"})
    before = path.read_bytes()
    weights.load(path)["one"][1] = 7
    assert path.read_bytes() == before and (weights.load(path)["one"] == 1).all()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what a process has in memory")
def test_a_question_copies_none_and_reads_few_words() -> None:
    code = """
import sys
from pathlib import Path
import docstore
from docstore.ingest import chunk, minilm_few

def memory(kind):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(kind)) / 1024

embedder = docstore.SentenceTransformerEmbedder()
before = {kind: memory(kind) for kind in ("VmHWM", "RssAnon")}
embedder.embed(["What is attention?"])
assert "safetensors" not in sys.modules
# 43 MiB are in layers, which all texts go through; 45 in 30,522 words.
assert memory("RssAnon") - before["RssAnon"] < 25, (memory("RssAnon"), before)
assert memory("VmHWM") - before["VmHWM"] < 75, (memory("VmHWM"), before)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=60)
