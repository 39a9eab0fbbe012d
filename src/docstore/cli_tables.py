"""What the commands show people: tables and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Column

from docstore import errors
from docstore.cli_layout import SHORT_HASH, Listing, count, excerpt, hash_column, local, narrow, size, wide
from docstore.documents import Document
from docstore.model import Hit
from docstore.reports import (
    AddReport,
    CollectReport,
    Failure,
    Problem,
    Repair,
    RepairReport,
    StorageStats,
    VerifyReport,
)

if TYPE_CHECKING:
    from docstore.conversations import Conversation, ConversationInfo
    from docstore.versions import Version
    from docstore.workspace_info import WorkspaceInfo


def added_table(report: AddReport) -> Listing:
    """What `add` did."""
    rows = [(document, "added") for document in report.added] + [(document, "reused") for document in report.reused]
    return Listing(
        [hash_column(), wide("Name"), narrow("Size"), narrow("Chunks"), Column("Result", no_wrap=True)],
        (
            (each.hash[:SHORT_HASH], each.name or "", size(each.size), f"{each.chunks:,}", result)
            for each, result in rows
        ),
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


def documents_table(documents: Sequence[Document]) -> Listing:
    """Documents of a workspace."""
    return Listing(
        [hash_column(), wide("Name"), narrow("Size"), narrow("Pages"), narrow("Chunks"), Column("Added")],
        (
            (
                each.hash[:SHORT_HASH],
                each.name or "",
                size(each.size),
                "" if each.pages is None else f"{each.pages:,}",
                f"{each.chunks:,}",
                local(each.added_at),
            )
            for each in documents
        ),
    )


def workspaces_table(workspaces: Sequence[WorkspaceInfo]) -> Listing:
    """Workspaces, how many documents each has, and when they expire, if any does."""
    rows = [(each.name, f"{each.documents:,}", each.expires_at) for each in workspaces]
    columns = [wide("Workspace"), narrow("Documents")]
    if all(expires is None for _, _, expires in rows):
        return Listing(columns, ((name, documents) for name, documents, _ in rows))
    times = ((name, documents, local(expires) if expires else "") for name, documents, expires in rows)
    return Listing([*columns, Column("Expires")], times)


def versions_table(versions: Sequence[Version]) -> Listing:
    """Versions of a document, with whole hashes: `docstore rollback` needs one."""
    return Listing(
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


def hits_table(hits: Sequence[Hit]) -> Listing:
    """What a search found, each text cut short."""
    return Listing(
        [narrow("Score"), Column("Document", overflow="fold", ratio=1), narrow("Page"), wide("Text", ratio=3)],
        (
            (f"{each.score:.3f}", each.name, "" if each.page is None else f"{each.page:,}", excerpt(each.text))
            for each in hits
        ),
    )


def conversations_table(found: Sequence[ConversationInfo]) -> Listing:
    """Conversations of a workspace."""
    return Listing(
        [wide("Conversation"), narrow("Messages"), Column("Last message")],
        ((each.name, f"{each.messages:,}", local(each.changed_at)) for each in found),
    )


def conversation_lines(conversation: Conversation) -> Iterator[RenderableType]:
    """What was said, read page by page."""
    last = 0
    while page := conversation.messages(after=last):
        for each in page:
            yield f"{each.number}. {each.role}, {local(each.at)}"
            yield from each.content.split("\n")
            for source in each.sources:
                where = "" if source.page is None else f", page {source.page:,}"
                yield f"  from {source.name}{where}: {excerpt(source.text or '')}".removesuffix(": ")
            last = each.number


def stats_table(stats: StorageStats) -> Listing:
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
    return Listing([Column(style="bold"), narrow("")], rows, header=False)


def collected(report: CollectReport, dry_run: bool) -> str:
    """What `collect` did, as a sentence."""
    leftovers = f", and {count(report.leftovers, 'leftover file')}" if report.leftovers else ""
    verb = "Would delete" if dry_run else "Deleted"
    return f"{verb} {count(report.documents, 'document')}, {size(report.bytes)}{leftovers}."


def problems_table(report: VerifyReport) -> Listing:
    """What `verify` found wrong."""
    return _damage("Kind", ((each.kind, each) for each in report.problems))


def verified(report: VerifyReport, dry_run: bool) -> str:
    """What `verify` read, as a sentence."""
    found = count(len(report.problems), "problem") if report.problems else "no problems"
    leftovers = (
        f" {count(report.leftovers, 'leftover file')}: docstore collect removes them." if report.leftovers else ""
    )
    remaining = f" {count(report.remaining, 'document')} remain for the next run." if report.remaining else ""
    verb = "Would check" if dry_run else "Checked"
    return f"{verb} {count(report.files, 'file')}, {size(report.bytes)}: {found}.{leftovers}{remaining}"


def repairs_table(report: RepairReport) -> Listing:
    """What `repair` did."""
    return _damage("Action", ((each.action, each) for each in report.repairs))


def repaired(report: RepairReport) -> str:
    """What `repair` did, as a sentence."""
    if not report.repairs:
        return "Nothing is damaged."
    actions = Counter(each.action for each in report.repairs)
    return ", ".join(f"{number:,} {action}" for action, number in sorted(actions.items())) + "."


def _damage(title: str, found: Iterable[tuple[str, Problem | Repair]]) -> Listing:
    """What is damaged, each with a word on it, and whom it affects."""
    return Listing(
        [Column(title, no_wrap=True), wide("Path"), wide("Detail"), wide("Documents"), wide("Workspaces")],
        (
            (
                word,
                each.path,
                each.detail,
                " ".join(hash[:SHORT_HASH] for hash in each.documents),
                ", ".join(each.workspaces),
            )
            for word, each in found
        ),
    )


def counted(report: AddReport) -> str:
    """What `add` did, as a sentence."""
    return f"{len(report.added):,} added, {len(report.reused):,} reused, {len(report.failed):,} failed."
