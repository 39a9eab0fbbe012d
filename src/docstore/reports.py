"""What long operations report to callers. Frozen, without behaviour beyond what follows from their fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from docstore.documents import Document
from docstore.errors import DocStoreError

ProblemKind = Literal["missing", "damaged", "unreadable", "count", "reference", "catalog", "foreign"]
RepairAction = Literal["restored", "corrected", "quarantined", "unrepaired"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A source that `add_many` could not add, and why."""

    name: str
    error: DocStoreError
    """Without a traceback, which would keep what was added with it in memory. `add` raises the same with one."""


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of every source of `add_many`, or hash of `link_many`, each list in the order they were given."""

    added: tuple[Document, ...]
    """Cut into chunks by this call, and embedded where an equal chunk was not."""
    reused: tuple[Document, ...]
    """Referenced without embedding anything."""
    failed: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a long operation stands. Passed to the callback after every step."""

    done: int
    """Items finished: documents of `add_many`, `replace`, `verify`, `repair` and `collect`."""
    total: int | None
    """Items in all, or None while that is unknown."""
    chunks: int
    """Chunks embedded so far."""
    name: str
    """The item that was finished last, or is being worked on."""


@dataclass(frozen=True, slots=True)
class StorageStats:
    """What the store holds and what sharing saves. Costs the same in a store of any size."""

    documents: int
    """Documents stored, those that await collection included."""
    workspaces: int
    expired: int
    """Workspaces that expired and can still be brought back: not among `workspaces`."""
    references: int
    """Those of expired workspaces included."""
    chunks: int
    """Chunks with stored vectors, over all pipelines."""
    catalog_bytes: int
    """Size of the catalog now, its write-ahead log included."""
    physical_bytes: int
    """Sizes of all files as the file system reported them when they were published, plus the catalog's now.
    Equal to `du --apparent-size` over the files of a store in which nobody is writing."""
    logical_bytes: int
    """What the same references would take if every workspace kept its own blob, text and vectors."""
    saved_bytes: int
    """`logical_bytes - physical_bytes`; negative while the catalog weighs more than sharing saves."""
    embeddings_computed: int
    """Vectors ever computed by this store."""
    embeddings_avoided: int
    """Vectors that were there already: what references asked for, and what was copied from equal chunks."""


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a collection deleted, or with `dry_run` would delete."""

    documents: int
    bytes: int
    """Sizes of the deleted files of those documents, their texts and their sub-indexes."""
    leftovers: int
    """Files that interrupted operations had left and that were swept; 0 in a dry run."""


@dataclass(frozen=True, slots=True)
class ExpireReport:
    """What an expiry took away, or with `dry_run` would."""

    expired: tuple[str, ...]
    """Names of the workspaces whose time was over."""
    deleted: tuple[str, ...]
    """Names of those that had expired before, or now without any grace, and were deleted for good."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that `verify` found wrong."""

    kind: ProblemKind
    """`missing`, `damaged`, `unreadable`: a stored piece. `count`, `reference`, `catalog`: what the catalog says.
    `foreign`: a file that is none of docstore's."""
    path: str
    """The file, relative to the store's folder, or the catalog table."""
    detail: str
    workspaces: tuple[str, ...]
    """Names of the workspaces whose documents it affects."""
    documents: tuple[str, ...] = ()
    """Hashes of the documents it affects."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` read and found."""

    problems: tuple[Problem, ...]
    files: int
    """Files read and hashed; with `dry_run` those that would be."""
    bytes: int
    """Bytes of these files."""
    leftovers: int
    """Files that interrupted operations left behind. Harmless; `collect` sweeps them. Looked for only by a run after
    which every document was read once."""
    remaining: int
    """Documents not read for lack of time, neither by this run nor by those before it that it went on from. The next
    run begins with them."""

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Repair:
    """What `repair` did, or with `dry_run` would do, about one problem."""

    action: RepairAction
    """`restored`: the bytes that were published are back. `corrected`: the catalog says again what follows from its
    rows. `quarantined`: moved to `quarantine/`, since nothing here can restore it. `unrepaired`: left as it is."""
    path: str
    """The file, relative to the store's folder, or the catalog table."""
    detail: str
    """What was wrong, and what to do about it now."""
    workspaces: tuple[str, ...]
    """Names of the workspaces whose documents it affects."""
    documents: tuple[str, ...] = ()
    """Hashes of the documents it affects."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What `repair` found and did."""

    repairs: tuple[Repair, ...]

    @property
    def ok(self) -> bool:
        """True when no damage is left for a person to deal with. Foreign files, which `verify` reports, are none."""
        return all(each.action in ("restored", "corrected") for each in self.repairs)
