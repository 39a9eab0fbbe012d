"""How files become durable: the only place that fsyncs, renames into place, and unlinks stored pieces.

A published file must survive a power cut before the row that names it is committed (invariant 1). On POSIX that
takes three things in this order: fsync of the file, rename, fsync of every directory that gained an entry. A
`Publication` does each for many files at once: an fsync waits for the disk's journal and cache to be flushed, and one
flush serves all that wait for it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from blake3 import blake3

from docstore.errors import DocStoreError, IntegrityError, StorageError

if TYPE_CHECKING:
    from docstore.archive import Archive

BLOCK = 1 << 19
"""Bytes read or written at a time: memory stays constant whatever the size of the document, and in the cache."""

SMALL = 1 << 16
"""Bytes up to which a piece is packed where many are published. Of larger ones most of the cost is the disk's own."""

_SYNCS_AT_ONCE = 8  # on ext4 eight take a quarter of the time that one after the other do; more win nothing
_FEW = 16  # of which threads would win nothing, or less than is worth an order that differs from run to run

_ADVICE = {
    errno.EMFILE: "Close files, or raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "Close files, or raise the system's limit of open files",
    errno.ENOENT: "Check that the folder, or the current one, was not deleted",
    errno.EEXIST: "Remove what is there, see where it leads if it is a symbolic link, or choose another path",
    errno.ENOTDIR: "Choose a path that leads through folders",
    errno.ENOMEM: "Free memory, or raise its limit (`ulimit -v`)",
    errno.EAGAIN: "End processes or threads, or raise their limit (`ulimit -u`)",
}


class storage_errors:  # noqa: N801  (used as a function is; as a generator each piece that is read would pay for it)
    """A context that turns an `OSError` of the store's own files into a `StorageError` that says what was done."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            advice = _ADVICE.get(error.errno or 0, "Free space or repair permissions")
            raise StorageError(
                f"{self._doing} failed: {error.strerror or error} ({error.filename or 'the store'}). "
                f"Nothing visible was changed. {advice}, then try again."
            ) from error


def sync_file(fd: int) -> None:
    """fsync that reaches the medium. On macOS plain fsync stops at the drive's cache; F_FULLFSYNC does not."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, full)


def sync_directory(path: Path | str) -> None:
    """Makes the entries of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_file(fd)
    finally:
        os.close(fd)


def sync_files(paths: Sequence[str]) -> None:
    """Makes the bytes of files durable. Their directory entries are the publication's business."""
    _all_at_once(_sync_file_at, paths)


def _sync_file_at(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        sync_file(fd)
    finally:
        os.close(fd)


def _all_at_once(sync: Callable[[str], None], paths: Sequence[str]) -> None:
    def some(first: int, step: int) -> None:
        for path in paths[first::step]:
            sync(path)

    if len(paths) <= _FEW:
        some(0, 1)
        return
    from concurrent.futures import ThreadPoolExecutor  # who only searches syncs nothing

    running = []
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        try:
            for first in range(_SYNCS_AT_ONCE):
                running.append(pool.submit(some, first, _SYNCS_AT_ONCE))
        except RuntimeError:  # as many threads as there may be, or the interpreter ends; to sync twice does no harm
            some(0, 1)
    for each in running:
        each.result()


def open_regular(path: Path | str) -> BinaryIO:
    """Opens a published file for reading. Raises what `descriptor` does."""
    return open(descriptor(path), "rb")


def descriptor(path: Path | str) -> int:
    """A descriptor of a published file, for reading, whatever stands in its place.

    A pipe would never be opened, a device never end.

    Raises:
        FileNotFoundError: there is nothing.
        IntegrityError: it is no regular file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        raise IntegrityError(f"{path} is no file: something else stands in its place. Remove it, then add "
                             "the document again.")  # fmt: skip
    except BaseException:
        os.close(fd)
        raise


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where it is not, or is no longer: SQLite removes its own files whenever it likes."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def hash_stream(source: BinaryIO) -> tuple[str, int]:
    """Reads a stream to its end. Returns its BLAKE3 and its size in bytes.

    Plain reads, not blake3's `update_mmap`: a file that somebody truncates while it is mapped kills the process
    with SIGBUS.

    Raises:
        SourceError: reading failed.
    """
    hasher, size = blake3(), 0
    while block := _read_block(source):
        hasher.update(block)
        size += len(block)
    return hasher.hexdigest(), size


def copy(source: BinaryIO, target: str) -> tuple[str, int]:
    """Copies a stream into a new file, hashing on the way. Returns BLAKE3 and size of what was written.

    Raises:
        StorageError: the target could not be written.
        SourceError: reading failed.
    """
    hasher, size = blake3(), 0
    with storage_errors("storing a document"), open(target, "xb") as file:
        while block := _read_block(source):
            hasher.update(block)
            file.write(block)
            size += len(block)
    return hasher.hexdigest(), size


class SourceError(Exception):
    """The caller's stream failed while it was read; `__cause__` is its own error."""


def _read_block(source: BinaryIO) -> bytes:
    # Anything at all may be behind a caller's file object, so whatever it raises must not pass for our disk's error.
    try:
        block = source.read(BLOCK)
    except MemoryError:  # which is not the source's
        raise
    except Exception as error:
        raise SourceError(str(error)) from error
    if not isinstance(block, bytes):
        raise SourceError(f"read() returned {type(block).__name__}, not bytes: open the file in binary mode")
    return block


class Staged(NamedTuple):
    """A finished piece that waits to be published, which is what makes it durable."""

    path: str
    """The temporary file that holds it, or will if it is published as a file."""
    hash: str
    """BLAKE3 of its bytes."""
    size: int
    data: bytes | None = None
    """Its bytes while there is no temporary file."""

    def read(self) -> bytes:
        """Its bytes."""
        if self.data is not None:
            return self.data
        with open(self.path, "rb") as file:
            return file.read()

    def write(self) -> None:
        """Makes the temporary file, unless it is there."""
        if self.data is not None and not Path(self.path).exists():
            with open(self.path, "xb") as file:
                file.write(self.data)


def stage(path: str, data: bytes) -> Staged:
    """A piece with these bytes. Only a large one is written to the temporary file now: a small one may be packed."""
    hash = blake3(data).hexdigest()
    if len(data) <= SMALL:
        return Staged(path, hash, len(data), data)
    with storage_errors("writing a temporary file"), open(path, "xb") as file:
        file.write(data)
    return Staged(path, hash, len(data))


def stage_stream(source: BinaryIO, path: str, size: int) -> Staged:
    """A piece of what a stream gives, in memory if it is small, without reading on when it turns out to be large.

    Args:
        size: how many bytes it gave before. What it gives now may be anything; whoever calls this compares hashes.

    Raises:
        StorageError: the temporary file could not be written.
        SourceError: reading failed.
    """
    if size > SMALL:
        return Staged(path, *copy(source, path))
    data = b""
    while len(data) <= SMALL and (block := _read_block(source)):
        data += block
    return Staged(path, blake3(data).hexdigest(), len(data), data)


class Publication:
    """Makes staged pieces durable, as files or, where they are many and small, in the archive.

    Files are synced, then renamed into place, then all the new directory entries are synced. Is made before the
    catalog's write lock is taken, so that nobody waits for what needs no lock. Must be used while it is held, inside
    `Archive.writing`: a check of the catalog and the publication that depends on it can then not be separated.
    """

    def __init__(self, staged: Sequence[Staged] = (), archive: Archive | None = None) -> None:
        """
        Args:
            staged: the pieces that may be placed, unless they are durable already.
            archive: where small ones go if they are many. Without, all are files.
        """
        self._archive = archive
        # Few are a document or some added singly, which stay what everybody can open.
        many = archive is not None and len(staged) > _FEW
        self._packed = {each.path: each.read() for each in staged if many and each.size <= SMALL}
        files = [each for each in staged if each.path not in self._packed]
        for each in files:
            each.write()
        sync_files([each.path for each in files])
        # As text: every document has four files, and to make paths of them takes longer than to rename them.
        self._directories: dict[str, None] = {}
        self._placed: list[tuple[str, Path]] = []
        self._stored: list[str] = []
        self._is_synced = False

    def place(self, staged: str, target: str, keep: Path) -> None:
        """Moves `staged` to `target`, an absolute path, making directories below `keep`, which exists, as needed."""
        name = target[len(os.fspath(keep)) + 1 :]
        if (data := self._packed.get(staged)) is not None:
            assert self._archive is not None
            self._archive.put(name, data)
            self._stored.append(name)
            self._clear(target)
            return
        if self._archive is not None:
            self._archive.delete(name)
        directory, top = _parent(target), os.fspath(keep)
        if directory not in self._directories:
            Path(directory).mkdir(parents=True, exist_ok=True)
        try:
            os.replace(staged, target)
        except FileNotFoundError:  # a directory that was left empty, and removed by who reaps in this transaction
            Path(directory).mkdir(parents=True, exist_ok=True)
            os.replace(staged, target)
            above = f"{directory}/"
            self._directories = {each: None for each in self._directories if not above.startswith(f"{each}/")}
        self._placed.append((target, keep))
        # A directory's own entry lives in its parent: syncing only the directory may lose both. All of them up to
        # `keep`, new or not: whoever made one may have died before syncing its entry.
        while directory not in self._directories:
            self._directories[directory] = None
            if directory != top:
                directory = _parent(directory)

    def _clear(self, target: str) -> None:
        """Unlinks a damaged file in whose place a packed piece was put: readers look for a file first."""
        if os.path.lexists(target):  # asked, not tried: mostly there is none, and to raise an error takes longer
            os.unlink(target)  # noqa: PTH108  (as text, like all targets)
            self._directories[_parent(target)] = None

    def sync(self) -> None:
        """After this returns, everything placed survives a power cut. The rows may be committed."""
        # One that is empty without a damaged file may have been removed since.
        _all_at_once(sync_directory, [each for each in self._directories if os.path.lexists(each)])
        if self._archive is not None:
            self._archive.commit()
            self._is_synced = True

    def undo(self) -> None:
        """Takes back what was placed, when the transaction cannot go on. What it misses, a sweep finds."""
        for target, keep in self._placed:
            with contextlib.suppress(OSError):
                unlink(Path(target), keep)
        if self._archive is not None and self._is_synced:  # else leaving the archive's transaction takes it back
            with contextlib.suppress(DocStoreError):
                for name in self._stored:
                    self._archive.delete(name)
                self._archive.commit()


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def unlink(path: Path, keep: Path) -> None:
    """Removes a file if it is there, and every directory below `keep` that this leaves empty.

    Must be used while the catalog's write lock is held (see `Publication`); nobody can then be about to place a
    file into a directory that is removed here.
    """
    path.unlink(missing_ok=True)
    prune(path.parent, keep)


def sync_entries(directories: Iterable[Path], keep: Path) -> None:
    """Makes removals durable: syncs each directory or, where that is gone, the nearest one above that is left."""
    left: set[Path] = set()
    for directory in directories:
        above = directory
        while above != keep and not above.is_dir():
            above = above.parent
        left.add(above)
    for directory in left:
        with contextlib.suppress(FileNotFoundError):  # removed since we looked, by someone who syncs it himself
            sync_directory(directory)


def prune(directory: Path, keep: Path) -> None:
    """Removes `directory` and its parents below `keep`, as far as they are empty."""
    while directory != keep:
        try:
            directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError:  # not empty
            return
        directory = directory.parent


def prune_below(directory: Path, keep: Path) -> None:
    """Removes all empty directories below `directory`, then itself and its parents below `keep`, as far as empty.

    Must be used while the catalog's write lock is held, as `unlink`.
    """
    for path, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            Path(path).rmdir()
    prune(directory.parent, keep)
