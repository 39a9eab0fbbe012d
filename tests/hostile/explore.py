"""Every public call on a store that somebody may have tampered with, and what it must not do meanwhile.

Runs in a process of its own (see `contained`). A call may give a result or a `DocStoreError`. It must not raise
anything else, nor open, make, rename or remove anything outside of the store, nor unpickle or evaluate what it read.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from docstore import DocStore, DocStoreError
from docstore.testing import HashEmbedder

_MOST = 4  # workspaces and documents tried: a tampered catalog may name a million
_QUERY = np.ones(64, np.float32)
_FILE_EVENTS = ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod",
                "os.link", "os.symlink", "os.truncate", "shutil.rmtree", "shutil.copyfile", "shutil.move")  # fmt: skip
_READING = ("open", "os.listdir", "os.scandir")
_EVALUATING = ("pickle.find_class", "marshal.loads", "exec", "ctypes.dlopen", "os.system", "os.exec")


class Guard:
    """An audit hook that notes what nothing here may do."""

    def __init__(self, store: Path) -> None:
        self._store = os.path.realpath(store)
        self._bait = str(Path(self._store).parent)
        self.active = False
        self.seen: list[str] = []
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in _FILE_EVENTS:
            for path in arguments[: 1 if event in _READING else 2]:
                if isinstance(path, str | bytes | os.PathLike):
                    self._check_path(event, os.fsdecode(path), arguments)
        elif event in _EVALUATING and not _importing():
            self._note(f"{event} {arguments!r:.200}")

    def _check_path(self, event: str, path: str, arguments: tuple[Any, ...]) -> None:
        folder = arguments[1] if event in ("os.remove", "os.rmdir") and len(arguments) > 1 else -1
        if isinstance(folder, int) and folder >= 0:  # relative to an open directory, as shutil.rmtree names things
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)  # noqa: PTH118, PTH115
        real = os.path.normpath(Path(path).absolute())  # as written: a link inside the store is judged by its name
        if (real + "/").startswith(self._store + "/"):
            return
        mode = arguments[1] if event == "open" and len(arguments) > 1 else None
        flags = arguments[2] if event == "open" and len(arguments) > 2 else 0
        writes = (
            event not in _READING
            or (isinstance(mode, str) and set(mode) & set("wax+"))
            or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if (writes and real != os.devnull) or real.startswith(self._bait + "/"):
            self._note(f"{event} {path!r:.300}")

    def _note(self, what: str) -> None:
        if len(self.seen) < 20 and what not in self.seen:
            self.active = False
            self.seen.append(f"{what} from {traceback.extract_stack()[-4].name}")
            self.active = True


def _importing() -> bool:
    """Whether the import system is at work: it reads compiled code, and runs it."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_name == "namedtuple":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


class Exploration:
    """The calls, and how each ended."""

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}
        self.bare: list[str] = []

    def try_(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """The call's result; None when it raised."""
        try:
            result = call(*arguments)
        except DocStoreError as error:
            self.ended[name] = type(error).__name__
        except BaseException as error:  # noqa: BLE001  (that is what is looked for)
            self.ended[name] = type(error).__name__
            frames = reversed(traceback.extract_tb(error.__traceback__)[-4:])
            where = " <- ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
            self.bare.append(f"{name}: {type(error).__name__}: {str(error)[:200]} at {where}")
        else:
            self.ended[name] = "a result"
            return result
        return None


def explore(folder: str, adds: bool = True, hashes: list[str] | None = None) -> dict[str, Any]:
    """Tries everything on the store in `folder`. Returns how calls ended, bare exceptions, and what the guard saw."""
    guard, seen = Guard(Path(folder)), Exploration()
    guard.active = True
    for readonly in (True, False):
        store = seen.try_(f"open, readonly={readonly}", _open, folder, 64, readonly)
        if store is not None:
            _whole(seen, store, "before")
            names = seen.try_("workspaces", store.workspaces) or []
            for name in [*names[:_MOST], *names[-1:]]:
                _workspace(seen, store, name, hashes or [])
            if not readonly:
                _changes(seen, store, names, hashes or [], adds)
            store.close()
    # Under another pipeline what is stored is read again to be embedded again.
    other = seen.try_("open for others", _open, folder, 32, False)
    if other is not None:
        for hash in (hashes or [])[:_MOST]:
            seen.try_("link to embed again", _link_elsewhere, other, hash)
        seen.try_("delete everything", lambda: [other.delete_workspace(name) for name in other.workspaces()])
        _whole(seen, other, "in the end")
        other.close()
    guard.active = False
    return {"ended": seen.ended, "bare": seen.bare, "guard": guard.seen}


def _open(folder: str, dimension: int, readonly: bool) -> DocStore:
    return DocStore(folder, embedder=HashEmbedder(dimension), readonly=readonly, timeout=2)


def _link_elsewhere(store: DocStore, hash: str) -> None:
    store.workspace("else").link(hash)


def _whole(seen: Exploration, store: DocStore, when: str) -> None:
    seen.try_(f"stats {when}", store.stats)
    seen.try_(f"verify {when}", store.verify)
    seen.try_(f"collect, dry, {when}", lambda: store.collect(dry_run=True))
    if when != "before":
        seen.try_(f"collect {when}", store.collect)


def _workspace(seen: Exploration, store: DocStore, name: str, hashes: list[str]) -> None:
    workspace = seen.try_("workspace", lambda: store.workspace(name))
    if workspace is None:
        return
    documents = seen.try_("documents", workspace.documents) or []
    seen.try_("len", lambda: len(workspace))
    seen.try_("search", lambda: workspace.search("lorem ipsum", k=7))
    seen.try_("search, mmr", lambda: workspace.search("lorem ipsum", k=2, mmr=True))
    seen.try_("search_many", lambda: workspace.search_many(["lorem", "dolor"], k=10_000))
    seen.try_("search_vector", lambda: workspace.search_vector(_QUERY, where={"n": 1}))
    seen.try_("search, documents=", lambda: workspace.search("lorem", documents=hashes[:1]))
    for each in (workspace.includes, workspace.pinned, workspace.quota, workspace.info):
        seen.try_(each.__name__, each)
    for info in (seen.try_("conversations", workspace.conversations) or [])[:_MOST]:
        conversation = seen.try_("conversation", workspace.conversation, info.name)
        if conversation is not None:
            seen.try_("messages", conversation.messages)
            seen.try_("export", conversation.export)
    for hash in [*[each.hash for each in documents][:_MOST], *hashes[:_MOST]]:
        seen.try_("history", store.history, hash)
        seen.try_("document", store.document, hash)
        seen.try_("refcount", store.refcount, hash)
        seen.try_("read", _read, store, hash)


def _read(store: DocStore, hash: str) -> int:
    file = store.read(hash)
    with suppress(OSError), file:  # from here on it is a file like any other
        return len(file.read(1 << 20))
    return 0


def _changes(seen: Exploration, store: DocStore, names: list[str], hashes: list[str], adds: bool) -> None:
    new = seen.try_("new workspace", lambda: store.workspace("new"))
    if new is None:
        return
    for hash in hashes[:_MOST]:
        seen.try_("link", new.link, hash)
    if adds:
        seen.try_("add", lambda: new.add(b"A note that is new, and small.", name="../../note.txt"))
        seen.try_("add what is there", lambda: new.add(b"lorem ipsum 0 \n" * 60))
        seen.try_("add_many", lambda: new.add_many([b"one of several", b"", b"another of several"]))
    seen.try_("search the new", lambda: new.search("note"))
    seen.try_("say", lambda: new.conversation("talk").append("user", "what?", hits=new.search("note")))
    for name in names[:_MOST]:
        seen.try_("include", lambda name=name: new.include(store.workspace(name)))
        seen.try_("say more", lambda name=name: store.workspace(name).conversation("talk").append("user", "more"))
        seen.try_("rename a talk", lambda name=name: store.workspace(name).conversation("talk").rename("other"))
        seen.try_("delete a talk", lambda name=name: store.workspace(name).conversation("other").delete())
    seen.try_("search what is included", lambda: new.search("lorem"))
    seen.try_("limit", lambda: new.limit(documents=100))
    seen.try_("limit of the store", lambda: store.limit(physical_bytes=1 << 40))
    seen.try_("quota of the store", store.quota)
    seen.try_("expired", store.expired)
    seen.try_("undelete", store.undelete, "gone")
    seen.try_("expire", store.expire)
    for hash in hashes[:_MOST]:
        seen.try_("pin", new.pin, hash)
        seen.try_("rollback", store.rollback, hash)
        if adds:
            seen.try_("replace", store.replace, hash, b"A new version of " + hash.encode())
    if adds:
        seen.try_("workspace_for", lambda: store.workspace_for([b"one of a set", b"another of it"]))
    for hash in hashes[:_MOST]:
        seen.try_("remove", new.remove, hash)
    for name in names[:1]:
        seen.try_("delete_workspace", store.delete_workspace, name)
    seen.try_("collect", store.collect)
    seen.try_("verify after changes", store.verify)
