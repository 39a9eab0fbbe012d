"""Views of segments that no store holds, and those that a store has of its workspaces: for tests of searching."""

from __future__ import annotations

from typing import Any

from docstore import DocStore
from docstore.filter_cache import Chosen
from docstore.segments import Segment
from docstore.vectors import Vectors
from docstore.views import Part, View
from tests.rows import rows_of


def segment_named(documents: dict[str, Vectors], codec: Any, dimension: int = 32) -> Segment:
    segment = Segment(0, dimension, codec, 0)
    for name, vectors in documents.items():
        segment.append(rows_of(name, vectors, codec))
    return segment


def view_of(segments: list[Segment], documents: set[str], codec: Any, dimension: int = 32) -> View:
    names = {(document, "text"): f"the name of {document}" for document in documents}
    return View(((1, 1),), tuple(Part.of(segment, names) for segment in segments), dimension, codec)


def rankings(
    view: View, queries: Vectors, k: int, chosen: Chosen | None = None
) -> list[list[tuple[float, str, int, str]]]:
    return [
        [(-rank, key[0], number, part.names[position] or "") for rank, key, number, position, _, part in best]
        for best in view.nearest(queries, k, chosen, None)
    ]


def fill(store: DocStore, workspace: str, numbers: range) -> list[str]:
    report = store.workspace(workspace).add_many([f"text number {number}".encode() for number in numbers])
    return [document.hash for document in report.added + report.reused]


def searched(store: DocStore, workspace: str) -> View:
    """The view of a workspace that was searched just now."""
    store.workspace(workspace).search("text")
    view = store._parts.views.get(store.workspace(workspace)._id)
    assert view is not None
    return view
