"""benchmarks/recall.py in short."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.recall import recalls, report
from docstore import nearest


def test_more_candidates_find_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_LARGE", 0)
    vectors = np.random.default_rng(0).standard_normal((3000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = recalls(vectors)
    assert found[20] < found[200] < found[None]
    assert found[None] > 0.99
    assert f"| chosen | {found[None]:.4f} |" in report(found, 2500)
