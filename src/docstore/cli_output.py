"""What the command line shows and returns: tables for people, JSON for programs, one line for an error, exit codes."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from rich import progress
from rich.console import Console, RenderableType
from rich.table import Column
from rich.text import Text

from docstore import errors
from docstore.cli_layout import (
    SHORT_HASH,
    count,
    excerpt,
    harmless,
    hash_column,
    local,
    narrow,
    one_line,
    size,
    table,
    wide,
)
from docstore.documents import Document
from docstore.errors import DocStoreError, QuotaWarning
from docstore.model import Hit
from docstore.reports import (
    AddReport,
    CollectReport,
    Failure,
    Problem,
    Progress,
    Repair,
    RepairReport,
    StorageStats,
    VerifyReport,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from docstore.conversations import Conversation, ConversationInfo
    from docstore.replacements import Version
    from docstore.workspace_info import WorkspaceInfo


class ExitCode(IntEnum):
    """What a script can branch on. docs/command-line.md has the same table."""

    OK = 0
    INCOMPLETE = 1
    """Some documents failed, verify found problems, repair left some, or a question was answered with no."""
    USAGE = 2
    """Also what typer returns for options and arguments it cannot read."""
    NOT_FOUND = 3
    LOCKED = 4
    STORE = 5
    EMBEDDING = 6
    INTERRUPTED = 130
    """128 + SIGINT, as shells have it."""
    CLOSED_PIPE = 141
    """128 + SIGPIPE."""


# The first that fits decides; what is not named here is the store's fault.
_EXIT_CODES: tuple[tuple[type[DocStoreError], ExitCode], ...] = (
    (errors.UnreadableDocument, ExitCode.INCOMPLETE),
    (errors.QuotaExceeded, ExitCode.INCOMPLETE),
    (errors.InvalidArgument, ExitCode.USAGE),
    (errors.DocumentNotFound, ExitCode.NOT_FOUND),
    (errors.WorkspaceNotFound, ExitCode.NOT_FOUND),
    (errors.ConversationNotFound, ExitCode.NOT_FOUND),
    (errors.StoreLocked, ExitCode.LOCKED),
    (errors.EmbeddingError, ExitCode.EMBEDDING),
    (errors.PipelineMismatch, ExitCode.EMBEDDING),
    (DocStoreError, ExitCode.STORE),
)


_UNLIMITED_WIDTH = 10_000


def exit_code(error: DocStoreError) -> ExitCode:
    """The exit code of a command that ended with this error."""
    return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


@contextmanager
def errors_shown(as_json: bool) -> Iterator[None]:
    """Ends the command with one line on standard error and the fitting exit code where the library raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", QuotaWarning)
            warnings.showwarning = partial(_show_warning, as_json, warnings.showwarning)
            yield
    except DocStoreError as error:
        show_error(as_json, type(error).__name__, str(error))
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt as error:
        show_error(as_json, "KeyboardInterrupt", "Interrupted.")
        raise typer.Exit(ExitCode.INTERRUPTED) from error


def show_error(as_json: bool, kind: str, message: str) -> None:
    """One error on standard error."""
    line = json.dumps({"error": kind, "message": message}) if as_json else f"error: {one_line(message)}"
    typer.echo(line, err=True)


def _show_warning(
    as_json: bool, otherwise: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any
) -> None:
    if not issubclass(category, QuotaWarning):
        otherwise(message, category, *where)
        return
    line = json.dumps({"warning": category.__name__, "message": str(message)})
    typer.echo(line if as_json else f"warning: {one_line(str(message))}", err=True)


def show(as_json: bool, value: object, *for_people: RenderableType) -> None:
    """A command's result on standard output: `value` as JSON, or tables and sentences."""
    terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    # Into a pipe or file nothing is cut or wrapped to the width of a terminal that is not there.
    console = _Console(width=None if terminal else _UNLIMITED_WIDTH, highlight=False)
    if as_json:
        # ASCII: no terminal, locale or control character inside can damage it.
        console.out(json.dumps(value, default=_jsonable, indent=2), highlight=False)
        return
    for each in for_people:
        # A sentence is one line: names in it must not command the terminal, nor look like lines of ours.
        console.print(Text(harmless(each)) if isinstance(each, str) else each)


def fields_of(report: DataclassInstance) -> dict[str, Any]:
    """A dataclass as a dictionary. Not `asdict`, which copies all that is in it, and cannot copy every metadata."""
    return {field.name: getattr(report, field.name) for field in fields(report)}


def confirmed(question: str, as_json: bool) -> bool:
    """Asks on a terminal, and ends the command unless the answer is yes."""
    if not sys.stdin.isatty():
        raise errors.InvalidArgument(
            "Nobody can be asked, since standard input is no terminal. Give --yes to delete it."
        )
    if not typer.confirm(question, err=True):
        show_error(as_json, "Declined", "Nothing was deleted.")
        raise typer.Exit(ExitCode.INCOMPLETE)
    return True


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # The interpreter flushes standard output once more at exit, which would fail again, and loudly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.CLOSED_PIPE)


@contextmanager
def progress_bar(doing: str, unit: str, total: int | None = None) -> Iterator[Callable[[Progress], None]]:
    """A bar on standard error while it is a terminal. Gives the callback that moves it."""
    console = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[detail]}"),
        progress.TimeElapsedColumn(),
    )
    bar = progress.Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    )
    with bar:
        task = bar.add_task(doing, total=total, detail=unit)

        def move(step: Progress) -> None:
            chunks = f", {step.chunks:,} chunks" if step.chunks else ""
            bar.update(task, completed=step.done, total=step.total, detail=unit + chunks)

        yield move


# -- tables -----------------------------------------------------------------------------------------------------------


def added_table(report: AddReport) -> RenderableType:
    """What `add` did."""
    rows = [(document, "added") for document in report.added] + [(document, "reused") for document in report.reused]
    return table(
        [hash_column(), wide("Name"), narrow("Size"), narrow("Chunks"), Column("Result", no_wrap=True)],
        ((each.hash[:SHORT_HASH], each.name, size(each.size), f"{each.chunks:,}", result) for each, result in rows),
    )


def added_json(report: AddReport) -> dict[str, Any]:
    """What `add` did, with errors in words."""
    failed = [
        {
            "name": each.name,
            "error": type(each.error).__name__,
            "reason": getattr(each.error, "reason", None),
            "message": reason(each),
        }
        for each in report.failed
    ]
    return {"added": report.added, "reused": report.reused, "failed": failed}


def reason(failure: Failure) -> str:
    """What could not be added, and why."""
    message = str(failure.error)
    return message if isinstance(failure.error, errors.UnreadableDocument) else f"{failure.name}: {message}"


def documents_table(documents: Sequence[Document]) -> RenderableType:
    """Documents of a workspace."""
    return table(
        [hash_column(), wide("Name"), narrow("Size"), narrow("Pages"), narrow("Chunks"), Column("Added")],
        (
            (
                each.hash[:SHORT_HASH],
                each.name,
                size(each.size),
                "" if each.pages is None else f"{each.pages:,}",
                f"{each.chunks:,}",
                local(each.added_at),
            )
            for each in documents
        ),
    )


def workspaces_table(workspaces: Sequence[WorkspaceInfo]) -> RenderableType:
    """Workspaces, how many documents each has, and when they expire, if any does."""
    rows = [(each.name, f"{each.documents:,}", each.expires_at) for each in workspaces]
    columns = [wide("Workspace"), narrow("Documents")]
    if all(expires is None for _, _, expires in rows):
        return table(columns, ((name, documents) for name, documents, _ in rows))
    times = ((name, documents, local(expires) if expires else "") for name, documents, expires in rows)
    return table([*columns, Column("Expires")], times)


def versions_table(versions: Sequence[Version]) -> RenderableType:
    """Versions of a document, with whole hashes: `docstore rollback` needs one."""
    return table(
        [Column("Since"), narrow("Workspaces"), Column("State"), Column("Hash", no_wrap=True, min_width=64)],
        (
            (
                "" if each.replaced_at is None else local(each.replaced_at),
                f"{each.references:,}",
                ("stored" if each.stored else "collected") + (", rolled back" if each.rolled_back_at else ""),
                each.hash,
            )
            for each in versions
        ),
    )


def hits_table(hits: Sequence[Hit]) -> RenderableType:
    """What a search found, each text cut short."""
    return table(
        [narrow("Score"), Column("Document", overflow="fold", ratio=1), narrow("Page"), wide("Text", ratio=3)],
        (
            (f"{each.score:.3f}", each.name, "" if each.page is None else f"{each.page:,}", excerpt(each.text))
            for each in hits
        ),
    )


def conversations_table(found: Sequence[ConversationInfo]) -> RenderableType:
    """Conversations of a workspace."""
    return table(
        [wide("Conversation"), narrow("Messages"), Column("Last message")],
        ((each.name, f"{each.messages:,}", local(each.changed_at)) for each in found),
    )


def conversation_lines(conversation: Conversation) -> Iterator[RenderableType]:
    """What was said, a page in memory at a time."""
    last = 0
    while page := conversation.messages(after=last):
        for each in page:
            yield f"{each.number}. {each.role}, {local(each.at)}"
            yield from each.content.split("\n")
            for source in each.sources:
                where = "" if source.page is None else f", page {source.page:,}"
                yield f"  from {source.name}{where}: {excerpt(source.text or '')}".removesuffix(": ")
            last = each.number


def stats_table(stats: StorageStats) -> RenderableType:
    """What the store holds and what sharing saves."""
    share = f" ({stats.saved_bytes / stats.logical_bytes:.0%})" if stats.saved_bytes > 0 else ""
    rows = [
        ("Documents", f"{stats.documents:,}"),
        ("Workspaces", f"{stats.workspaces:,}"),
        ("References", f"{stats.references:,}"),
        ("Chunks", f"{stats.chunks:,}"),
        ("On disk", size(stats.physical_bytes)),
        ("  of it catalog", size(stats.catalog_bytes)),
        ("Without sharing", size(stats.logical_bytes)),
        ("Saved", size(stats.saved_bytes) + share),
        ("Embeddings computed", f"{stats.embeddings_computed:,}"),
        ("Embeddings avoided", f"{stats.embeddings_avoided:,}"),
    ]
    return table([Column(style="bold"), narrow("")], rows, header=False)


def collected(report: CollectReport, dry_run: bool) -> str:
    """What `collect` did, as a sentence."""
    leftovers = f", and {count(report.leftovers, 'leftover file')}" if report.leftovers else ""
    verb = "Would delete" if dry_run else "Deleted"
    return f"{verb} {count(report.documents, 'document')}, {size(report.bytes)}{leftovers}."


def problems_table(report: VerifyReport) -> RenderableType:
    """What `verify` found wrong."""
    return table(
        [Column("Kind", no_wrap=True), wide("Path"), wide("Detail"), wide("Documents"), wide("Workspaces")],
        ((each.kind, each.path, each.detail, *_affected(each)) for each in report.problems),
    )


def verified(report: VerifyReport, dry_run: bool) -> str:
    """What `verify` read, as a sentence."""
    found = count(len(report.problems), "problem") if report.problems else "no problems"
    leftovers = (
        f" {count(report.leftovers, 'leftover file')}: docstore collect removes them." if report.leftovers else ""
    )
    remaining = f" {count(report.remaining, 'document')} remain for the next run." if report.remaining else ""
    verb = "Would check" if dry_run else "Checked"
    return f"{verb} {count(report.files, 'file')}, {size(report.bytes)}: {found}.{leftovers}{remaining}"


def repairs_table(report: RepairReport) -> RenderableType:
    """What `repair` did."""
    return table(
        [Column("Action", no_wrap=True), wide("Path"), wide("Detail"), wide("Documents"), wide("Workspaces")],
        ((each.action, each.path, each.detail, *_affected(each)) for each in report.repairs),
    )


def repaired(report: RepairReport) -> str:
    """What `repair` did, as a sentence."""
    if not report.repairs:
        return "Nothing is damaged."
    actions = Counter(each.action for each in report.repairs)
    return ", ".join(f"{number:,} {action}" for action, number in sorted(actions.items())) + "."


def _affected(found: Problem | Repair) -> tuple[str, str]:
    return " ".join(hash[:12] for hash in found.documents), ", ".join(found.workspaces)


def counted(report: AddReport) -> str:
    """What `add` did, as a sentence."""
    return f"{len(report.added):,} added, {len(report.reused):,} reused, {len(report.failed):,} failed."


def _jsonable(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
