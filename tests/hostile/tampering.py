"""What somebody who may write the store's folder can do to it: catalogs and files altered in many ways, by name."""

from __future__ import annotations

import os
import random
import sqlite3
import struct
from collections.abc import Callable, Iterator
from functools import partial

import faiss
import numpy as np

from tests.hostile.stored import Victim
from tests.zstandard import zstd

A64 = "a" * 64
UP = "../" * 4 + "outside/x" + "a" * 43  # 64 characters, as the schema demands


def sql() -> Iterator[tuple[str, list[str]]]:
    """Statements that no checks, foreign keys or triggers of ours stop."""
    for name, value in [("up", "../../x"), ("up, 64 long", UP), ("absolute", "/etc/passwd"), ("empty", ""),
                        ("odd", "Z" * 64),
                        ("surrogate", "\u00e9" * 64), ("long", "a" * 100_000)]:  # fmt: skip
        for table in ("documents", "texts"):
            yield f"{table}.hash {name}", [f"UPDATE {table} SET hash = '{value}' WHERE id = 1"]
        for column in ("index_hash", "spans_hash"):
            yield f"subindexes.{column} {name}", [f"UPDATE subindexes SET {column} = '{value}'"]
        yield f"texts.file_hash {name}", [f"UPDATE texts SET file_hash = '{value}'"]
        yield f"pipelines.fingerprint {name}", [f"UPDATE pipelines SET fingerprint = '{value}'"]
        yield f"documents.media_type {name}", [f"UPDATE documents SET media_type = '{value}'"]
        yield f"claims.owner {name}", _claims(f"'{value}'")
    yield "pipelines.fingerprint up", ["UPDATE pipelines SET fingerprint = '../../outside'"]
    yield "claims.owner outside", _claims("'../../outside/x'")
    yield "claims.owner NUL", _claims("'a' || char(0) || 'b'")
    yield "doomed outside", [f"UPDATE documents SET hash = '{UP}', doomed = 1, refcount = 0, unreferenced_at = '' "
                             "WHERE id = 1",
                             "DELETE FROM refs", "UPDATE pipelines SET fingerprint = '../../outside'"]  # fmt: skip
    yield "doomed by another pipeline", ["UPDATE documents SET doomed = 1, refcount = 0, unreferenced_at = ''",
                                         "DELETE FROM refs",
                                         "UPDATE pipelines SET fingerprint = '../../outside'"]  # fmt: skip
    for name, value in [("no JSON", "'{'"), ("list", "'[]'"), ("number", "'1'"), ("null", "'null'"), ("NaN",
                  "'{\"n\":NaN}'"),
                        ("deep", "replace(hex(zeroblob(50000)), '00', '{\"n\":') || '1'"), ("digits",
                        "'{\"n\":' || replace(hex(zeroblob(5000)), '0', '9') || '}'"),
                        ("huge", "'{\"n\":\"' || hex(zeroblob(1000000)) || '\"}'"), ("number keys", "'{\"n\":1e999}'"),
                        ("not UTF-8", "cast(x'7b226e223a22ff227d' AS TEXT)")]:  # fmt: skip
        yield f"refs.metadata {name}", [f"UPDATE refs SET metadata = {value}"]
        yield f"messages.metadata {name}", [f"UPDATE messages SET metadata = {value}"]
        yield f"messages.sources {name}", [f"UPDATE messages SET sources = {value}"]
    for table, column in [("refs", "name"), ("workspaces", "name"), ("refs", "added_at"), ("documents", "stored_at"),
                          ("documents", "unreferenced_at"), ("pipelines", "description"), ("conversations", "name"),
                          ("conversations", "created_at"), ("messages", "role"), ("messages", "content"),
                          ("messages", "said_at"), ("messages", "checksum"), ("includes", "granted_at"),
                          ("workspaces", "accessed_at"), ("workspaces", "lives_from"), ("workspaces", "expired_at"),
                          ("replacements", "old_hash"), ("replacements", "new_hash"), ("replacements", "replaced_at"),
                          ("replacements", "rolled_back_at"), ("moved", "name"), ("moved", "metadata")]:  # fmt: skip
        for name, value in [("NUL", "'a' || char(0) || 'b'"), ("empty", "''"), ("not UTF-8", "cast(x'ff' AS TEXT)"),
                            ("half a pair", "cast(x'eda080' AS TEXT)"), ("future", "'9999-99-99T99:99:99Z'"),
                            ("huge", "hex(zeroblob(1000000))"), ("no zone", "'2024-01-01'")]:  # fmt: skip
            limit = " WHERE id = 1" if table == "workspaces" else ""
            yield f"{table}.{column} {name}", [f"UPDATE {table} SET {column} = {value}{limit}"]
    yield from _numbers()
    yield from _tables()
    yield from _triggers()


def _numbers() -> Iterator[tuple[str, list[str]]]:
    for table, column in [("documents", "size"), ("documents", "pages"), ("documents", "refcount"), ("documents",
                  "text_id"),
                          ("documents", "doomed"), ("documents", "id"), ("texts", "characters"), ("texts", "file_size"),
                          ("texts", "id"), ("subindexes", "chunks"), ("subindexes", "index_size"),
                          ("subindexes", "pipeline_id"), ("refs", "document_id"), ("refs", "workspace_id"),
                          ("refs", "avoided"), ("workspaces", "version"), ("workspaces", "refs"), ("totals", "refs"),
                          ("totals", "sweeps_wanted"), ("totals", "sweeps_done"),
                          ("totals", "file_bytes"), ("includes", "included_id"), ("conversations", "workspace_id"),
                          ("messages", "number"), ("messages", "conversation_id"), ("workspaces", "ttl"),
                          ("workspaces", "sliding"), ("workspaces", "bytes"), ("workspaces", "most_documents"),
                          ("workspaces", "most_bytes"), ("workspaces", "warn_at"), ("limits", "physical_bytes"),
                          ("limits", "keep_free"), ("limits", "warn_at"), ("limits", "lifted"), ("pins", "document_id"),
                          ("moved", "replacement_id"), ("moved", "workspace_id"), ("moved", "had_new"),
                          ("chunks", "text_id"), ("chunks", "chunk"), ("chunks", "digest"), ("copies", "vectors"),
                          ("totals", "expired")]:  # fmt: skip
        for value in (-1, 0, 1, 2**62, -(2**63)):
            yield f"{table}.{column} = {value}", [f"UPDATE OR REPLACE {table} SET {column} = {value}"]


def _tables() -> Iterator[tuple[str, list[str]]]:
    for table in (
        "totals",
        "texts",
        "documents",
        "subindexes",
        "pipelines",
        "workspaces",
        "refs",
        "includes",
        "conversations",
        "messages",
        "pins",
        "replacements",
        "moved",
        "chunks",
        "copies",
        "limits",
        "_sqlite_migrations",
    ):
        yield f"nothing in {table}", [f"DELETE FROM {table}"]
        yield f"no {table}", [f"DROP TABLE {table}"]
        yield (
            f"{table} is a view without an end",
            [
                f"DROP TABLE {table}",
                f"CREATE VIEW {table} AS "
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
                "SELECT x AS id, x AS hash FROM n WHERE x < 0",
            ],
        )
        yield (
            f"{table} is a virtual table",
            [f"DROP TABLE {table}", f"CREATE VIRTUAL TABLE {table} USING fts5(id, name)"],
        )
    yield "two totals", ["CREATE TABLE t2 AS SELECT * FROM totals", "DROP TABLE totals",
                         "CREATE TABLE totals AS SELECT * FROM t2 UNION ALL SELECT * FROM t2"]  # fmt: skip
    yield (
        "texts for numbers",
        [
            "CREATE TABLE t2 AS SELECT * FROM totals",
            "DROP TABLE totals",
            "CREATE TABLE totals AS SELECT * FROM t2",
            "UPDATE totals SET refs = 'x', documents = NULL",
        ],
    )
    for column in ("refcount", "pages", "stored_at"):
        yield f"no documents.{column}", [f"ALTER TABLE documents RENAME COLUMN {column} TO x{column}"]
    yield "another program's", ["PRAGMA application_id = 7"]
    yield (
        "newer",
        ["INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('docstore', 'm999_new', '')"],
    )
    yield "older", ["DELETE FROM _sqlite_migrations"]
    yield "a million workspaces", ["WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 200000) "
                                   "INSERT INTO workspaces (name, created_at) SELECT 'w' || x, '' FROM n"]  # fmt: skip


def _claims(owner: str) -> list[str]:
    return [f"INSERT INTO claims VALUES ('document:{A64}', {owner})", f"INSERT INTO claims SELECT 'embedding:' || "
            f"fingerprint || ':' || hash, {owner} FROM pipelines, texts"]  # fmt: skip


def _triggers() -> Iterator[tuple[str, list[str]]]:
    for when in ("BEFORE DELETE ON documents", "BEFORE UPDATE OF doomed ON documents", "BEFORE DELETE ON refs",
                 "BEFORE INSERT ON refs", "BEFORE DELETE ON claims", "BEFORE INSERT ON claims",
                 "BEFORE INSERT ON documents", "BEFORE INSERT ON texts", "BEFORE INSERT ON subindexes",
                 "BEFORE INSERT ON workspaces", "BEFORE UPDATE ON totals", "BEFORE DELETE ON texts"):  # fmt: skip
        yield f"trigger that ignores, {when}", [f"CREATE TRIGGER evil {when} BEGIN SELECT RAISE(IGNORE); END"]
        yield f"trigger that aborts, {when}", [f"CREATE TRIGGER evil {when} BEGIN SELECT RAISE(ABORT, 'no'); END"]
    yield "trigger that dooms", ["CREATE TRIGGER evil AFTER INSERT ON refs BEGIN DELETE FROM refs; "
                                 "UPDATE documents SET doomed = 1; END"]  # fmt: skip
    yield "trigger that loads", ["CREATE TRIGGER evil AFTER INSERT ON refs BEGIN SELECT load_extension('/x/y'); END"]
    yield "trigger that writes", ["CREATE TRIGGER evil AFTER INSERT ON refs BEGIN SELECT writefile('/x/y', 'z'); END"]
    yield (
        "trigger without an end",
        ["CREATE TRIGGER evil AFTER UPDATE ON totals BEGIN UPDATE totals SET refs = refs + 1; END"],
    )
    yield "trigger that grows", ["CREATE TRIGGER evil AFTER INSERT ON refs BEGIN UPDATE workspaces SET name = "
                                 "hex(zeroblob(40000000)) WHERE id = NEW.workspace_id; END"]  # fmt: skip
    yield "trigger that undooms", ["CREATE TRIGGER evil AFTER UPDATE OF doomed ON documents BEGIN "
                                   "UPDATE documents SET doomed = 0; END"]  # fmt: skip
    yield (
        "version that always changes",
        [
            "CREATE TRIGGER evil AFTER UPDATE ON totals BEGIN UPDATE workspaces SET version = version + 1; END",
            "UPDATE subindexes SET index_hash = hex(zeroblob(32))",
        ],
    )


def catalogs() -> Iterator[tuple[str, Callable[[Victim], None]]]:
    """The catalog as a file."""
    other = b"another file altogether, and no database at all. " * 100
    for name, data in [("empty", b""), ("one byte", b"x"), ("garbage", other), ("random",
                  random.Random(1).randbytes(90_000)),
                       ("only a header", b"SQLite format 3\0" + b"\0" * 84)]:  # fmt: skip
        yield f"catalog {name}", partial(_write_catalog, data=data)
    for tenth in range(1, 10):
        yield f"catalog cut at {tenth}0 %", partial(_cut, tenth=tenth)
    for seed in range(int(os.environ.get("DOCSTORE_FLIPS", "60"))):
        yield f"catalog, flips {seed}", partial(flip, seed=seed)
    yield "catalog of another program", _foreign
    yield "write-ahead log of garbage", lambda victim: _beside(victim, "-wal", random.Random(2).randbytes(50_000))
    yield "journal of garbage", lambda victim: _beside(victim, "-journal", random.Random(3).randbytes(50_000))
    yield "catalog is a folder", _make_folder


def _make_folder(victim: Victim) -> None:
    (victim.folder / "catalog.db").unlink()
    (victim.folder / "catalog.db").mkdir()


def _write_catalog(victim: Victim, data: bytes) -> None:
    (victim.folder / "catalog.db").write_bytes(data)


def _beside(victim: Victim, suffix: str, data: bytes) -> None:
    (victim.folder / f"catalog.db{suffix}").write_bytes(data)


def _cut(victim: Victim, tenth: int) -> None:
    data = (victim.folder / "catalog.db").read_bytes()
    _write_catalog(victim, data[: len(data) * tenth // 10])


def flip(victim: Victim, seed: int) -> None:
    """Some bytes changed: a few anywhere, or many on one page, where a tree's structure is."""
    generator = random.Random(seed)
    data = bytearray((victim.folder / "catalog.db").read_bytes())
    page = generator.randrange(len(data) // 4096) * 4096
    for _ in range(generator.choice([1, 3, 30, 300])):
        position = generator.randrange(len(data)) if seed % 2 else page + int(generator.triangular(0, 4096, 0)) % 4096
        data[position] = generator.choice(
            [0, 255, data[position] ^ 1 << generator.randrange(8), generator.randrange(256)]
        )
    _write_catalog(victim, bytes(data))


def _foreign(victim: Victim) -> None:
    (victim.folder / "catalog.db").unlink()
    connection = sqlite3.connect(victim.folder / "catalog.db")
    connection.execute("CREATE TABLE documents (hash TEXT)")
    connection.close()


def indexes() -> Iterator[tuple[str, bytes]]:
    """Index files that FAISS's reader takes for other things, or that lie about what they hold."""
    vectors = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    good = faiss.IndexScalarQuantizer(64, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    good.add(vectors)
    whole = faiss.serialize_index(good).tobytes()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # for such small ones, threads mostly wait for each other
    for name in ("Flat", "HNSW8,Flat", "IVF1,Flat", "PQ8x4", "LSH", "SQ8", "SQ4", "SQbf16", "IDMap,Flat", "IDMap2,Flat",
                 "PCA32,Flat", "L2norm,Flat", "RaBitQ", "PQ4x4fs", "RQ2x4", "ITQ32,LSH",
                 "IVF1,PQ8x4"):  # fmt: skip
        index = faiss.index_factory(64, name)
        if hasattr(index, "do_polysemous_training"):
            index.do_polysemous_training = False  # seconds, to number the centroids in another order
        index.train(np.tile(vectors, (220, 1)))
        if name.startswith("IDMap"):
            index.add_with_ids(vectors, np.arange(3))
        else:
            index.add(vectors)
        yield f"a {name}", faiss.serialize_index(index).tobytes()
        yield f"a {name}, cut", faiss.serialize_index(index).tobytes()[:-7]
    faiss.omp_set_num_threads(threads)
    # d, ntotal, two dummies, trained, metric; then the quantiser's type, range, range argument, d, code size, …
    for offset, kind, field in [(4, "<i", "d"), (8, "<q", "ntotal"), (16, "<q", "dummy"), (32, "<b", "trained"),
                                (33, "<i", "metric"), (37, "<i", "qtype"), (41, "<i", "range"), (49, "<q", "inner d"),
                                (57, "<q", "code size"), (65, "<q", "length"), (73, "<q", "length 2")]:  # fmt: skip
        for value in (-1, 0, 1, 2, 63, 65, 2**31 - 1, 2**40, 2**62):
            packed = struct.pack(kind, max(min(value, 2 ** (8 * struct.calcsize(kind) - 1) - 1), -1))
            yield f"{field} of {value}", whole[:offset] + packed + whole[offset + len(packed) :]
    for fourcc in ("IxFI", "IxF2", "IxFl", "IxHE", "IxLS", "IxPQ", "IxPq", "IvFl", "IwFl", "IwSQ", "IwPQ", "IHNf",
                  "IHNs", "INSf",
                   "IxMp", "IxM2", "IxPT", "IxRF", "ImIQ", "IwPf", "IPfs", "IxRs", "IxLc", "IxRq", "IwRq", "Ixrq",
                                 "IBxF", "IBwF",
                   "IBHf", "VTLs", "PcAm", "null", "NULL", "\0\0\0\0"):  # fmt: skip
        yield f"called {fourcc!r}", fourcc.encode() + whole[4:]
        yield f"called {fourcc!r}, of huge numbers", fourcc.encode() + whole[4:37] + b"\xff\xff\xff\x7f\0\0\0\x40" * 30
    yield "empty", b""
    for length in (1, 4, 8, 36, 37, 60, len(whole) - 1):
        yield f"cut at {length}", whole[:length]
    yield "longer by a byte", whole + b"\0"
    yield "without vectors", whole[:8] + b"\0" * 8 + whole[16:]


def spans() -> Iterator[tuple[str, bytes]]:
    """Files of spans that NumPy would read as something else, or not at all."""

    def npy(header: str, data: bytes = b"\0" * 60, version: bytes = b"\1\0") -> bytes:
        padded = header.encode() + b" " * (117 - len(header)) + b"\n"
        return b"\x93NUMPY" + version + struct.pack("<H", len(padded)) + padded + data

    kind = "[('start', '<u4'), ('end', '<u4'), ('first_byte', '<u4'), ('last_byte', '<u4'), ('page', '<u4')]"
    for name, descr, shape in [
        ("objects", "'|O'", "(3,)"), ("object in a record", "[('start','|O')]", "(1,)"), ("huge", kind, f"({2**62},)"),
        ("huge, two ways", kind, f"({2**40}, {2**40})"), ("negative", kind, "(-1,)"), ("no shape", kind, "()"),
        ("floats", "'<f8'", "(3,)"), ("strings", "'<U1000000000'", "(1,)"), ("big-endian", kind.replace("<", ">"),
        "(3,)"),
        ("code", "__import__('os').system('touch /tmp/evil')", "(3,)"), ("void", "'|V1000000000'", "(9,)"),
        ("nested", "(" * 40 + "'<u4'" + ")" * 40, "(3,)"), ("three", kind, "(3,)"), ("lengths", kind,
        "(" + "9" * 60 + ",)"),
    ]:  # fmt: skip
        yield f"spans of {name}", npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")
    for value in (0, 1, 2**31, 2**32 - 1):
        record = struct.pack("<5I", value, 5, value, 5, value)
        yield f"spans from {value}", npy(f"{{'descr': {kind}, 'fortran_order': False, 'shape': (1,), }}", record)
        record = struct.pack("<5I", 0, value, 0, value, 1)
        yield f"spans to {value}", npy(f"{{'descr': {kind}, 'fortran_order': False, 'shape': (1,), }}", record)
    yield (
        "a pickle",
        b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
    )
    yield "a zip", b"PK\x03\x04" + b"\0" * 100
    yield "an empty file", b""


def texts() -> Iterator[tuple[str, bytes]]:
    """Compressed texts that are damaged, or become gigabytes."""
    from docstore.texts import Text, compress

    whole = compress(Text.of("lorem ipsum 0 \n" * 4000))
    yield "text, empty", b""
    for length in (1, 5, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        yield f"text, cut at {length}", whole[:length]
    generator = random.Random(5)
    for number in range(30):
        data = bytearray(whole)
        for _ in range(1 + number % 5):
            # The table of frames is at the end: half of the changes hit it.
            data[-1 - generator.randrange(len(data) if number % 2 else 40)] = generator.choice([0, 1, 127, 128, 255])
        yield f"text, changed {number}", bytes(data)
    for number in range(5):  # several frames, so that not all of it is damaged at once
        yield f"text of frames {number}", compress(Text.of(generator.randbytes(50_000).hex()))
    yield "text without a table", zstd.compress(b"lorem ipsum " * 100)
    bomb = zstd.compress(b"\0" * (64 << 20)) * 64
    yield "text of 4 GB without a table", bomb
    frame = zstd.compress(b"\0" * (1 << 30), 1)
    for said in (1 << 30, 100, 32 * 1024, 0xFFFFFFFF):
        entries = struct.pack("<II", len(frame), said) * 4
        table = struct.pack("<II", 0x184D2A5E, len(entries) + 9) + entries + struct.pack("<IBI", 4, 0, 0x8F92EAB1)
        yield f"text of 4 GB, {said} each", frame * 4 + table
    entries = struct.pack("<II", 0, 0xFFFFFFFF) * 1000
    table = struct.pack("<II", 0x184D2A5E, len(entries) + 9) + entries + struct.pack("<IBI", 1000, 0, 0x8F92EAB1)
    yield "text of empty frames", table
    yield "text of a billion frames", whole[:-9] + struct.pack("<IBI", 10**9, 0, 0x8F92EAB1)
