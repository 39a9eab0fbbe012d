"""Pipeline: chunker, embedder and codec as one, with the fingerprint that names what they produce."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from docstore import arguments
from docstore.contents import SubindexRow
from docstore.durable import Staged, stage
from docstore.errors import DocStoreError, EmbeddingError, InvalidArgument
from docstore.ingest import chunk, extraction
from docstore.ingest.digests import Codes, Find, digest
from docstore.ingest.embed import Embedder
from docstore.scratch import Scratch
from docstore.vectors import Codec, Vectors, encode, encode_index, encode_spans, subindex_size

_MISSING = object()
_EMBEDDER = ("fingerprint", "dimension", "max_tokens", "embed")
_TOKENS_OF_A_CHARACTER = 4  # at most, of a tokenizer that makes one of each byte
EMBED_AT_ONCE = 256
"""Chunks handed to the embedder in one call: enough to fill its batches, few enough to report progress between."""


@dataclass(slots=True, eq=False, repr=False)
class StagedSubindex:
    """A sub-index, ready to be published."""

    index: Staged
    spans: Staged
    digests: tuple[int, ...]
    """What the catalog calls each chunk."""
    computed: int
    """Vectors that were computed for it; the others were there, or are those of equal chunks."""

    @property
    def chunks(self) -> int:
        """How many it has."""
        return len(self.digests)

    @property
    def row(self) -> SubindexRow:
        """What the catalog says of it."""
        return SubindexRow(self.chunks, self.index.hash, self.index.size, self.spans.hash, self.spans.size)

    @property
    def staged(self) -> tuple[Staged, Staged]:
        """Both pieces."""
        return self.index, self.spans


class _Computed(NamedTuple):
    """Codes of chunks that differ from one another."""

    rows: dict[str, int]
    """The row of `codes` that each chunk has."""
    codes: npt.NDArray[np.uint8]
    """Shape (n, bytes a code)."""
    uncounted: set[str]
    """Chunks whose vectors no sub-index has taken yet."""

    def of(self, chunks: Sequence[str], known: Mapping[str, Codes]) -> npt.NDArray[np.uint8]:
        """Codes of chunks that were computed or known, shape (len(chunks), bytes a code)."""
        if known.keys().isdisjoint(chunks):  # a tenth of the time, of a text with few chunks
            return self.codes.take([self.rows[chunk] for chunk in chunks], axis=0)
        return np.stack([known[chunk] if chunk in known else self.codes[self.rows[chunk]] for chunk in chunks])

    def taken(self, chunks: Sequence[str]) -> int:
        """How many vectors count as computed for a sub-index of these chunks: each counts where it is taken first."""
        first = self.uncounted.intersection(chunks)
        self.uncounted.difference_update(first)
        return len(first)


class Pipeline:
    """What turns a text into a sub-index."""

    def __init__(self, embedder: Embedder, codec: Codec, chunk_size: int, chunk_overlap: int) -> None:
        if codec not in ("float16", "float32"):
            raise InvalidArgument(f"codec is {codec!r}; it must be 'float16' or 'float32'")
        # Statically: a property may load a model, which opening a store must not do.
        if any(inspect.getattr_static(embedder, name, _MISSING) is _MISSING for name in _EMBEDDER):
            raise InvalidArgument(f"{type(embedder).__name__} is no embedder: it needs fingerprint, dimension, "
                                  "max_tokens and embed(texts)")  # fmt: skip
        self.embedder = embedder
        self.codec: Codec = codec
        self._size = arguments.whole("chunk_size", chunk_size, 1, arguments.MOST)
        self._overlap = arguments.whole("chunk_overlap", chunk_overlap, 0, arguments.MOST)
        chunk.Chunker(self._size, self._overlap)  # refuses sizes that make no sense now, not at the first document

    @cached_property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return arguments.whole("The embedder's dimension", self._asked("dimension"), 1)

    @cached_property
    def max_tokens(self) -> int | None:
        """Tokens that the embedder reads of a text."""
        most = self._asked("max_tokens")
        return None if most is None else arguments.whole("The embedder's max_tokens", most, 1, otherwise=", or None")

    def _asked(self, name: str) -> Any:
        try:
            return getattr(self.embedder, name)
        except DocStoreError:
            raise
        except Exception as error:  # it may load a model, or ask a server
            raise EmbeddingError(f"The embedder's {name} failed: {type(error).__name__}: {error}") from error

    @cached_property
    def description(self) -> str:
        """Everything that decides a text's vectors, as JSON.

        Versions of libraries are left out: spans and texts are stored, so an upgrade changes nothing that exists,
        and must not make every user embed everything again.
        """
        fingerprint = self._asked("fingerprint")
        if not isinstance(fingerprint, str):
            raise InvalidArgument(f"The embedder's fingerprint is {fingerprint!r}; it must be text")
        return json.dumps({
            "extractor": extraction.REVISION,
            "chunker": {"revision": chunk.REVISION, "size": self._size, "overlap": self._overlap,
                        "max_tokens": self.max_tokens},
            "embedder": {"fingerprint": fingerprint, "dimension": self.dimension},
            "codec": self.codec,
        }, sort_keys=True)  # fmt: skip

    @cached_property
    def fingerprint(self) -> str:
        """BLAKE3 of the description, 32 hexadecimal characters."""
        return blake3(self.description.encode()).hexdigest(length=16)

    @cached_property
    def _chunker(self) -> chunk.Chunker:
        count = getattr(self.embedder, "count_tokens", None)
        if count is not None:
            count("")  # loads the model here: an error could not pass through the splitter's compiled code
        return chunk.Chunker(self._size, self._overlap, self.max_tokens, count)

    def least_bytes(self, characters: int) -> int:
        """What the sub-index of a text of so many characters takes at least, in bytes."""
        return subindex_size(-(-characters // self._size) or 1, self.dimension, self.codec)

    def build(
        self, contents: Sequence[str], scratch: Scratch, progress: Callable[[int], None], find: Find | None = None
    ) -> list[StagedSubindex]:
        """Sub-indexes of some texts, staged in `scratch`. Chunks of all texts share the embedder's batches, and equal
        chunks share one vector.

        Args:
            progress: called with the number of chunks embedded since it was called last.
            find: gives codes that are stored already.

        Raises:
            EmbeddingError: the embedder failed.
        """
        spans = [self._cut(content) for content in contents]
        chunks = [
            content[span["start"] : span["end"]] for content, cut in zip(contents, spans, strict=True) for span in cut
        ]
        digests = {chunk: digest(chunk, self.fingerprint) for chunk in dict.fromkeys(chunks)}
        known = find(digests) if find is not None else {}
        computed = self._compute([chunk for chunk in digests if chunk not in known], progress)
        built, begin = [], 0
        for cut in spans:
            own = chunks[begin : begin + len(cut)]
            built.append(
                StagedSubindex(
                    stage(scratch.file(), encode_index(computed.of(own, known), self.dimension, self.codec)),
                    stage(scratch.file(), encode_spans(cut)),
                    tuple(digests[chunk] for chunk in own),
                    computed.taken(own),
                )
            )
            begin += len(cut)
        return built

    def _compute(self, chunks: list[str], progress: Callable[[int], None]) -> _Computed:
        """The codes of chunks that differ from one another."""
        vectors = np.empty((len(chunks), self.dimension), np.float32)
        # Chunks of like length together: a model pads those of one batch to the longest.
        chunks.sort(key=len, reverse=True)
        for first in range(0, len(chunks), EMBED_AT_ONCE):
            some = chunks[first : first + EMBED_AT_ONCE]
            vectors[first : first + len(some)] = self.embed(some)
            progress(len(some))
        # Of all texts at once: for a tiny one FAISS takes longer to begin than to encode it.
        codes = encode(vectors, self.codec) if chunks else np.empty((0, 0), np.uint8)
        return _Computed({chunk: row for row, chunk in enumerate(chunks)}, codes, set(chunks))

    def _cut(self, content: str) -> npt.NDArray[np.void]:
        try:
            return self._chunker.spans(content)
        except (DocStoreError, MemoryError):
            raise
        except Exception as error:  # count_tokens is the caller's code
            raise EmbeddingError(f"The embedder failed to count tokens: {type(error).__name__}: {error}") from error

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """As `embed`. Warns of a query that the embedder does not read to its end."""
        count, most = getattr(self.embedder, "count_tokens", None), self.max_tokens
        if count is not None and most is not None:
            # Counting takes as long as searching a small workspace, so what is short enough in any case is left out.
            long = [query for query in queries if len(query) > most // _TOKENS_OF_A_CHARACTER]
            tokens = 0
            with suppress(Exception):  # the caller's code, and only for a warning
                tokens = max([int(count(query)) for query in long], default=0)
            if tokens > most:
                warnings.warn(f"A query has {tokens:,} tokens, of which the embedder reads {most:,}: what is beyond "
                              "takes no part in the search. Shorten it.", stacklevel=4)  # fmt: skip
        return self.embed(queries)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Normalised vectors, shape (len(texts), dimension), float32, of an embedder that is not trusted.

        Raises:
            EmbeddingError: it raised, or returned anything but finite, non-zero vectors of its dimension.
        """
        try:
            # A list of its own: an embedder that changed ours would give chunks the vectors of others.
            vectors = np.asarray(self.embedder.embed(list(texts)), dtype=np.float32)
        except DocStoreError:
            raise
        except Exception as error:
            raise EmbeddingError(
                f"The embedder failed on {len(texts)} texts: {type(error).__name__}: {error}. See what it "
                "needs, then try again."
            ) from error
        if vectors.shape != (len(texts), self.dimension):
            raise EmbeddingError(f"The embedder returned shape {vectors.shape} for {len(texts)} texts; expected "
                                 f"({len(texts)}, {self.dimension}). Check its `dimension`.")  # fmt: skip
        return normalise(vectors, EmbeddingError, "The embedder returned")

    def answers(self, text: str) -> bool:
        """Whether the embedder gives vectors of its dimension. It need not know this very text, for which it may give
        none, or one without a direction."""
        try:
            given = self.embedder.embed([text])
        except Exception:  # noqa: BLE001  (the caller's code)
            return False
        with suppress(Exception):
            vectors = np.asarray(given, dtype=np.float32)
            return vectors.size == 0 or vectors.shape[1:] == (self.dimension,)
        return True


def normalise(vectors: Vectors, error: type[DocStoreError], subject: str) -> Vectors:
    """Vectors scaled to length 1, shape (n, dimension), so that inner product is cosine.

    Raises:
        DocStoreError: of the given type, where a vector has no direction or is not finite.
    """
    wide = vectors.astype(np.float64)  # in which no square of a float32 overflows
    lengths = np.sqrt(np.add.reduce(wide * wide, axis=1, keepdims=True))
    # What is a unit vector already, up to float32's rounding, stays as it is: normalising twice must change nothing.
    is_unit = np.abs(lengths - 1) < 1e-6
    if is_unit.all():
        return vectors
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
        raise error(f"{subject} a vector that is zero or not finite: it has no direction, so no cosine. All "
                    "numbers must be finite, and some not zero.")  # fmt: skip
    lengths[is_unit] = 1
    unit: npt.NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    return unit
