"""Mutants of collecting, verifying and repairing."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ORDER = "tests/test_durability.py"
_RACES = "tests/test_forced_races.py"
_COLLECT = "tests/test_collect.py"
_VERIFY = "tests/test_verify.py"
_REPAIR = "tests/test_repair.py"

_SETTLED = (f"{_COLLECT}::test_removals_are_synced_before_they_are_settled",)
_FINISHED = (f"{_COLLECT}::test_an_interrupted_collection_is_finished_by_the_next",)
_FREES = (f"{_COLLECT}::test_only_the_last_reference_frees",)
_SHARED = (f"{_ORDER}::test_checks_share_a_transaction_with_what_rests_on_them",)
_SWEPT = (f"{_COLLECT}::test_orphans_of_a_crash_are_swept_and_strangers_spared",)
_REPAIRED = (f"{_ORDER}::test_what_a_repair_places_is_durable_before_its_commit",)
_SPLIT = 'db.execute("COMMIT")\n{0}db.execute("BEGIN IMMEDIATE")\n'

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "doomed-and-reaped-at-once", "lifecycle/collect.py",
        "                requests += 1\n        if not documents:",
        "                requests += 1\n"
        "                reap(parts, db, [each for d in documents if (each := contents.find_document(db, d.hash))], set())\n"
        "        if not documents:",
        "a crash between unlink and commit leaves a live row without a file",
        (f"{_ORDER}::test_doom_is_committed_before_the_first_unlink",),
    ),
    Mutant(
        "dooming-asks-for-no-sweep", "lifecycle/collect.py",
        "                claims.request_sweep(db)\n                requests += 1\n", "                pass\n",
        "files that a power cut brings back stay for ever", _SETTLED,
    ),
    Mutant(
        "dooming-in-a-second-transaction", "lifecycle/collect.py",
        "            for document in documents:\n                refcount.doom(db, document)",
        "            " + _SPLIT.format(" " * 12) + "            for document in documents:\n                refcount.doom(db, document)",
        "what is referenced meanwhile is doomed", _SHARED,
    ),
    Mutant(
        "reaping-in-a-second-transaction", "lifecycle/collect.py",
        "            documents = refcount.doomed(db, _BATCH)\n",
        "            documents = refcount.doomed(db, _BATCH)\n            " + _SPLIT.format(" " * 12),
        "files of what was added again meanwhile are unlinked", _SHARED,
    ),
    Mutant(
        "rows-committed-before-unlinking", "lifecycle/collect.py",
        "        _unlink(parts.documents, document.hash, document.suffix, touched)\n", "",
        "the blob of a document that was added again meanwhile is unlinked",
        (f"{_ORDER}::test_doom_is_committed_before_the_first_unlink",),
        (("            contents.delete_text(db, document.text)\n    return freed",
          "            contents.delete_text(db, document.text)\n        " + _SPLIT.format(" " * 8)
          + "        _unlink(parts.documents, document.hash, document.suffix, touched)\n    return freed"),),
    ),
    Mutant(
        "shared-texts-are-unlinked", "contents.py",
        "    return row(db, query, document.text.id, document.id) is None\n\n\ndef is_first_of_text",
        "    return bool(query)\n\n\ndef is_first_of_text",
        "a text goes though another document has it", _FINISHED,
    ),
    Mutant(
        "texts-are-never-unlinked", "contents.py",
        "    return row(db, query, document.text.id, document.id) is None\n\n\ndef is_first_of_text",
        "    return not query\n\n\ndef is_first_of_text",
        "texts and vectors stay for ever", _FREES,
    ),
    Mutant(
        "touched-directories-forgotten", "lifecycle/collect.py",
        "    touched.add(files.path(hash, suffix).parent)\n", "",
        "removals are settled that a power cut may undo",
        (f"{_ORDER}::test_removals_are_durable_before_they_are_settled",),
    ),
    Mutant(
        "removals-not-synced", "lifecycle/collect.py", "        sync_entries(touched, parts.folder)\n", "",
        "removals are settled that a power cut may undo", _SETTLED,
    ),
    Mutant(
        "settled-before-synced", "lifecycle/collect.py",
        "        sync_entries(touched, parts.folder)\n", "        _settle(parts, wanted + requested)\n        sync_entries(touched, parts.folder)\n",
        "a power cut in between brings files back that nobody looks for", _SETTLED,
    ),
    Mutant(
        "more-settled-than-was-met", "lifecycle/collect.py",
        "        if claims.sweeps(db)[0] == wanted:\n            claims.sweep_done(db, wanted)",
        "        claims.sweep_done(db, claims.sweeps(db)[0])",
        "a request made while the sweep ran is forgotten", (f"{_RACES}::test_a_sweep_asked_for_during_a_collection_is_still_due",),
    ),
    Mutant(
        "never-settled", "lifecycle/collect.py",
        "            claims.sweep_done(db, wanted)", "            pass",
        "every collection looks through the whole store", _SETTLED,
    ),
    Mutant(
        "never-swept", "lifecycle/collect.py",
        " + (_sweep(parts) if wanted > met else 0)", "",
        "files that a crash left stay for ever", _SWEPT,
    ),
    Mutant(
        "temporary-files-never-swept", "lifecycle/collect.py",
        "scratch.sweep(parts.tmp) + ", "", "temporary files that a crash left stay for ever",
        (f"{_COLLECT}::test_a_dead_owners_temporary_files_are_swept_and_a_living_ones_spared",),
    ),
    Mutant(
        "dead-claims-kept", "lifecycle/collect.py",
        "            claims.discard_dead(db, parts.owner_is_alive)\n", "",
        "nobody looks for the files of a crashed owner", (f"{_RACES}::test_files_of_a_dead_owner_are_swept",),
    ),
    Mutant(
        "swept-without-the-write-lock", "lifecycle/collect.py",
        "            with parts.database.write() as db:\n                for path in orphans(",
        "            with parts.database.read() as db:\n                for path in orphans(",
        "a file that is just being published is swept", (f"{_ORDER}::test_a_sweep_happens_under_the_write_lock",),
    ),
    Mutant(
        "sweep-asks-before-it-lists", "lifecycle/collect.py",
        "    listed = [(hash, suffix, path) for hash, suffix, path in files.files(shard) if hash]\n",
        "    known = {hash for (hash,) in db.execute(\"SELECT hash FROM documents UNION SELECT hash FROM texts\").fetchall()}\n"
        "    listed = [(hash, suffix, path) for hash, suffix, path in files.files(shard) if hash]\n"
        "    return [path for hash, _, path in listed if hash not in known]\n",
        "verify takes what was just added for an orphan", (f"{_ORDER}::test_the_sweep_lists_before_it_asks",),
    ),
    Mutant(
        "sweep-asks-in-another-transaction", "lifecycle/collect.py",
        "                for path in orphans(parts, db, files, shard):\n                    unlink",
        "                found = orphans(parts, db, files, shard)\n                " + _SPLIT.format(" " * 16)
        + "                for path in found:\n                    unlink",
        "a file that was published since the look is swept", (f"{_ORDER}::test_a_sweep_happens_under_the_write_lock",),
    ),
    Mutant(
        "collection-trusts-the-count", "refcount.py",
        "           AND NOT EXISTS (SELECT 1 FROM refs WHERE document_id = d.id) LIMIT ?", "           LIMIT ?",
        "a count that lies deletes a referenced document",
        ("tests/test_refcount.py::test_collection_trusts_the_references_not_the_count",),
    ),
    Mutant(
        "grace-ignored", "refcount.py", "AND unreferenced_at <= ?", "AND ? > ''",
        "what was removed a moment ago cannot come back", (f"{_COLLECT}::test_the_grace_period",),
    ),
    Mutant(
        "doomed-by-others-forgotten", "lifecycle/collect.py",
        "        documents, freed = _reap_doomed(parts, touched, progress)",
        "        documents, freed = _reap_doomed(parts, touched, progress) if requested else (0, 0)",
        "what a crashed collection doomed stays for ever", (f"{_COLLECT}::test_what_others_doomed_is_reaped",),
    ),
    # -- verify
    Mutant(
        "verify-believes-the-first-look", "lifecycle/verify.py",
        "        if now is None or now.doomed or expected not in expected_files(parts, db, now):\n            return None  # removed",
        "        if now is None:\n            now = document\n        if False:\n            return None  # removed",
        "what is collected meanwhile is reported as missing", (f"{_VERIFY}::test_what_is_collected_while_it_is_read_is_no_problem",),
    ),
    Mutant(
        "verify-reports-doomed-documents", "lifecycle/verify.py",
        "        if now is None or now.doomed or expected not in expected_files(parts, db, now):\n            return None  # removed",
        "        if now is None or expected not in expected_files(parts, db, now):\n            return None  # removed",
        "what is being collected is reported as missing", (f"{_VERIFY}::test_what_is_collected_while_it_is_read_is_no_problem",),
    ),
    Mutant(
        "verify-reports-replaced-files", "lifecycle/verify.py",
        "        if now is None or now.doomed or expected not in expected_files(parts, db, now):\n            return None  # removed",
        "        if now is None or now.doomed:\n            return None  # removed",
        "what was written again meanwhile is reported as damaged", (f"{_VERIFY}::test_what_is_replaced_while_it_is_read_is_no_problem",),
    ),
    Mutant(
        "noted-before-it-is-read", "lifecycle/verify.py",
        "        for each in expected:\n            reading.files += 1",
        "        if note:\n            _note(parts, [document.id])\n        for each in expected:\n            reading.files += 1",
        "what a killed run did not read counts as checked", (f"{_VERIFY}::test_what_was_not_read_is_not_noted",),
    ),
    Mutant(
        "leftovers-found-but-not-asked-for", "lifecycle/verify.py",
        "            claims.request_sweep(db)", "            pass",
        "verify counts leftovers that no collection removes", _SWEPT,
    ),
    # -- repair
    Mutant(
        "set-aside-without-a-second-look", "lifecycle/repair.py",
        '    if kind != "damaged":', '    if kind == "unreadable":',
        "a file that is intact, or was healed meanwhile, is moved away", (f"{_REPAIR}::test_a_file_that_was_healed_meanwhile_stays",),
    ),
    Mutant(
        "set-aside-though-the-catalog-changed", "lifecycle/repair.py",
        "            if now is None or now.doomed or finding.expected not in expected_files(parts, db, now):", "            if False:",
        "a file that another row names by now is moved away", (f"{_REPAIR}::test_what_changed_before_the_lock_is_not_set_aside",),
    ),
    Mutant(
        "set-aside-in-a-second-transaction", "lifecycle/repair.py",
        '            publication = Publication()\n            with storage_errors("setting a file aside"):',
        '            publication = Publication()\n            ' + _SPLIT.format(" " * 12)
        + '            with storage_errors("setting a file aside"):',
        "a file that was healed since the look is moved away", _REPAIRED,
    ),
    Mutant(
        "set-aside-without-sync", "lifecycle/repair.py",
        "                publication.place(finding.expected.path, target, parts.folder)\n                publication.sync()",
        "                publication.place(finding.expected.path, target, parts.folder)",
        "what was set aside may be lost", _REPAIRED,
    ),
    Mutant(
        "restored-without-sync", "lifecycle/repair.py",
        "                contents.put_subindex(db, text, fingerprint, parts.pipeline.description, row)\n            publication.sync()",
        "                contents.put_subindex(db, text, fingerprint, parts.pipeline.description, row)",
        "restored files may be lost again", _REPAIRED,
    ),
    Mutant(
        "dropped-rows-kept-without-sync", "lifecycle/repair.py",
        'rows.jsonl"), parts.folder)\n            publication.sync()', 'rows.jsonl"), parts.folder)',
        "rows are dropped and what they said is lost", _REPAIRED,
    ),
    Mutant(
        "dropped-rows-not-kept", "lifecycle/repair.py",
        "            _keep_lost_rows(parts, corrections)\n    except _DryRun:", "    except _DryRun:",
        "rows are dropped and what they said is lost", (f"{_REPAIR}::test_a_reference_to_nothing_goes_and_is_kept_for_reading",),
    ),
    Mutant(
        "preview-corrects-the-catalog", "lifecycle/repair.py",
        "            if dry_run:\n                raise _DryRun\n", "",
        "a preview changes the catalog", (f"{_REPAIR}::test_what_follows_from_rows_is_corrected",),
    ),
)  # fmt: skip
