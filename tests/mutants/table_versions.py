"""Mutants of replacing, of going back, and of the vectors that are copied."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_REPLACE = "tests/test_replace.py"
_ROLLBACK = "tests/test_rollback.py"
_REUSE = "tests/test_reuse.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a-digest-is-believed", "ingest/reuse.py",
        " if said[place] == chunk}",
        "}",
        "chunks whose digests are equal get one another's vector",
        (f"{_REUSE}::test_chunks_of_one_digest_are_told_apart",),
    ),
    Mutant(
        "keeps-all-vectors-of-a-donor", "ingest/reuse.py",
        "own = codes[list(there.values())]", "own = [codes[at] for at in there.values()]",
        "documents that are built together keep in memory all of whatever they share a chunk with",
        (f"{_REUSE}::test_of_what_was_read_only_the_vectors_that_are_wanted_stay",),
    ),
    Mutant(
        "vectors-of-others", "ingest/target.py",
        "return self.workspace if self._demands else None",
        "return None",
        "how fast an add is tells what others hold, where bytes are demanded",
        (f"{_REUSE}::test_bytes_that_are_demanded_take_no_vector_of_another_workspace",),
    ),
    Mutant(
        "a-doomed-donor", "ingest/reuse.py",
        "        AND EXISTS (SELECT 1 FROM documents d WHERE d.text_id = n.text_id AND d.doomed = 0)\n",
        "",
        "what is being collected hides a donor that stays",
        (f"{_REUSE}::test_a_doomed_document_is_passed_over",),
    ),
    Mutant(
        "copies-count-as-computed", "migrations/m007_chunk_cache.py",
        "UPDATE totals SET embedded = embedded - NEW.vectors, avoided = avoided + NEW.vectors",
        "UPDATE totals SET id = 1",
        "statistics say that vectors were computed which were copied",
        (f"{_REUSE}::test_only_the_edited_page_is_embedded",),
    ),
    Mutant(
        "lineage-of-what-is-gone", "reap.py",
        "        versions.forget(db, document.hash)\n",
        "",
        "lineage of what nobody stores stays for ever",
        (f"{_REPLACE}::test_collected_versions_stay_in_the_history_of_what_is_stored",),
    ),
    Mutant(
        "pins-do-not-hold", "replacements.py",
        "WHERE own.document_id = :from AND NOT EXISTS (\n"
        "               SELECT 1 FROM pins p WHERE p.workspace_id = own.workspace_id AND p.document_id = :from)",
        "WHERE own.document_id = :from",
        "who keeps a version loses it",
        (f"{_REPLACE}::test_pinned_references_stay",),
    ),
    Mutant(
        "a-move-tells-of-others", "replacements.py",
        "iif(r.avoided = 0, 0, (",
        "iif(0, 0, (",
        "a reference says, where bytes are demanded, that somebody else had the document",
        (f"{_REPLACE}::test_references_tell_no_more_of_others_than_before",),
    ),
    Mutant(
        "the-way-back-ignores-pins", "replacements.py",
        "               OR had_new = 0 AND EXISTS (\n"
        "                   SELECT 1 FROM pins p WHERE p.workspace_id = moved.workspace_id "
        "AND p.document_id = :from))",
        "               )",
        "a rollback takes a pinned version away",
        (f"{_REPLACE}::test_rollback_leaves_what_changed_since",),
    ),
    Mutant(
        "what-was-made-anew-goes-back", "refcount.py",
        "    if made.rowcount:\n", "    if made.rowcount and False:\n",
        "a rollback takes away a reference that its workspace made itself",
        (f"{_REPLACE}::test_rollback_leaves_a_reference_that_was_made_anew",),
    ),
    Mutant(
        "what-another-moved-goes-back", "replacements.py",
        '    db.execute(_OUTDATE, ids | {"hash": new.hash})\n', "",
        "a rollback gives a workspace a document that it had dropped long before",
        (f"{_REPLACE}::test_rollback_leaves_a_reference_that_another_replacement_made",),
    ),
    Mutant(
        "two-go-back-at-once", "replacements.py",
        "rolled_back_at = '' AND id < ?)", "rolled_back_at = '' AND id < ? AND 0)",
        "after A to B, to A, and to B, one rollback undoes both, and the third cannot be made",
        (f"{_REPLACE}::test_there_and_back_and_there_again_is_rolled_back_one_at_a_time",),
    ),
    Mutant(
        "what-was-collected-is-in-the-way", "replacements.py",
        "EXISTS (SELECT 1 FROM documents WHERE hash = new_hash AND doomed = 0)", "1",
        "two errors send in a circle: roll back first what is not stored any more",
        (f"{_ROLLBACK}::test_a_later_version_that_was_collected_is_not_in_the_way",),
    ),
    Mutant(
        "in-vain", "replacements.py",
        "    if old is None or not last[\"is_open\"]:\n", "    if old is None:\n",
        "what was collected and added again is said to be back, where nobody has it",
        (f"{_ROLLBACK}::test_bytes_that_are_added_again_do_not_bring_the_way_back",),
    ),
    Mutant(
        "gone-as-done-with-others", "replacements.py",
        "AND new_hash = ? AND {_OPEN} AND id > (", "AND new_hash = ? AND rolled_back_at = '' AND id > (",
        "a rollback says of those who cannot go back that they went",
        (f"{_ROLLBACK}::test_those_whose_way_back_is_gone_do_not_go_as_done_with_others",),
    ),
    Mutant(
        "times-alone", "replacements.py",
        "stored_at <= replaced_at OR EXISTS (SELECT 1 FROM moved WHERE replacement_id = replacements.id)",
        "stored_at <= replaced_at",
        "nobody can go back after a clock was set back",
        (f"{_ROLLBACK}::test_a_clock_that_was_set_back_does_not_take_the_way_back",),
    ),
    Mutant(
        "nobody-moved-no-way-back", "replacements.py",
        "stored_at <= replaced_at OR EXISTS (", "EXISTS (",
        "a replacement that moved nobody is said to be of what was collected",
        (f"{_ROLLBACK}::test_what_moved_nobody_is_rolled_back",),
    ),
    Mutant(
        "one-name-one-workspace", "replacements.py",
        "for id, name in before.items() if id not in moved}",
        "for id, name in before.items() if name not in moved.values()}",
        "of two that are shown by one name, one that stays is not named",
        (f"{_ROLLBACK}::test_of_two_workspaces_shown_by_one_name_each_counts",),
    ),
    Mutant(
        "moved-before-it-is-published", "ingest/target.py",
        "        moved, stayed = replacements.move(db, self._find(db), document)\n",
        "        moved, stayed = replacements.move(db, self._find(db), document)\n"
        '        db.execute("COMMIT")\n'
        '        db.execute("BEGIN IMMEDIATE")\n',
        "references are committed to files that a power cut takes",
        (f"{_REPLACE}::test_a_version_that_cannot_be_published_moves_nobody",),
    ),
)  # fmt: skip
