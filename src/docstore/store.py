"""DocStore: opens a folder, wires the parts, and does what concerns the whole store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import docstore
from docstore import arguments, contents, moments, refcount
from docstore.accesses import Accesses
from docstore.archive import ARCHIVE, Archive
from docstore.cas import ContentStore
from docstore.database import CATALOG, CatalogDatabase
from docstore.durable import storage_errors, sync_directory
from docstore.errors import InvalidArgument, StoreVersionError, WorkspaceNotFound
from docstore.filesystem import refuse_network
from docstore.ingest.embed import Embedder, default_embedder
from docstore.ingest.extractor import Extractor
from docstore.ingest.pipeline import Pipeline
from docstore.lifetimes import Lifetime
from docstore.memory import Memory
from docstore.model import AnySource
from docstore.names import check_hash, check_name
from docstore.ownfiles import BESIDE
from docstore.parts import Parts
from docstore.reserve import RESERVE, Reserve
from docstore.store_maintenance import Maintained
from docstore.store_versions import Versioned
from docstore.vectors import Codec
from docstore.views import Views
from docstore.workspace import Workspace

_LONGEST_WAIT = 1_000_000.0  # seconds: SQLite counts milliseconds, in 31 bits
_LONGEST = 511 - len(f"/{ARCHIVE}-journal")
"""Bytes that the folder's path may have: SQLite opens no file whose path is longer than 511."""


class DocStore(Maintained, Versioned):
    """A folder that holds every document once, and workspaces that reference them.

    Threads may share one; processes may open the same folder, each its own. Use as a context manager, or `close()`.
    Besides what each method says it raises, all raise StoreClosed after `close`, and IntegrityError when the catalog is
    damaged; those that change anything, StoreReadOnly, StorageError and StoreLocked.

    >>> from tempfile import TemporaryDirectory
    >>> from docstore.testing import HashEmbedder
    >>> with TemporaryDirectory() as folder, DocStore(folder, embedder=HashEmbedder()) as store:
    ...     alice, bob = store.workspace("alice"), store.workspace("bob")
    ...     note = alice.add(b"The store room key hangs behind the door.", name="note.txt")
    ...     again = bob.add(b"The store room key hangs behind the door.", name="keys.txt")
    ...     again.reused, store.refcount(note.hash), bob.search("Where is the key?")[0].name
    (True, 2, 'keys.txt')
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        embedder: Embedder | None = None,
        codec: Codec = "float16",
        chunk_size: int = 1000,
        chunk_overlap: int = 200,
        limits: docstore.Limits | None = None,
        cache_bytes: int = 1 << 30,
        timeout: float = 60.0,
        readonly: bool = False,
        demand_bytes: bool = False,
        default_ttl: timedelta | None = None,
        default_sliding: bool = True,
    ) -> None:
        """Opens the store in a folder, creating both unless `readonly`.

        Args:
            embedder: anything that meets `Embedder`; by default all-MiniLM-L6-v2, which a process loads when
                it first needs it, once for all its stores.
            codec: how vectors are stored: `float16`, or `float32` for twice the bytes.
            chunk_size: characters a chunk has at most. It is never longer than the embedder reads, nor than 4,194,304.
            chunk_overlap: characters that neighbouring chunks share at most.
            limits: what extracting one document may use.
            cache_bytes: bytes of memory for the merged indexes, and the texts of hits, of recent searches. A workspace
                that does not fit is read again by every search; see docs/how-to.md for what one takes.
            timeout: seconds to wait while another process holds the catalog's write lock; a million at most.
            readonly: refuse every change, and write nothing to the folder. But beside who has the store open for
                writing, or had when they crashed, SQLite writes to its shared memory, `catalog.db-shm`, where it may.
            demand_bytes: nobody gets a document by its hash. `link` is refused; an `add` of what its workspace does not
                have yet extracts and embeds as if nobody had it, and `Document.reused` says nothing of others. For
                applications whose users may `add` and must not learn what others hold; costs them the embedding, and
                still stores everything once.
            default_ttl: how long workspaces live that are created without a `ttl`; None: until they are deleted.
            default_sliding: whether every access begins that time anew; without `default_ttl` it has no effect.

        Raises:
            InvalidArgument: a parameter is out of its range.
            StoreVersionError: the folder holds something else, or a newer docstore wrote it; or with `readonly`, there
                is no store, or an older docstore wrote it: open it once without.
            StorageError: the folder cannot be made or opened, or is on a network file system.
            StoreLocked: another process kept the catalog locked.
            IntegrityError: the catalog is damaged, or was emptied beside documents.
        """
        cache_bytes = int(arguments.number("cache_bytes", cache_bytes, 0, arguments.MOST))
        timeout = min(arguments.number("timeout", timeout, 0, arguments.MOST), _LONGEST_WAIT)
        readonly = arguments.switch("readonly", readonly)
        demand_bytes = arguments.switch("demand_bytes", demand_bytes)
        if limits is not None and not isinstance(limits, docstore.Limits):
            raise InvalidArgument(f"limits is a {type(limits).__name__}; it must be docstore.Limits")
        self._lifetime = Lifetime.of(default_ttl, default_sliding)
        root = _root(folder)
        if embedder is None:  # not `or`: one with a length may have none yet
            embedder = default_embedder()
        pipeline = Pipeline(embedder, codec, chunk_size, chunk_overlap)
        if not readonly:
            refuse_network(root)
        _prepare_folder(root, readonly)
        reserve = Reserve(root, readonly=readonly)
        database = reserve.while_opening(lambda: CatalogDatabase(root / CATALOG, readonly=readonly, timeout=timeout))
        reserve.fill()
        database.grow_only_after(reserve.require)
        memory = Memory(cache_bytes)
        archive = Archive(root, readonly=readonly, timeout=timeout)
        self._parts = Parts(
            folder=root,
            tmp=root / "tmp",
            database=database,
            archive=archive,
            documents=ContentStore(root, "documents", archive),
            texts=ContentStore(root, "texts", archive),
            pipeline=pipeline,
            extractor=Extractor(limits),
            memory=memory,
            views=Views(memory),
            reserve=reserve,
            readonly=readonly,
            accesses=Accesses(database, readonly=readonly),
            demand_bytes=demand_bytes,
        )

    def __enter__(self) -> DocStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"DocStore({str(self._parts.folder)!r})"

    def close(self) -> None:
        """Closes files and stops worker processes. Later use raises StoreClosed. May be called twice."""
        parts = self._parts
        with ExitStack() as closing:  # the last first, and all of them, though Ctrl-C interrupts one
            for part in (parts.database, parts.archive, parts.accesses, parts.extractor):
                closing.callback(part.close)

    # -- workspaces -----------------------------------------------------------------------------------------------

    def workspace(self, name: str, *, ttl: timedelta | None = None, sliding: bool = True) -> Workspace:
        """The workspace of this name, created if there is none.

        Args:
            name: text of 1,000 characters at most, not blank, and without NUL.
            ttl: how long it lives if it is created: a second at least; None: as long as `default_ttl` says. After
                that, `expire` takes it away. `Workspace.expire_after` changes it later.
            sliding: every search and change begins the time anew. Otherwise it ends a `ttl` after it was created.
                Counts with `ttl` only.

        Raises:
            WorkspaceNotFound: there is none and the store is read-only.
            InvalidArgument: `name`, `ttl` or `sliding` is not what it must be.
        """
        name = check_name(name, "The workspace's name")
        lifetime = Lifetime.of(ttl, sliding) if ttl is not None else self._lifetime
        began = moments.now()
        with self._parts.database.read() as db:
            id = refcount.workspace_id(db, name)
        if id is None and self._parts.readonly:
            raise WorkspaceNotFound(f"There is no workspace {name!r}, and a read-only store cannot create one. Open it "
                                    "without readonly=True to do so.")  # fmt: skip
        if id is None:
            with self._parts.write() as db:
                id = refcount.create_workspace(db, name, lifetime)
            self._parts.accesses.created(id, began)
        return Workspace(self._parts, id, name)

    def workspace_for(self, documents: Iterable[AnySource]) -> Workspace:
        """The workspace of a set of documents: the same for the same set, in any order, whoever asks.

        Made and filled if there is none, completed if it lost some. Its name, `set:` and a hash, follows from the
        documents; their names in it are those that who asked first gave them. Include it in a workspace of each
        user's: `alice.include(store.workspace_for(paths))`. Its references are pinned: `replace` does not move them.

        Args:
            documents: paths, bytes or binary file objects, one at least. Each is read, to know its hash.

        Raises:
            UnreadableDocument: the first that cannot be stored. A workspace that this call made is deleted again.
            InvalidArgument: the set is empty.
            LinkForbidden: the store demands the bytes: such a workspace shows who else has the same.
            QuotaExceeded: a limit of the store forbids one.
            EmbeddingError: the embedder failed.
            WorkspaceNotFound: there is none and the store is read-only.
        """
        from docstore.sets import workspace_for

        return workspace_for(self._parts, documents, self.workspace)

    def __contains__(self, name: object) -> bool:
        """Whether there is a workspace of this name that is not expired; none is created."""
        try:
            name = check_name(name, "The workspace's name")
        except InvalidArgument:
            return False
        with self._parts.database.read() as db:
            return refcount.workspace_id(db, name) is not None

    def workspaces(self) -> list[str]:
        """Names of all workspaces, sorted. `expired` lists those that are expired."""
        with self._parts.database.read() as db:
            return refcount.workspace_names(db)

    def workspace_infos(self) -> list[docstore.WorkspaceInfo]:
        """What is known of each workspace, as `Workspace.info` has it of one, in the order of `workspaces`."""
        from docstore import workspace_info

        with self._parts.database.read() as db:
            return workspace_info.living(db)

    def delete_workspace(self, name: str) -> None:
        """Deletes a workspace with its references, at once and for good: `undelete` is for what expired.

        Documents that were only its own go with the next collection. One that is expired is brought back first, by
        `undelete`, or goes with the others by `expire(grace=timedelta(0))`.

        Raises:
            WorkspaceNotFound: there is none of this name, or it is expired.
        """
        name = check_name(name, "The workspace's name")
        self._parts.forget(self._parts.free_space(lambda: self._delete_workspace(name)))

    def _delete_workspace(self, name: str) -> int:
        with self._parts.write() as db:
            id = refcount.workspace_id(db, name)
            if id is None:
                raise WorkspaceNotFound(f"There is no workspace {name!r}. store.workspaces() lists those there are.")
            self._parts.leave_room_to_collect(db)
            refcount.delete_workspace(db, id)
        return id

    def undelete(self, name: str, *, new_name: str | None = None) -> Workspace:
        """Brings back the workspace of this name that expired last, with all it had. Its time begins anew.

        Args:
            new_name: what to call it, where another workspace has its name by now.

        Raises:
            WorkspaceNotFound: none of this name is expired, or its grace period was over and it was deleted.
            WorkspaceExists: there is a workspace of the name already.
        """
        name = check_name(name, "The workspace's name")
        if new_name is not None:
            new_name = check_name(new_name, "new_name")
        from docstore.lifecycle.expire import undelete

        wanted = new_name or name
        return Workspace(self._parts, undelete(self._parts, name, wanted), wanted)

    def expired(self) -> list[docstore.WorkspaceInfo]:
        """The workspaces that `undelete` can bring back, in the order in which they expired."""
        from docstore import workspace_info

        with self._parts.database.read() as db:
            return workspace_info.expired(db)

    # -- documents ------------------------------------------------------------------------------------------------

    def document(self, hash: str) -> docstore.Document:
        """A stored document, without any workspace's name or metadata for it.

        Raises:
            DocumentNotFound: the store does not hold it.
        """
        from docstore.documents import stored_document
        from docstore.originals import require_stored

        with self._parts.database.read() as db:
            found = require_stored(contents.find_document(db, check_hash(hash)), hash)
            subindex = contents.find_subindex(db, found.text, self._parts.pipeline.fingerprint)
        return stored_document(found, subindex.chunks if subindex is not None else 0)

    def refcount(self, hash: str) -> int:
        """How many workspaces reference a document, those that are expired and not yet deleted among them; 0 for one
        the store does not hold."""
        with self._parts.database.read() as db:
            found = contents.find_document(db, check_hash(hash))
        return found.refcount if found is not None else 0

    def read(self, hash: str) -> BinaryIO:
        """The document's bytes, as a binary file object to close after use. It stays readable while it is open, even if
        the document is collected meanwhile. They are not compared with the hash: hash them, or run `verify`.

        For a user who may have it or not, use `Workspace.read`.

        Raises:
            DocumentNotFound: the store does not hold it.
            IntegrityError: its file is missing.
        """
        from docstore.originals import open_original

        return open_original(self._parts, check_hash(hash))


def _root(folder: str | os.PathLike[str]) -> Path:
    if not isinstance(folder, str | os.PathLike) or not _is_path(folder):
        raise InvalidArgument(f"The folder is {folder!r}; it must be a path")
    with storage_errors("finding the store's folder"):  # there is none where the current one was deleted
        root = Path(os.fsdecode(folder)).absolute()
    if (length := len(os.fsencode(root))) > _LONGEST:
        raise InvalidArgument(f"The path of the folder has {length} bytes, and SQLite opens files below one of at "
                              f"most {_LONGEST}. Choose a shorter one.")  # fmt: skip
    return root


def _is_path(given: str | os.PathLike[str]) -> bool:
    try:
        return b"\0" not in os.fsencode(given)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _prepare_folder(root: Path, readonly: bool) -> None:
    with storage_errors("opening the store"):
        found = {path.name for path in root.iterdir()} if root.exists() else set()
        if CATALOG in found:
            return
        if readonly:
            raise StoreVersionError(f"{root} is no store, and readonly=True creates none. Check the path.")
        # A power cut during creation may leave anything that is made then without the catalog; and another process may
        # have created the store since we listed.
        if found - {RESERVE, *(CATALOG + each for each in BESIDE)} and not (root / CATALOG).exists():
            # Collecting sweeps the folders it manages: it must never be let loose among somebody's own files.
            raise StoreVersionError(f"{root} holds files and is no store. Choose an empty or a new folder; if it was a "
                                    f"store, its {CATALOG} was lost: restore it from a backup.")  # fmt: skip
        # Each new folder's entry is in the one above it.
        above = {path.parent for path in (root, *root.parents) if not path.exists()}
        root.mkdir(parents=True, exist_ok=True)
        for folder in above:
            sync_directory(folder)
