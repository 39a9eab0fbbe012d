"""A model against the store, of time and limits: what is expired cannot be used, what comes back is as it was, and no
limit is ever exceeded, whatever else happens in between.

The model keeps, for each workspace, when it was last used, what it may have, and what it has; and the same of those
that are expired. Time is moved, not waited for.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from docstore import DocStore, QuotaExceeded, QuotaWarning, Workspace, WorkspaceExists, WorkspaceNotFound, accesses
from docstore.lifecycle import collect, expire
from docstore.testing import HashEmbedder
from tests.clock import Clock
from tests.folders import files, hash_of, problems

NAMES = ["alice", "bob", "chat"]
DOCUMENTS = [(f"Document {number}: " + "ships and snow. " * number).encode() for number in range(6)]
SIZE_OF = {hash_of(data): len(data) for data in DOCUMENTS}
HOUR, DAY, ROUND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=2)

names = st.sampled_from(NAMES)
documents = st.sampled_from(DOCUMENTS)
lifetimes = st.sampled_from([None, (HOUR, True), (HOUR, False), (DAY, True)])
most = st.none() | st.integers(0, 4)


@dataclass
class Model:
    """What a workspace should be."""

    name: str
    lifetime: tuple[timedelta, bool] | None
    counts_from: datetime
    """What its time counts from."""
    hashes: set[str] = field(default_factory=set)
    max_documents: int | None = None
    max_bytes: int | None = None

    @property
    def bytes(self) -> int:
        return sum(SIZE_OF[hash] for hash in self.hashes)

    def admits(self, hash: str) -> bool:
        if hash in self.hashes:
            return True
        fits = self.max_documents is None or len(self.hashes) < self.max_documents
        return fits and (self.max_bytes is None or self.bytes + SIZE_OF[hash] <= self.max_bytes)


class Lifetimes(RuleBasedStateMachine):
    """Random histories."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(collect, "_BREATH_SECONDS", 0)
        self.patch.setattr(expire, "_BREATH_SECONDS", 0)
        self.clock = Clock(self.patch)
        self.folder = Path(tempfile.mkdtemp()) / "store"
        self.store = DocStore(self.folder, embedder=HashEmbedder())
        self.living: dict[str, Model] = {}
        self.expired: list[tuple[datetime, Model, Workspace]] = []
        self.max_store: int | None = None

    def teardown(self) -> None:
        self.store.close()
        self.patch.undo()
        shutil.rmtree(self.folder.parent)

    def _open(self, name: str, lifetime: tuple[timedelta, bool] | None = None) -> tuple[Model, Workspace]:
        ttl, sliding = lifetime or (None, True)
        handle = self.store.workspace(name, ttl=ttl, sliding=sliding)
        return self.living.setdefault(name, Model(name, lifetime, self.clock.now())), handle

    def _use(self, model: Model) -> None:
        if model.lifetime is not None and model.lifetime[1]:
            model.counts_from = self.clock.now()

    @rule(name=names, lifetime=lifetimes.filter(bool))
    def make(self, name: str, lifetime: tuple[timedelta, bool] | None) -> None:
        self._open(name, lifetime)

    @rule(name=names, lifetime=lifetimes)
    def expire_after(self, name: str, lifetime: tuple[timedelta, bool] | None) -> None:
        model, handle = self._open(name)
        ttl, sliding = lifetime or (None, True)
        handle.expire_after(ttl, sliding=sliding)
        model.lifetime, model.counts_from = lifetime, self.clock.now()

    @rule(name=names, documents=most, size=most)
    def limit(self, name: str, documents: int | None, size: int | None) -> None:
        model, handle = self._open(name)
        model.max_documents, model.max_bytes = documents, None if size is None else size * 50
        handle.limit(documents=documents, logical_bytes=model.max_bytes)
        self._use(model)

    @rule(more=st.none() | st.integers(0, 3000))
    def limit_store(self, more: int | None) -> None:
        self.max_store = None if more is None else self.store.quota().physical_bytes + more
        self.store.limit(physical_bytes=self.max_store)

    @rule(name=names, batch=st.lists(documents, min_size=1, max_size=4))
    def add(self, name: str, batch: list[bytes]) -> None:
        model, handle = self._open(name)
        before = self.store.quota().physical_bytes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QuotaWarning)
            report = handle.add_many(batch)
        self._use(model)
        assert all(isinstance(each.error, QuotaExceeded) for each in report.failed)
        added = {each.hash for each in report.added + report.reused}
        refused = {hash_of(data) for data in batch} - added
        assert all(each in model.hashes or self._fits(model, added) for each in added)
        model.hashes |= added
        if self.max_store is None:  # else it is the store that may have refused
            assert not any(model.admits(each) for each in refused)
        elif before <= self.max_store:
            assert self.store.quota().physical_bytes <= self.max_store
        else:
            assert self.store.quota().physical_bytes <= before

    def _fits(self, model: Model, added: set[str]) -> bool:
        together = model.hashes | added
        size = sum(SIZE_OF[hash] for hash in together)
        return (model.max_documents is None or len(together) <= model.max_documents) and (
            model.max_bytes is None or size <= model.max_bytes
        )

    @rule(name=names, data=documents)
    def remove(self, name: str, data: bytes) -> None:
        if name in self.living and hash_of(data) in self.living[name].hashes:
            self.store.workspace(name).remove(hash_of(data))
            self.living[name].hashes.remove(hash_of(data))
            self._use(self.living[name])

    @rule(name=names)
    def search(self, name: str) -> None:
        if name in self.living:
            found = self.store.workspace(name).search("ships", k=50)
            assert {hit.document for hit in found} == self.living[name].hashes
            self._use(self.living[name])

    @rule(name=names)
    def delete(self, name: str) -> None:
        if self.living.pop(name, None) is not None:
            self.store.delete_workspace(name)

    @rule(time=st.sampled_from([timedelta(seconds=61), HOUR / 2, HOUR, HOUR + 2 * accesses.MERCY, 2 * DAY]))
    def wait(self, time: timedelta) -> None:
        self.clock.advance(time)

    @rule(grace=st.sampled_from([10 * DAY, DAY, timedelta(0)]))
    def expire(self, grace: timedelta) -> None:
        handles = {name: self.store.workspace(name) for name in self.living}
        preview = self.store.expire(grace=grace, dry_run=True)
        report = self.store.expire(grace=grace)
        assert preview == report
        now = self.clock.now()
        for name in report.expired:
            model = self.living.pop(name)
            assert model.lifetime is not None and now >= model.counts_from + model.lifetime[0]
            self.expired.append((now, model, handles[name]))
        for model in self.living.values():
            if model.lifetime is not None:
                ttl, sliding = model.lifetime
                assert now < model.counts_from + ttl + (accesses.MERCY if sliding else timedelta(0)) + ROUND
        # Whoever expired just as long ago as the grace period may be on either side of it.
        gone = [each for each in self.expired if each[0] <= now - grace]
        assert sorted(each[1].name for each in gone) == list(report.deleted)
        self.expired = [each for each in self.expired if each not in gone]

    @precondition(lambda self: self.expired)
    @rule(place=st.integers(0, 9), new_name=st.none() | names)
    def undelete(self, place: int, new_name: str | None) -> None:
        name = self.expired[place % len(self.expired)][1].name
        at, model, handle = [each for each in self.expired if each[1].name == name][-1]
        wanted = new_name or name
        if wanted in self.living:
            with pytest.raises(WorkspaceExists):
                self.store.undelete(name, new_name=new_name)
            return
        back = self.store.undelete(name, new_name=new_name)
        self.expired.remove((at, model, handle))
        model = deepcopy(model)
        model.name, model.counts_from = wanted, self.clock.now()
        self.living[wanted] = model
        assert {each.hash for each in back.documents()} == model.hashes
        if handle._parts is self.store._parts:
            assert handle.documents() == back.documents()

    @rule()
    def collect(self) -> None:
        self.store.collect()
        held = self._held()
        assert len(files(self.folder, "documents")) == len(held)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = DocStore(self.folder, embedder=HashEmbedder())

    def _held(self) -> set[str]:
        models = [*self.living.values(), *(model for _, model, _ in self.expired)]
        return {hash for model in models for hash in model.hashes}

    @invariant()
    def counts_hold(self) -> None:
        models = [*self.living.values(), *(model for _, model, _ in self.expired)]
        for hash in SIZE_OF:
            assert self.store.refcount(hash) == sum(hash in model.hashes for model in models)
        stats = self.store.stats()
        assert (stats.workspaces, stats.expired) == (len(self.living), len(self.expired))
        assert stats.references == sum(len(model.hashes) for model in models)
        assert self.store.verify().problems == ()
        assert problems(self.folder) == []

    @invariant()
    def the_living_are_as_they_should_be(self) -> None:
        assert self.store.workspaces() == sorted(self.living)
        for name, model in self.living.items():
            handle = self.store.workspace(name)
            assert {each.hash for each in handle.documents()} == model.hashes
            quota, info = handle.quota(), handle.info()
            assert (quota.documents, quota.logical_bytes) == (len(model.hashes), model.bytes)
            assert (quota.max_documents, quota.max_logical_bytes) == (model.max_documents, model.max_bytes)
            assert info.ttl == (model.lifetime[0] if model.lifetime else None)

    @invariant()
    def the_expired_cannot_be_used(self) -> None:
        found = [each.name for each in self.store.expired()]
        assert sorted(found) == sorted(model.name for _, model, _ in self.expired)
        for _, _, handle in self.expired:
            if handle._parts is self.store._parts:
                with pytest.raises(WorkspaceNotFound, match="expired"):
                    handle.search("ships")


TestLifetimes = Lifetimes.TestCase
