"""Mutants of the reserve, of reading without a lock, of memory and of searching."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FORKING = "tests/test_forking.py"
_COLLECT = "tests/test_collect.py"
_DOCUMENTS = "tests/test_documents.py"
_DURABILITY = "tests/test_durability.py"
_FORCED_RACES = "tests/test_forced_races.py"
_READONLY = "tests/test_readonly.py"
_RESERVE = "tests/test_reserve.py"
_SEARCH = "tests/test_search.py"
_FILTERS = "tests/test_filters.py"
_VIEWS = "tests/test_views.py"
_DIFFERENCES = "tests/test_view_differences.py"
_ARCHIVE_READERS = "tests/test_archive_readers.py"
_NEAREST = "tests/test_nearest.py"
_ROUNDED = "tests/test_rounded.py"
_SUBINDEX = "tests/test_subindex.py"
_FOUND = "tests/test_found.py"

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
        "    if now is None or state.log is None or now[3] != state.log[3]:",
        "    if now is None or state.log is None:",
        "a copy lacks what was checkpointed while it was made",
        (f"{_READONLY}::test_a_log_that_is_begun_anew_while_it_is_copied",),
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
        (f"{_READONLY}::test_a_checkpoint_between_the_two_copies",),
    ),
    Mutant(
        "everything-is-settled", "frozen.py",
        "        return time.time_ns() - newest > _TICK_NS",
        "        return newest > 0",
        "a change within a tick of the clock is not seen",
        (f"{_READONLY}::test_a_change_within_a_tick_of_the_clock",),
    ),
    Mutant(
        "overwriting-goes-unseen", "frozen.py",
        "        return image.copied_to is None and _State.of(self._path).file != image.state.file",
        "        return False",
        "a read without locks mixes two states",
        (f"{_READONLY}::test_what_is_changed_while_it_is_read_is_refused",),
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
        "kept-without-lock", "memory.py",
        "        with self._guard:\n            self._forget(key)\n            if value",
        "        if True:\n            self._forget(key)\n            if value",
        "the cache loses count of its memory",
        (f"{_FORCED_RACES}::test_values_kept_at_once_are_all_counted",),
    ),
    Mutant(
        "chunks-are-shared-by-all", "found.py",
        "    places = list(zip(map(_SERIAL, owners), rows))", "    places = list(zip(repeat(0), rows))",
        "hits have the texts of others, or where bytes are demanded, show what others found",
        (f"{_FOUND}::test_where_bytes_are_demanded_nobody_reads_for_another",),
    ),
    Mutant(
        "chunks-outlive-their-cuts", "found.py",
        "    places = list(zip(map(_SERIAL, owners), rows))", "    places = list(zip(repeat(scope), keys, numbers))",
        "after a document was added again hits have the scores of its new chunks and the texts of its old ones",
        (f"{_FOUND}::test_a_text_that_is_cut_otherwise_has_other_chunks",),
    ),
    Mutant(
        "one-search-displaces-its-own-view", "found.py",
        "            if fits:\n", "            if True:\n",
        "a search of many hits makes the next read the whole workspace again",
        (f"{_FOUND}::test_a_search_of_many_hits_leaves_its_view_in_memory",),
    ),
    Mutant(
        "chunks-are-read-again", "found.py",
        "            parts.memory.put(places[at], chunk)\n", "            pass\n",
        "every search cuts the texts of its hits out of blocks again",
        (f"{_FOUND}::test_a_chunk_is_read_when_it_is_first_found",),
    ),
    Mutant(
        "what-is-found-often-goes-first", "memory.py",
        "            deque(map(self._values.move_to_end, kept), maxlen=0)\n", "",
        "what searches find most is forgotten before what nobody finds",
        (f"{_FOUND}::test_what_many_are_looked_up_together_is_used_last",),
    ),
    Mutant(
        "what-does-not-fit-displaces-all", "memory.py",
        "                return False  # not put and taken out again: all others would have gone before it\n",
        "                pass\n",
        "searching one workspace that does not fit makes all others slow",
        (f"{_VIEWS}::test_what_is_too_large_for_memory_displaces_nothing",),
    ),
    Mutant(
        "threads-read-the-same-at-once", "search.py",
        "                    if moment.is_large:\n", "                    if False:\n",
        "after a restart every request reads all of its workspace, and keeps its own copy of what others have too",
        (f"{_VIEWS}::test_threads_that_begin_at_once_read_a_document_once",),
    ),
    Mutant(
        "views-are-not-looked-for-again", "search.py",
        "                                moment = _look(parts, workspace, with_metadata)\n",
        "                                pass\n",
        "who has waited for a view to be made makes it again",
        (f"{_VIEWS}::test_threads_that_begin_at_once_read_a_document_once",),
    ),
    Mutant(
        "looks-twice-though-alone", "search.py",
        "                            if parts.views.made != made:", "                            if True:",
        "the first answer of every process takes a tenth longer",
        (f"{_VIEWS}::test_who_makes_a_large_view_alone_looks_once",),
    ),
    Mutant(
        "a-file-that-is-read-keeps-commits-out", "cas.py",
        "            self._archive.let_writers()\n", "",
        "a slow disk makes everybody wait who adds",
        (f"{_ARCHIVE_READERS}::test_who_reads_files_meanwhile_lets_commits_in",),
    ),
    Mutant(
        "a-child-waits-for-its-parents-helpers", "vectors.py",
        "os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))\n", "",
        "a child of a process that searched on several threads hangs",
        (f"{_FORKING}::test_a_child_works_where_its_parent_had_several_threads_of_faiss",),
    ),
    Mutant(
        "memory-shared-where-bytes-are-demanded", "parts.py",
        "        return workspace if self.demand_bytes else 0",
        "        return 0",
        "a search is faster because of what somebody else has read",
        (f"{_VIEWS}::test_where_bytes_are_demanded_nothing_is_shared",),
    ),
    Mutant(
        "documents-that-are-gone-are-found", "nearest.py",
        "        kept = slice(None) if selection is None else selection.has(rows)",
        "        kept = slice(None)",
        "a search finds what the workspace has removed",
        (f"{_VIEWS}::test_an_added_document_goes_to_the_tail",),
    ),
    Mutant(
        "equal-scores-cut-by-accident", "nearest.py",
        "(len(found) >= k and scores[-1] < found[k - 1])",
        "len(found) >= k",
        "which of equal scores are found depends on how documents lie in memory",
        (f"{_NEAREST}::test_a_product_gives_the_rows_and_scores_of_single_queries",),
    ),
    Mutant(
        "gone-and-found-by-two-stages", "nearest.py",
        "    return (rows if selection is None else rows[selection.has(rows)]), worst",
        "    return rows, worst",
        "a search of many rows finds what the workspace has removed",
        (f"{_NEAREST}::test_two_stages_pass_over_what_is_gone_or_came_later",),
    ),
    Mutant(
        "gone-and-found-by-product", "nearest.py",
        "    rows = None if selection is None else selection.rows\n",
        "    rows = None\n",
        "many queries at once find what the workspace has removed",
        (f"{_NEAREST}::test_a_product_gives_the_rows_and_scores_of_single_queries",),
    ),
    Mutant(
        "product-cuts-equal-scores", "nearest.py",
        "if count < reach else", "if count <= reach else",
        "which of equal scores many queries find depends on how documents lie in memory",
        (f"{_NEAREST}::test_a_product_gives_the_rows_and_scores_of_single_queries",),
    ),
    Mutant(
        "more-threads-than-queries", "vectors.py",
        "        with threads(len(some)):\n", "        with threads(64):\n",
        "a score's last bit depends on how many cores there are and on what else was asked for",
        (f"{_NEAREST}::test_fewer_queries_than_threads_get_the_scores_of_single_ones",),
    ),
    Mutant(
        "all-that-is-alike-is-copied", "nearest.py",
        "bisect_right(ends, begin + _COPIED, first)", "len(queries)",
        "many queries of a corpus of copies fill the memory",
        (f"{_NEAREST}::test_few_rows_are_copied_for_queries_together_however_many_are_alike",),
    ),
    Mutant(
        "many-queries-in-one-scan", "vectors.py",
        "_COMPONENTS_AT_ONCE = 64_000", "_COMPONENTS_AT_ONCE = 640_000",
        "a score's last bit depends on what else was asked for",
        (f"{_NEAREST}::test_a_scan_for_very_many_queries_gives_the_scores_of_single_ones",),
    ),
    Mutant(
        "codes-of-another-document", "subindexes.py",
        "files.read_all_checked(INDEX_SUFFIX, wanted), number)", "files.read_all_checked(INDEX_SUFFIX, wanted))",
        "a search scores one document with the vectors of another, where a thread was ahead",
        (f"{_ARCHIVE_READERS}::test_of_indexes_that_are_read_together_some_may_not_be_asked_for",),
    ),
    Mutant(
        "all-indexes-in-one-statement", "subindexes.py",
        "            if wanted and size > _CODES_TOGETHER:\n                break\n", "",
        "a first search holds a whole workspace in memory twice",
        (f"{_ARCHIVE_READERS}::test_no_more_codes_are_in_memory_together_than_so_many_bytes",),
    ),
    Mutant(
        "filtered-after-the-top-k", "nearest.py",
        "        if len(scores) == total or (",
        "        if selection is not None or len(scores) == total or (",
        "a filtered search finds less than there is, where other documents are nearer",
        (f"{_FILTERS}::test_what_is_best_of_all_may_be_what_is_not_selected",),
    ),
    Mutant(
        "filters-kept-beyond-their-view", "filtered.py",
        "answer is not None and answer.view is self._view", "answer is not None",
        "what a filter chose before metadata or documents changed is searched",
        (f"{_FILTERS}::test_metadata_that_change_are_seen_by_the_next_search",),
    ),
    Mutant(
        "filters-of-another-thread's-view", "filtered.py",
        "        if answer.view not in views:\n            return {}\n",
        "        if answer.view not in views:\n            views = [answer.view, *views]\n",
        "of two threads that search after different changes, one finds what the other's filter chose",
        ("tests/test_filtered.py::test_of_two_views_of_one_neither_takes_the_others_answers",),
    ),
    Mutant(
        "changes-of-one-view-only", "filtered.py",
        "self._before[views.index(answer.view) :]", "self._before[-1:]",
        "a filter that was not used between two changes misses what the first brought",
        ("tests/test_filtered.py::test_any_history_asks_what_changed_and_nothing_else",),
    ),
    Mutant(
        "metadata-changes-unseen", "covered.py",
        "return both, now, is_first and len(both) > len(touched)", "return both, now, True",
        "a filter finds a document by the metadata that it had before",
        (f"{_FILTERS}::test_metadata_that_change_are_seen_by_the_next_search",),
    ),
    Mutant(
        "what-is-hidden-explains-a-change", "covered.py",
        "return both, now, is_first and len(both) > len(touched)", "return both, now, len(both) > len(touched)",
        "a filter finds a document by the metadata that it had before, where two call another one otherwise",
        (f"{_FILTERS}::test_metadata_that_change_are_seen_where_two_call_a_document_otherwise",),
    ),
    Mutant(
        "metadata-of-what-went-stay", "search.py",
        "            metadata.pop(each, None)\n", "            pass\n",
        "naming a document that was removed is no error, beside a filter that it does not pass",
        (f"{_FILTERS}::test_a_removed_document_is_unknown_beside_a_filter_too",),
    ),
    Mutant(
        "a-number-is-needed-as-it-is-spelled", "metadata.py",
        "isinstance(value, str | bool)", "isinstance(value, str | bool | float)",
        "a filter for 1.0 does not find 1",
        (f"{_FILTERS}::test_true_is_not_1_wherever_it_stands",),
    ),
    Mutant(
        "filters-taken-for-one-another", "search.py",
        "view.having(self.spelling, ", 'view.having("", ',
        "a search finds what another filter chose",
        (f"{_FILTERS}::test_a_filtered_search_equals_one_index_of_what_is_kept",),
    ),
    Mutant(
        "named-with-a-later-text", "views.py",
        "(position >= len(names) or names[position] is None)", "names[position] is None",
        "a document that is stored again, for whomever, cannot be named any more",
        (f"{_FILTERS}::test_a_document_that_was_stored_with_two_texts_is_found_with_the_one_it_has",),
    ),
    Mutant(
        "rounded-as-if-exact", "rounded.py",
        " - (unseen + math.sqrt(moved_query)) * (1 + inexact)", "",
        "a search of some thousand rows misses one of the best",
        (f"{_ROUNDED}::test_no_other_row_exceeds_the_bound",),
    ),
    Mutant(
        "rows-are-rounded-by-nothing", "rounded.py",
        "            self._moved = max(self._moved, float(moved.max()))\n",
        "            self._moved = float(moved.max())\n",
        "a search of some thousand rows misses one of the best",
        (f"{_ROUNDED}::test_the_bound_allows_for_what_rounding_did_to_rows",),
    ),
    Mutant(
        "earlier-rows-were-rounded-by-nothing", "rounded.py",
        "before.rows, before.moved, before.longest", "before.rows, 0.0, before.longest",
        "a search misses one of the best in a workspace that has grown",
        (f"{_ROUNDED}::test_the_bound_allows_for_what_rounding_did_to_rows",),
    ),
    Mutant(
        "queries-are-rounded-by-nothing", "rounded.py",
        "(unseen + math.sqrt(moved_query))", "unseen",
        "a search of some thousand rows misses one of the best",
        (f"{_ROUNDED}::test_the_bound_allows_for_what_rounding_did_to_the_query",),
    ),
    Mutant(
        "rounded-found-is-always-certain", "nearest.py",
        "_cut(scores, rows, k) if scores[k - 1] > bound else None", "_cut(scores, rows, k)",
        "a search misses chunks that score as the k-th, or better",
        (f"{_ROUNDED}::test_the_rows_and_scores_are_those_of_a_scan",),
    ),
    Mutant(
        "later-rows-are-not-scored", "nearest.py",
        "        rows = np.concatenate([rows, np.arange(last, total)])\n", "        pass\n",
        "a document that was just added is not found in a workspace of some thousand chunks",
        (f"{_ROUNDED}::test_rows_that_came_later_are_scored_too_and_those_of_another_snapshot_not",),
    ),
    Mutant(
        "gone-and-found-when-rounded", "nearest.py",
        "    if selection is not None:\n        rows = rows[selection.has(rows)]\n    best = None\n",
        "    best = None\n",
        "a search of some thousand rows finds what the workspace has removed",
        (f"{_ROUNDED}::test_the_rows_and_scores_are_those_of_a_scan",),
    ),
    Mutant(
        "candidates-are-always-enough", "nearest.py",
        "        if lacking <= 0 or ", "        if len(scores) >= k or ",
        "what scores as the k-th is cut by accident where there are many rows",
        (f"{_NEAREST}::test_two_stages_find_every_equal_score",),
    ),
    Mutant(
        "what-is-gone-stays-in-memory", "views.py",
        "    return snapshot.selection(kept).population >= COVERED * len(snapshot.codes)",
        "    return True",
        "a view goes through ever more rows that nobody references",
        (f"{_VIEWS}::test_what_is_no_longer_referenced_leaves_memory",),
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
        "found-in-base-and-tail", "views.py",
        "Part.of(each, names, besides=most)",
        "Part.of(each, names)",
        "a document is found twice",
        (f"{_VIEWS}::test_a_document_of_base_and_tail_is_found_once",),
    ),
    Mutant(
        "comes-back-in-base-and-tail", "differences.py",
        "        called = {key: each for key, each in called.items() if not base.part.covers(key)}\n", "",
        "a document that comes back is found twice",
        (f"{_DIFFERENCES}::test_what_base_and_tail_both_have_comes_back_once",),
    ),
    Mutant(
        "what-is-dropped-stays-in-the-next-view", "differences.py",
        "        names[position], alive[position] = None, False\n",
        "        names[position] = None\n",
        "a search finds what the workspace no longer references",
        (f"{_DIFFERENCES}::test_one_document_more_or_less_is_a_step",),
    ),
    Mutant(
        "what-is-gone-stays-in-memory-step-by-step", "differences.py",
        "        return alive is None or alive.population >= COVERED * len(self.part.snapshot.codes)",
        "        return True",
        "a view goes through ever more rows that nobody references",
        (f"{_VIEWS}::test_what_is_no_longer_referenced_leaves_memory",),
    ),
    Mutant(
        "an-id-is-a-document-for-ever", "covered.py",
        "    if len(touched) == steps:", "    if len(touched) <= steps:",
        "a search finds a collected document, and misses the one that got its id",
        (f"{_DIFFERENCES}::test_an_id_that_is_another_documents_by_now",),
    ),
    Mutant(
        "a-changed-name-is-no-difference", "covered.py",
        "np.union1d(touched, _rising(renamed))", "touched",
        "searches go on calling a document what it was called",
        (f"{_DIFFERENCES}::test_what_comes_back_has_its_new_name",),
    ),
    Mutant(
        "large-segments-are-weighed-with-rounded-rows", "rounded.py",
        "(rows if FROM <= rows < sketches.FROM else made)", "(rows if rows >= FROM else made)",
        "a view that would fit is not kept, and every search reads all of it again",
        (f"{_VIEWS}::test_a_large_view_is_kept_where_all_it_will_ever_have_fits",),
    ),
    Mutant(
        "sketches-weigh-nothing", "sketches.py",
        "return rows * _bytes_each(self._dimension) if rows >= FROM else 0", "return 0",
        "memory grows past its budget with what searches make of large segments",
        (f"{_ROUNDED}::test_memory_counts_sketches_before_they_are_made_and_nothing_rounded_beside",),
    ),
    Mutant(
        "memory-lock-kept-over-fork", "memory.py",
        "        in_child(self._make_lock)\n",
        "",
        "a child forked while a thread searches hangs",
        (f"{_FORKING}::test_a_child_forked_while_locks_are_held_can_use_the_store",),
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
        "collected-while-searched-is-an-error", "search.py",
        "            if versions(parts, workspace) == moment.versions:\n                raise",
        "            raise",
        "a search fails though everything is as it should be",
        (f"{_SEARCH}::test_what_is_collected_while_it_is_read_is_not_missed",),
    ),
    Mutant(
        "view-under-a-later-version", "search.py",
        "        parts.views.put(workspace, view)\n",
        "        view.versions = versions(parts, workspace)\n        parts.views.put(workspace, view)\n",
        "a document added meanwhile is never found",
        (f"{_FORCED_RACES}::test_a_document_added_while_a_view_is_built_is_found_by_the_next_search",),
    ),
    Mutant(
        "views-of-any-version-are-current", "search.py",
        "        if old is not None and old.versions == versions:\n", "        if old is not None:\n",
        "removed documents are found, new ones are not",
        (f"{_SEARCH}::test_a_change_by_another_store_is_seen_by_the_next_search",),
    ),
    Mutant(
        "collected-while-opened-is-damage", "store.py",
        "                    before, found = found, self._stored_now(hash)\n", "                    before = found\n",
        "reading what is collected meanwhile reports damage",
        (f"{_FORCED_RACES}::test_a_document_collected_while_it_is_opened_is_not_found",),
    ),
    Mutant(
        "added-again-while-opened-is-damage", "store.py",
        "if (found.id, found.stored_at) == (before.id, before.stored_at):", "if found.hash == before.hash:",
        "reading what is collected and added again meanwhile reports damage",
        (f"{_FORCED_RACES}::test_a_document_collected_and_added_again_while_it_is_opened_is_read",),
    ),

    Mutant(
        "doomed-documents-can-be-read", "store.py",
        "        if found is None or found.doomed:\n            raise DocumentNotFound",
        "        if found is None:\n            raise DocumentNotFound",
        "a document that is going is given out",
        (f"{_COLLECT}::test_a_doomed_document_is_a_miss",),
    ),
    Mutant(
        "subnormal-components-are-lost", "vectors.py",
        'if codec == "float32" or _SUBNORMAL * np.float32(1) == 0:', 'if codec == "float32":',
        "where the processor takes subnormal numbers for zero, rows are ranked by other vectors",
        ("tests/test_subindex.py::test_halves_are_decoded_as_faiss_decodes_them",),
    ),
    Mutant(
        "metadata-weigh-nothing", "views.py",
        "+ sum(map(getsizeof, distinct))",
        "",
        "metadata of many workspaces take memory that nobody counts",
        (f"{_FILTERS}::test_metadata_count_as_memory",),
    ),
    Mutant(
        "true-is-1-in-lists", "metadata.py",
        "        return isinstance(stored, list) and len(stored) == len(wanted) and all(map(same, stored, wanted))",
        "        return bool(stored == wanted)",
        "a filter lets pass what it should not",
        (f"{_FILTERS}::test_true_is_not_1_wherever_it_stands",),
    ),
    Mutant(
        "the-last-that-lends-counts", "covered.py",
        "{owner.id: -number for", "{owner.id: number for",
        "a document that two lend is shown as the younger has it",
        ("tests/test_includes.py::test_of_two_that_lend_one_document_the_older_counts_however_it_is_asked",),
    ),
    Mutant(
        "each-that-is-included-is-asked", "covered.py",
        "(len(documents) - _A_STATEMENT) * len(owners) < sum(owner.references for owner in owners)", "False",
        "an answer in a workspace that includes thousands takes thousands of statements",
        ("tests/test_includes.py::test_many_includes_are_asked_together",),
    ),
    Mutant(
        "what-is-lent-is-copied-by-each", "differences.py",
        "if base.part.segment.has_room(", "if 0 > (",
        "a shared workspace that grows takes memory for each that includes it",
        ("tests/test_includes.py::test_what_is_lent_later_is_in_memory_once",),
    ),
    Mutant(
        "a-segment-has-what-others-appended-to-it", "views.py",
        "        return position is not None and position < len(self.names) and self.names[position] is not None\n",
        "        return position is not None\n",
        "a document that another workspace's view appends meanwhile is not found",
        (f"{_DIFFERENCES}::test_what_another_view_appends_to_the_base_is_not_lost",),
    ),
)  # fmt: skip
