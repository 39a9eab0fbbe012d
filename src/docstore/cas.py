"""ContentStore: immutable pieces, each under the hash that names it, sharded by its first two characters.

`root/ab/abcd….pdf` holds a document, `root/ab/abcd….zst` a text, `root/ab/abcd…/index.faiss` a sub-index: the
suffix is the caller's. A piece is a file or, of the same name, in the archive; where it is both, the file counts. This
module knows nothing of the catalog. Its users keep one rule: `place` and `unlink` only under the catalog's write lock,
inside `Archive.writing`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeGuard

from blake3 import blake3

from docstore import durable
from docstore.archive import Archive
from docstore.durable import Publication
from docstore.errors import REPAIR, IntegrityError

LARGEST_PACKED = 1 << 20
"""Bytes of the largest packed piece that is read: far more than is packed, whatever later versions pack."""

_HASH = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")

Checked = tuple[str, str, int]
"""A piece by the hash it is named by, with the hash and the size of its own bytes."""


def is_hash(value: object) -> TypeGuard[str]:
    """Whether `value` is written like a document hash. Nothing else may become part of a path; in a damaged catalog it
    may be no text."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def is_fingerprint(value: object) -> bool:
    """Whether `value` is written like a pipeline's fingerprint, likewise."""
    return isinstance(value, str) and _FINGERPRINT.fullmatch(value) is not None


@contextlib.contextmanager
def none_missing() -> Iterator[None]:
    """A piece that is not there is damage where the catalog says that it is.

    Raises:
        IntegrityError: instead of FileNotFoundError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise IntegrityError(f"{error.filename} is missing, which the catalog says is stored. {REPAIR}") from error


class ContentStore:
    """Immutable pieces under `folder/name`. `folder` exists; what is below it comes and goes with the files."""

    def __init__(self, folder: Path, name: str, archive: Archive) -> None:
        self._folder = folder
        self._archive = archive
        self.root = folder / name
        self._root_name = name
        self._prefix = f"{self.root}/"
        self._last_was_packed = False

    def path(self, hash: str, suffix: str) -> Path:
        """Where the file is, or would be."""
        return Path(self._name(hash, suffix))

    def _name(self, hash: str, suffix: str) -> str:
        return f"{self._prefix}{_sharded(hash, suffix)}"

    def packed_name(self, hash: str, suffix: str) -> str:
        """What it is, or would be, called in the archive."""
        return f"{self._root_name}/{_sharded(hash, suffix)}"

    def intact(self, hash: str, suffix: str, size: int) -> bool:
        """Whether the piece is there with its size. What is lost or cut short must not be deduplicated onto.

        A look at the size costs a microsecond; reading and hashing is for `verify`.
        """
        piece = _sharded(hash, suffix)
        try:
            # Not of a Path: to make one takes three times as long as to look.
            return os.stat(self._prefix + piece).st_size == size  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return self._archive.size(f"{self._root_name}/{piece}") == size

    def open(self, hash: str, suffix: str) -> BinaryIO:
        """The piece, opened for reading. Raises what `durable.open_regular` does."""
        try:
            return durable.open_regular(self._name(hash, suffix))
        except FileNotFoundError:
            data = self._archive.read(self.packed_name(hash, suffix), LARGEST_PACKED)
            if data is None:
                raise
            return io.BytesIO(data)

    @contextlib.contextmanager
    def open_all(self, hashes: Iterable[str], suffix: str) -> Iterator[dict[str, BinaryIO]]:
        """Pieces by their hash, opened for reading while the block lasts. As `open`, but packed ones cost one statement
        of the archive for all: for as long as that takes, and no longer, a commit waits."""
        names = {hash: self.packed_name(hash, suffix) for hash in hashes}
        # Asked, not tried: a file that is not there is the rule, and to raise an error takes longer than to look.
        packed = [name for hash, name in names.items() if not os.access(self._name(hash, suffix), os.F_OK)]
        found = self._archive.read_all(packed, LARGEST_PACKED) if packed else {}
        with contextlib.ExitStack() as opened:
            yield {
                hash: opened.enter_context(io.BytesIO(found[name]) if name in found else self.open(hash, suffix))
                for hash, name in names.items()
            }

    def read_checked(self, hash: str, suffix: str, file_hash: str, size: int) -> bytes:
        """The piece's bytes, once they were found to be `size` and to hash to `file_hash`.

        The check is on the very bytes that are returned: nothing can be exchanged between check and use.

        Raises:
            FileNotFoundError: there is no such file.
            IntegrityError: the bytes are not those that were published.
        """
        piece = hash, file_hash, size
        if self._last_was_packed and (found := self._packed_copies(suffix, [piece])):
            return found[piece]
        data = self._read(hash, suffix, size)
        if len(data) != size or blake3(data).hexdigest() != file_hash:
            raise IntegrityError(
                f"{self._name(hash, suffix)} does not hold the bytes that were published there: it was changed or "
                f"damaged. {REPAIR}"
            )
        return data

    def read_all_checked(self, suffix: str, wanted: Sequence[Checked]) -> list[bytes]:
        """As `read_checked`, of some pieces. Packed ones cost one statement of the archive. All are in memory at once,
        so ask for few."""
        alone = 0 if self._last_was_packed else 1  # the first then tells what the others are, most likely
        read: list[bytes] = []
        packed: dict[Checked, bytes] = {}
        for number, piece in enumerate(wanted):
            if number == alone and self._last_was_packed:
                packed = self._packed_copies(suffix, wanted[number:])
            hash, file_hash, size = piece
            read.append(packed[piece] if piece in packed else self.read_checked(hash, suffix, file_hash, size))
        return read

    def _packed_copies(self, suffix: str, wanted: Sequence[Checked]) -> dict[Checked, bytes]:
        """Those of some pieces that are packed and sound: where the last was packed these are too, most likely, and a
        file that is not there takes half as long to look for as a packed piece takes to read."""
        names = [self.packed_name(hash, suffix) for hash, _, _ in wanted]
        sound: dict[Checked, bytes] = {}
        with contextlib.suppress(IntegrityError):
            there = self._archive.read_all(names, max(size for _, _, size in wanted))
            for name, piece in zip(names, wanted, strict=True):
                data = there.get(name)
                if data is not None and len(data) == piece[2] and blake3(data).hexdigest() == piece[1]:
                    sound[piece] = data
        self._last_was_packed = len(sound) == len(set(wanted))
        return sound

    def _read(self, hash: str, suffix: str, size: int) -> bytes:
        """What is there, if it has this size: no more is read than was published, however large it has become.

        Raises:
            FileNotFoundError: there is no such piece.
        """
        try:
            # A view reads a thousand: a `Path` and a file object for each would take longer than the reading.
            fd = durable.descriptor(self._name(hash, suffix))
        except FileNotFoundError:
            data = self._archive.read(self.packed_name(hash, suffix), size)
            if data is None:
                raise
            self._last_was_packed = True
            return data
        self._last_was_packed = False
        try:
            return _read(fd, size) if os.fstat(fd).st_size == size else b""
        finally:
            os.close(fd)
            self._archive.let_writers()

    def place(self, publication: Publication, staged: str, hash: str, suffix: str) -> None:
        """Publishes a staged piece. Only under the catalog's write lock."""
        publication.place(staged, self._name(hash, suffix), self._folder)

    def unlink(self, hash: str, suffix: str) -> None:
        """Removes a piece and the directories it leaves empty. Only under the catalog's write lock."""
        durable.unlink(self.path(hash, suffix), self._folder)
        self._archive.delete(self.packed_name(hash, suffix))

    def shards(self) -> list[str]:
        """Names of what holds the pieces, at most 256 of them."""
        directories = {name for name, is_directory in _listed(self.root) if is_directory}
        return sorted(directories.union(self._archive.below(self._root_name)))

    def strays(self) -> list[Path]:
        """What lies beside the shards and is none."""
        return [self.root / name for name, is_directory in _listed(self.root) if not is_directory]

    def files(self, shard: str) -> Iterator[tuple[str, str, Path]]:
        """Every file of one shard as (hash, suffix, path). What is not named like ours has an empty hash."""
        root = self.root / shard
        for name in _below(root):
            yield (*_split(name, shard), root / name)

    def packed(self, shard: str) -> Iterator[tuple[str, str, Path]]:
        """The same of what is in the archive; the path is the one that unpacking would give it."""
        for name in self._archive.names(f"{self._root_name}/{shard}"):
            yield (*_split(name.removeprefix(f"{self._root_name}/{shard}/"), shard), self._folder / name)


def _sharded(hash: str, suffix: str) -> str:
    if not is_hash(hash):
        raise IntegrityError(f"The catalog says {hash!r:.80}, which is no hash and names no file. {REPAIR}")
    return f"{hash[:2]}/{hash}{suffix}"


def _split(name: str, shard: str) -> tuple[str, str]:
    return (name[:64], name[64:]) if is_hash(name[:64]) and name.startswith(shard) else ("", name)


def _read(fd: int, size: int) -> bytes:
    """Up to `size` bytes. One call reads 2 GiB at most."""
    data = os.read(fd, size)
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return data


def _listed(directory: Path) -> list[tuple[str, bool]]:
    """(name, is a directory) of all entries. Nothing, for a directory that is gone: a collection may run beside."""
    try:
        with os.scandir(directory) as entries:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except FileNotFoundError:
        return []


def _below(directory: Path) -> Iterator[str]:
    """Relative names of all files below a directory."""
    for name, is_directory in _listed(directory):
        if is_directory:
            yield from (f"{name}/{inner}" for inner in _below(directory / name))
        else:
            yield name
