"""Mutants of collecting and sweeping."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_COLLECT = "tests/test_collect.py"
_DURABILITY = "tests/test_durability.py"
_FORCED_RACES = "tests/test_forced_races.py"
_REFCOUNT = "tests/test_refcount.py"
_SCRATCH = "tests/test_scratch.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "workspace-created-without-a-look", "refcount.py",
        "    if (found := workspace_id(db, name)) is not None:\n"
        "        return found\n",
        "",
        "two who get a new workspace at once fail",
        (f"{_FORCED_RACES}::test_a_workspace_that_appears_meanwhile_is_used",),
    ),
    Mutant(
        "doomed-and-reaped-at-once", "lifecycle/collect.py",
        "                refcount.doom(db, document)\n        if not documents:",
        "                refcount.doom(db, document)\n"
        "            reap(parts, db, [each for d in documents if (each := contents.find_document(db, "
        "d.hash))], set())\n"
        "        if not documents:",
        "a crash between unlink and commit leaves a live row without a file",
        (f"{_DURABILITY}::test_doom_is_committed_before_the_first_unlink",),
    ),
    Mutant(
        "dooming-asks-for-no-sweep", "lifecycle/collect.py",
        "                claims.request_sweep(db)\n"
        "                requests += 1\n",
        "                pass\n",
        "files that a power cut brings back stay for ever",
        (f"{_COLLECT}::test_removals_are_synced_before_they_are_settled",),
    ),
    Mutant(
        "dooming-in-a-second-transaction", "lifecycle/collect.py",
        "            for document in documents:\n                refcount.doom(db, document)",
        '            db.execute("COMMIT")\n'
        '            db.execute("BEGIN IMMEDIATE")\n'
        "            for document in documents:\n"
        "                refcount.doom(db, document)",
        "what is referenced meanwhile is doomed",
        (f"{_DURABILITY}::test_checks_share_a_transaction_with_what_rests_on_them",),
    ),
    Mutant(
        "reaping-in-a-second-transaction", "lifecycle/collect.py",
        "        freed += reap(parts, db, [document], touched)\n",
        '        db.execute("COMMIT")\n'
        '        db.execute("BEGIN IMMEDIATE")\n'
        "        freed += reap(parts, db, [document], touched)\n",
        "files of what was added again meanwhile are unlinked",
        (f"{_DURABILITY}::test_checks_share_a_transaction_with_what_rests_on_them",),
    ),
    Mutant(
        "rows-committed-before-unlinking", "reap.py",
        "        _unlink(parts.documents, document.hash, document.suffix, touched)\n",
        "",
        "the blob of a document that was added again meanwhile is unlinked",
        (f"{_DURABILITY}::test_doom_is_committed_before_the_first_unlink",),
        (
            (
                "            contents.delete_text(db, document.text)\n    return freed",
                "            contents.delete_text(db, document.text)\n"
                '        db.execute("COMMIT")\n'
                '        db.execute("BEGIN IMMEDIATE")\n'
                "        _unlink(parts.documents, document.hash, document.suffix, touched)\n"
                "    return freed",
            ),
        ),
    ),
    Mutant(
        "shared-texts-are-unlinked", "contents.py",
        "    return row(db, query, document.text.id, document.id) is None\n"
        "\n"
        "\n"
        "def is_first_of_text",
        "    return bool(query)\n"
        "\n"
        "\n"
        "def is_first_of_text",
        "a text goes though another document has it",
        (f"{_COLLECT}::test_an_interrupted_collection_is_finished_by_the_next",),
    ),
    Mutant(
        "texts-are-never-unlinked", "contents.py",
        "    return row(db, query, document.text.id, document.id) is None\n"
        "\n"
        "\n"
        "def is_first_of_text",
        "    return not query\n"
        "\n"
        "\n"
        "def is_first_of_text",
        "texts and vectors stay for ever",
        (f"{_COLLECT}::test_only_the_last_reference_frees",),
    ),
    Mutant(
        "touched-directories-forgotten", "reap.py",
        "    touched.add(files.path(hash, suffix).parent)\n",
        "",
        "removals are settled that a power cut may undo",
        (f"{_DURABILITY}::test_removals_are_durable_before_they_are_settled",),
    ),
    Mutant(
        "removals-not-synced", "lifecycle/collect.py",
        "        sync_entries(touched, parts.folder)\n",
        "",
        "removals are settled that a power cut may undo",
        (f"{_COLLECT}::test_removals_are_synced_before_they_are_settled",),
    ),
    Mutant(
        "settled-before-synced", "lifecycle/collect.py",
        "        sync_entries(touched, parts.folder)\n",
        "        with parts.write() as db:\n"
        "            claims.sweep_done(db, wanted + requested)\n"
        "        sync_entries(touched, parts.folder)\n",
        "a power cut in between brings files back that nobody looks for",
        (f"{_COLLECT}::test_removals_are_synced_before_they_are_settled",),
    ),
    Mutant(
        "more-settled-than-was-met", "claims.py",
        "SET sweeps_done = sweeps_wanted WHERE sweeps_wanted = ?",
        "SET sweeps_done = sweeps_wanted WHERE ? > 0",
        "a request made while the sweep ran is forgotten",
        (f"{_FORCED_RACES}::test_a_sweep_asked_for_during_a_collection_is_still_due",),
    ),
    Mutant(
        "never-settled", "lifecycle/collect.py",
        "            claims.sweep_done(db, wanted + requested)",
        "            pass",
        "every collection looks through the whole store",
        (f"{_COLLECT}::test_removals_are_synced_before_they_are_settled",),
    ),
    Mutant(
        "never-swept", "lifecycle/collect.py",
        "            _sweep(parts, gone)\n",
        "            pass\n",
        "files that a crash left stay for ever",
        (f"{_COLLECT}::test_orphans_of_a_crash_are_swept_and_strangers_spared",),
    ),
    Mutant(
        "only-the-last-try-is-told", "lifecycle/collect.py",
        "lambda: _collect(parts, before, gone, told)",
        "lambda: (gone.__init__(), _collect(parts, before, gone, told))",
        "on a full disk a collection reports less than it deleted",
        ("tests/test_reserve.py::test_a_collection_that_is_tried_again_reports_what_both_tries_deleted",),
    ),
    Mutant(
        "temporary-files-never-swept", "lifecycle/collect.py",
        "        gone.leftovers += scratch.sweep(parts.tmp)\n",
        "",
        "temporary files that a crash left stay for ever",
        (f"{_SCRATCH}::test_a_dead_owners_temporary_files_are_swept_and_a_living_ones_spared",),
    ),
    Mutant(
        "dead-claims-kept", "lifecycle/collect.py",
        "            claims.discard_dead(db, parts.owner_is_alive)\n",
        "",
        "nobody looks for the files of a crashed owner",
        (f"{_FORCED_RACES}::test_files_of_a_dead_owner_are_swept",),
    ),
    Mutant(
        "swept-without-the-write-lock", "lifecycle/collect.py",
        "            with parts.write() as db:\n                for path in orphans(",
        "            with parts.database.read() as db, parts.archive.writing():\n                for path in orphans(",
        "a file that is just being published is swept",
        (f"{_DURABILITY}::test_a_sweep_happens_under_the_write_lock",),
    ),
    Mutant(
        "sweep-asks-before-it-lists", "lifecycle/collect.py",
        "    listed = [(hash, suffix, path) for hash, suffix, path in files.files(shard) if hash]\n",
        '    known = {hash for (hash,) in db.execute("SELECT hash FROM documents UNION SELECT hash FROM '
        'texts").fetchall()}\n'
        "    listed = [(hash, suffix, path) for hash, suffix, path in files.files(shard) if hash]\n"
        "    return [path for hash, _, path in listed if hash not in known]\n",
        "verify takes what was just added for an orphan",
        (f"{_DURABILITY}::test_the_sweep_lists_before_it_asks",),
    ),
    Mutant(
        "sweep-asks-in-another-transaction", "lifecycle/collect.py",
        "                for path in orphans(parts, db, files, shard):\n                    unlink",
        "                found = orphans(parts, db, files, shard)\n"
        '                db.execute("COMMIT")\n'
        '                db.execute("BEGIN IMMEDIATE")\n'
        "                for path in found:\n"
        "                    unlink",
        "a file that was published since the look is swept",
        (f"{_DURABILITY}::test_a_sweep_happens_under_the_write_lock",),
    ),
    Mutant(
        "collection-trusts-the-count", "refcount.py",
        "           AND NOT EXISTS (SELECT 1 FROM refs WHERE document_id = d.id) LIMIT ?",
        "           LIMIT ?",
        "a count that lies deletes a referenced document",
        (f"{_REFCOUNT}::test_collection_trusts_the_references_not_the_count",),
    ),
    Mutant(
        "grace-ignored", "refcount.py",
        "AND unreferenced_at <= ?",
        "AND ? > ''",
        "what was removed a moment ago cannot come back",
        (f"{_COLLECT}::test_the_grace_period",),
    ),
    Mutant(
        "doomed-by-others-forgotten", "lifecycle/collect.py",
        "        _doom(parts, before)\n        touched: set[Path] = set()\n"
        "        requested = _reap_doomed(parts, touched, gone, progress)",
        "        with parts.database.read() as db:\n            ours = refcount.unreferenced(db, before, 1)\n"
        "        _doom(parts, before)\n        touched: set[Path] = set()\n"
        "        requested = _reap_doomed(parts, touched, gone, progress) if ours else 0",
        "what a crashed collection doomed stays for ever",
        (f"{_COLLECT}::test_what_others_doomed_is_reaped",),
    ),
    Mutant(
        "sweeping-is-not-synced", "lifecycle/collect.py",
        "    sync_entries(looked, parts.folder)\n", "",
        "what was swept, or reaped by those who died, comes back after a power cut",
        (f"{_DURABILITY}::test_a_sweep_makes_durable_what_others_removed",),
    ),
    Mutant(
        "sweeping-syncs-only-where-it-found-something", "lifecycle/collect.py",
        "            looked.add(files.root / shard)\n", "",
        "what was reaped by those who died comes back after a power cut",
        (f"{_DURABILITY}::test_a_sweep_makes_durable_what_others_removed",),
    ),
    Mutant(
        "sweeping-syncs-no-root", "lifecycle/collect.py",
        "        looked.add(files.root)\n", "",
        "directories that were removed by those who died come back after a power cut",
        (f"{_DURABILITY}::test_a_sweep_makes_durable_what_others_removed",),
    ),
    Mutant(
        "empty-directories-are-not-swept", "lifecycle/collect.py",
        "                prune_below(files.root / shard, parts.folder)\n", "",
        "directories that a crash left empty stay for ever",
        (f"{_FORCED_RACES}::test_empty_directories_of_a_crash_are_swept",),
    ),

)  # fmt: skip
