"""Commands on what workspaces lend one another, and on what was said in them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from docstore import cli_tables as tables
from docstore.cli_arguments import AsJson, WorkspaceName
from docstore.cli_output import confirmed, errors_shown, show
from docstore.cli_store import existing, opened
from docstore.errors import ConversationNotFound, InvalidArgument
from docstore.names import check_name

if TYPE_CHECKING:
    from docstore.conversations import Conversation
    from docstore.workspace import Workspace

app = typer.Typer()

_Others = Annotated[
    list[str],
    typer.Argument(metavar="OTHER...", help="Workspaces whose documents it concerns.", show_default=False),
]


@app.command()
def include(context: typer.Context, workspace: WorkspaceName, others: _Others, as_json: AsJson = False) -> None:
    """Let a workspace's searches cover the documents of others, until `docstore exclude`.

    The others' documents stay their own. What they include in turn is not covered.
    """
    _lend(context, workspace, others, as_json, grants=True)


@app.command()
def exclude(context: typer.Context, workspace: WorkspaceName, others: _Others, as_json: AsJson = False) -> None:
    """End what `docstore include` began."""
    _lend(context, workspace, others, as_json, grants=False)


def _lend(context: typer.Context, workspace: str, others: list[str], as_json: bool, *, grants: bool) -> None:
    with errors_shown(as_json), opened(context, "change") as store:
        mine = existing(store, workspace)
        for theirs in [existing(store, name) for name in others]:  # all of them are known before the first change
            (mine.include if grants else mine.exclude)(theirs)
        names = mine.includes()
        listed = f"includes {', '.join(names)}" if names else "includes no other workspace"
        show(as_json, {"workspace": workspace, "includes": names}, f"{workspace} {listed}.")


@app.command()
def chat(
    context: typer.Context,
    workspace: WorkspaceName,
    conversation: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONVERSATION]",
            show_default=False,
            help="Name of the conversation to show. Without it, conversations are listed.",
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the conversation.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --delete: do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the conversations of a workspace, or show, export (with --json) or delete one.

    What was deleted is off the disk after the next `docstore collect`.
    """
    with errors_shown(as_json):
        if delete and conversation is None:
            raise InvalidArgument("--delete needs the name of a conversation.")
        with opened(context, "change" if delete else "read") as store:
            found = existing(store, workspace)
            if conversation is None:
                listed = found.conversations()
                show(
                    as_json,
                    listed,
                    tables.conversations_table(listed) if listed else f"{workspace} has no conversations.",
                )
                return
            named = _existing(found, conversation)
            if not delete:
                if as_json:
                    show(as_json, json.loads(named.export()))
                else:
                    show(as_json, None, *tables.conversation_lines(named))
            elif yes or confirmed(f"Delete the conversation {conversation} of {workspace}?", as_json):
                named.delete()
                show(as_json, {"workspace": workspace, "deleted": conversation}, f"Deleted {conversation}.")


def _existing(workspace: Workspace, name: str) -> Conversation:
    """The conversation, which `Workspace.conversation` would create."""
    from docstore import conversations

    with suppress(InvalidArgument):  # what can be no name is none of a conversation
        check_name(name, "The conversation's name")
        with workspace._parts.database.read() as db:
            is_there = conversations.find(db, workspace._id, name) is not None
        if is_there:
            return workspace.conversation(name)
    raise ConversationNotFound(f"The workspace {workspace.name!r} has no conversation {name!r}. `docstore chat "
                               f"{workspace.name}` lists those there are.")  # fmt: skip
