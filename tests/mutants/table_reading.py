"""Mutants of the reserve, and of reading: files, packed pieces, the catalog without a lock."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FORKING = "tests/test_forking.py"
_COLLECT = "tests/test_collect.py"
_DOCUMENTS = "tests/test_documents.py"
_DURABILITY = "tests/test_durability.py"
_FORCED_RACES = "tests/test_forced_races.py"
_FROZEN = "tests/test_frozen.py"
_BESIDE = "tests/test_read_beside_writers.py"
_RESERVE = "tests/test_reserve.py"
_VIEWS = "tests/test_views.py"
_ARCHIVE_READERS = "tests/test_archive_readers.py"
_SUBINDEX = "tests/test_subindex.py"
_ORIGINALS = "tests/test_originals.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "store-folder-not-synced", "store.py",
        "            sync_directory(folder)",
        "            pass",
        "a new store may be lost whole",
        (f"{_DURABILITY}::test_a_new_stores_own_entry_is_synced",),
    ),
    Mutant(
        "reserve-kept-on-a-full-disk", "reserve.py",
        "            with contextlib.suppress(OSError):\n"
        "                self._path.unlink()\n"
        "        # Where",
        "        # Where",
        "on a full disk nothing can be deleted",
        (f"{_RESERVE}::test_the_reserve_is_lent_and_filled_again",),
    ),
    Mutant(
        "reserve-not-filled-again", "reserve.py",
        "        finally:\n            self.fill()",
        "        finally:\n            pass",
        "the next full disk finds no reserve until the store is opened again",
        (f"{_RESERVE}::test_the_reserve_is_lent_and_filled_again",),
    ),
    Mutant(
        "reserve-lent-for-any-error", "reserve.py",
        "                if self._readonly or not _is_full(error):",
        "                if self._readonly:",
        "an operation that failed for another reason runs twice",
        (f"{_RESERVE}::test_the_reserve_is_lent_and_filled_again",),
    ),
    Mutant(
        "reserve-filled-in-part", "reserve.py",
        "                self._path.unlink(missing_ok=True)  # a part",
        "                pass  # a part",
        "a part of the reserve takes the room that deleting needs",
        (f"{_RESERVE}::test_a_reserve_that_does_not_fit_leaves_nothing",),
    ),
    Mutant(
        "beside-a-writer-everything-is-copied", "readonly.py",
        "        shared = self._shared()\n", "        shared = None\n",
        "reading costs as much as the catalog is large",
        (f"{_BESIDE}::test_a_read_is_of_one_moment_whatever_is_written_and_collected_meanwhile",),
    ),
    Mutant(
        "what-needs-writing-is-an-error", "readonly.py",
        "                    if code & 0xFF in _NOT_SHARED or code in _NO_MEMORY:", "                    if False:",
        "a store that a crash left can be read by none but its owner",
        (f"{_BESIDE}::test_what_sqlite_could_only_read_after_writing_is_copied",),
    ),
    Mutant(
        "files-of-a-reader-keep-the-owner-out", "readonly.py",
        "(_may_write(path) or not _may_write(path.parent)) and ", "",
        "a look at a store makes it unwritable for those who may write",
        (f"{_BESIDE}::test_who_may_not_write_the_catalog_makes_no_file_beside_it",),
    ),
    Mutant(
        "shared-memory-over-a-network", "readonly.py",
        " and not self._networks[catalog.st_dev]", "",
        "another host's changes are seen in part",
        (f"{_BESIDE}::test_over_a_network_it_is_read_without_locks",),
    ),
    Mutant(
        "a-closing-writer-is-not-waited-for", "readonly.py",
        "            is_busy = code & 0xFF == sqlite3.SQLITE_BUSY and waited < self._timeout\n",
        "            is_busy = False\n",
        "a look at a store fails when a program ends",
        (f"{_BESIDE}::test_a_writer_that_is_closing_is_waited_for",),
    ),
    Mutant(
        "what-sqlite-says-in-vain-is-believed", "readonly.py",
        "(code not in _SPURIOUS or waited > _SPURIOUS_SECONDS)", "True",
        "the catalog is copied now and then, as often as others commit",
        (f"{_BESIDE}::test_what_sqlite_says_in_vain_while_others_commit",),
    ),
    Mutant(
        "the-log-of-a-lost-catalog-is-deleted", "readonly.py",
        " or not catalog.st_size:", ":",
        "a look at a damaged store deletes what could be restored",
        (f"{_BESIDE}::test_the_log_of_a_catalog_that_was_lost_stays",),
    ),
    Mutant(
        "a-log-is-what-has-its-name", "readonly.py",
        "        if begins not in (b\"\", _MAGIC) or not", "        if not",
        "each look at a damaged store takes ten seconds",
        (f"{_BESIDE}::test_a_log_with_a_damaged_beginning_is_not_read_again_and_again",),
    ),
    Mutant(
        "shared-memory-is-whatever-has-its-name", "readonly.py",
        "stat.S_ISREG(each.st_mode) and each.st_nlink == 1 for each", "each for each",
        "who reads a hostile store overwrites a file elsewhere, or hangs",
        (
            f"{_BESIDE}::test_what_shared_memory_is_linked_to_is_not_written",
            f"{_BESIDE}::test_a_pipe_in_the_place_of_a_file_is_not_waited_for",
        ),
    ),
    Mutant(
        "a-child-writes-under-its-parents-locks", "pool.py",
        "    if file in inherited_files:", "    if False:",
        "what a child commits is lost, and nothing says so",
        (f"{_FORKING}::test_a_child_may_not_write_what_a_thread_of_its_parent_was_reading",),
    ),
    Mutant(
        "a-child-uses-what-was-left-idle", "database.py",
        "(self._pool.leave_parent() or self._inside)", "self._inside",
        "what a child commits is lost, where a thread opened the store while it was forked",
        (f"{_FORKING}::test_a_child_is_refused_what_its_parent_left_idle",),
    ),
    Mutant(
        "a-child-reads-under-its-parents-locks", "readonly.py",
        "        if (catalog.st_dev, catalog.st_ino) in inherited_files:", "        if False:",
        "a child reads pages that are written anew meanwhile",
        (f"{_FORKING}::test_a_child_may_not_write_what_a_thread_of_its_parent_was_reading",),
    ),
    Mutant(
        "copies-stay-when-the-catalog-is-shared", "readonly.py",
        "        self.frozen.forget()", "        pass",
        "everybody's names and messages stay in a temporary folder",
        (f"{_BESIDE}::test_a_copy_goes_when_the_catalog_is_shared",),
    ),
    Mutant(
        "log-begun-anew-goes-unseen", "frozen.py",
        "    if now.log is None or state.log is None or now.log[3] != state.log[3]:",
        "    if now.log is None or state.log is None:",
        "a copy lacks what was checkpointed while it was made",
        (f"{_FROZEN}::test_a_log_that_is_begun_anew_while_it_is_copied",),
    ),
    Mutant(
        "every-clock-is-fine", "frozen.py",
        "(_TICK_NS if newest % _WHOLE_NS else _COARSE_TICK_NS)", "_TICK_NS",
        "where a file system counts seconds, a copy is of two moments, and kept",
        (f"{_FROZEN}::test_a_clock_that_counts_seconds_is_known_by_its_times",),
    ),
    Mutant(
        "log-copied-before-the-file", "frozen.py",
        "        data = immutable.serialize()\n"
        "    try:\n"
        '        log = Path(f"{path}-wal").read_bytes()\n',
        '        log = Path(f"{path}-wal").read_bytes()\n'
        "        data = immutable.serialize()\n"
        "    try:\n"
        "        pass\n",
        "old pages of the log cover new ones of the file",
        (f"{_FROZEN}::test_a_checkpoint_between_the_two_copies",),
    ),
    Mutant(
        "everything-is-settled", "frozen.py",
        "        return time.time_ns() - newest > (_TICK_NS if newest % _WHOLE_NS else _COARSE_TICK_NS)",
        "        return True",
        "a change within a tick of the clock is not seen",
        (f"{_FROZEN}::test_a_change_within_a_tick_of_the_clock",),
    ),
    Mutant(
        "overwriting-goes-unseen", "frozen.py",
        "            return _State.of(file_of(self._path)).file != image.state.file",
        "            return False",
        "a read without locks mixes two states",
        (f"{_FROZEN}::test_what_is_changed_while_it_is_read_is_refused",),
    ),
    Mutant(
        "changes-go-unseen", "frozen.py",
        "if self._image is None or not self._image.settled or self._image.state != state:",
        "if self._image is None:",
        "a reader never sees what others write",
        (f"{_FROZEN}::test_changes_are_seen",),
    ),
    Mutant(
        "frozen-lock-kept-over-fork", "frozen.py",
        "    def _leave_parent(self) -> None:\n"
        "        self._guard = threading.Lock()\n",
        "    def _leave_parent(self) -> None:\n",
        "a child forked while a thread looks hangs",
        (f"{_FROZEN}::test_a_child_forked_while_a_thread_looks",),
    ),
    Mutant(
        "a-file-that-is-read-keeps-commits-out", "cas.py",
        "            self._archive.let_writers()\n", "",
        "a slow disk makes everybody wait who adds",
        (f"{_ARCHIVE_READERS}::test_who_reads_files_meanwhile_lets_commits_in",),
    ),
    Mutant(
        "memory-shared-where-bytes-are-demanded", "parts.py",
        "        return workspace if self.demand_bytes else 0",
        "        return 0",
        "a search is faster because of what somebody else has read",
        (f"{_VIEWS}::test_where_bytes_are_demanded_nothing_is_shared",),
    ),
    Mutant(
        "codes-of-another-document", "segments.py",
        "            entries, parts = zip(*added)\n",
        "            entries, parts = [entry for entry, _ in added], read[: len(added)]\n",
        "a search scores one document with the vectors of another, where a thread was ahead",
        (f"{_ARCHIVE_READERS}::test_of_documents_that_are_appended_together_some_may_be_there",),
    ),
    Mutant(
        "all-indexes-in-one-statement", "subindexes.py",
        "(size > _CODES_TOGETHER or number - first == _INDEXES_TOGETHER)", "number - first == _INDEXES_TOGETHER",
        "a first search holds a whole workspace in memory twice",
        (f"{_ARCHIVE_READERS}::test_no_more_codes_are_in_memory_together_than_so_many_bytes",),
    ),
    Mutant(
        "decompresses-while-a-commit-waits", "passages.py",
        "    with files.open_all(lacking, texts.SUFFIX) as opened:\n",
        "    with files._archive.reading(), files.open_all(lacking, texts.SUFFIX) as opened:\n",
        "a commit waits until what a search found is decompressed",
        (f"{_ARCHIVE_READERS}::test_a_search_holds_up_no_commit_but_while_it_opens_texts",),
    ),
    Mutant(
        "reads-in-one-transaction-for-ever", "archive.py",
        "            self.let_writers()\n            return found", "            return found",
        "a commit waits for all of many looks",
        (f"{_ARCHIVE_READERS}::test_a_commit_waits_for_no_more_than_some_looks",),
    ),
    Mutant(
        "half-a-sub-index-is-intact", "parts.py",
        "        return files.intact(text.hash, INDEX_SUFFIX, row.index_size) and files.intact(\n"
        "            text.hash, SPANS_SUFFIX, row.spans_size\n"
        "        )",
        "        return files.intact(text.hash, INDEX_SUFFIX, row.index_size)",
        "lost spans are deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "source-not-compared", "ingest/source.py",
        "        if staged.hash != source.hash:",
        "        if not staged.hash:",
        "a blob under a hash that is not its own",
        (f"{_DOCUMENTS}::test_a_file_that_changes_while_it_is_added",),
    ),
    Mutant(
        "collected-while-opened-is-damage", "originals.py",
        "                before, found = found, _stored_now(parts, hash)\n", "                before = found\n",
        "reading what is collected meanwhile reports damage",
        (f"{_FORCED_RACES}::test_a_document_collected_while_it_is_opened_is_not_found",),
    ),
    Mutant(
        "added-again-while-opened-is-damage", "originals.py",
        "if (found.id, found.stored_at) == (before.id, before.stored_at):", "if found.hash == before.hash:",
        "reading what is collected and added again meanwhile reports damage",
        (f"{_FORCED_RACES}::test_a_document_collected_and_added_again_while_it_is_opened_is_read",),
    ),

    Mutant(
        "doomed-documents-can-be-read", "originals.py",
        "    if found is None or found.doomed:\n        raise not_stored",
        "    if found is None:\n        raise not_stored",
        "a document that is going is given out",
        (f"{_COLLECT}::test_a_doomed_document_is_a_miss",),
    ),
    Mutant(
        "workspaces-give-out-any-document", "workspace_documents.py",
        "        owner, _ = self._found(hash)\n", "        owner = self._id\n",
        "who knows a hash reads what others have stored",
        (f"{_ORIGINALS}::test_what_others_have_is_as_what_nobody_has",),
    ),
    Mutant(
        "reading-does-not-use-what-is-included", "workspace_documents.py",
        "        self._parts.accesses.note(self._id, owner)\n", "        self._parts.accesses.note(self._id)\n",
        "what somebody reads all the time through a grant expires",
        (f"{_ORIGINALS}::test_reading_what_is_included_uses_it",),
    ),
)  # fmt: skip
