"""The model of collect, remove and the readers, step for step as the code takes them.

A collector's variables: program counter, requests it will settle, whether it sweeps, directories to sync, files left
to look at, the open transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.protocol.adding import Next, reap
from tests.protocol.world import DEAD, DONE, DOOMED, LIVE, NONE, START, World

DOOM, REAP, UNLINK, SYNC, TEMPORARY, SHARDS, SWEEP, LISTED, ORPHAN, SETTLE = (
    "doom", "reap", "unlink", "sync", "temporary", "shards", "sweep", "listed", "orphan", "settle",
)  # fmt: skip


def steps(w: World, pid: int) -> Iterator[Next]:
    """What a collector may do next: one thing, or nothing while somebody else holds the write lock."""
    pc = w.procs[pid][0]
    if pc in (DONE, DEAD) or (w.lock not in (0, pid + 1) and pc not in (SYNC, TEMPORARY, SHARDS)):
        return
    new = w.copy()
    if pc == START:
        yield _begin(w, new, pid)
    elif pc in (SYNC, TEMPORARY, SHARDS, SETTLE):
        yield _between(w, new, pid)
    else:
        yield _TRANSACTIONS[pc](w, new, pid)


def _between(w: World, new: World, pid: int) -> Next:
    """What goes on outside of the lock, and the settling."""
    pc, wanted, sweeps, touched, *_ = w.procs[pid]
    if pc == SYNC:
        if w.scenario.variation != "settled without syncing":
            for file in range(w.scenario.files):
                if touched >> file & 1:
                    sync_entries(new, file)
        new.procs[pid] = (TEMPORARY, wanted, sweeps, 0, 0, ())
        return "collect: sync the directories", new
    if pc == TEMPORARY:
        # One step for all folders: a kill between two leaves some, which only the next sweep ever looks at.
        for owner in range(len(w.procs)):
            if not new.is_alive(owner) or w.scenario.variation == "a living owner is taken for dead":
                new.scratch[owner] = 0
        new.procs[pid] = (SHARDS if sweeps else SETTLE, wanted, sweeps, 0, 0, ())
        return "collect: sweep temporary folders", new
    if pc == SHARDS:
        there = sum(1 << file for file, version in enumerate(w.now) if version)
        new.procs[pid] = (SWEEP, wanted, sweeps, 0, there, ())
        return "collect: list the shards", new
    if w.wanted == wanted or w.scenario.variation == "settling clears later requests":
        new.done = max(w.done, w.wanted)
    new.procs[pid] = (DONE,)
    return "collect: settle", new


def _begin(w: World, new: World, pid: int) -> Next:
    """Discards the claims of the dead; reads how many sweeps are wanted and met."""
    dead = {owner for owner in w.claims if owner and not w.is_alive(owner - 1)}
    if w.scenario.variation != "a dead owner's claim asks for no sweep":
        new.wanted += len(dead)
    new.claims = [0 if owner in dead else owner for owner in w.claims]
    new.procs[pid] = (DOOM, new.wanted, int(new.wanted > new.done), 0, 0, ())
    return "collect: find the dead", new


def _doom(w: World, new: World, pid: int) -> Next:
    variation = w.scenario.variation
    _, wanted, sweeps, touched, _, before = w.procs[pid]
    going = [d for d, count in enumerate(w.count) if count == 0 and w.status[d] == LIVE and not w.refs[d]]
    if variation == "what to doom is read in another transaction":
        if not before and going:
            new.procs[pid] = (DOOM, wanted, sweeps, touched, 0, tuple(going))
            return "collect: doom", new
        going = [d for d in before if w.status[d] == LIVE]
    if not going:
        new.procs[pid] = (REAP, wanted, sweeps, touched, 0, ())
        return "collect: nothing to doom", new
    for document in going:
        new.status[document] = DOOMED
    if variation == "dooming asks for the sweep, not reaping":
        new.wanted += 1
        wanted += 1
    new.procs[pid] = (DOOM, wanted, sweeps, touched, 0, ())
    if variation == "files go before doom is committed":
        return _files_before_doom(w, new, pid, going, wanted)
    return "collect: doom", new


def _files_before_doom(w: World, new: World, pid: int, going: list[int], wanted: int) -> Next:
    """The mistake of dooming, unlinking and deleting in one transaction."""
    new.status = w.status[:]
    return _begin_reaping(w, new, pid, going, wanted)


def _reap(w: World, new: World, pid: int) -> Next:
    _, wanted, sweeps, touched, _, _ = w.procs[pid]
    doomed = [document for document, status in enumerate(w.status) if status == DOOMED]
    if doomed:
        return _begin_reaping(w, new, pid, doomed, wanted)
    new.procs[pid] = (SYNC, wanted, sweeps, touched, 0, ())
    return "collect: nothing doomed", new


def _begin_reaping(w: World, new: World, pid: int, documents: list[int], wanted: int) -> Next:
    _, _, sweeps, touched, *_ = w.procs[pid]
    rows = w.copy()
    operations = tuple(reap(rows, documents))
    if w.scenario.variation == "rows go before files":
        _delete_rows(new, rows.status, rows.index)
    else:
        new.lock = pid + 1
    new.procs[pid] = (UNLINK, wanted, sweeps, touched, 0, (operations, tuple(rows.status), tuple(rows.index)))
    return "collect: look for the doomed", new


def _unlink(w: World, new: World, pid: int) -> Next:
    _, wanted, sweeps, touched, _, work = w.procs[pid]
    operations, status, index = work
    if operations:
        file = operations[0][1]
        new.unlink(file)
        new.procs[pid] = (UNLINK, wanted, sweeps, touched | 1 << file, 0, (operations[1:], status, index))
        return "collect: unlink", new
    if w.scenario.variation != "rows go before files":
        _delete_rows(new, status, index)
        new.lock = 0
    if w.scenario.variation not in ("dooming asks for the sweep, not reaping", "reaping asks for no sweep"):
        new.wanted += 1
        wanted += 1
    new.procs[pid] = (REAP, wanted, sweeps, touched, 0, ())
    return "collect: delete the rows and commit", new


def _delete_rows(w: World, status: Sequence[int], index: Sequence[int]) -> None:
    for document, now in enumerate(status):
        if now == NONE != w.status[document]:
            w.row_is_replaced(document)
    w.status, w.index = list(status), list(index)


def sync_entries(w: World, file: int) -> None:
    """`durable.sync_entries`: the directory or, where it is gone, the nearest above that is left."""
    if w.now[file]:
        w.sync_directory(file)
    else:
        w.sync_above(file)


def _sweep(w: World, new: World, pid: int) -> Next:
    """One file's directory after another: list, ask, unlink, commit, all under the lock."""
    pc, wanted, sweeps, _, left, work = w.procs[pid]
    variation = w.scenario.variation
    unlocked = variation in ("the sweep takes no lock", "the sweep asks before it lists")
    if pc == SWEEP:
        if not left:
            if variation != "a sweep is settled without syncing":
                for swept in range(w.scenario.files):
                    new.sync_directory(swept)
                    new.sync_above(swept)
            new.procs[pid] = (SETTLE, wanted, sweeps, 0, 0, ())
            return "collect: sync what was swept", new
        file = (left & -left).bit_length() - 1
        new.lock = 0 if unlocked else pid + 1
        seen = has_row(w, file) if variation == "the sweep asks before it lists" else bool(w.now[file])
        new.procs[pid] = (LISTED, wanted, sweeps, 0, left, (file, seen))
        return "collect: list a shard", new
    file, seen = work
    if pc == LISTED:
        if variation == "the sweep asks before it lists":
            orphan = bool(w.now[file]) and not seen
        else:
            orphan = seen and not has_row(w, file)
        new.procs[pid] = (ORPHAN, wanted, sweeps, 0, left, (file, orphan))
        return "collect: ask for its rows", new
    if seen:
        new.unlink(file)
        new.procs[pid] = (ORPHAN, wanted, sweeps, 0, left, (file, False))
        return "collect: unlink a leftover", new
    new.lock = 0
    new.procs[pid] = (SWEEP, wanted, sweeps, 0, left & ~(1 << file), ())
    return "collect: leave the shard", new


_TRANSACTIONS = {
    DOOM: _doom, REAP: _reap, UNLINK: _unlink, SWEEP: _sweep, LISTED: _sweep, ORPHAN: _sweep,
}  # fmt: skip


def has_row(w: World, file: int) -> bool:
    """`lifecycle.collect._has_row`."""
    if file < w.scenario.documents:
        return w.status[file] != NONE
    text, is_index = divmod(file - w.scenario.documents, 2)
    return bool(w.index[text]) if is_index else w.has_text_row(text)


def remove(w: World) -> Iterator[Next]:
    """`Workspace.remove` of any reference there is."""
    if w.lock or not w.removals:
        return
    for document, refs in enumerate(w.refs):
        for workspace in range(refs.bit_length()):
            if refs >> workspace & 1:
                new = w.copy()
                new.removals -= 1
                new.unrefer(document, workspace)
                yield "remove", new


def search(w: World, pid: int) -> Iterator[Next]:
    """A search on a cold cache. Variables: files left to open, whether the workspace changed, versions in the rows."""
    new = w.copy()
    if w.procs[pid][0] in (START, "look"):
        workspace = w.scenario.searchers[w.scenario.number(pid)]
        texts = {w.scenario.texts[d] for d, refs in enumerate(w.refs) if refs >> workspace & 1}
        files = [file for text in sorted(texts) for file in (w.scenario.index_file(text), w.scenario.text_file(text))]
        new.procs[pid] = ("open", tuple(files), 0, tuple(w.index))
        yield "search: look", new
    elif w.procs[pid][0] == "open":
        _, left, changed, index = w.procs[pid]
        if not left:
            new.procs[pid] = (DONE,)
            yield "search: answer", new
            return
        text, is_index = divmod(left[0] - w.scenario.documents, 2)
        intact = w.now[left[0]] == (index[text] if is_index else 1)
        new.procs[pid] = ("open", left[1:], changed, index) if intact else ("again", left, changed, index)
        yield "search: read a file", new
    elif w.procs[pid][0] == "again":
        new.procs[pid] = ("look",) if w.procs[pid][2] else ("alarm",)
        yield "search: look whether it changed", new


def read(w: World, pid: int) -> Iterator[Next]:
    """`DocStore.read`, and so every reader that takes rows and then opens files: `verify`, a backup.

    Variables: whether the document's row was deleted since it was read.
    """
    document = w.scenario.readers[w.scenario.number(pid)]
    new = w.copy()
    pc, *replaced = w.procs[pid]
    if pc == START:
        new.procs[pid] = ("open", 0) if w.status[document] == LIVE else (DONE,)
        yield "read: look", new
    elif pc == "open":
        new.procs[pid] = (DONE,) if w.now[document] else ("again", *replaced)
        yield "read: open", new
    elif pc == "again":
        believes = not replaced[0] or w.scenario.variation == "a reader believes its second look"
        damaged = ("alarm",) if believes else (START,)
        new.procs[pid] = damaged if w.status[document] == LIVE else (DONE,)
        yield "read: look again", new
