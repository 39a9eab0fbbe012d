"""A model's weights in its file, which is mapped and not read: processes share the pages, and hold of the embeddings of
words only those that their texts have.

The file is laid out as safetensors says (https://github.com/huggingface/safetensors#format): eight bytes with the
length of the header, the header in JSON, and the tensors in the places that it gives. The package of that name copies
each tensor where it gives NumPy's arrays, so that a question would take 90 MB in every process, and twice that to load.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

_LENGTH = 8  # bytes


def load(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors in float32 by name. They can be written to, as PyTorch wants of what it shares, but not the file.

    Args:
        path: a file that was checked, and is not written to, nor shortened, while the arrays are in use.

    Raises:
        OSError: it cannot be mapped.
    """
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    first = _LENGTH + int.from_bytes(mapped[:_LENGTH], "little")
    tensors = json.loads(mapped[_LENGTH:first])
    tensors.pop("__metadata__", None)
    return {
        name: np.frombuffer(mapped, "<f4", (end - begin) // 4, first + begin).reshape(tensor["shape"])
        for name, tensor in tensors.items()
        for begin, end in [tensor["data_offsets"]]
        if tensor["dtype"] == "F32"
    }
