"""Mutants of searching: what is covered, kept in memory and told."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FORKING = "tests/test_forking.py"
_FORCED_RACES = "tests/test_forced_races.py"
_SEARCH = "tests/test_search.py"
_FILTERS = "tests/test_filters.py"
_VIEWS = "tests/test_views.py"
_DIFFERENCES = "tests/test_view_differences.py"
_FOUND = "tests/test_hits.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "what-an-interrupt-left-is-kept", "segments.py",
        "            self._drop_unfinished()\n", "            pass\n",
        "after Ctrl-C a search gives one document's hits as another's",
        ("tests/test_interrupts.py::test_a_segment_has_what_was_appended_whole_and_nothing_else",),
    ),
    Mutant(
        "counts-wrong-after-an-interrupt", "memory.py",
        "            if not self._is_counted:\n", "            if False:\n",
        "after Ctrl-C searches fail with KeyError, or forget too early",
        ("tests/test_interrupts.py::test_memory_counts_what_it_holds",),
    ),
    Mutant(
        "what-was-outgrown-is-free", "memory.py",
        'outgrown = getattr(share.part, "outgrown", 0)', "outgrown = 0",
        "where a shared library grows, searches take several times the memory that they may",
        ("tests/test_memory.py::test_what_a_segment_had_before_it_grew_counts_as_long_as_a_view_keeps_it",),
    ),
    Mutant(
        "what-was-outgrown-counts-for-ever", "memory.py",
        "deque(map(self._weigh, list(self._outgrown.values())), maxlen=0)", "pass",
        "after a library has grown searches read all workspaces again, though there is room for them",
        ("tests/test_memory.py::test_what_was_outgrown_and_is_gone_takes_no_place",),
    ),
    Mutant(
        "vectors-of-another-pipeline-are-damage", "search.py",
        "                _require_all_vectors(parts, workspace)  # or nothing is damaged\n", "",
        "a store that gets another embedder is reported as damaged, by searches alone",
        ("tests/test_subindex.py::TestPipelines::test_what_another_program_stored_again_is_no_damage",),
    ),
    Mutant(
        "the-old-view-counts-beside-the-new", "search.py",
        "                    del moment  #", "                    pass  #",
        "when a library grows, searches of others read their workspaces again, though there is room for them",
        ("tests/test_memory.py::test_a_library_that_grows_displaces_nobody",),
    ),
    Mutant(
        "a-small-workspace-pays-for-a-large-one", "views.py",
        "some = wanted if len(wanted) < count else [", "some = [",
        "a chat's first search takes the longer the more documents somebody else has",
        (f"{_VIEWS}::test_a_small_workspace_does_not_go_through_a_large_segment",),
    ),
    Mutant(
        "kept-without-lock", "memory.py",
        "        with self._changing():\n            self._forget(key)\n            if value",
        "        if True:\n            self._forget(key)\n            if value",
        "the cache loses count of its memory",
        (f"{_FORCED_RACES}::test_values_kept_at_once_are_all_counted",),
    ),
    Mutant(
        "chunks-are-shared-by-all", "hits.py",
        "    places = list(zip(map(_SERIAL, owners), rows))", "    places = list(zip(repeat(0), rows))",
        "hits have the texts of others, or where bytes are demanded, show what others found",
        (f"{_FOUND}::test_where_bytes_are_demanded_nobody_reads_for_another",),
    ),
    Mutant(
        "chunks-outlive-their-cuts", "hits.py",
        "    places = list(zip(map(_SERIAL, owners), rows))", "    places = list(zip(repeat(scope), keys, numbers))",
        "after a document was added again hits have the scores of its new chunks and the texts of its old ones",
        (f"{_FOUND}::test_a_text_that_is_cut_otherwise_has_other_chunks",),
    ),
    Mutant(
        "one-search-displaces-its-own-view", "hits.py",
        "            if fits:\n", "            if True:\n",
        "a search of many hits makes the next read the whole workspace again",
        (f"{_FOUND}::test_a_search_of_many_hits_leaves_its_view_in_memory",),
    ),
    Mutant(
        "chunks-are-read-again", "hits.py",
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
        ("tests/test_memory.py::test_what_is_too_large_for_memory_displaces_nothing",),
    ),
    Mutant(
        "threads-read-the-same-at-once", "search.py",
        "making(parts.scope(workspace)) if is_large else", "making(parts.scope(workspace)) if False else",
        "after a restart every request reads all of its workspace, and keeps its own copy of what others have too",
        (f"{_VIEWS}::test_threads_that_begin_at_once_read_a_document_once",),
    ),
    Mutant(
        "views-are-not-looked-for-again", "search.py",
        "                        moment = _look(parts, workspace, with_metadata)\n",
        "                        pass\n",
        "who has waited for a view to be made makes it again",
        (f"{_VIEWS}::test_threads_that_begin_at_once_read_a_document_once",),
    ),
    Mutant(
        "looks-twice-though-alone", "search.py",
        "if is_large and parts.views.made != made:", "if is_large:",
        "the first answer of every process takes a tenth longer",
        (f"{_VIEWS}::test_who_makes_a_large_view_alone_looks_once",),
    ),
    Mutant(
        "filters-kept-beyond-their-view", "filter_cache.py",
        "answer is not None and answer.view is self._view", "answer is not None",
        "what a filter chose before metadata or documents changed is searched",
        (f"{_FILTERS}::test_metadata_that_change_are_seen_by_the_next_search",),
    ),
    Mutant(
        "filters-of-another-thread's-view", "filter_cache.py",
        "        if answer.view not in views:\n            return {}\n",
        "        if answer.view not in views:\n            views = [answer.view, *views]\n",
        "of two threads that search after different changes, one finds what the other's filter chose",
        ("tests/test_filter_cache.py::test_of_two_views_of_one_neither_takes_the_others_answers",),
    ),
    Mutant(
        "changes-of-one-view-only", "filter_cache.py",
        "self._before[views.index(answer.view) :]", "self._before[-1:]",
        "a filter that was not used between two changes misses what the first brought",
        ("tests/test_filter_cache.py::test_any_history_asks_what_changed_and_nothing_else",),
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
        "what-is-gone-stays-in-memory", "views.py",
        "    return int(rows.sum()) >= COVERED * len(snapshot.codes)",
        "    return True",
        "a view goes through ever more rows that nobody references",
        (f"{_VIEWS}::test_what_is_no_longer_referenced_leaves_memory",),
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
        "whoever-shares-a-segment-is-as-large", "views.py",
        "covered = None if part.alive is None else part.alive.population", "covered = None",
        "what a workspace finds depends on what others have in memory",
        (f"{_VIEWS}::test_what_others_have_in_a_segment_makes_no_workspace_large",),
    ),
    Mutant(
        "memory-lock-kept-over-fork", "memory.py",
        "        in_child(self._make_lock)\n",
        "",
        "a child forked while a thread searches hangs",
        (f"{_FORKING}::test_a_child_forked_while_locks_are_held_can_use_the_store",),
    ),
    Mutant(
        "collected-while-searched-is-an-error", "search.py",
        "            if versions(parts, workspace) == seen:\n", "            if True:\n",
        "a search fails though everything is as it should be",
        (f"{_SEARCH}::test_what_is_collected_while_it_is_read_is_not_missed",),
    ),
    Mutant(
        "view-under-a-later-version", "search.py",
        "                        parts.views.put(workspace, view)\n",
        "                        view.versions = versions(parts, workspace)\n"
        "                        parts.views.put(workspace, view)\n",
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
    Mutant(
        "any-way-it-was-embedded", "mismatch.py",
        "fewest = min(", "fewest = max(",
        "an error names settings that need not be changed",
        ("tests/test_subindex.py::TestPipelines::"
         "test_of_several_ways_a_document_was_embedded_a_search_names_the_nearest",),
    ),
    Mutant(
        "what-is-included-is-referenced", "workspace_documents.py",
        "refcount.has_reference(db, self._id, hash)", "owner_of(db, self._id, hash) is not None",
        "`hash in workspace` is true of what others lend, and `rm` drops nothing for it",
        ("tests/test_contains.py::test_a_document_is_in_the_workspaces_that_reference_it",),
    ),
    Mutant(
        "an-expired-name-is-asked-for", "store.py",
        """        except InvalidArgument:
            return False
""",
        """        except InvalidArgument:
            name = str(name)
""",
        "an expired workspace is in the store, under the name that it has in the catalog",
        ("tests/test_contains.py::test_an_expired_workspace_is_not_in_the_store",),
    ),
)  # fmt: skip
