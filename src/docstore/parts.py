"""The parts of one open store, as `store.py` wired them. Passed whole to whatever needs more than one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

from docstore import refcount
from docstore.accesses import Accesses
from docstore.archive import ARCHIVE, JOURNAL, Archive
from docstore.cas import ContentStore, is_fingerprint
from docstore.contents import SubindexRow, TextRow
from docstore.database import CATALOG, CatalogDatabase, Database
from docstore.durable import storage_errors
from docstore.errors import IntegrityError
from docstore.ingest.extractor import Extractor
from docstore.ingest.pipeline import Pipeline
from docstore.memory import Memory
from docstore.ownfiles import BESIDE
from docstore.reserve import RESERVE, Reserve
from docstore.scratch import is_alive
from docstore.texts import SUFFIX, Text, decompress
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX
from docstore.views import Views

_T = TypeVar("_T")

QUARANTINE = "quarantine"
"""The folder for what is damaged and cannot be restored. Nothing reads it; its files are the user's to delete."""


# Not `frozen`, compared or printed, which nobody needs: a process that imports this would compile a method for each.
@dataclass(slots=True, eq=False, repr=False)
class Parts:
    """What an open store is made of. Never changed."""

    folder: Path
    tmp: Path
    """Where operations keep work in progress."""
    database: CatalogDatabase
    archive: Archive
    documents: ContentStore
    texts: ContentStore
    pipeline: Pipeline
    extractor: Extractor
    memory: Memory
    views: Views
    reserve: Reserve
    readonly: bool
    accesses: Accesses
    demand_bytes: bool
    """Whether a workspace gets only documents whose bytes it brings. See `DocStore`."""
    _embeddings: dict[str, ContentStore] = field(default_factory=dict)
    """By pipeline."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("A store, and what belongs to it, cannot be pickled or copied. Open the store in each process: "
                        f"DocStore({str(self.folder)!r}).")  # fmt: skip

    @property
    def known_names(self) -> set[str]:
        """What docstore makes in the folder."""
        beside = (CATALOG + ending for ending in BESIDE)
        return {CATALOG, *beside, ARCHIVE, JOURNAL, RESERVE, "documents", "texts", "embeddings", "tmp", QUARANTINE}

    @contextmanager
    def write(self, by: int = 0) -> Iterator[Database]:
        """A transaction under the catalog's write lock, of rows and of pieces: the archive's changes are durable before
        the rows' are. All changes of an open store are made in one, but a damaged catalog's repair, and notes of what
        was used or checked, which wait for nobody.

        Args:
            by: the workspace whose users change it, which is an access of theirs, noted in the same commit where that
                is due; 0: nobody's.
        """
        with self.database.write() as db, self.archive.writing():
            written = self.accesses.change(db, by) if by else None
            yield db
        if by:
            self.accesses.changed(by, written)

    def free_space(self, operation: Callable[[], _T]) -> _T:
        """Runs what makes room, on a full disk too."""
        return self.reserve.lend(operation, self.database.frugal)

    @property
    def must_save(self) -> bool:
        """Whether the disk was full, and still is: then transactions must be small."""
        return self.database.is_frugal and self.reserve.is_short()

    def leave_room_to_collect(self, db: Database) -> None:
        """Called before references are dropped. A document that nobody references any more takes some more bytes in the
        catalog, or a page where its page is full: on a full disk, the room that a collection takes must be left.

        Raises:
            StorageError: it would not be, and there is something to collect.
        """
        if self.database.is_frugal and refcount.is_any_unreferenced(db):
            self.reserve.require_room_to_collect()

    def forget(self, workspace: int) -> None:
        """Drops what is in memory for a workspace that is gone."""
        self.views.drop(workspace)
        self.accesses.deleted(workspace)

    def scope(self, workspace: int) -> int:
        """Names those whose searches share memory: 0, all workspaces; where bytes are demanded each alone, or its
        searches would be faster because of what somebody else has read."""
        return workspace if self.demand_bytes else 0

    def owner_is_alive(self, token: str) -> bool:
        """Whether the operation that owns a scratch folder, and claims, still runs."""
        return is_alive(self.tmp, token)

    def embeddings(self, fingerprint: str) -> ContentStore:
        """The sub-index files of one pipeline.

        Raises:
            IntegrityError: no pipeline has such a fingerprint. It comes from the catalog, and becomes part of a path.
        """
        files = self._embeddings.get(fingerprint)
        if files is None:
            if not is_fingerprint(fingerprint):
                raise IntegrityError(f"The catalog names a pipeline {fingerprint!r:.100}, which is no fingerprint: it "
                                     "is damaged. Run `docstore verify`, or restore a backup.")  # fmt: skip
            files = ContentStore(self.folder, f"embeddings/{fingerprint}", self.archive)
            self._embeddings[fingerprint] = files
        return files

    def read_text(self, text: TextRow) -> Text:
        """What extraction gave, once it was found to be what was published.

        Raises:
            IntegrityError: it is lost or damaged.
            StorageError: it could not be read.
        """
        with storage_errors("reading a stored text"):
            data = self.texts.read_checked(text.hash, SUFFIX, text.file_hash, text.file_size)
        return decompress(data, text.hash, text.characters)

    def text_is_intact(self, text: TextRow) -> bool:
        """Whether a text's file is there."""
        return self.texts.intact(text.hash, SUFFIX, text.file_size)

    def subindex_is_intact(self, text: TextRow, fingerprint: str, row: SubindexRow) -> bool:
        """Whether both files of a sub-index are there."""
        files = self.embeddings(fingerprint)
        return files.intact(text.hash, INDEX_SUFFIX, row.index_size) and files.intact(
            text.hash, SPANS_SUFFIX, row.spans_size
        )
