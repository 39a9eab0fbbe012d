"""A simulated disk: replays recorded calls and says what may be on the medium if the power fails now.

**The model.** Pessimistic, but what POSIX allows. A file's data and a directory's entries become durable only by an
fsync of that file, that directory. Until then each operation on it is *pending*, and independently of all others it
may have reached the medium or not:

- a write may be lost, kept, torn at a boundary of 512-byte sectors (one part new, the other old), or, where it makes
  the file longer, be there as size only, with zeros for data. A file whose later part was kept has zeros in the gap;
- a truncation may be lost; kept, it acts on what was kept before it;
- creating, linking, renaming, unlinking and making or removing a directory set a name's entry, each name on its own.
  A rename is two of these, which can part: the new name without the loss of the old one, or the reverse. A name
  always has one of the entries it had since the last sync of its directory; so a replaced name is old or new, never
  neither;
- fsync of a file says nothing of its name, fsync of a directory nothing of what its entries lead to. What no kept
  entry leads to is gone.

SQLite's documented assumptions hold: a torn write harms no byte outside of it (powersafe overwrite), and fsync tells
the truth. Its `-shm` is not durable by design and never part of an image.

Images are taken at every barrier: before each sync, and when a call was acknowledged. Between two barriers nothing
becomes durable, so whatever a crash there can leave is also a subset at the next barrier. Which subsets are tried is
`choices.py`'s.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from blake3 import blake3

from tests.syscalls.interpose import Event, Kind

ROOT = 0
"""The number of the root directory's inode; it is durable from the start."""

_NOT_DURABLE = "-shm"
_CACHED = 64  # contents of files kept at once: most subsets of one barrier differ in one file


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes put into a file. Without bytes: the file becomes at least so long, with zeros."""

    id: int
    inode: int
    offset: int
    data: bytes
    label: str


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file cut to a size, or made longer with zeros."""

    id: int
    inode: int
    size: int
    label: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in the directory `inode` now leads to `child`, or to nothing."""

    id: int
    inode: int
    name: str
    child: int | None
    label: str


Operation = Write | Truncate | Entry
Choice = tuple[Operation, ...]
"""The pending operations that reached the medium, in their order, some of them perhaps torn."""


class Content:
    """A file's bytes, and their hash."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest = blake3(data).digest(16)


@dataclass(frozen=True)
class Image:
    """What is on the medium: directories, and files with their bytes, by path below the root."""

    directories: tuple[str, ...]
    files: tuple[tuple[str, Content], ...]

    @cached_property
    def key(self) -> bytes:
        """Equal for images that are equal in every byte."""
        return self.key_without()

    def key_without(self, *beginnings: str) -> bytes:
        """The key of what remains without the paths that begin so."""
        hasher = blake3()
        for path in self.directories:
            if not path.startswith(beginnings):
                hasher.update(path.encode() + b"\0")
        for path, content in self.files:
            if not path.startswith(beginnings):
                hasher.update(b"\0" + path.encode() + b"\0" + content.digest)
        return hasher.digest(16)

    def names_of(self, beginning: str) -> bytes:
        """A key of the names that begin so, whatever they hold."""
        directories = [path for path in self.directories if path.startswith(beginning)]
        files = [path for path, _ in self.files if path.startswith(beginning)]
        return blake3("\0".join([*directories, "", *files]).encode()).digest(16)


class Disk:
    """The medium, and what is pending on its way there."""

    def __init__(self, root: str) -> None:
        """
        Args:
            root: the folder that the recorded paths are below; it is empty and durable.
        """
        self._root = root
        self._entries: dict[int, dict[str, int]] = {ROOT: {}}  # durable; a key for every directory there ever was
        self._contents: dict[int, Content] = {}  # durable
        self._now: dict[int, dict[str, int]] = {ROOT: {}}  # as running processes see it
        self._sizes: dict[int, int] = {}  # likewise
        self._handles: dict[int, int] = {}
        self._numbers = 0
        self._built: dict[tuple[int, ...], Content] = {}
        self.pending: list[Operation] = []
        """What the running processes have done and no sync has made durable, in order."""

    # -- replaying ------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Does what a recorded call did."""
        if event.result < 0 or event.path.endswith(_NOT_DURABLE):
            return
        match event.kind:
            case Kind.OPEN:
                self._open(event)
            case Kind.WRITE:
                self._write(event)
            case Kind.TRUNCATE | Kind.ALLOCATE:
                self._resize(event)
            case Kind.SYNC:
                self._sync(self._handles[event.handle])
            case Kind.MKDIR:
                self._make(event.path, is_directory=True)
            case Kind.UNLINK | Kind.RMDIR:
                self._remove(event)
            case Kind.RENAME | Kind.LINK:
                self._rename(event)

    def is_pending(self, handle: int) -> bool:
        """Whether a sync of this descriptor would make anything durable."""
        inode = self._handles.get(handle)
        return any(operation.inode == inode for operation in self.pending)

    def _open(self, event: Event) -> None:
        inode = self._find(event.path)
        if inode is None:
            # Without O_CREAT: another process made it, the extraction worker. What it wrote is not known and does not
            # matter: its reader removes it, and so does whoever removes a dead owner's folder. Its name is enough.
            inode = self._make(event.path, is_directory=False)
        elif event.flags & os.O_TRUNC and self._sizes[inode]:
            self._truncate(inode, 0, event.path)
        self._handles[event.handle] = inode

    def _write(self, event: Event) -> None:
        inode = self._handles[event.handle]
        label = f"write {len(event.data)} bytes at {event.offset} of {self._relative(event.path)}"
        self.pending.append(Write(self._number(), inode, event.offset, event.data, label))
        self._sizes[inode] = max(self._sizes[inode], event.offset + len(event.data))

    def _resize(self, event: Event) -> None:
        inode = self._handles[event.handle]
        if event.kind is Kind.TRUNCATE or event.offset > self._sizes[inode]:
            self._truncate(inode, event.offset, event.path)

    def _truncate(self, inode: int, size: int, path: str) -> None:
        label = f"truncate {self._relative(path)} to {size}"
        self.pending.append(Truncate(self._number(), inode, size, label))
        self._sizes[inode] = size

    def _remove(self, event: Event) -> None:
        directory, name = self._parent(event.path)
        if name in self._now[directory]:  # the file of another process may never have been seen
            self._enter(directory, name, None, event.path)

    def _rename(self, event: Event) -> None:
        directory, name = self._parent(event.path)
        child = self._now[directory][name]
        self._enter(*self._parent(event.target), child, event.target)
        if event.kind is Kind.RENAME:
            self._enter(directory, name, None, event.path)

    def _make(self, path: str, is_directory: bool) -> int:
        inode = self._number()
        if is_directory:
            self._entries[inode], self._now[inode] = {}, {}
        else:
            self._contents[inode], self._sizes[inode] = Content(b""), 0
        self._enter(*self._parent(path), inode, path)
        return inode

    def _enter(self, directory: int, name: str, child: int | None, path: str) -> None:
        label = f"{'remove' if child is None else 'make'} the entry {self._relative(path)}"
        self.pending.append(Entry(self._number(), directory, name, child, label))
        _set(self._now[directory], name, child)

    def _sync(self, inode: int) -> None:
        operations = [operation for operation in self.pending if operation.inode == inode]
        if inode in self._entries:
            for operation in operations:
                assert isinstance(operation, Entry)
                _set(self._entries[inode], operation.name, operation.child)
        elif operations:
            self._contents[inode] = self._content(inode, operations)
        within = self._reachable() if inode in self._entries else None
        self.pending = [
            each for each in self.pending if each.inode != inode and (within is None or each.inode in within)
        ]

    def _reachable(self) -> set[int]:
        """Inodes that some image may still contain. What is pending on others can show in none."""
        children = {inode: set(names.values()) for inode, names in self._entries.items()}
        for operation in self.pending:
            if isinstance(operation, Entry) and operation.child is not None:
                children[operation.inode].add(operation.child)
        found, todo = {ROOT}, [ROOT]
        while todo:
            new = children.get(todo.pop(), set()) - found
            found |= new
            todo += new
        return found

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._root)

    def _parent(self, path: str) -> tuple[int, str]:
        above, name = os.path.split(path)
        inode = self._find(above)
        assert inode is not None, f"the log lacks {above}"
        return inode, name

    def _find(self, path: str) -> int | None:
        inode: int | None = ROOT
        for name in path.removeprefix(self._root).split("/"):
            if name and inode is not None:
                inode = self._now[inode].get(name)
        return inode

    # -- images ---------------------------------------------------------------------------------------------------

    def image(self, kept: Iterable[Operation]) -> Image:
        """What is on the medium if of all pending operations just these have reached it."""
        entries: dict[int, dict[str, int]] = {}
        changes: dict[int, list[Operation]] = {}
        for operation in kept:
            if isinstance(operation, Entry):
                if operation.inode not in entries:
                    entries[operation.inode] = dict(self._entries[operation.inode])
                _set(entries[operation.inode], operation.name, operation.child)
            else:
                changes.setdefault(operation.inode, []).append(operation)
        directories: list[str] = []
        files: list[tuple[str, Content]] = []
        todo = [("", ROOT)]
        while todo:
            path, directory = todo.pop()
            names = entries[directory] if directory in entries else self._entries[directory]
            for name, child in names.items():
                if child in self._entries:
                    directories.append(path + name)
                    todo.append((path + name + "/", child))
                elif child in changes:
                    files.append((path + name, self._content(child, changes[child])))
                else:
                    files.append((path + name, self._contents[child]))
        return Image(tuple(sorted(directories)), tuple(sorted(files, key=lambda file: file[0])))

    def _content(self, inode: int, operations: list[Operation]) -> Content:
        base = self._contents[inode]
        key = (inode, id(base), *(operation.id for operation in operations))
        if (found := self._built.get(key)) is not None:
            return found
        data = bytearray(base.data)
        for operation in operations:
            if isinstance(operation, Write):
                end = operation.offset + len(operation.data)
                data.extend(bytes(max(0, operation.offset - len(data))))
                data[operation.offset : end] = operation.data
            elif isinstance(operation, Truncate):
                del data[operation.size :]
                data.extend(bytes(operation.size - len(data)))
        while len(self._built) >= _CACHED:
            del self._built[next(iter(self._built))]
        content = self._built[key] = Content(bytes(data))
        return content


def _set(names: dict[str, int], name: str, child: int | None) -> None:
    if child is None:
        names.pop(name, None)
    else:
        names[name] = child
