"""The command on how much there may be: `docstore limit`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docstore.cli_arguments import AsJson
from docstore.cli_layout import size
from docstore.cli_output import errors_shown, show
from docstore.cli_store import existing, opened
from docstore.errors import InvalidArgument

if TYPE_CHECKING:  # imported where used: see cli.py
    from docstore.quotas import StoreQuota, WorkspaceQuota
    from docstore.store import DocStore
    from docstore.workspace import Workspace

app = typer.Typer()

_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _option(name: str, metavar: str, help: str) -> Any:
    return typer.Option(name, metavar=metavar, show_default=False, help=help)


@app.command()
def limit(
    context: typer.Context,
    workspace: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORKSPACE]", show_default=False, help="Name of the workspace. Without it, the store is limited."
        ),
    ] = None,
    documents: Annotated[
        str | None,
        _option(
            "--documents", "NUMBER", "Documents of the workspace; of a store, of each workspace created from now on."
        ),
    ] = None,
    bytes_: Annotated[
        str | None,
        _option("--bytes", "SIZE", "Bytes of the workspace's documents; of a store, of all that it keeps: 500MB."),
    ] = None,
    workspace_bytes: Annotated[
        str | None,
        _option("--workspace-bytes", "SIZE", "Of a store: bytes of documents of each workspace created from now on."),
    ] = None,
    keep_free: Annotated[
        str | None, _option("--keep-free", "SHARE", "Of a store: share of the disk that adding leaves free: 0.1.")
    ] = None,
    warn_at: Annotated[
        float | None, _option("--warn-at", "SHARE", "Share of a limit from which on adding warns; 0.9 at first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the limits of a workspace or of the store, or set those that are given. `none` lifts one."""
    with errors_shown(as_json):
        given = {"documents": documents, "bytes": bytes_, "workspace_bytes": workspace_bytes, "keep_free": keep_free}
        changes = warn_at is not None or any(each is not None for each in given.values())
        if workspace is not None and (workspace_bytes is not None or keep_free is not None):
            raise InvalidArgument("--workspace-bytes and --keep-free are for the store: leave out the workspace.")
        with opened(context, "change" if changes else "read") as store:
            if workspace is None:
                quota = _limit_store(store, given, warn_at) if changes else store.quota()
                show(as_json, quota, *_of_store(quota))
            else:
                limited = existing(store, workspace)
                own = _limit_workspace(limited, given, warn_at) if changes else limited.quota()
                show(as_json, own, *_of_workspace(own))


def _limit_store(store: DocStore, given: dict[str, str | None], warn_at: float | None) -> StoreQuota:
    old = store.quota()
    store.limit(
        physical_bytes=_amount("--bytes", given["bytes"], old.max_physical_bytes),
        keep_free=_share("--keep-free", given["keep_free"], old.keep_free),
        workspace_documents=_amount("--documents", given["documents"], old.workspace_documents),
        workspace_logical_bytes=_amount("--workspace-bytes", given["workspace_bytes"], old.workspace_logical_bytes),
        warn_at=old.warn_at if warn_at is None else warn_at,
    )
    return store.quota()


def _limit_workspace(workspace: Workspace, given: dict[str, str | None], warn_at: float | None) -> WorkspaceQuota:
    old = workspace.quota()
    workspace.limit(
        documents=_amount("--documents", given["documents"], old.max_documents),
        logical_bytes=_amount("--bytes", given["bytes"], old.max_logical_bytes),
        warn_at=old.warn_at if warn_at is None else warn_at,
    )
    return workspace.quota()


def _amount(option: str, text: str | None, old: int | None) -> int | None:
    if text is None or text == "none":
        return old if text is None else None
    found = re.fullmatch(r"([0-9]{1,15})([kMGT]B)?", text)
    if found is None or (found[2] and option == "--documents"):
        raise InvalidArgument(f"{option} is {text!r}; write a whole number of at most 15 digits, with kB, MB, GB or TB "
                              "for bytes, or none")  # fmt: skip
    return int(found[1]) * _UNITS[found[2] or ""]


def _share(option: str, text: str | None, old: float | None) -> float | None:
    if text is None or text == "none":
        return old if text is None else None
    try:
        return float(text)
    except ValueError as error:
        raise InvalidArgument(f"{option} is {text!r}; write a share such as 0.1, or none") from error


def _of_workspace(quota: WorkspaceQuota) -> list[str]:
    documents = "" if quota.max_documents is None else f" of at most {quota.max_documents:,}"
    bytes_ = "" if quota.max_logical_bytes is None else f" of at most {size(quota.max_logical_bytes)}"
    return [f"Documents: {quota.documents:,}{documents}", f"Their size: {size(quota.logical_bytes)}{bytes_}"]


def _of_store(quota: StoreQuota) -> list[str]:
    bytes_ = "" if quota.max_physical_bytes is None else f" of at most {size(quota.max_physical_bytes)}"
    kept = "" if quota.keep_free is None else f", of which {size(int(quota.disk_bytes * quota.keep_free))} stay so"
    lines = [f"Stored: {size(quota.physical_bytes)}{bytes_}", f"Free on the disk: {size(quota.free_bytes)}{kept}"]
    if quota.workspace_documents is not None:
        lines.append(f"Documents of new workspaces: at most {quota.workspace_documents:,}")
    if quota.workspace_logical_bytes is not None:
        lines.append(f"Their size: at most {size(quota.workspace_logical_bytes)}")
    return lines
