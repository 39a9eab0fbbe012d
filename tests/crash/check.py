"""The judge of an image: opens it with the real code and says what the store holds, or what is wrong with it.

Every image is written to a folder in memory and opened by `DocStore`, write-ahead log recovery included. What follows
from there is decided by each byte of the recovered catalog and of all other files, so it is tried once for each such
recovered folder, and for one image in 256 again, whatever came before it:

- `verify()` finds nothing, nor does the tests' own witness; a search finds what is referenced and nothing else;
  what the history added can be added again, which heals. Nothing here looks at `tmp/`, so what lies there does not
  count in 'each such recovered folder'; nor, below, does what a temporary file holds, for only its name is looked at;
- once all workspaces are deleted, a collection leaves no file, no folder and no row: after the additions, and again
  of the image as it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from blake3 import blake3

from docstore import DocStore
from docstore.archive import ARCHIVE, JOURNAL
from docstore.lifecycle import collect, expire
from docstore.reserve import RESERVE
from docstore.testing import HashEmbedder
from tests import folders
from tests.crash.disk import Content, Image
from tests.crash.sequences import DOCUMENTS, EXPIRED, FIRST, GRANT, State
from tests.crash.workers import Workers
from tests.folders import hash_of

_CATALOG = "store/catalog.db"
_ARCHIVE = "store/small.sqlar"
_EMPTY = 20_480  # bytes of an archive without a piece
_TMP = "store/tmp"
_KEPT_FOLDER = "tmp"  # made when the store first works, and reused
_KEPT_TABLES = ("totals", "limits", "pipelines", "_sqlite_migrations", "sqlite_sequence")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an image turned out to be."""

    state: State | None
    """None if it cannot be opened."""
    failure: str
    """Empty if nothing is wrong."""

    @property
    def is_usable(self) -> bool:
        """Whether nothing else is wrong than folders that stay."""
        return not self.failure


class Checker:
    """Checks images one after another in a folder of its own. Equal images are opened once."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        self._root = folder
        self._folder = folder / "store"
        self._workers = workers
        self._embedder = HashEmbedder()
        self._known: dict[bytes, Outcome] = {}
        self._states: dict[bytes, State] = {}  # by catalog
        self._used: dict[bytes, Outcome] = {}  # by catalog and published files
        self._collected: dict[bytes, Outcome] = {}  # by catalog, published files, and names in tmp
        self._present: dict[str, Content | None] = {}  # what the folder holds; None for a directory
        self._history: list[bytes] = []
        self.trials: dict[str, int] = {}
        collect._BREATH_SECONDS = expire._BREATH_SECONDS = 0  # nobody waits for his turn here
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def known(self, image: Image) -> bool:
        """Whether an equal image was checked before."""
        return image.key in self._known

    def outcome(self, image: Image, history: frozenset[str]) -> Outcome:
        """What the image is.

        Args:
            history: the documents that were added before the power failed, or were being added.
        """
        found = self._known.get(image.key)
        if found is None:
            self._history = [DOCUMENTS[hash] for hash in sorted(history & DOCUMENTS.keys())] or [FIRST]
            try:
                found = self._check(image)
            except Exception:  # noqa: BLE001  (a damaged catalog shows wherever it is read)
                self._present = {}
                found = Outcome(None, f"listing: {_last_lines()}")
            self._known[image.key] = found
        return found

    @property
    def folder(self) -> Path:
        """Where images are written and opened."""
        return self._folder

    def _check(self, image: Image) -> Outcome:
        with self._opened(image) as store:
            if isinstance(store, Outcome):
                return store
            with store._parts.database._connection() as connection:
                catalog = blake3(connection.serialize()).digest(16)
            published = catalog + image.key_without(_CATALOG, _TMP)
            recovered = published + image.names_of(_TMP)
            again = image.key[0] == 0
            if recovered in self._collected and not again:
                return self._collected[recovered]
            state = self._states.get(catalog)
            if state is None:
                state = self._states[catalog] = _state(store)
            used = published not in self._used or again
            if used:
                self._used[published] = self._trial("using", state, store, self._use)
            outcome = self._used[published]
            if not used and outcome.is_usable:
                outcome = self._trial("collecting", state, store, self._collect)
        if used and outcome.is_usable:
            with self._opened(image) as store:
                assert isinstance(store, DocStore)
                outcome = self._trial("collecting", state, store, self._collect)
        self._collected[recovered] = outcome
        return outcome

    @contextlib.contextmanager
    def _opened(self, image: Image) -> Iterator[DocStore | Outcome]:
        self.write(image)
        try:
            store = DocStore(self._folder, embedder=self._embedder)
        except Exception:  # noqa: BLE001  (whatever it is, the image must not raise it)
            yield Outcome(None, f"opening: {_last_lines()}")
            return
        self._workers.lend(store)
        try:
            yield store
        finally:
            self._workers.take_back(store)
            store.close()

    def _trial(self, name: str, state: State, store: DocStore, trial: Callable[[State, DocStore], None]) -> Outcome:
        self.trials[name] = self.trials.get(name, 0) + 1
        self._present = {}
        try:
            trial(state, store)
        except Exception:  # noqa: BLE001
            return Outcome(state, f"{name}: {_last_lines()}")
        return Outcome(state, "")

    def _use(self, state: State, store: DocStore) -> None:
        _expect_none(store.verify().problems)
        _expect_none(folders.problems(self._folder))
        for name, held in state:
            if name.endswith(EXPIRED):
                store.undelete(name.removesuffix(EXPIRED), new_name=f"{name} and back")
                name = f"{name} and back"  # noqa: PLW2901
            _expect_equal(_hits(store, name), _covered(state, held))
        alice = store.workspace("alice")
        _expect_none(alice.add_many(self._history).failed)
        _expect_equal(
            _hits(store, "alice"), _covered(state, _held(store, "alice")) | {hash_of(data) for data in self._history}
        )
        _expect_none(folders.problems(self._folder))
        self._collect(state, store)

    def _collect(self, _: State, store: DocStore) -> None:
        for name in store.workspaces():
            store.delete_workspace(name)
        store.expire(grace=timedelta(0))
        store.collect()
        _expect_none(self._left(store))
        left = [path for path in self._folder.rglob("*") if path.is_dir() and path.name != _KEPT_FOLDER]
        _expect_none(sorted(str(path.relative_to(self._folder)) for path in left))

    def _left(self, store: DocStore) -> list[str]:
        """What is left of a store that holds nothing: files and rows."""
        left = [
            str(path.relative_to(self._folder))
            for path in self._folder.rglob("*")
            if path.is_file() and not path.name.startswith(("catalog.db", ARCHIVE)) and path.name != RESERVE
        ]
        left += folders.packed(self._folder)
        sizes = [path.stat().st_size for name in (ARCHIVE, JOURNAL) if (path := self._folder / name).exists()]
        left += [f"{size} bytes of the archive" for size in sizes if size > _EMPTY]
        with store._parts.database.read() as db:
            tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            for (table,) in tables:
                if table not in _KEPT_TABLES and (rows := db.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]):
                    left.append(f"{rows} rows in {table}")
            sums = db.execute(
                "SELECT documents, workspaces, expired, refs, chunks, file_bytes, logical_bytes FROM totals"
            )
            if any(row := sums.fetchone()):
                left.append(f"totals {row}")
        return left

    # -- writing images -------------------------------------------------------------------------------------------

    def write(self, image: Image) -> None:
        """Makes the folder equal to the image, touching only what differs from the last one's files."""
        wanted: dict[str, Content | None] = dict.fromkeys(image.directories)
        wanted.update(image.files)
        if not self._present:
            shutil.rmtree(self._root)
            self._root.mkdir()
        for path, content in sorted(self._present.items(), reverse=True):
            if path not in wanted or (content is None) != (wanted[path] is None):
                (os.rmdir if content is None else os.unlink)(self._root / path)
                del self._present[path]
        for path in image.directories:
            if path not in self._present:
                (self._root / path).mkdir()
        for path, content in image.files:
            present = self._present.get(path)
            if present is None or present.digest != content.digest:
                (self._root / path).write_bytes(content.data)
        # Opening changes the databases' files, so they are never those of the last image.
        databases = (_CATALOG, _ARCHIVE)
        self._present = {path: content for path, content in wanted.items() if not path.startswith(databases)}
        for name in (*(f"catalog.db{end}" for end in ("", "-wal", "-shm", "-journal")), ARCHIVE, JOURNAL):
            if f"store/{name}" not in wanted:
                (self._folder / name).unlink(missing_ok=True)


def _held(store: DocStore, name: str) -> frozenset[str]:
    workspace = store.workspace(name)
    held = {document.hash for document in workspace.documents()}
    held.update(f"includes {other}" for other in workspace.includes())
    for each in workspace.conversations():
        held.add("talks")
        held.update(message.content for message in workspace.conversation(each.name).messages())
    return frozenset(held)


def _covered(state: State, held: frozenset[str]) -> frozenset[str]:
    """What a search must find."""
    return (held | dict(state).get("alice", frozenset()) if GRANT in held else held) & DOCUMENTS.keys()


def _state(store: DocStore) -> State:
    living = {name: _held(store, name) for name in store.workspaces()}
    query = """SELECT substr(w.name, 10 + length(w.id) + 1) || ?, group_concat(d.hash) FROM workspaces w
               LEFT JOIN refs r ON r.workspace_id = w.id LEFT JOIN documents d ON d.id = r.document_id
               WHERE w.expired_at IS NOT NULL GROUP BY w.id"""
    with store._parts.database.read() as db:
        gone = {name: frozenset((hashes or "").split(",")) - {""} for name, hashes in db.execute(query, (EXPIRED,))}
    return frozenset((living | gone).items())


def _hits(store: DocStore, name: str) -> frozenset[str]:
    hits = store.workspace(name).search("ships and snow", k=100)
    for hit in hits:
        _expect_equal(hit.text, DOCUMENTS[hit.document].decode().replace("\r\n", "\n")[hit.start : hit.end])
    return frozenset(hit.document for hit in hits)


def _expect_none(found: object) -> None:
    if found:
        raise AssertionError(f"nothing was to be found, but {found!r:.500}")


def _expect_equal(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{expected!r:.300} was to be found, not {found!r:.300}")


def _last_lines() -> str:
    return " / ".join(line.strip() for line in traceback.format_exc().splitlines()[-3:])
