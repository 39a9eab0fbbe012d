"""The workload: which real PDFs there are, and which chat of which user works with which of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blake3 import blake3

HOW_TO_GET_PDFS = (
    "This benchmark needs real PDFs: give a folder of them with --docs FOLDER. On Debian or Ubuntu:\n"
    "  apt-get download texlive-latex-base-doc && dpkg -x texlive-latex-base-doc*.deb pdfs\n"
    "  python -m benchmarks.storage --docs pdfs"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides the workload and how much of it is written."""

    docs: Path
    limit: int = 30
    max_mb: float = 1.5
    users: int = 100
    chats: int = 50
    per_chat: int = 5
    zipf: float = 1.0
    seed: int = 1
    budget_mb: int = 2000

    @classmethod
    def quick(cls, docs: Path, seed: int) -> Settings:
        """A workload that takes well under a minute, model loading included."""
        return cls(docs, limit=4, max_mb=0.2, users=4, chats=5, per_chat=2, seed=seed, budget_mb=5)


@dataclass(frozen=True, slots=True)
class Owner:
    """A user or a chat: a name, and the hashes of the documents it works with."""

    name: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """Who works with what."""

    paths: dict[str, Path]
    """The documents by the hash of their bytes."""
    chats: list[Owner]
    users: list[Owner]
    """Each with the union of the documents of its chats."""

    def restricted(self, hashes: set[str]) -> Workload:
        """The same without documents that could not be read, so that all layouts hold the same ones."""
        return Workload(
            {hash: path for hash, path in self.paths.items() if hash in hashes},
            _restricted(self.chats, hashes),
            _restricted(self.users, hashes),
        )


def _restricted(owners: list[Owner], hashes: set[str]) -> list[Owner]:
    left = [Owner(owner.name, tuple(hash for hash in owner.documents if hash in hashes)) for owner in owners]
    return [owner for owner in left if owner.documents]  # who has nothing has no index either


def choose_documents(settings: Settings) -> dict[str, Path]:
    """The first PDFs by sorted path that are not too large and differ in their bytes, by hash."""
    chosen: dict[str, Path] = {}
    for path in sorted(settings.docs.rglob("*")):
        if len(chosen) == settings.limit:
            break
        if path.suffix.lower() == ".pdf" and path.is_file() and 0 < path.stat().st_size <= settings.max_mb * 1e6:
            chosen.setdefault(blake3(path.read_bytes()).hexdigest(), path)
    return chosen


def draw(settings: Settings, paths: dict[str, Path]) -> Workload:
    """Chats that each take `per_chat` different documents, the r-th most popular with weight 1 / r**zipf."""
    generator = np.random.default_rng(settings.seed)
    # Shuffled, so that popularity has nothing to do with the order of paths.
    ranked = [sorted(paths)[position] for position in generator.permutation(len(paths))]
    weights = 1.0 / np.arange(1, len(ranked) + 1) ** settings.zipf
    weights /= weights.sum()
    chats: list[Owner] = []
    users: list[Owner] = []
    for user in range(1, settings.users + 1):
        own = []
        for chat in range(1, settings.chats + 1):
            picked = generator.choice(len(ranked), size=settings.per_chat, replace=False, p=weights)
            own.append(Owner(f"user-{user:03}/chat-{chat:02}", tuple(ranked[each] for each in picked)))
        chats += own
        users.append(Owner(f"user-{user:03}", tuple(sorted({hash for chat in own for hash in chat.documents}))))
    return Workload(paths, chats, users)
