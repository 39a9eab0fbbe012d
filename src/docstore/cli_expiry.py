"""Commands on how long workspaces live: `docstore ttl | expire | undelete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from docstore.cli_arguments import AsJson, WorkspaceName, duration, written
from docstore.cli_layout import count, local
from docstore.cli_output import errors_shown, fields_of, show
from docstore.cli_store import existing, opened
from docstore.errors import InvalidArgument
from docstore.reports import ExpireReport

if TYPE_CHECKING:  # imported where used: see cli.py
    from docstore.workspace_info import WorkspaceInfo

app = typer.Typer()


@app.command()
def ttl(
    context: typer.Context,
    workspace: WorkspaceName,
    time: Annotated[
        str | None,
        typer.Argument(
            metavar="[DURATION]",
            show_default=False,
            help="How long it lives from now on: 30s, 10m, 12h or 7d; or `forever`. Without it, nothing is changed.",
        ),
    ] = None,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="Count from now, instead of from the last search or change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how long a workspace lives, or set it. `docstore expire` takes away those whose time is over."""
    with errors_shown(as_json):
        if fixed and time in (None, "forever"):
            raise InvalidArgument("--fixed is for a DURATION.")
        lifetime = None if time in (None, "forever") else duration(time or "", least_seconds=1)
        with opened(context, "read" if time is None else "change") as store:
            changed = existing(store, workspace)
            if time is not None:
                changed.expire_after(lifetime, sliding=not fixed)
            info = changed.info()
        show(as_json, info, _described(info))


@app.command()
def expire(
    context: typer.Context,
    grace: Annotated[
        str,
        typer.Option("--grace", metavar="DURATION", help="How long expired workspaces can be brought back, as 12h."),
    ] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take away workspaces whose time to live is over, and delete those taken away longer ago than the grace period."""
    with errors_shown(as_json):
        spared = duration(grace)
        with opened(context, "read" if dry_run else "change") as store:
            report = store.expire(grace=spared, dry_run=dry_run)
        show(as_json, {**fields_of(report), "dry_run": dry_run}, _reported(report, dry_run))


@app.command()
def undelete(
    context: typer.Context,
    workspace: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORKSPACE]",
            show_default=False,
            help="Name that the expired workspace had. Without it, those that can be brought back are listed.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", show_default=False, help="What to call it, if another has its name by now."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring back the workspace of this name that expired last, with all it had; or list the expired ones."""
    with errors_shown(as_json):
        if workspace is None:
            with opened(context, "read") as store:
                expired = store.expired()
            lines = [f"{each.name} expired {local(each.expired_at)}, with {count(each.documents, 'document')}."
                     for each in expired if each.expired_at is not None]  # fmt: skip
            show(as_json, expired, *(lines or ["Nothing is expired."]))
            return
        with opened(context, "change") as store:
            info = store.undelete(workspace, new_name=name).info()
        back = f"Brought back {info.name} with {count(info.documents, 'document')}."
        show(as_json, info, f"{back} {_described(info)}")


def _described(info: WorkspaceInfo) -> str:
    if info.ttl is None or info.expires_at is None:
        return f"{info.name} lives until it is deleted."
    since = "its last use" if info.sliding else "when that was set"
    return f"{info.name} lives {written(info.ttl)} from {since}, until {local(info.expires_at)}."


def _reported(report: ExpireReport, dry_run: bool) -> str:
    verb = "Would take away" if dry_run else "Took away"
    ending = f" and {'delete' if dry_run else 'deleted'} {_named(report.deleted)} for good" if report.deleted else ""
    return f"{verb} {_named(report.expired)}{ending}."


def _named(names: tuple[str, ...]) -> str:
    return count(len(names), "workspace") + (f" ({', '.join(names)})" if names else "")
