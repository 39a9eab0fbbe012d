"""Digests: what the catalog calls a chunk's text under a pipeline, to find its vector again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from blake3 import blake3

Codes = npt.NDArray[np.uint8]
"""Of one vector, shape (bytes a code,)."""
Find = Callable[[Mapping[str, int]], Mapping[str, Codes]]
"""Given chunks' texts with their digests: the codes of those whose vectors are stored."""

_BYTES = 6  # among ten million chunks, one in 30 million finds another's digest, in vain; 8 take a tenth more room


def digest(chunk: str, fingerprint: str) -> int:
    """48 bits of BLAKE3, keyed with the 32 characters of a pipeline's fingerprint."""
    return int.from_bytes(blake3(chunk.encode(), key=fingerprint.encode()).digest(length=_BYTES))
