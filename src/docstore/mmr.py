"""Maximal marginal relevance: hits that are near to the query, and not all the same."""

from __future__ import annotations

import numpy as np

from docstore.vectors import Vectors


def maximal_marginal_relevance(query: Vectors, candidates: Vectors, k: int, lambda_mult: float) -> list[int]:
    """Picks k of the candidates, weighing nearness to the query against nearness to what was picked before.

    Carbonell and Goldstein, 'The use of MMR, diversity-based reranking', SIGIR 1998; `lambda_mult` as in LangChain:
    1 is relevance alone, 0 is diversity alone.

    Args:
        query: shape (dimension,), normalised.
        candidates: shape (n, dimension), by falling relevance.

    Returns:
        Positions in `candidates`, in the order they were picked; of equals the more relevant comes first.
    """
    relevance = candidates @ query
    norms = np.linalg.norm(candidates, axis=1, keepdims=True)
    unit = candidates / np.maximum(norms, np.finfo(np.float32).tiny)
    picked = [0] if len(candidates) else []
    redundancy = np.full(len(candidates), -np.inf, np.float32)
    while picked and len(picked) < min(k, len(candidates)):
        redundancy = np.maximum(redundancy, unit @ unit[picked[-1]])
        score = lambda_mult * relevance - (1 - lambda_mult) * redundancy
        score[picked] = -np.inf
        picked.append(int(np.argmax(score)))
    return picked
