"""Vectors that are stored already, for chunks of a text that is new: whichever document they are in, they are copied.

The catalog names a chunk by 48 bits of a hash, which is a hint. Before a vector is taken, the stored text of its chunk
is read and compared. What is collected meanwhile, damaged, or not what the hint says is a miss, and costs an embedding.
Without any lock.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from docstore import contents, passages
from docstore.contents import SubindexRow
from docstore.database import Database, records
from docstore.errors import DocStoreError
from docstore.ingest.digests import Codes, Find
from docstore.parts import Parts
from docstore.vectors import INDEX_SUFFIX, SPANS_SUFFIX, decode_index, decode_spans

# The newest of those with a digest: of a document that was edited again and again, that is its last version. One entry
# of an index is read for each digest, however many texts have it, and all in one statement, which takes a twentieth of
# the time of as many.
_ANYWHERE = """
    SELECT value AS digest, t.hash, c.chunk FROM json_each(?)
    JOIN chunks c ON (c.text_id, c.pipeline_id, c.chunk) = (
        SELECT n.text_id, n.pipeline_id, n.chunk FROM chunks n
        WHERE n.digest = value AND n.pipeline_id = (SELECT id FROM pipelines WHERE fingerprint = ?)
        AND EXISTS (SELECT 1 FROM documents d WHERE d.text_id = n.text_id AND d.doomed = 0)
        ORDER BY n.text_id DESC LIMIT 1)
    JOIN texts t ON t.id = c.text_id"""

# From the workspace's side, with `+` and CROSS JOIN to keep it so: what it costs must not tell of others' chunks.
_WITHIN = """
    SELECT c.digest, t.hash, c.chunk FROM refs r
    CROSS JOIN documents d ON d.id = r.document_id CROSS JOIN texts t ON t.id = d.text_id
    CROSS JOIN chunks c ON c.text_id = d.text_id AND c.pipeline_id = (SELECT id FROM pipelines WHERE fingerprint = ?)
    WHERE r.workspace_id = ? AND +c.digest IN (SELECT value FROM json_each(?))"""
_NAMES = ("digest", "hash", "chunk")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a vector may be found."""

    text: str
    """Hash of the text."""
    chunk: int


def finder(parts: Parts, workspace: int | None) -> Find:
    """What looks for the vectors of chunks.

    Args:
        workspace: look only in documents that it references; None: in all.
    """

    def find(wanted: Mapping[str, int]) -> Mapping[str, Codes]:
        with parts.database.read() as db:
            places = _places(db, parts.pipeline.fingerprint, workspace, list(wanted.values()))
            texts = contents.find_texts(db, {place.text for place in places.values()})
            rows = contents.find_subindexes(db, texts.values(), parts.pipeline.fingerprint)
        by_text: dict[str, dict[str, int]] = defaultdict(dict)
        for chunk, digest in wanted.items():
            if (place := places.get(digest)) is not None and place.text in rows:
                by_text[place.text][chunk] = place.chunk
        found: dict[str, Codes] = {}
        for text, some in by_text.items():
            found.update(_copied(parts, parts.scope(workspace or 0), text, rows[text], some))
        return found

    return find


def _places(db: Database, fingerprint: str, workspace: int | None, digests: list[int]) -> dict[int, Place]:
    if workspace is not None:
        found = records(db, _NAMES, _WITHIN, fingerprint, workspace, json.dumps(digests))
    else:
        found = records(db, _NAMES, _ANYWHERE, json.dumps(digests), fingerprint)
    return {digest: Place(text, chunk) for digest, text, chunk in found}


def _copied(parts: Parts, scope: int, text: str, row: SubindexRow, wanted: Mapping[str, int]) -> dict[str, Codes]:
    """The codes of some chunks of one text, by what they say; nothing where anything is not as it should be."""
    files = parts.embeddings(parts.pipeline.fingerprint)
    try:
        index = files.read_checked(text, INDEX_SUFFIX, row.index_hash, row.index_size)
        codes = decode_index(index, parts.pipeline.dimension, parts.pipeline.codec)
        spans = decode_spans(files.read_checked(text, SPANS_SUFFIX, row.spans_hash, row.spans_size))
        there = {chunk: at for chunk, at in wanted.items() if 0 <= at < min(len(codes), len(spans))}
        places = [(text, int(spans[at]["first_byte"]), int(spans[at]["last_byte"])) for at in there.values()]
        said = passages.read(parts.texts, parts.memory, scope, places)
    except (DocStoreError, OSError):
        return {}
    own = codes[list(there.values())]  # a copy: a view of one would keep all that were read
    return {chunk: code for chunk, code, place in zip(there, own, places, strict=True) if said[place] == chunk}
