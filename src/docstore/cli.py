"""The command line: `docstore add | search | ls | read | rm | link`, a function for each; others in `cli_*.py`."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import docstore
from docstore import cli_expiry, cli_limits, cli_maintenance, cli_sessions, cli_versions
from docstore import cli_tables as tables
from docstore.cli_arguments import (
    MINIMUM_PREFIX,
    AsJson,
    WorkspaceName,
    files_under,
    metadata,
    named,
    path,
)
from docstore.cli_layout import count
from docstore.cli_output import ExitCode, confirmed, errors_shown, progress_bar, show, show_bytes, show_error
from docstore.cli_store import Settings, covered, existing, opened, own
from docstore.documents import Document
from docstore.errors import InvalidArgument, WorkspaceNotFound
from docstore.reports import AddReport

if TYPE_CHECKING:  # imported where used: `--help` and usage errors need neither FAISS nor SQLite
    from docstore.store import DocStore
    from docstore.workspace import Workspace

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Store and embed every document once; share it between workspaces by reference; search each exactly.",
)
app.add_typer(cli_sessions.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(docstore.__version__)
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    store: Annotated[
        Path,
        typer.Option(
            "--store", "-s", metavar="FOLDER", envvar="DOCSTORE_FOLDER", parser=path, help="Folder of the store."
        ),
    ] = Path("data"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            envvar="DOCSTORE_MODEL",
            show_default="all-MiniLM-L6-v2",
            help="Name or folder of a sentence-transformers model. Vectors of different models do not mix: use one "
            "model for one store.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0,
            help="How long to wait while another process holds the store's write lock.",
        ),
    ] = 60.0,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command; they stand before its name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name the terminal's encoding lacks must not end in a traceback
    if isinstance(sys.stdout, io.TextIOWrapper) and isinstance(sys.stdout.buffer, io.RawIOBase):
        # With PYTHONUNBUFFERED: what a full disk takes of a write would pass for all of it.
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(sys.stdout.buffer), sys.stdout.encoding, "replace")
    context.obj = Settings(store, model, timeout)


app.add_typer(cli_expiry.app)
app.add_typer(cli_limits.app)
app.add_typer(cli_maintenance.app)
app.add_typer(cli_versions.app)


@app.command()
def add(
    context: typer.Context,
    workspace: WorkspaceName,
    files: Annotated[
        list[Path],
        # Only parsed: the library says of each file what is wrong, and goes on with the others.
        typer.Argument(metavar="FILES...", help="Files, or folders of files.", show_default=False, parser=path),
    ],
    as_json: AsJson = False,
) -> None:
    """Add files to a workspace, which is created if it is missing.

    Folders are walked with all folders in them; names that begin with a dot are skipped there. What the store holds
    already is not stored or embedded again. A file that cannot be added does not stop the others.
    """
    with errors_shown(as_json):
        sources, unreadable = files_under(files, context.obj.folder)
        if not sources and not unreadable:
            raise InvalidArgument(f"There are no files in {', '.join(map(str, files))}.")
        with (
            opened(context, "create", embeds=True) as store,
            progress_bar("Adding", "documents", len(sources)) as move,
        ):
            found = store.workspace(workspace).add_many(sources, progress=move)
        report = AddReport(found.added, found.reused, (*unreadable, *found.failed))
        table = [tables.added_table(report)] if report.added or report.reused else []
        show(as_json, tables.added_json(report), *table, tables.counted(report))
        if not as_json:
            for each in report.failed:
                show_error(False, type(each.error).__name__, tables.reason(each))
        if report.failed:
            raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def search(
    context: typer.Context,
    workspace: WorkspaceName,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, as text.", show_default=False)],
    k: Annotated[int, typer.Option("-k", metavar="NUMBER", min=1, help="How many chunks to find.")] = 5,
    mmr: Annotated[
        bool, typer.Option("--mmr", help="Choose for diversity too, by maximal marginal relevance.")
    ] = False,
    fetch_k: Annotated[
        int, typer.Option("--fetch-k", metavar="NUMBER", min=1, help="With --mmr: candidates to choose from.")
    ] = 20,
    lambda_mult: Annotated[
        float,
        typer.Option(
            "--lambda-mult",
            metavar="WEIGHT",
            min=0,
            max=1,
            help="With --mmr: from 0, diversity alone, to 1, relevance alone.",
        ),
    ] = 0.5,
    document: Annotated[
        list[str] | None,
        typer.Option(
            "--document",
            metavar="HASH",
            show_default=False,
            help="Search only this document: its hash, the beginning of its hash, or its name. May be repeated.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="KEY=VALUE",
            show_default=False,
            help="Search only documents with this metadata. VALUE is JSON, or else a string. May be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the chunks of a workspace that are nearest to a query, best first."""
    with errors_shown(as_json):
        conditions = metadata(where or [])
        with opened(context, "read", embeds=True) as store:
            searched = existing(store, workspace)
            hits = searched.search(
                query,
                k,
                documents=[each.hash for each in _meant(store, searched, document)] if document else None,
                where=conditions or None,
                mmr=mmr,
                fetch_k=fetch_k,
                lambda_mult=lambda_mult,
            )
        show(as_json, hits, tables.hits_table(hits) if hits else "Nothing was found.")


@app.command()
def ls(
    context: typer.Context,
    workspace: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORKSPACE]",
            show_default=False,
            help="Name of the workspace whose documents to list. Without it, workspaces are listed.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the workspaces, or the documents of one."""
    with errors_shown(as_json), opened(context, "read", embeds=workspace is not None) as store:
        if workspace is not None:
            documents = existing(store, workspace).documents()
            shown = tables.documents_table(documents) if documents else f"{workspace} has no documents."
            show(as_json, documents, shown)
            return
        found = store.workspace_infos()
        listed = [{"name": each.name, "documents": each.documents, "expires_at": each.expires_at} for each in found]
        show(as_json, listed, tables.workspaces_table(found) if found else "There are no workspaces.")


@app.command()
def read(
    context: typer.Context,
    workspace: WorkspaceName,
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT",
            show_default=False,
            help=f"The document: its hash, the first {MINIMUM_PREFIX} characters of it or more, or its name.",
        ),
    ],
) -> None:
    """Write a document that the workspace may search to standard output, byte for byte as it was added."""
    with errors_shown(as_json=False), opened(context, "read") as store:
        reader = existing(store, workspace)
        (wanted,) = _meant(store, reader, [document])
        with reader.read(wanted.hash) as original:
            show_bytes(original, wanted.hash)


@app.command()
def rm(
    context: typer.Context,
    workspace: WorkspaceName,
    documents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DOCUMENT...]",
            show_default=False,
            help=f"Documents: the hash, its first {MINIMUM_PREFIX} characters or more, or the name.",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Delete the workspace with all its references.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --all: do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop documents from a workspace, or delete the workspace.

    Documents stay on disk until `docstore collect` finds that no workspace references them.
    """
    with errors_shown(as_json):
        if bool(documents) == all_:
            raise InvalidArgument("Name the documents to drop, or use --all to delete the workspace: one of the two.")
        with opened(context, "change") as store:
            emptied = existing(store, workspace)
            listed = emptied.documents
            removed = listed() if all_ else named(documents or [], workspace, partial(own, emptied), listed)
            if not all_:
                emptied.remove_many(removed)
            elif yes or confirmed(_question(workspace, len(removed)), as_json):
                store.delete_workspace(workspace)
        deleted = (
            f"Deleted the workspace {workspace}."
            if all_
            else f"Dropped {count(len(removed), 'document')} from {workspace}."
        )
        show(as_json, {"workspace": workspace, "deleted": all_, "removed": removed}, deleted)


@app.command()
def link(
    context: typer.Context,
    workspace: WorkspaceName,
    hashes: Annotated[
        list[str], typer.Argument(metavar="HASH...", help="Whole hashes of stored documents.", show_default=False)
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="What the workspace calls the document, if it is one.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Reference stored documents by hash, in a workspace that is created if it is missing."""
    with errors_shown(as_json):
        if name is not None and len(hashes) > 1:
            raise InvalidArgument(f"--name is for one document, and there are {len(hashes)} hashes.")
        with opened(context, "change", embeds=True) as store:
            for each in hashes:
                store.document(each)  # before the first change: one wrong hash must not leave half of it done
            linked = [store.workspace(workspace).link(each, name=name) for each in hashes]
        show(as_json, linked, tables.documents_table(linked))


def _meant(store: DocStore, workspace: Workspace, words: list[str]) -> list[Document]:
    """Of what its searches cover, the documents that words stand for."""
    return named(words, workspace.name, partial(covered, workspace), partial(_covered, store, workspace))


def _covered(store: DocStore, workspace: Workspace) -> list[Document]:
    """What its searches cover, each once: its own documents, and those of what it includes."""
    found = {each.hash: each for each in workspace.documents()}
    for name in workspace.includes():
        with suppress(WorkspaceNotFound):
            for each in store.workspace(name).documents():
                found.setdefault(each.hash, each)
    return list(found.values())


def _question(workspace: str, documents: int) -> str:
    return f"Delete the workspace {workspace} and its {count(documents, 'reference')}?"
