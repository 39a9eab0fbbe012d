"""What must hold in every state and after every step, and that collect reclaims everything from every quiet state."""

from __future__ import annotations

from collections.abc import Iterator

from tests.protocol import adding, collecting
from tests.protocol.world import DEAD, DONE, LIVE, NONE, START, World

_STAGED = {adding.EMBED, adding.PUBLISH, adding.LOOK, adding.FILES}


def violations(w: World) -> Iterator[str]:
    """What a state breaks."""
    for document, status in enumerate(w.status):
        if w.count[document] != w.refs[document].bit_count():
            yield f"3: document {document} counts {w.count[document]} and has references {w.refs[document]:b}"
        if w.refs[document] and status != LIVE:
            yield f"4: document {document} is referenced, and its row is {('gone', 'live', 'doomed')[status]}"
        if status == LIVE:
            yield from _files(w, document)
    for pid, proc in enumerate(w.procs):
        if proc[0] in _STAGED and not w.scratch[pid]:
            yield f"9: process {pid} is alive, and its temporary files are gone"
        if proc[0] == "alarm":
            yield f"reader: process {pid} reports damage where there is none"
    embedding = [pid for pid, proc in enumerate(w.procs) if proc[0] == adding.EMBED]
    texts = [w.scenario.texts[w.scenario.adders[pid][0]] for pid in embedding]
    if len(set(texts)) < len(texts):
        yield f"8: processes {embedding} embed the same text"


def _files(w: World, document: int) -> Iterator[str]:
    text = w.scenario.texts[document]
    named = ((document, 1), (w.scenario.text_file(text), 1), (w.scenario.index_file(text), w.index[text]))
    for file, version in named:
        if not version or w.now[file] != version:
            kind = "4" if w.refs[document] else "1"
            yield f"{kind}: file {file} of live document {document} has version {w.now[file]}, its row {version}"
        elif w.inside[file] | w.outside[file] != 1 << version:
            yield f"1: file {file} of live document {document} is not durable"


def changed_files(before: World, after: World) -> Iterator[str]:
    """Invariant 2, of one step: a file that a row names keeps its version."""
    for document, status in enumerate(before.status):
        if status == LIVE == after.status[document]:
            text = before.scenario.texts[document]
            for file in (document, before.scenario.text_file(text), before.scenario.index_file(text)):
                if before.now[file] and after.now[file] not in (0, before.now[file]):
                    yield f"2: file {file} changed from version {before.now[file]} to {after.now[file]}"


def is_quiet(w: World) -> bool:
    """Whether nobody runs."""
    return all(proc[0] in (START, DONE, DEAD) for proc in w.procs)


class Recovery:
    """Runs collect from quiet states to its end. Remembers what it has looked at."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()

    def unreclaimed(self, w: World) -> str | None:
        """What one collect leaves that it must not, or what one leaves after a power loss that follows it."""
        if w.stored_part() in self.seen:
            return None
        after = collected(w)
        found = _left(after)
        if found is None:
            after.powers = 1
            for restarted in after.power_losses():
                found = found or _left(collected(restarted), ", after a power loss that followed a collection")
        if found is None:
            self.seen.add(w.stored_part())
        return found


def collected(w: World) -> World:
    """The state after a new process ran collect, undisturbed."""
    w = w.copy()
    w.procs = [proc if proc[0] in (DONE, DEAD) else (DONE,) for proc in w.procs]
    w.procs.append((START,))
    w.scratch.append(0)
    while w.procs[-1] != (DONE,):
        ((_, w),) = collecting.steps(w, len(w.procs) - 1)
    w.procs.pop()
    w.scratch.pop()
    return w


def _left(w: World, when: str = "") -> str | None:
    for document, refs in enumerate(w.refs):
        if w.status[document] != NONE and not refs:
            return f"5: the row of document {document} stays{when}"
    for file, version in enumerate(w.now):
        if version and not collecting.has_row(w, file):
            return f"5: file {file} stays without a row{when}"
    if any(w.claims) or any(w.scratch):
        return f"5: claims {w.claims} or temporary folders {w.scratch} stay{when}"
    return None
