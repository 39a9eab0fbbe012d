"""What comes before embedding: copies of documents and their texts in temporary files. Without any lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial

from docstore import texts
from docstore.durable import stage as stage_bytes
from docstore.errors import DocStoreError, StorageError
from docstore.ingest.extraction import Extraction, Unreadable
from docstore.ingest.extractor import CONCURRENCY, Extractor
from docstore.ingest.grouping import groups
from docstore.ingest.incoming import Incoming
from docstore.ingest.source import stage
from docstore.scratch import Scratch
from docstore.texts import Text

_PORTION_DOCUMENTS = 16  # that a worker process gets at once: for small ones, asking would take longer than reading
_PORTION_BYTES = 65_536  # and their bytes together: what one worker was given, no other takes over
_MOST_AHEAD = 1 << 22  # characters, extracted and not taken yet, until more is begun: texts may outgrow documents


@dataclass(slots=True, eq=False)
class _Portion:
    """Documents that one worker process gets."""

    items: list[Incoming]
    characters: int = 0
    """Of their texts, once these are there."""


class Preparation:
    """Stages blob and text of documents, as many at once as there are worker processes, while its user does something
    else. What fails gets its outcome.

    Use as a context manager: when that is left, nothing is being staged any more.
    """

    def __init__(self, extractor: Extractor, scratch: Scratch) -> None:
        self._extractor = extractor
        self._scratch = scratch
        self._pool: ThreadPoolExecutor | None = None
        self._guard = threading.Lock()
        self._queue: deque[_Portion] = deque()
        self._running: dict[Future[None], _Portion] = {}
        """What was begun, and not given out by `wait` yet."""
        self._at_work = 0  # of these, how many are not done
        self._ahead = 0  # characters of those that are
        self._is_ending = False
        self._reading = threading.Lock()

    def __enter__(self) -> Preparation:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @property
    def items(self) -> set[Incoming]:
        """What was started, and not given out by `wait` yet. Nobody else may look at these."""
        with self._guard:
            return {item for portion in (*self._queue, *self._running.values()) for item in portion.items}

    def start(self, items: list[Incoming]) -> None:
        """Begins with some documents."""
        portions = list(groups(items, _size, _PORTION_BYTES, _PORTION_DOCUMENTS))
        if len(portions) == 1 and not self._running:  # a document alone waits for no thread
            self._prepare(portions[0])
            return
        if portions and self._pool is None:
            self._pool = ThreadPoolExecutor(CONCURRENCY, "docstore-prepare")
        with self._guard:
            self._queue.extend(map(_Portion, portions))
        self._begin_more()

    def wait(self, characters: int) -> list[Incoming]:
        """Waits until texts of so many characters are ready, or all are; the documents that this finished.

        Raises what no document's own failure explains.
        """
        finished: list[Incoming] = []
        ready = 0
        while self._running and ready < characters:
            with self._guard:
                running = list(self._running)
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                with self._guard:
                    portion = self._running.pop(done)
                    self._ahead -= portion.characters
                done.result()
                finished += portion.items
                ready += portion.characters
            self._begin_more()
        return finished

    def _begin_more(self) -> None:
        """Begins with what is queued, as far as there is room. Called by whoever has finished something, so that no
        thread of the pool waits for room: when the interpreter ends, it waits for all such threads."""
        while (once := self._next()) is not None:
            assert self._pool is not None
            try:
                self._pool.submit(self._work, once)
            except RuntimeError:  # no thread can be started any more, or the interpreter is ending
                once()

    def _work(self, once: _Once) -> None:
        try:
            once()
        finally:
            self._begin_more()

    def _next(self) -> _Once | None:
        with self._guard:
            is_room = self._at_work < CONCURRENCY and self._ahead < _MOST_AHEAD
            if self._is_ending or not self._queue or not is_room:
                return None
            portion = self._queue.popleft()
            once = _Once(partial(self._prepare_ahead, portion))
            self._running[once.done] = portion
            self._at_work += 1
            return once

    def _prepare_ahead(self, portion: _Portion) -> None:
        try:
            self._prepare(portion.items)
        finally:
            with self._guard:
                portion.characters = sum(len(item.text.content) for item in portion.items if item.text is not None)
                self._ahead += portion.characters
                self._at_work -= 1

    def _prepare(self, items: list[Incoming]) -> None:
        copied = [item for item in items if self._copy(item)]
        blobs = [item.blob for item in copied if item.blob is not None]
        documents = [each.path if each.data is None else each.data for each in blobs]
        try:
            with closing(self._extractor.extract_each(documents)) as found:
                for item, extraction in zip(copied, found, strict=True):
                    _take(item, extraction, self._scratch)
        except DocStoreError as error:  # nothing can be extracted at all: no process starts, for example
            for item in copied:
                if item.extraction is None and item.outcome is None:
                    item.outcome = error

    def _copy(self, item: Incoming) -> bool:
        """Whether it could be copied."""
        assert item.source is not None
        is_ours = isinstance(item.source.origin, str | bytes)
        try:
            # One at a time: file objects of the caller's may be parts of one file, as the members of an archive are.
            with nullcontext() if is_ours else self._reading:
                item.blob = stage(item.source, self._scratch)
        except DocStoreError as error:
            item.outcome = error
            return False
        return True


class _Once:
    """A call that is made once, by whoever comes first: a pool that fails to start a thread may have queued the call
    for the threads it has, and does not say whether it did."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.done: Future[None] = Future()
        self._act = act
        self._begun = threading.Lock()

    def __call__(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self._act()
        except BaseException as error:
            self.done.set_exception(error)
            raise
        self.done.set_result(None)


def _size(item: Incoming) -> int:
    return item.source.size if item.source is not None else 0


def _take(item: Incoming, found: Extraction | Unreadable | StorageError, scratch: Scratch) -> None:
    if isinstance(found, Unreadable):
        item.outcome = found.named(item.label)
    elif isinstance(found, StorageError):
        item.outcome = found
    else:
        text = Text.of(found.text)
        item.extraction = found
        item.adopt(text.hash)
        item.text = text
        try:
            item.text_file = stage_bytes(scratch.file(), texts.compress(text))
        except DocStoreError as error:
            item.outcome = error
