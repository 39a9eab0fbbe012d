"""The commands that look after the store: `stats`, `collect`, `verify` and `repair`."""

from __future__ import annotations

from typing import Annotated

import typer

from docstore import cli_tables as tables
from docstore.cli_arguments import AsJson, duration
from docstore.cli_output import ExitCode, errors_shown, fields_of, progress_bar, show
from docstore.cli_store import Access, may_write, opened

app = typer.Typer()


@app.command()
def stats(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what the store holds and what sharing saves."""
    with errors_shown(as_json), opened(context, "read") as store:
        found = store.stats()
        show(as_json, found, tables.stats_table(found))


@app.command()
def collect(
    context: typer.Context,
    grace: Annotated[
        str,
        typer.Option(
            "--grace",
            metavar="DURATION",
            help="Spare what lost its last reference less than this ago: 30s, 10m, 12h or 7d.",
        ),
    ] = "0s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the documents that no workspace references."""
    with errors_shown(as_json):
        spared = duration(grace)
        access: Access = "read" if dry_run else "change"
        with opened(context, access) as store, progress_bar("Deleting", "documents") as move:
            report = store.collect(spared, dry_run=dry_run, progress=move)
        show(as_json, {**fields_of(report), "dry_run": dry_run}, tables.collected(report, dry_run))


@app.command()
def verify(
    context: typer.Context,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", metavar="MEGABYTES", show_default=False, help="Read no more megabytes a second than this."
        ),
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            show_default=False,
            help="Begin no further document after this time: 30s, 10m, 12h or 7d. The next run goes on from there.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the catalog; of files, only count them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read every stored file and compare it with its hash, and the catalog with itself.

    What was checked least recently is read first, and what was read is noted.
    """
    with errors_shown(as_json):
        stop = None if for_ is None else duration(for_, least_seconds=1)
        # Opened for changes it also notes what it checked. A copy on a read-only disk can do without.
        access: Access = "change" if not dry_run and may_write(context) else "read"
        with opened(context, access) as store, progress_bar("Verifying", "documents") as move:
            report = store.verify(
                bytes_per_second=None if rate is None else rate * 1_000_000,
                duration=stop,
                dry_run=dry_run,
                progress=move,
            )
        table = [tables.problems_table(report)] if report.problems else []
        show(as_json, {"ok": report.ok, **fields_of(report)}, *table, tables.verified(report, dry_run))
        if not report.ok:
            raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def repair(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Restore what is damaged and can be restored; move what cannot to the folder quarantine.

    A damaged document is healed by adding it again.
    """
    with errors_shown(as_json):
        access: Access = "read" if dry_run else "change"
        with opened(context, access, embeds=True) as store, progress_bar("Verifying", "documents") as move:
            report = store.repair(dry_run=dry_run, progress=move)
        table = [tables.repairs_table(report)] if report.repairs else []
        show(as_json, {"ok": report.ok, **fields_of(report), "dry_run": dry_run}, *table, tables.repaired(report))
        if not report.ok:
            raise typer.Exit(ExitCode.INCOMPLETE)
