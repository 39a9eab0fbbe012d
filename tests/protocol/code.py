"""Which line of the library each step of the model is: found by a fragment of it, so that neither drifts unseen."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent.parent.parent / "src" / "docstore"


@dataclass(frozen=True)
class Line:
    """A place in the library."""

    file: str
    function: str
    """With its class, if it has one."""
    fragment: str

    def number(self) -> int | None:
        """The line that holds the fragment, within that function; None when the code is not like that."""
        source = (SOURCE / self.file).read_text(encoding="utf-8")
        body = _function(ast.parse(source), self.function)
        if body is None or body.end_lineno is None:
            return None
        lines = source.splitlines()[: body.end_lineno]
        return next((at for at in range(body.lineno + 1, len(lines) + 1) if self.fragment in lines[at - 1]), None)


def _function(tree: ast.AST, name: str) -> ast.stmt | None:
    found: ast.AST | None = tree
    for part in name.split("."):
        inside = ast.iter_child_nodes(found) if found is not None else ()
        kinds = (ast.FunctionDef, ast.ClassDef)
        found = next((node for node in inside if isinstance(node, kinds) and node.name == part), None)
    return found if isinstance(found, ast.stmt) else None


_PLAN, _PUBLISH, _COLLECT, _REAP = "ingest/plan.py", "ingest/publish.py", "lifecycle/collect.py", "reap.py"
_NEXT, _ALL = "Planner._next_step", "Publisher.publish"

LINES: dict[str, tuple[Line, ...]] = {
    "add: make the scratch folder": (Line("scratch.py", "Scratch._own", "fd, lock = _new_lock(self._tmp)"),),
    "add: plan (stage)": (Line(_PLAN, _NEXT, "return Step.PREPARE if may_prepare else Step.WAIT"),),
    "add: plan (embed)": (
        Line(_PLAN, _NEXT, "return Step.EMBED if self._holding.claim(db, item, key) else Step.WAIT"),
    ),
    "add: plan (publish)": (Line(_PLAN, _NEXT, "return Step.PUBLISH"),),
    "add: plan (refer)": (Line(_PLAN, _NEXT, "self._refer(db, item, stored, vectors)"),),
    "add: copy and extract": (
        Line("ingest/prepare.py", "Preparation._copy", "item.blob = stage(item.source, self._scratch)"),
        Line("ingest/prepare.py", "_take", "item.text_file = stage_bytes("),
    ),
    "add: embed": (
        Line("ingest/pipeline.py", "Pipeline._compute", "self.embed(some)"),
        Line("ingest/pipeline.py", "Pipeline.build", "stage(scratch.file(), encode_index("),
    ),
    "add: sync what is staged": (
        Line(
            _PUBLISH,
            _ALL,
            "publication = Publication([piece for item in items for piece in item.staged], self._parts.archive)",
        ),
        Line("durable.py", "Publication.__init__", "sync_files([each.path for each in files])"),
        Line("durable.py", "_sync_file_at", "sync_file(fd)"),
    ),
    "add: look again": (
        Line(_PUBLISH, _ALL, "with self._parts.write() as db:"),
        Line(_PUBLISH, "Publisher._publish_one", "document = known.document(item.hash)"),
        Line(_PUBLISH, "Publisher._publish_text", "vectors = None if text is None else known.intact_subindex(text)"),
    ),
    "add: unlink": (
        Line(_PUBLISH, "Publisher._reap", "claims.request_sweep(db)"),
        Line(_PUBLISH, "Publisher._reap", "reap("),
    ),
    # A group's small pieces go into the archive instead, whose one commit is their sync: to the model, a file each.
    "add: place": (
        Line("durable.py", "Publication.place", "os.replace(staged, target)"),
        Line("durable.py", "Publication.place", "self._archive.put(name, data)"),
    ),
    "add: sync the directories": (
        Line(_PUBLISH, _ALL, "publication.sync()"),
        Line("durable.py", "Publication.place", "while directory not in self._directories:"),
        Line("durable.py", "Publication.sync", "_all_at_once(sync_directory, "),
        Line("durable.py", "Publication.sync", "self._archive.commit()"),
    ),
    "add: commit": (
        Line("ingest/holding.py", "Holding.give_up", "claims.release(db, item.held, self._scratch.token)"),
        Line("database.py", "CatalogDatabase.write", 'connection.execute("COMMIT")'),
    ),
    "add: undo": (
        Line(_PUBLISH, _ALL, "publication.undo()"),
        Line("ingest/add.py", "Addition.run", "if not self._publisher.is_unsure:"),
    ),
    "add: leave": (Line("scratch.py", "Scratch.__exit__", "lock.unlink(missing_ok=True)"),),
    "remove": (
        Line("workspace_references.py", "Referring._unrefer", "refcount.unrefer(db, self._id, [hash])"),
        Line("workspace_references.py", "Referring._unrefer_many", "refcount.unrefer(db, self._id, hashes["),
    ),
    "collect: find the dead": (
        Line(_COLLECT, "_collect", "claims.discard_dead(db, parts.owner_is_alive)"),
        Line("claims.py", "discard_dead", "request_sweep(db)"),
        Line(_COLLECT, "_collect", "= claims.sweeps(db)"),
    ),
    "collect: doom": (Line(_COLLECT, "_doom", "refcount.doom(db, document)"),),
    "collect: nothing to doom": (Line(_COLLECT, "_doom", "if not documents:"),),
    "collect: look for the doomed": (Line(_COLLECT, "_reap_some", "in refcount.doomed(db"),),
    "collect: unlink": (
        Line(_REAP, "reap", "_unlink(parts.documents"),
        Line(_REAP, "_unlink_text", "_unlink(parts.texts"),
        Line("durable.py", "unlink", "path.unlink(missing_ok=True)"),
        Line("cas.py", "ContentStore.unlink", "self._archive.delete("),
    ),
    "collect: delete the rows and commit": (
        Line(_REAP, "reap", "contents.delete_document(db, document)"),
        Line("parts.py", "Parts.write", "with self.database.write() as db, self.archive.writing():"),
        # In the transaction of the unlinks, not in that of the doom: another collector may reap what we doomed.
        Line(_COLLECT, "_reap_doomed", "claims.request_sweep(db)"),
    ),
    "collect: nothing doomed": (Line(_COLLECT, "_reap_doomed", "if reaped.were_all:"),),
    "collect: sync the directories": (
        Line(_COLLECT, "_collect", "sync_entries(touched, parts.folder)"),
        Line("durable.py", "sync_entries", "while above != keep and not above.is_dir():"),
    ),
    "collect: sweep temporary folders": (Line(_COLLECT, "_collect", "scratch.sweep(parts.tmp)"),),
    "collect: list the shards": (Line(_COLLECT, "_sweep", "in files.shards():"),),
    "collect: list a shard": (
        Line(_COLLECT, "orphans", "listed = ["),
        Line(_COLLECT, "packed_orphans", "listed = ["),
    ),
    "collect: ask for its rows": (
        Line(_COLLECT, "orphans", "if not _has_row("),
        Line(_COLLECT, "packed_orphans", "or not _has_row("),
    ),
    "collect: unlink a leftover": (
        Line(_COLLECT, "_sweep", "unlink(path, parts.folder)"),
        Line(_COLLECT, "_sweep", "parts.archive.delete(name)"),
    ),
    "collect: leave the shard": (Line(_COLLECT, "_sweep", "with parts.write() as db:"),),
    # Of every directory that was looked through: whoever unlinked something there may have died before syncing it.
    "collect: sync what was swept": (Line(_COLLECT, "_sweep", "sync_"),),
    "collect: settle": (
        Line(_COLLECT, "_collect", "claims.sweep_done(db, wanted + requested)"),
        Line("claims.py", "sweep_done", "SET sweeps_done = sweeps_wanted WHERE sweeps_wanted = ?"),
    ),
    "search: look": (Line("search.py", "_look", "owners = covered.owners_of(db, workspace)"),),
    "search: read a file": (
        Line("subindexes.py", "_codes", "read_all_checked(INDEX_SUFFIX, wanted)"),
        Line("passages.py", "_blocks", "with files.open_all(lacking, texts.SUFFIX) as opened:"),
    ),
    "search: answer": (Line("search.py", "_with_view", "return use("),),
    "search: look whether it changed": (Line("search.py", "_with_view", "if versions(parts, workspace) == seen:"),),
    "read: look": (Line("originals.py", "open_original", "found = _stored_now("),),
    "read: open": (Line("originals.py", "open_original", "parts.documents.open(hash"),),
    "read: look again": (Line("originals.py", "open_original", "except FileNotFoundError"),),
}


def table() -> str:
    """Every step with its lines."""
    return "\n".join(
        f"{step if first else '':36} {line.file}:{line.number() or '?':<5} {line.function:32} {line.fragment}"
        for step, lines in LINES.items()
        for first, line in zip((True, *[False] * len(lines)), lines)
    )
