"""How the command line shows and returns: lines for people, JSON for programs, one line for an error, exit codes."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import typer
from blake3 import blake3
from rich import progress
from rich.console import Console, RenderableType
from rich.text import Text

from docstore import errors
from docstore.cli_layout import Listing, harmless, one_line
from docstore.durable import BLOCK, storage_errors
from docstore.errors import DocStoreError, QuotaWarning
from docstore.reports import Progress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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
    (errors.WorkspaceExists, ExitCode.USAGE),
    (errors.DocumentNotFound, ExitCode.NOT_FOUND),
    (errors.WorkspaceNotFound, ExitCode.NOT_FOUND),
    (errors.ConversationNotFound, ExitCode.NOT_FOUND),
    (errors.StoreLocked, ExitCode.LOCKED),
    (errors.EmbeddingError, ExitCode.EMBEDDING),
    (errors.PipelineMismatch, ExitCode.EMBEDDING),
    (DocStoreError, ExitCode.STORE),
)


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
    with suppress(OSError):  # where nobody can be told, the exit code says it still
        typer.echo(line, err=True)


def _show_warning(
    as_json: bool, otherwise: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any
) -> None:
    if not issubclass(category, QuotaWarning):
        otherwise(message, category, *where)
        return
    line = json.dumps({"warning": category.__name__, "message": str(message)})
    with suppress(OSError):  # as `show_error`; and what is being added must not end for it
        typer.echo(line if as_json else f"warning: {one_line(str(message))}", err=True)


def show(as_json: bool, value: object, *for_people: RenderableType) -> None:
    """A command's result on standard output: `value` as JSON, or tables and sentences.

    Raises:
        StorageError: it could not be written.
    """
    if sys.stdout is None:  # the caller closed it
        return
    with _standard_output("The result", "What the command was to do is done; only its report is lost."):
        if as_json:
            # ASCII: no terminal, locale or control character inside can damage it.
            _write([json.dumps(value, default=_jsonable, indent=2)])
        elif sys.stdout.isatty() or "COLUMNS" in os.environ:
            console = _Console(highlight=False)
            for each in for_people:
                console.print(Text(harmless(each)) if isinstance(each, str) else each)
        else:
            _write(chain.from_iterable(map(_lines, for_people)))


def show_bytes(document: BinaryIO, hash: str) -> None:
    """A document's bytes on standard output.

    Raises:
        InvalidArgument: that is a terminal, which the bytes might command.
        StorageError: they could not be read, or not be written.
        IntegrityError: they are not those of its hash.
    """
    if sys.stdout is None:
        raise errors.StorageError("The document cannot be written: standard output is closed.")
    if sys.stdout.isatty():
        raise errors.InvalidArgument("Standard output is a terminal. Send the document to a file, with > and its name.")
    hasher = blake3()
    with _standard_output("The document", "What was written of it is not whole."):
        while block := _read(document):
            hasher.update(block)
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    if hasher.hexdigest() != hash:
        raise errors.IntegrityError(f"{hash} is damaged, and so is what was written. Run `docstore repair`, then add "
                                    "it again.")  # fmt: skip


def _read(document: BinaryIO) -> bytes:
    with storage_errors("reading the document"):
        return document.read(BLOCK)


@contextmanager
def _standard_output(what: str, otherwise: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        _give_up_output()
        raise typer.Exit(ExitCode.CLOSED_PIPE) from error
    except OSError as error:
        _give_up_output()
        raise errors.StorageError(
            f"{what} cannot be written to standard output: {error.strerror}. {otherwise}"
        ) from error


def _lines(shown: RenderableType) -> Iterable[str]:
    """Into a pipe or file nothing is cut or wrapped to the width of a terminal that is not there."""
    # A sentence is one line: names in it must not command the terminal, nor look like lines of ours.
    return shown.lines() if isinstance(shown, Listing) else [harmless(str(shown))]


def _write(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _give_up_output() -> None:
    # The interpreter flushes standard output once more at exit, which would fail again, and loudly.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fields_of(report: DataclassInstance) -> dict[str, Any]:
    """A dataclass as a dictionary. Not `asdict`, which copies all that is in it, and cannot copy every metadata."""
    return {field.name: getattr(report, field.name) for field in fields(report)}


def confirmed(question: str, as_json: bool) -> bool:
    """Asks on a terminal, and ends the command unless the answer is yes."""
    if sys.stdin is None or not sys.stdin.isatty():  # None: the caller closed it
        raise errors.InvalidArgument(
            "Nobody can be asked, since standard input is no terminal. Give --yes to delete it."
        )
    if not typer.confirm(question, err=True):
        show_error(as_json, "Declined", "Nothing was deleted.")
        raise typer.Exit(ExitCode.INCOMPLETE)
    return True


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would exit with 1


@contextmanager
def progress_bar(doing: str, unit: str, total: int | None = None) -> Iterator[Callable[[Progress], None]]:
    """A bar on standard error while it is a terminal. Gives the callback that moves it."""
    console = Console(stderr=True)
    if not console.is_terminal:  # rich before 15 would print an empty line for a bar that is disabled
        yield lambda _: None
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[detail]}"),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(doing, total=total, detail=unit)

        def move(step: Progress) -> None:
            chunks = f", {step.chunks:,} chunks" if step.chunks else ""
            bar.update(task, completed=step.done, total=step.total, detail=unit + chunks)

        yield move


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
