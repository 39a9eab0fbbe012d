"""Mutants of the reserve, and of reading: files, packed pieces, the catalog without a lock."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FORKING = "tests/test_forking.py"
_COLLECT = "tests/test_collect.py"
_DOCUMENTS = "tests/test_documents.py"
_DURABILITY = "tests/test_durability.py"
_FORCED_RACES = "tests/test_forced_races.py"
_FROZEN = "tests/test_frozen.py"
_READONLY = "tests/test_readonly.py"
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
        "log-begun-anew-goes-unseen", "frozen.py",
        "    if now.log is None or state.log is None or now.log[3] != state.log[3]:",
        "    if now.log is None or state.log is None:",
        "a copy lacks what was checkpointed while it was made",
        (f"{_FROZEN}::test_a_log_that_is_begun_anew_while_it_is_copied",),
    ),
    Mutant(
        "file-written-anew-goes-unseen", "frozen.py",
        "    if not state.has_pages_in_log and now != state:", "    if False:",
        "a copy of the catalog is of two moments",
        (f"{_FROZEN}::test_a_file_that_is_written_while_it_is_copied",),
    ),
    Mutant(
        "an-empty-log-means-nobody-writes", "frozen.py",
        "not (self.has_pages_in_log or is_recent)", "not self.has_pages_in_log",
        "beside a writer that collects nearly every export of a read-only store fails",
        (f"{_FROZEN}::test_whoever_reads_beside_a_writer_is_not_disturbed",),
    ),
    Mutant(
        "every-clock-is-fine", "frozen.py",
        "(_TICK_NS if newest % _WHOLE_NS else _COARSE_TICK_NS)", "_TICK_NS",
        "where a file system counts seconds, a copy is of two moments, and kept",
        (f"{_FROZEN}::test_a_clock_that_counts_seconds_is_known_by_its_times",),
    ),
    Mutant(
        "copying-is-tried-for-ever", "frozen.py",
        "(not state.has_pages_in_log and time.monotonic() >= patience)", "False",
        "beside a program that collects often nothing can be read",
        (f"{_FROZEN}::test_where_a_copy_cannot_be_made_in_time_the_catalog_is_read_in_place",),
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
        "            return _State.of(self._file()).file != image.state.file",
        "            return False",
        "a read without locks mixes two states",
        (f"{_FROZEN}::test_what_is_changed_while_it_is_read_is_refused",),
    ),
    Mutant(
        "changes-go-unseen", "frozen.py",
        "if self._image is None or not self._image.settled or self._image.state != state:",
        "if self._image is None:",
        "a reader never sees what others write",
        (f"{_READONLY}::test_not_a_byte_beside_a_writer_whose_changes_are_seen",),
    ),
    Mutant(
        "frozen-lock-kept-over-fork", "frozen.py",
        "    def _leave_parent(self) -> None:\n"
        "        self._guard = threading.Lock()\n",
        "    def _leave_parent(self) -> None:\n",
        "a child forked while a thread looks hangs",
        (f"{_FORKING}::test_a_child_forked_while_locks_are_held_can_use_the_store",),
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
        "    if found is None or found.doomed:\n        raise DocumentNotFound",
        "    if found is None:\n        raise DocumentNotFound",
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
