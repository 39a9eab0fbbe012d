"""The model of add, step for step as `ingest/add.py` takes them. One document, as in a group each is treated alone.

An adder's variables: program counter, blob (0 not staged, 1 written, 2 synced; its text file goes with it), sub-index
(the same), whether it holds the claim on the document and on the embedding, and the open transaction.

What is staged is synced before it is published, and not before: at the end of all work without a lock.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.protocol.world import DONE, DOOMED, LIVE, NONE, START, Process, World

Next = tuple[str, World]

STAGE, EMBED, PUBLISH, LOOK = "stage", "embed", "publish", "look again"
FILES, EXIT = "files", "exit"


def steps(w: World, pid: int) -> Iterator[Next]:
    """What an adder may do next. Nothing: it waits, for the lock or for somebody's claim."""
    pc = w.procs[pid][0]
    if pc == START:
        yield from _plan(w, pid, (START, 0, 0, 0, 0))
    elif pc == "plan":
        yield from _plan(w, pid, w.procs[pid])
    elif pc in _LOCAL:
        label, field, value, then = _LOCAL[str(pc)]
        new = w.copy()
        proc = list(w.procs[pid])
        proc[0], proc[field] = then, value
        new.procs[pid] = tuple(proc)
        yield label, new
    elif pc == PUBLISH:
        yield "add: sync what is staged", _synced(w, pid)
    elif pc == LOOK:
        yield from _look_again(w, pid)
    elif pc == FILES:
        yield from _publishing(w, pid)
    elif pc == EXIT:
        new = w.copy()
        new.scratch[pid], new.procs[pid] = 0, (DONE,)
        yield "add: leave", new


# Work without a lock, on files that nobody else looks at: program counter -> label, variable, its value, then.
_LOCAL = {
    STAGE: ("add: copy and extract", 1, 1, "plan"),
    EMBED: ("add: embed", 2, 1, PUBLISH),
}


def _synced(w: World, pid: int) -> World:
    _, blob, subindex, *held = w.procs[pid]
    new = w.copy()
    if w.scenario.variation != "staged files are not synced":
        blob, subindex = 2 * bool(blob), 2 * bool(subindex)
    new.procs[pid] = (LOOK, blob, subindex, *held)
    return new


# -- first transaction ------------------------------------------------------------------------------------------------


def _plan(w: World, pid: int, proc: Process) -> Iterator[Next]:
    if w.lock:
        return
    document, workspace = w.scenario.adders[pid]
    text = w.scenario.texts[document]
    _, blob, subindex, holds_document, holds_embedding, *_ = proc
    new = w.copy()
    new.procs[pid] = proc
    live = _is_live(w, document)
    has_vectors = (live or blob) and text_is_intact(w, text) and has_vectors_of(w, text)
    if live and has_vectors:
        new.refer(document, workspace)
        _release(new, pid)
        new.procs[pid] = (EXIT,) if w.scratch[pid] else (DONE,)
        yield "add: plan (refer)", new
    elif not live and not blob:
        yield from _claiming(new, pid, STAGE, document, held=holds_document or holds_embedding)
    elif has_vectors or subindex:
        new.procs[pid] = (PUBLISH, *proc[1:])
        yield "add: plan (publish)", new
    else:
        yield from _claiming(new, pid, EMBED, w.scenario.documents + text, held=holds_embedding)


def _claiming(new: World, pid: int, then: str, key: int, held: int) -> Iterator[Next]:
    """Goes on with a claim that is held or can be had. The scratch folder, which names the owner, comes first."""
    _, *staged, holds_document, holds_embedding = new.procs[pid]
    if not held and not new.scratch[pid]:
        new.scratch[pid], new.procs[pid] = 1, ("plan", *staged, holds_document, holds_embedding)
        yield "add: make the scratch folder", new
    elif held or _claim(new, pid, key):
        if not held:
            holds_document, holds_embedding = (1, holds_embedding) if then == STAGE else (holds_document, 1)
        new.procs[pid] = (then, *staged, holds_document, holds_embedding)
        yield f"add: plan ({then})", new


def _is_live(w: World, document: int) -> bool:
    if w.scenario.variation == "a doomed row is deduplicated onto":
        return w.status[document] != NONE and bool(w.now[document])
    return w.status[document] == LIVE and bool(w.now[document]) and text_is_intact(w, w.scenario.texts[document])


def text_is_intact(w: World, text: int) -> bool:
    """`Parts.text_is_intact`; every version has the size its row names."""
    condemned = w.is_condemned(text) and w.scenario.variation != "a condemned text is built upon"
    return w.has_text_row(text) and not condemned and bool(w.now[w.scenario.text_file(text)])


def has_vectors_of(w: World, text: int) -> bool:
    """`Known.intact_subindex`."""
    return bool(w.index[text]) and bool(w.now[w.scenario.index_file(text)])


def _claim(w: World, pid: int, key: int) -> bool:
    owner = w.claims[key] - 1
    if owner == pid:
        return True
    if owner >= 0 and w.is_alive(owner) and w.scenario.variation != "a living owner is taken for dead":
        return False
    if owner >= 0 and w.scenario.variation != "a dead owner's claim asks for no sweep":
        w.wanted += 1
    w.claims[key] = pid + 1
    return True


def _release(w: World, pid: int) -> None:
    # item.held names keys: what somebody took over from us, thinking us dead, would be released too.
    document = w.scenario.adders[pid][0]
    _, _, _, holds_document, holds_embedding, *_ = (*w.procs[pid], 0, 0, 0, 0)
    if holds_document:
        w.claims[document] = 0
    if holds_embedding:
        w.claims[w.scenario.documents + w.scenario.texts[document]] = 0


# -- last transaction -------------------------------------------------------------------------------------------------


def reap(w: World, documents: list[int]) -> list[tuple[str, int]]:
    """`reap.reap` inside a transaction: changes the rows of `w`, returns the unlinks in their order."""
    operations = []
    for document in documents:
        text = w.scenario.texts[document]
        operations.append(("unlink", document))
        last = not any(w.status[other] for other in w.scenario.of_text(text) if other != document)
        w.status[document] = NONE
        if last:
            operations.append(("unlink", w.scenario.text_file(text)))
            if w.index[text]:
                operations.append(("unlink", w.scenario.index_file(text)))
            w.index[text] = 0
    return operations


def _look_again(w: World, pid: int) -> Iterator[Next]:
    """BEGIN IMMEDIATE and `_publish_one`: what is decided here stays true, since nobody else has the lock."""
    if w.lock and w.scenario.variation != "files are published outside of the lock":
        return
    document = w.scenario.adders[pid][0]
    text = w.scenario.texts[document]
    _, blob, subindex, *held = w.procs[pid]
    rows = w.copy()
    operations: list[tuple[str, int]] = []
    refers = False
    look = w.scenario.variation != "the last transaction does not look again"
    if blob or w.status[document] == LIVE:
        if w.status[document] == DOOMED:
            operations += _reap_with_request(rows, [document])
        revive = w.scenario.variation != "a condemned text is built upon"
        if revive and rows.has_text_row(text) and rows.is_condemned(text):
            operations += _reap_with_request(rows, [d for d in w.scenario.of_text(text) if rows.status[d]])
        gone = {file for _, file in operations}
        text_file, index_file = w.scenario.text_file(text), w.scenario.index_file(text)
        intact = rows.has_text_row(text) and bool(w.now[text_file]) and text_file not in gone
        vectors = bool(rows.index[text]) and bool(w.now[index_file]) and index_file not in gone
        if not look:
            intact = vectors = not subindex
        if (vectors or subindex) and (intact or blob):
            refers = True
            operations += [] if intact else [("place", text_file)]
            if not vectors:
                operations.append(("place", index_file))
                rows.index[text] = pid + 2  # version 1 is that of what was stored at the beginning
            if rows.status[document] == NONE or not w.now[document] or document in gone:
                operations.append(("place", document))
            rows.status[document] = LIVE
    new = w.copy()
    if w.scenario.variation != "files are published outside of the lock":
        new.lock = pid + 1
    deleted = tuple(file for kind, file in operations if kind == "unlink" and file < w.scenario.documents)
    effect = (tuple(rows.status), tuple(rows.index), rows.wanted - w.wanted, refers, deleted)
    new.procs[pid] = (FILES, blob, subindex, *held, tuple(operations), "unsynced", effect, ())
    yield "add: look again", new


def _reap_with_request(rows: World, documents: list[int]) -> list[tuple[str, int]]:
    if rows.scenario.variation != "reaping in an add asks for no sweep":
        rows.wanted += 1
    return reap(rows, documents)


def _publishing(w: World, pid: int) -> Iterator[Next]:
    _, blob, subindex, hd, he, operations, state, effect, placed = w.procs[pid]
    if operations:
        (kind, file), rest = operations[0], operations[1:]
        new = w.copy()
        if kind == "unlink":
            new.unlink(file)
        else:
            is_index = file >= w.scenario.documents and (file - w.scenario.documents) % 2
            new.place(file, pid + 2 if is_index else 1, (subindex if is_index else blob) == 2)
            placed = (*placed, file)
        new.procs[pid] = (FILES, blob, subindex, hd, he, rest, state, effect, placed)
        yield f"add: {kind}", new
    elif state == "unsynced" and placed:
        new = w.copy()
        _sync(new, placed)
        new.procs[pid] = (FILES, blob, subindex, hd, he, (), "synced", effect, placed)
        yield "add: sync the directories", new
    elif w.scenario.variation != "files are published outside of the lock" or not w.lock:
        yield "add: commit", _commit(w, pid)
    if w.errors:
        yield "add: undo", _undo(w, pid)


def _sync(w: World, placed: tuple[int, ...]) -> None:
    for file in placed:
        if w.scenario.variation not in ("directories are not synced", "only directories above are synced"):
            w.sync_directory(file)
        if w.scenario.variation not in ("directories are not synced", "only the file's directory is synced"):
            w.sync_above(file)


def _commit(w: World, pid: int) -> World:
    _, blob, subindex, hd, he, _, _, effect, _ = w.procs[pid]
    status, index, wanted, refers, deleted = effect
    document, workspace = w.scenario.adders[pid]
    new = w.copy()
    new.lock = 0
    if w.scenario.variation == "files are published outside of the lock":
        status = tuple(LIVE if d == document else each for d, each in enumerate(w.status))
    new.status, new.index, new.wanted = list(status), list(index), w.wanted + wanted
    new.procs[pid] = ("plan", blob, subindex, hd, he)
    for each in deleted:
        new.row_is_replaced(each)
    if refers:
        new.refer(document, workspace)
        _release(new, pid)
        new.procs[pid] = (EXIT,)
    return new


def _undo(w: World, pid: int) -> World:
    """Something failed: what was placed is unlinked, the transaction rolled back, the claims are left behind."""
    new = w.copy()
    new.errors -= 1
    new.lock = 0
    for file in w.procs[pid][-1]:
        new.unlink(file)
    if w.scenario.variation == "a failed publication gives its claims up":
        _release(new, pid)
    new.procs[pid] = (EXIT,)
    return new
