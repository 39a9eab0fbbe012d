"""The commands that put one document in another's place: `replace`, `history`, `rollback` and `pin`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from docstore.cli_arguments import AsJson, WorkspaceName, named, path
from docstore.cli_layout import count
from docstore.cli_output import errors_shown, fields_of, progress_bar, show
from docstore.cli_store import existing, opened, own
from docstore.cli_tables import versions_table

app = typer.Typer()

_Hash = Annotated[str, typer.Argument(metavar="HASH", help="Whole hash of a document.", show_default=False)]


@app.command()
def replace(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="HASH", help="Whole hash of the old version.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The new version.", show_default=False, parser=path),
    ],
    as_json: AsJson = False,
) -> None:
    """Put a new version in a document's place, in every workspace that has not pinned it.

    Chunks whose text is stored already are not embedded again. The old version stays until `docstore collect`.
    """
    with errors_shown(as_json):
        with opened(context, "change", embeds=True) as store, progress_bar("Replacing", "documents", 1) as move:
            done = store.replace(old, file, progress=move)
        told = (
            f"{done.new} took its place in {count(len(done.moved), 'workspace')}; {len(done.stayed)} stay. "
            f"{done.embedded} of {count(done.chunks, 'chunk')} embedded, {done.reused:.1%} reused."
        )
        show(as_json, {**fields_of(done), "reused": done.reused}, told)


@app.command()
def history(context: typer.Context, hash: _Hash, as_json: AsJson = False) -> None:
    """List the versions of a document, oldest first, whichever of them is named."""
    with errors_shown(as_json), opened(context, "read") as store:
        versions = store.history(hash)
        show(as_json, versions, versions_table(versions))


@app.command()
def rollback(context: typer.Context, hash: _Hash, as_json: AsJson = False) -> None:
    """Undo the replacement that brought a document: the references that it moved go back.

    Those that were pinned or dropped since stay as they are.
    """
    with errors_shown(as_json):
        with opened(context, "change") as store:
            done = store.rollback(hash)
        told = f"{done.old} is back in {count(len(done.moved), 'workspace')}; {len(done.stayed)} stay."
        show(as_json, done, told)


@app.command()
def pin(
    context: typer.Context,
    workspace: WorkspaceName,
    documents: Annotated[
        list[str], typer.Argument(metavar="DOCUMENT...", show_default=False, help="Documents: the hash or the name.")
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Let the next replacement move them again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep documents of a workspace as they are when others get a new version."""
    with errors_shown(as_json):
        with opened(context, "change") as store:
            keeper = existing(store, workspace)
            for each in named(documents, workspace, partial(own, keeper), keeper.documents):
                (keeper.unpin if undo else keeper.pin)(each.hash)
            pinned = keeper.pinned()
        told = f"{workspace} has pinned {count(len(pinned), 'document')}."
        show(as_json, {"workspace": workspace, "pinned": pinned}, told)
