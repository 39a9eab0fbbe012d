"""Mutants of the ways to the best rows: scans, products, rounded vectors, sketches."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FORKING = "tests/test_forking.py"
_VIEWS = "tests/test_views.py"
_NEAREST = "tests/test_nearest.py"
_ROUNDED = "tests/test_rounded.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a-child-waits-for-its-parents-helpers", "vectors.py",
        "os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))\n", "",
        "a child of a process that searched on several threads hangs",
        (f"{_FORKING}::test_a_child_works_where_its_parent_had_several_threads_of_faiss",),
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
        "what-is-near-and-lies-together-is-cut-short", "nearest.py",
        "        if asked < count and some[0][-1] >= together[0].min():", "        if False:",
        "a large workspace does not find what came last, where much of that is near",
        (f"{_NEAREST}::test_the_best_estimates_are_found_wherever_they_lie",),
    ),
    Mutant(
        "gone-and-found-by-two-stages", "nearest.py",
        "    return (rows if selection is None else rows[selection.has(rows)]), worst",
        "    return rows, worst",
        "a search of many rows finds what the workspace has removed",
        (f"{_NEAREST}::test_two_stages_pass_over_what_is_gone_or_came_later",),
    ),
    Mutant(
        "sums-that-do-not-fit", "sketches.py",
        "    if dimension <= _FIT_ALWAYS:", "    if True:",
        "a large workspace of long vectors does not find what is nearest of all",
        (f"{_NEAREST}::test_a_query_whose_sums_do_not_fit_is_answered_by_a_scan",),
    ),
    Mutant(
        "sketches-of-any-dimension", "sketches.py",
        "        if self._dimension > _DIMENSIONS:\n            return None\n", "",
        "every search of long vectors makes sketches, for seconds, that no search can use",
        (f"{_NEAREST}::test_more_dimensions_than_fit_have_no_sketches",),
    ),
    Mutant(
        "sketches-for-who-asks-once", "sketches.py",
        "_PATIENCE = 4", "_PATIENCE = 0",
        "where memory is short every search makes sketches that are thrown away",
        (f"{_NEAREST}::test_nothing_is_sketched_for_who_asks_once",),
    ),
    Mutant(
        "what-is-selected-of-most-is-copied", "nearest.py",
        "            return _asked(snapshot, query, k, selection)\n        more",
        "            return _best_of(snapshot, query, k, selection.rows, None)[0]\n        more",
        "a filter that most pass makes searches twelve times as slow, where what is nearest does not pass",
        (f"{_NEAREST}::test_what_is_selected_of_most_rows_is_never_copied",),
    ),
    Mutant(
        "filters-leave-fewer-candidates", "nearest.py",
        "min(wanted * total // population, total)", "min(wanted, total)",
        "a filter makes a search in two stages miss more",
        (f"{_NEAREST}::test_a_filter_does_not_make_candidates_fewer",),
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
        "filtered-after-the-top-k", "nearest.py",
        "        if len(scores) == total or (",
        "        if selection is not None or len(scores) == total or (",
        "a filtered search finds less than there is, where other documents are nearer",
        ("tests/test_selected_rows.py::test_what_is_best_of_all_may_be_what_is_not_selected",),
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
        "large-segments-are-weighed-with-rounded-rows", "rounded.py",
        "(rows if FROM <= rows < sketches.FROM else made)", "(rows if rows >= FROM else made)",
        "a view that would fit is not kept, and every search reads all of it again",
        (f"{_VIEWS}::test_a_large_view_is_kept_where_all_it_will_ever_have_fits",),
    ),
    Mutant(
        "sketches-weigh-nothing", "sketches.py",
        "return rows * _bytes_each(self._dimension) if rows >= FROM and", "return 0 if",
        "memory grows past its budget with what searches make of large segments",
        (f"{_ROUNDED}::test_memory_counts_sketches_before_they_are_made_and_nothing_rounded_beside",),
    ),
    Mutant(
        "subnormal-components-are-lost", "vectors.py",
        'if codec == "float32" or _SUBNORMAL * np.float32(1) == 0:', 'if codec == "float32":',
        "where the processor takes subnormal numbers for zero, rows are ranked by other vectors",
        ("tests/test_subindex.py::test_halves_are_decoded_as_faiss_decodes_them",),
    ),
)  # fmt: skip
