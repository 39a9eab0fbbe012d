"""`make demo`: real PDFs for two users and ten chats; search them, remove them, and see what sharing saved."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bar
from rich.table import Table

from docstore import AddReport, DocStore, Progress, StorageStats, Workspace
from examples.project_pdfs import make_pdfs

FOLDER = Path("demo")
ENDINGS = {".pdf", ".html", ".htm", ".md", ".txt"}
CHATS = 10
QUESTIONS = ("When is a document deleted from the disk?", "What happens when two processes add the same file?")

console = Console(soft_wrap=True, highlight=False, emoji=False)


def main(
    docs: Annotated[Path | None, typer.Option(help="Folder with documents of your own.")] = None,
    ask: Annotated[str | None, typer.Option(help="What to search for in them.")] = None,
) -> None:
    """Stores, shares, searches, removes."""
    shutil.rmtree(FOLDER / "store", ignore_errors=True)  # its own of the last time, and nothing else
    paths = _documents(docs)
    size = sum(path.stat().st_size for path in paths)
    console.print(f"[bold]{_count(len(paths))}[/], {_human(size)}, into {FOLDER / 'store'}\n")
    with DocStore(FOLDER / "store") as store:
        alice, bob = store.workspace("alice"), store.workspace("bob")
        _add(alice, paths)
        _add(bob, paths)
        _open_chats(store, bob)
    with DocStore(FOLDER / "store") as store:  # closed and opened again: everything is on disk
        alice, bob = store.workspace("alice"), store.workspace("bob")
        for question in _questions(docs, ask, bob):
            _search(bob, question)
        _show_stats(store.stats())
        _remove(store, alice, bob)


def _documents(docs: Path | None) -> list[Path]:
    if docs is None:
        return make_pdfs(FOLDER / "pdfs")
    paths = sorted(path for path in docs.rglob("*") if path.is_file() and path.suffix.lower() in ENDINGS)
    if not paths:
        console.print(
            f"[red]{escape(str(docs))} holds no {', '.join(sorted(ENDINGS))} files.[/] Use make demo DOCS=folder."
        )
        raise typer.Exit(2)
    return paths


def _questions(docs: Path | None, ask: str | None, workspace: Workspace) -> Sequence[str]:
    if ask and ask.strip():
        return [ask]
    # By its name in the store: a file's own need not be text, nor the file one that could be added.
    return QUESTIONS if docs is None else [f"What is {each.name} about?" for each in workspace.documents()[:1]]


def _add(workspace: Workspace, paths: list[Path]) -> None:
    began = time.monotonic()
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{workspace.name} adds", total=len(paths))

        def show(progress: Progress) -> None:
            bar.update(
                task, completed=progress.done, description=f"{workspace.name}: {progress.chunks} chunks embedded"
            )

        report = workspace.add_many(paths, progress=show)
    console.print(_summary(workspace, report, time.monotonic() - began))
    for failure in report.failed:
        console.print(f"  [yellow]not added[/] {escape(str(failure.error))}")


def _open_chats(store: DocStore, owner: Workspace) -> None:
    began = time.monotonic()
    documents = owner.documents()
    for number in range(1, CHATS + 1):
        chat = store.workspace(f"{owner.name}/chat-{number}")
        for document in documents:
            chat.link(document.hash, name=document.name)
    console.print(f"[bold]{owner.name}[/] opens {CHATS} chats on them in {time.monotonic() - began:.2f} s")


def _summary(workspace: Workspace, report: AddReport, seconds: float) -> str:
    computed = sum(document.chunks for document in report.added)
    avoided = sum(document.chunks for document in report.reused)
    return (
        f"[bold]{workspace.name}[/] adds {_count(len(report.added) + len(report.reused))} in {seconds:.2f} s: "
        f"{computed} chunks embedded, {avoided} reused"
    )


def _search(workspace: Workspace, question: str) -> None:
    began = time.monotonic()
    hits = workspace.search(question, k=3)
    console.print(
        f"\n[bold]{workspace.name}[/] asks: [italic]{escape(question)}[/]  ({(time.monotonic() - began) * 1000:.0f} ms)"
    )
    for hit in hits:
        where = hit.name if hit.page is None else f"{hit.name}, page {hit.page}"
        text = " ".join(hit.text.split())
        shown = text[:150] + ("..." if len(text) > 150 else "")
        console.print(f"  {hit.score:.2f}  [cyan]{escape(where)}[/]: {escape(shown)}")


def _show_stats(stats: StorageStats) -> None:
    table = Table(title=f"\nWhat {stats.workspaces} workspaces cost", title_justify="left")
    table.add_column("")
    table.add_column("a copy each", justify="right")
    table.add_column("shared", justify="right")
    computed, asked = stats.embeddings_computed, stats.embeddings_computed + stats.embeddings_avoided
    table.add_row("documents", str(stats.references), str(stats.documents))
    table.add_row("chunks embedded", str(asked), str(computed))
    table.add_row(
        "documents, texts, vectors",
        _human(stats.logical_bytes),
        _human(stats.physical_bytes - stats.catalog_bytes - _reserve()),
    )
    table.add_row("catalog", "", _human(stats.catalog_bytes))
    table.add_row("kept for a full disk", "", _human(_reserve()))
    console.print(table)


def _remove(store: DocStore, alice: Workspace, bob: Workspace) -> None:
    for document in alice.documents():
        alice.remove(document.hash)
    console.print(f"\nalice removes everything: collect deletes {_count(store.collect().documents)}, "
                  f"since bob still has all {len(bob)}")  # fmt: skip
    for name in store.workspaces():
        store.delete_workspace(name)
    report = store.collect()
    own = ("catalog", "reserve", "small.sqlar")  # the last holds small pieces of documents, and none by now
    left = [path for path in (FOLDER / "store").rglob("*") if path.is_file() and not path.name.startswith(own)]
    console.print(f"every workspace is deleted: collect deletes {_count(report.documents)}, {_human(report.bytes)}")
    console.print(f"documents left: {store.stats().documents}, with {len(left)} files; "
                  f"verify: {'ok' if store.verify().ok else 'PROBLEMS'}")  # fmt: skip


def _reserve() -> int:
    """What the store keeps in reserve, so that room can be made on a full disk."""
    return (FOLDER / "store" / "reserve").stat().st_size


def _count(documents: int) -> str:
    return f"{documents} document{'' if documents == 1 else 's'}"


def _human(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


if __name__ == "__main__":
    typer.run(main)
