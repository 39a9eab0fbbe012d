"""Mutants of connections and transactions, and of claims."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CATALOG_LOCKS = "tests/test_catalog_locks.py"
_FORKING = "tests/test_forking.py"
_CLAIMS = "tests/test_claims.py"
_DAMAGE = "tests/test_damage.py"
_DURABILITY = "tests/test_durability.py"
_FORCED_RACES = "tests/test_forced_races.py"
_REFCOUNT = "tests/test_refcount.py"
_FULL = (f"{_CATALOG_LOCKS}::test_on_a_full_disk_the_log_is_emptied_before_and_after_every_transaction",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "another-folders-files-are-changed", "database.py",
        "if self._file is not None and self._file_now() != self._file:", "if False:",
        "who had a store open collects all of the backup that was put in its place",
        ("tests/test_exchanged.py::test_who_had_it_open_is_told_to_open_it_again",),
    ),
    Mutant(
        "a-catalog-of-others-is-opened", "database.py",
        "            if not new and not os.access(",
        "            if new and not os.access(",
        "a log of who may not write the catalog keeps its owner from writing",
        ("tests/test_permissions.py::test_a_catalog_that_may_not_be_written_is_not_opened_for_writing",),
    ),
    Mutant(
        "begin-deferred", "database.py",
        'self._patiently(connection.execute, "BEGIN IMMEDIATE", deadline',
        'self._patiently(connection.execute, "BEGIN", deadline',
        "what is checked may change before the act",
        (f"{_CATALOG_LOCKS}::test_one_writer_at_a_time",),
    ),
    Mutant(
        "synchronous-normal", "database.py",
        '"synchronous = FULL"',
        '"synchronous = NORMAL"',
        "the last commits may be lost after their files were unlinked",
        (f"{_REFCOUNT}::test_connections_are_durable_and_checked",),
    ),
    Mutant(
        "synchronous-off", "database.py",
        '"synchronous = FULL"',
        '"synchronous = OFF"',
        "commits may be lost, and the catalog damaged",
        (f"{_REFCOUNT}::test_connections_are_durable_and_checked",),
    ),
    Mutant(
        "foreign-keys-off", "database.py",
        '"foreign_keys = ON"',
        '"foreign_keys = OFF"',
        "a referenced document can be deleted",
        (f"{_REFCOUNT}::test_connections_are_durable_and_checked",),
    ),
    Mutant(
        "recursive-triggers-off", "database.py",
        '"recursive_triggers = ON"',
        '"recursive_triggers = OFF"',
        "REPLACE deletes rows uncounted",
        (f"{_CATALOG_LOCKS}::test_replacing_a_reference_counts_the_one_that_goes",),
    ),
    Mutant(
        "fullfsync-off", "database.py",
        '"fullfsync = ON"',
        '"fullfsync = OFF"',
        "on macOS commits stay in the drive's cache",
        (f"{_REFCOUNT}::test_connections_are_durable_and_checked",),
    ),
    Mutant(
        "schema-trusted", "database.py",
        '"trusted_schema = OFF"',
        '"trusted_schema = ON"',
        "a catalog that was tampered with can call functions",
        (f"{_REFCOUNT}::test_connections_are_durable_and_checked",),
    ),
    Mutant(
        "catalog-entry-not-synced", "database.py",
        "                sync_directory(self.path.parent)",
        "                pass",
        "a new catalog may be lost",
        (f"{_DURABILITY}::test_a_new_stores_own_entry_is_synced",),
    ),
    Mutant(
        "threads-do-not-queue", "database.py",
        "            if not self._writing.acquire(timeout=timeout):",
        "            if not self._writing.acquire(blocking=False) and False:",
        "threads of one process starve each other",
        (f"{_CATALOG_LOCKS}::test_threads_of_one_store_queue_before_sqlite",),
    ),
    Mutant(
        "failed-connections-are-reused", "pool.py",
        "            discard(connection)  # whatever state an error left it in, the next user gets a fresh one\n"
        "            raise",
        "            self._idle.append(connection)\n            raise",
        "the next user of the connection commits what failed",
        (f"{_CATALOG_LOCKS}::test_what_failed_is_rolled_back",),
    ),
    Mutant(
        "never-committed", "database.py",
        '                connection.execute("COMMIT")',
        "                pass",
        "nothing is ever stored",
        (f"{_CATALOG_LOCKS}::test_what_failed_is_rolled_back",),
    ),
    Mutant(
        "reads-are-no-snapshot", "database.py",
        "            if not (self._readonly and connection.in_transaction):  # one that is shared has begun\n"
        '                connection.execute("BEGIN")\n'
        "            try:\n"
        "                self._begun(connection, self._timeout, tampered)\n"
        "                yield connection\n"
        "            finally:",
        "            try:\n"
        "                self._begun(connection, self._timeout, tampered)\n"
        "                yield connection\n"
        "            finally:",
        "what is read inside is of several moments",
        (f"{_CATALOG_LOCKS}::test_a_read_is_of_one_moment",),
    ),
    Mutant(
        "reads-never-end", "database.py",
        "                if connection.in_transaction:  # SQLite ends it itself where it cannot read\n"
        '                    connection.execute("ROLLBACK")',
        "                pass",
        "a pooled connection is stuck in the past",
        (f"{_CATALOG_LOCKS}::test_a_read_is_of_one_moment",),
    ),
    Mutant(
        "connections-carried-over-fork", "pool.py",
        "        self._guard.acquire()\n        self._close_idle()", "        self._guard.acquire()",
        "child and parent use one connection, and what a child commits is lost with its parent's log",
        (
            f"{_FORKING}::test_a_child_has_no_connection_of_its_parent",
            f"{_FORKING}::test_what_a_child_commits_outlives_its_parents_store",
        ),
    ),
    Mutant(
        "locks-carried-over-fork", "pool.py",
        "        in_child(self._make_lock)\n", "",
        "a child's threads wait for ever",
        (f"{_FORKING}::test_every_thread_of_a_child_can_use_the_store",),
    ),
    Mutant(
        "pool-taken-from-without-lock", "pool.py",
        "        with self._guard:\n"
        "            self.require_open()",
        "        if True:\n"
        "            self.require_open()",
        "two threads take the last connection",
        (f"{_CATALOG_LOCKS}::test_two_threads_take_the_last_idle_connection",),
    ),
    Mutant(
        "pool-given-back-without-lock", "pool.py",
        "        with self._guard:\n"
        "            if not self._closed and len(self._idle) < _MOST_IDLE:\n"
        "                self._idle.append(connection)",
        "        if True:\n"
        "            if not self._closed and len(self._idle) < _MOST_IDLE:\n"
        "                self._idle.append(connection)",
        "a connection outlives its closed store",
        (f"{_CATALOG_LOCKS}::test_a_connection_in_use_closes_with_the_store",),
    ),
    Mutant(
        "emptied-catalog-accepted", "database.py",
        "            if has_documents and schema.is_empty(connection):",
        "            if False:",
        "the next collection deletes every document of a lost catalog",
        (f"{_DAMAGE}::test_a_truncated_catalog",),
    ),
    Mutant(
        "documents-looked-for-last", "database.py",
        "            if has_documents and schema.is_empty(connection):",
        "            if schema.is_empty(connection) and any(\n"
        '                (self.path.parent / name).exists() for name in ("documents", "texts", "embeddings", ARCHIVE)\n'
        "            ):",
        "a store that another process just made is refused as lost",
        (f"{_CATALOG_LOCKS}::test_a_store_that_is_made_while_it_is_opened",),
        (
            (
                '            has_documents = any(\n'
                '                (self.path.parent / name).exists() for name in ("documents", "texts", '
                '"embeddings", ARCHIVE)\n'
                '            )\n',
                "",
            ),
        ),
    ),
    Mutant(
        "no-patience-for-the-write-lock", "database.py",
        'self._patiently(connection.execute, "BEGIN IMMEDIATE", deadline - time.monotonic())',
        'connection.execute("BEGIN IMMEDIATE")',
        "the second writer fails instead of waiting",
        (f"{_CATALOG_LOCKS}::test_a_writer_waits_for_another",),
    ),
    Mutant(
        "a-timeout-for-threads-and-one-for-processes", "database.py",
        '"BEGIN IMMEDIATE", deadline - time.monotonic())', '"BEGIN IMMEDIATE", timeout)',
        "a write waits for twice as long as was asked for",
        (f"{_CATALOG_LOCKS}::test_threads_and_processes_are_waited_for_as_long_together",),
    ),
    Mutant(
        "no-patience-for-giving-back", "database.py",
        "while catalog_log.empty(connection) and", "while catalog_log.empty(connection) and False and",
        "beside a reader what was deleted stays in the log until somebody collects again",
        (f"{_CATALOG_LOCKS}::test_a_collection_waits_a_moment_for_those_who_read",),
    ),
    Mutant(
        "no-patience-for-giving-pages-back", "database.py",
        "self._patiently(connection.executescript, part, deadline - time.monotonic())",
        "connection.executescript(part)",
        "beside a writer what was deleted stays in the catalog until somebody collects again",
        (f"{_CATALOG_LOCKS}::test_a_collection_waits_a_moment_for_those_who_write",),
    ),
    Mutant(
        "no-patience-for-the-first-lock", "database.py",
        'self._patiently(connection.execute, "PRAGMA journal_mode = WAL", self._timeout)',
        'connection.execute("PRAGMA journal_mode = WAL")',
        "of two who create a store, one fails",
        (f"{_CATALOG_LOCKS}::test_creating_waits_for_another_who_creates",),
    ),
    Mutant(
        "no-patience-for-reading", "database.py",
        'self._patiently(connection.execute, "PRAGMA schema_version", timeout)',
        'connection.execute("PRAGMA schema_version")',
        "who reads while another recovers from a crash fails",
        (f"{_CATALOG_LOCKS}::test_who_reads_or_writes_waits_for_who_recovers",),
    ),
    Mutant(
        "no-patience-for-opening", "database.py",
        'connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")', "pass",
        "of two who create a store, one fails",
        (f"{_CATALOG_LOCKS}::test_opening_waits_for_another_who_creates",),
    ),
    Mutant(
        "patience-of-sqlites", "database.py",
        '            connection.execute("PRAGMA busy_timeout = 0")  # see', "            pass  # see",
        "a writer holds up a collection's end, and a reader every change on a full disk",
        (
            f"{_CATALOG_LOCKS}::test_compacting_waits_for_no_writer",
            f"{_CATALOG_LOCKS}::test_emptying_the_log_waits_for_no_reader",
        ),
    ),
    Mutant(
        "patience-of-sqlites-after-opening", "database.py",
        '        yield\n        connection.execute("PRAGMA busy_timeout = 0")\n', "        yield\n",
        "the same of the connection that a store was opened with",
        (
            f"{_CATALOG_LOCKS}::test_compacting_waits_for_no_writer",
            f"{_CATALOG_LOCKS}::test_emptying_the_log_waits_for_no_reader",
        ),
    ),
    Mutant(
        "migrated-outside-a-transaction", "database.py",
        "            with self.write(tampered=True) as db:\n                schema.migrate(db)",
        "            with self._connection() as connection:\n"
        "                schema.migrate(connection)",
        "two who create at once fail, or leave half a schema",
        (f"{_CATALOG_LOCKS}::test_a_schema_is_made_in_one_transaction",),
    ),
    Mutant(
        "takeover-asks-for-no-sweep", "claims.py",
        '    request_sweep(db)\n    db.execute("UPDATE claims SET owner = ?',
        '    db.execute("UPDATE claims SET owner = ?',
        "files of the crashed owner stay for ever",
        (f"{_FORCED_RACES}::test_files_of_an_owner_whose_claim_was_taken_over_are_swept",),
    ),
    Mutant(
        "takeover-is-not-noted", "claims.py",
        '    db.execute("UPDATE claims SET owner = ? WHERE key = ?", (owner, key))\n',
        "",
        "everybody takes over the same claim",
        (f"{_FORCED_RACES}::test_a_claim_is_taken_over_once",),
    ),
    Mutant(
        "claims-of-the-living-are-stolen", "claims.py",
        '    if is_alive(held["owner"]):\n'
        "        return False\n",
        "",
        "the same is embedded twice",
        (f"{_CLAIMS}::test_threads_that_add_the_same_embed_it_once",),
    ),
    Mutant(
        "dead-claims-ask-for-no-sweep", "claims.py",
        "    for owner in dead:\n"
        "        request_sweep(db)\n",
        "    for owner in dead:\n",
        "files of a crashed owner stay for ever",
        (f"{_FORCED_RACES}::test_files_of_a_dead_owner_are_swept",),
    ),
    Mutant(
        "living-claims-are-discarded", "claims.py",
        ' if not is_alive(owner["owner"])]',
        "]",
        "a collection takes claims from the living",
        (f"{_FORCED_RACES}::test_a_collection_leaves_the_claims_of_the_living",),
    ),
    Mutant(
        "release-forgets", "claims.py",
        '    db.executemany("DELETE FROM claims WHERE key = ? AND owner = ?", [(key, owner) for key in keys])',
        "    list(keys)",
        "every add looks like a crash",
        (f"{_CLAIMS}::test_a_failed_add_asks_for_no_sweep",),
    ),
    Mutant(
        "claim-checked-in-a-transaction-of-its-own", "claims.py",
        "    # The dead owner may have renamed",
        '    db.execute("COMMIT")\n'
        '    db.execute("BEGIN IMMEDIATE")\n'
        "    # The dead owner may have renamed",
        "two take one claim",
        (f"{_DURABILITY}::test_checks_share_a_transaction_with_what_rests_on_them",),
    ),
    Mutant(
        "bulk-additions-stay-in-the-log", "database.py",
        "        if unmoved <= _MOST_UNMOVED:\n", "        if unmoved >= 0:\n",
        "a disk that an addition has filled lets nothing be deleted",
        ("tests/test_reserve.py::test_the_reserve_has_room_for_what_the_log_makes_the_catalog_grow_by",),
    ),
    Mutant(
        "reserve-lent-once", "reserve.py",
        "(wait := next(waits, None)) is None", "(wait := 1)",
        "of processes that free space on a full disk one fails, because another was done",
        ("tests/test_reserve.py::test_where_somebody_else_took_what_was_lent_it_is_tried_again",),
    ),
    Mutant(
        "a-long-document-is-collected-at-once", "lifecycle/collect.py",
        "            if pages > _FRUGAL_PAGES:\n", "            if False:\n",
        "on a full disk a document of many chunks cannot be deleted",
        ("tests/test_full_disk.py::test_a_collection_commits_little_at_a_time",),
    ),
    Mutant(
        "digests-that-are-needed-go", "contents.py",
        "    if not text.condemned:\n        return 0\n", "",
        "after a collection on a full disk chunks that are stored are embedded again",
        ("tests/test_full_disk.py::test_digests_of_a_text_that_another_document_has_stay",),
    ),
    Mutant(
        "dropping-takes-the-room-to-collect", "parts.py",
        "            self.reserve.require_room_to_collect()\n", "            pass\n",
        "on a full disk what is dropped takes what collecting needs, and nothing can be deleted any more",
        ("tests/test_full_disk.py::test_references_are_dropped_while_what_had_them_can_be_collected",),
    ),
    Mutant(
        "nothing-is-dropped-without-room-to-collect", "parts.py",
        "if self.database.is_frugal and refcount.is_any_unreferenced(db):", "if self.database.is_frugal:",
        "on a full disk nothing can be dropped where there is nothing to collect yet",
        ("tests/test_full_disk.py::test_references_are_dropped_while_what_had_them_can_be_collected",),
    ),
    Mutant(
        "many-are-dropped-at-once-on-a-full-disk", "workspace_references.py",
        "_FRUGALLY if self._parts.database.is_frugal else _AT_ONCE", "_AT_ONCE",
        "a commit that drops many does not fit into the reserve",
        ("tests/test_full_disk.py::test_many_are_dropped_a_few_at_a_time",),
    ),
    Mutant(
        "log-grows-on-a-full-disk", "database.py",
        "                if self._frugal:\n                    with",
        "                if False:\n                    with",
        "the log takes what room the reserve gave, and nothing more can be deleted",
        _FULL,
    ),
    Mutant(
        "log-grows-beside-a-reader", "database.py",
        "                    catalog_log.require_room(connection, self.path, deadline)\n", "                    pass\n",
        "a process that was stopped while it read leaves a full disk on which nothing can be deleted",
        ("tests/test_catalog_locks.py::test_on_a_full_disk_the_log_does_not_grow_beside_a_reader",),
    ),
    Mutant(
        "log-kept-on-a-full-disk", "database.py",
        "        with contextlib.suppress(StorageError), self._connection() as connection:\n"
        "            catalog_log.empty(connection)\n        with self._counting:\n            self._frugal += 1\n",
        "        with self._counting:\n            self._frugal += 1\n",
        "the log that has grown keeps the room that deleting needs",
        _FULL,
    ),
    Mutant(
        "frugal-for-ever", "database.py",
        "                self._frugal -= 1\n",
        "                pass\n",
        "every commit waits for a checkpoint",
        _FULL,
    ),
    Mutant(
        "statistics-count-references", "store_maintenance.py",
        "            totals = row(\n",
        "            db.execute('SELECT count(*) FROM refs')\n            totals = row(\n",
        "what stats() costs grows with the store",
        ("tests/test_query_plans.py::test_no_call_goes_through_a_table_that_grows",),
    ),
)  # fmt: skip
