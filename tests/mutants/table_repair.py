"""Mutants of verifying and repairing."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_DURABILITY = "tests/test_durability.py"
_REPAIR = "tests/test_repair.py"
_VERIFY = "tests/test_verify.py"
_PACE = "tests/test_pace.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a-row-rules-over-its-index", "lifecycle/witnesses.py",
        "    return stored(hash) and not stored(other)\n", "    return False\n",
        "one flipped bit of a row makes a sound document a leftover",
        ("tests/test_witnesses.py::test_a_hash_that_a_row_has_wrong_is_the_one_of_the_stored_document",),
    ),
    Mutant(
        "a-lost-workspace-loses-its-references", "lifecycle/witnesses.py",
        "        return found + self._restore_workspaces(db) + self._other_names(db)\n",
        "        return found + self._other_names(db)\n",
        "repair says ok, and the next collection deletes a workspace's documents",
        ("tests/test_witnesses.py::test_a_workspace_whose_row_has_another_number_keeps_its_references",),
    ),
    Mutant(
        "an-empty-workspace-is-taken-for-the-lost-one", "lifecycle/witnesses.py",
        "        if told is not None and db.execute(moved, (id, told)).rowcount == 1:\n            return told\n",
        '        told = told or f"recovered-{id}"\n'
        "        if db.execute(moved, (id, told)).rowcount == 1:\n            return told\n",
        "somebody's workspace gets another's documents",
        ("tests/test_witnesses.py::test_a_workspace_of_which_nothing_tells_the_name_keeps_its_references",),
    ),
    Mutant(
        "a-reference-rules-over-its-index", "lifecycle/catalog.py",
        "        corrections += [Correction(each, None, True) for each in testimony.correct_before(db)]\n", "",
        "one flipped bit gives a workspace's document to another one, for good",
        ("tests/test_lost_references.py::test_the_reference_is_what_it_was",),
    ),
    Mutant(
        "made-anew-whatever-is-counted", "lifecycle/lost_references.py",
        "if _is_contradicted(db, _INDEX) or not _is_contradicted(db, _TABLE):", "if _is_contradicted(db, _INDEX):",
        "repair says of sound references that they were damaged",
        ("tests/test_twins.py::test_the_value_is_what_it_was",),
    ),
    Mutant(
        "damaged-values-stay", "lifecycle/witnesses.py",
        "        found = twins.correct(db, self.values)\n", "        found: list[Problem] = []\n",
        "repair says ok, and a workspace's documents can never be listed again",
        ("tests/test_twins.py::test_the_value_is_what_it_was",),
    ),
    Mutant(
        "an-index-rules-over-its-rows", "lifecycle/twins.py",
        " and not _is_right(column, wrong[key])", "",
        "a bit that is wrong in an index becomes wrong in its row",
        ("tests/test_twins.py::test_of_two_values_that_may_both_be_right_the_row_counts",),
    ),
    Mutant(
        "asked-where-it-spoils-the-repair", "lifecycle/repair.py",
        "            corrections = catalog.correct(db, testimony,",
        "            corrections = catalog.correct(db, Testimony.of(db),",
        "an index with a damaged page keeps everything from being repaired",
        ("tests/test_witnesses.py::test_an_index_with_a_damaged_page_is_made_anew",),
    ),
    Mutant(
        "counted-again-when-made-anew", "lifecycle/lost_references.py",
        '        if type != "trigger":\n', "        if True:\n",
        "references that are put back count twice",
        ("tests/test_lost_references.py::test_the_reference_is_what_it_was",),
    ),
    Mutant(
        "sweeps-while-the-catalog-is-damaged", "lifecycle/collect.py",
        "        may_sweep = wanted > met and _is_sound(parts)\n", "        may_sweep = wanted > met\n",
        "what a damaged index does not name is deleted",
        ("tests/test_witnesses.py::test_a_sweep_that_a_crash_asked_for_waits_until_the_catalog_is_sound",),
    ),
    Mutant(
        "verify-believes-the-first-look", "lifecycle/verify.py",
        "        if now is None or now.doomed or expected not in expected_files(parts, db, now):\n"
        "            return None  # removed",
        "        if now is None:\n"
        "            now = document\n"
        "        if False:\n"
        "            return None  # removed",
        "what is collected meanwhile is reported as missing",
        (f"{_VERIFY}::test_what_is_collected_while_it_is_read_is_no_problem",),
    ),
    Mutant(
        "verify-reports-doomed-documents", "lifecycle/verify.py",
        "        if now is None or now.doomed or expected not in expected_files(parts, db, now):\n"
        "            return None  # removed",
        "        if now is None or expected not in expected_files(parts, db, now):\n"
        "            return None  # removed",
        "what is being collected is reported as missing",
        (f"{_VERIFY}::test_what_is_collected_while_it_is_read_is_no_problem",),
    ),
    Mutant(
        "verify-reports-replaced-files", "lifecycle/verify.py",
        "        if now is None or now.doomed or expected not in expected_files(parts, db, now):\n"
        "            return None  # removed",
        "        if now is None or now.doomed:\n            return None  # removed",
        "what was written again meanwhile is reported as damaged",
        (f"{_VERIFY}::test_what_is_replaced_while_it_is_read_is_no_problem",),
    ),
    Mutant(
        "folders-are-not-looked-at-beside-others", "lifecycle/verify.py",
        "is_noted=not (parts.readonly or dry_run)) if reading.is_stopped else 0",
        "is_noted=not (parts.readonly or dry_run))",
        "a damaged archive is not reported where documents are added meanwhile",
        (f"{_VERIFY}::test_what_comes_while_it_runs_does_not_remain",),
    ),
    Mutant(
        "passed-over-what-others-looked-at", "lifecycle/verify.py",
        "            found = row(db, \"SELECT hash FROM documents WHERE id = ? AND doomed = 0\", id)",
        "            found = row(db, f\"\"\"SELECT hash FROM documents JOIN checks ON document_id = id\n"
        "                                 WHERE id = ? AND doomed = 0 AND checked_at <= {NOW}\"\"\", id)",
        "after a clock was ahead verify reads nothing and says ok",
        (f"{_VERIFY}::test_a_time_that_a_clock_noted_when_it_was_ahead_keeps_nothing_unread",),
    ),
    Mutant(
        "salvaged-by-name-alone", "lifecycle/salvage.py",
        "_in_order(parts.archive.path) if lacking else ():", "():",
        "where a page of the index is damaged, repair loses what could be read",
        ("tests/test_salvage.py::test_without_a_page_of_the_index_nothing_is_lost",),
    ),
    Mutant(
        "nothing-behind-a-damaged-page", "lifecycle/salvage.py",
        "    step = _FEW\n    while", "    return None\n    step = _FEW\n    while",
        "repair loses all that was packed after a damaged page",
        ("tests/test_salvage.py::test_a_damaged_page_costs_its_own_pieces",),
    ),
    Mutant(
        "wrong-numbers-hide-rows", "lifecycle/salvage.py",
        '            yield from _pieces(archive.execute(f"{_PIECES} WHERE length(data) <= ?", (LARGEST_PACKED,)))\n',
        "            pass\n",
        "one flipped bit of a row's number costs the rows behind it",
        ("tests/test_salvage.py::test_one_number_that_is_wrong_hides_no_other_row",),
    ),
    Mutant(
        "restored-texts-are-not-searched", "lifecycle/lost_rows.py",
        "text.hash, len(text.content), file.hash, file.size))\n            refcount.outdate_views(db)\n",
        "text.hash, len(text.content), file.hash, file.size))\n",
        "an open store never finds a document whose text came back",
        ("tests/test_lost_rows.py::test_searches_of_an_open_store_find_what_was_restored",),
    ),
    Mutant(
        "a-corrected-catalog-is-not-searched", "lifecycle/repair.py",
        "            refcount.outdate_views(db)  # what searches have in memory is of the damaged rows\n", "",
        "an open store goes on answering from what was damaged",
        ("tests/test_witnesses.py::test_a_workspace_that_begins_anew_is_not_taken_for_what_it_was",),
    ),
    Mutant(
        "a-repair-is-one-step", "refcount.py",
        "(version & ((1 << 61) - 1)) + (1 << 32) + (random() & ((1 << 32) - 1))", "version + 1",
        "what a repair restored is taken for one changed name",
        ("tests/test_witnesses.py::test_searches_of_an_open_store_find_a_document_by_its_hash_again",),
    ),
    Mutant(
        "one-refused-text-costs-others", "lifecycle/lost_rows.py",
        "        return _embed_or_halve(parts, texts[:half]) | _embed_or_halve(parts, texts[half:])",
        "        return {text.hash: str(error) for text, _ in texts}",
        "one text that the embedder refuses keeps others from being restored",
        ("tests/test_lost_rows.py::test_one_text_that_the_embedder_refuses_keeps_no_other_from_coming_back",),
    ),
    Mutant(
        "what-cannot-be-opened-now-is-lost", "lifecycle/lost_rows.py",
        '    if found.kind == "unreadable":', '    if found.kind == "foreign":',
        "repair with too few descriptors makes a text that its document gives unrepairable for ever",
        ("tests/test_lost_rows.py::test_what_cannot_be_told_now_is_not_given_up",),
    ),
    Mutant(
        "what-cannot-be-read-now-is-lost", "lifecycle/lost_rows.py",
        "            raise StorageError(error.detail) from error\n", "            return None\n",
        "repair under smaller limits makes a text that its document gives unrepairable for ever",
        ("tests/test_lost_rows.py::test_what_cannot_be_told_now_is_not_given_up",),
    ),
    Mutant(
        "too-short-is-unreadable", "lifecycle/salvage.py",
        '("writable_schema = ON", *sqlar.PRAGMAS_OF_READERS)', '(*sqlar.PRAGMAS_OF_READERS,)',
        "of an archive that was cut off repair saves nothing",
        ("tests/test_salvage.py::test_of_one_that_was_cut_off_what_is_left_is_saved",),
    ),
    Mutant(
        "one-folder-costs-the-report", "lifecycle/verify.py",
        "    except OSError as error:\n        path = str(folder",
        "    except ZeroDivisionError as error:\n        path = str(folder",
        "where one folder cannot be listed, damage that was found is not reported",
        ("tests/test_verify.py::test_a_folder_that_cannot_be_listed_costs_no_other_report",),
    ),
    Mutant(
        "noted-before-it-is-read", "lifecycle/verify.py",
        "        for each in expected:\n            reading.files += 1",
        "        if note:\n"
        "            _note(parts, [document.id])\n"
        "        for each in expected:\n"
        "            reading.files += 1",
        "what a killed run did not read counts as checked",
        (f"{_VERIFY}::test_what_was_not_read_is_not_noted",),
    ),
    Mutant(
        "short-runs-never-come-round", "lifecycle/verify.py",
        "    if reading.is_round or not remaining:", "    if not reading.is_stopped:",
        "a store that is verified a little every night is never listed, nor its archive checked",
        (f"{_VERIFY}::test_runs_that_all_end_early_come_round",),
    ),
    Mutant(
        "noted-one-after-another", "lifecycle/verify.py",
        '"UPDATE checks SET checked_at = ? WHERE document_id = ?", [(moment, id)',
        'f"UPDATE checks SET checked_at = {NOW} WHERE document_id = ?", [(id,)',
        "what was read just before a round's first counts as still to come in the round that begins",
        (f"{_VERIFY}::test_what_is_noted_at_once_was_checked_at_once",),
    ),
    Mutant(
        "slow-runs-begin-anew", "lifecycle/verify.py",
        "if note and time.monotonic() - noted_at >= _NOTE_SECONDS:", "if False:",
        "of a slow run that is killed nothing is noted, and the next reads the same again",
        (f"{_VERIFY}::test_a_slow_run_that_is_killed_is_resumed",),
    ),
    Mutant(
        "a-newer-schema-is-damage", "database.py",
        "            self._refuse_newer(connection)\n", "            pass\n",
        "repair drops what a newer version of docstore has made",
        ("tests/test_formats.py::test_who_has_a_store_open_that_a_newer_version_migrates_is_told_so",),
    ),
    Mutant(
        "leftovers-believed-at-once", "lifecycle/verify.py",
        "                found &= look(db)", "                pass",
        "what is being added is reported as left by a crash, and the next collection reads the whole store",
        (f"{_VERIFY}::test_what_is_being_published_is_no_leftover",),
    ),
    Mutant(
        "leftovers-found-but-not-asked-for", "lifecycle/verify.py",
        "            claims.request_sweep(db)",
        "            pass",
        "verify counts leftovers that no collection removes",
        (f"{_VERIFY}::test_what_it_finds_left_over_is_swept_by_the_next_collection",),
    ),
    Mutant(
        "set-aside-without-a-second-look", "lifecycle/repair.py",
        '    if found is None or found.kind != "damaged":',
        '    if kind == "unreadable":',
        "a file that is intact, or was healed meanwhile, is moved away",
        (f"{_REPAIR}::test_a_file_that_was_healed_meanwhile_stays",),
    ),
    Mutant(
        "set-aside-though-the-catalog-changed", "lifecycle/repair.py",
        "            if now is None or now.doomed or finding.expected not in expected_files(parts, db, now):",
        "            if False:",
        "a file that another row names by now is moved away",
        (f"{_REPAIR}::test_what_changed_before_the_lock_is_not_set_aside",),
    ),
    Mutant(
        "set-aside-in-a-second-transaction", "lifecycle/repair.py",
        '            with storage_errors("setting a file aside"):',
        '            db.execute("COMMIT")\n'
        '            db.execute("BEGIN IMMEDIATE")\n'
        '            with storage_errors("setting a file aside"):',
        "a file that was healed since the look is moved away",
        (f"{_DURABILITY}::test_what_a_repair_places_is_durable_before_its_commit",),
    ),
    Mutant(
        "set-aside-without-sync", "lifecycle/repair.py",
        "    publication.place(moved, str(target), parts.folder)\n"
        "    publication.sync()",
        "    publication.place(moved, str(target), parts.folder)",
        "what was set aside may be lost",
        (f"{_DURABILITY}::test_what_a_repair_places_is_durable_before_its_commit",),
    ),
    Mutant(
        "restored-without-sync", "lifecycle/repair.py",
        "            contents.correct_text(db, text, new.hash, new.size)\n            publication.sync()",
        "            contents.correct_text(db, text, new.hash, new.size)",
        "restored files may be lost again",
        (f"{_DURABILITY}::test_what_a_repair_places_is_durable_before_its_commit",),
    ),
    Mutant(
        "vectors-restored-without-sync", "lifecycle/lost_rows.py",
        "publication, now, subindex)\n                publication.sync()", "publication, now, subindex)",
        "restored vectors may be lost again",
        (f"{_DURABILITY}::test_what_a_repair_places_is_durable_before_its_commit",),
    ),
    Mutant(
        "sound-vectors-go-with-a-lost-row", "lifecycle/repair.py",
        "    repairs, restored = restore_rows(parts, dry_run)\n",
        "    repairs: list[Repair] = []\n    restored: list[Statement] = []\n",
        "where one row of the catalog is lost, repair has sound vectors deleted",
        ("tests/test_lost_rows.py::test_what_can_be_told_comes_back",),
    ),
    Mutant(
        "any-lost-pipeline-is-ours", "lifecycle/lost_rows.py",
        "if _made_by(parts, db, each[\"pipeline_id\"])]", "]",
        "vectors of another embedder are taken for those of this",
        ("tests/test_lost_rows.py::test_a_pipeline_of_another_is_not_taken_for_ours",),
    ),
    Mutant(
        "dropped-rows-kept-without-sync", "lifecycle/repair.py",
        'rows.jsonl")), parts.folder)\n            publication.sync()',
        'rows.jsonl")), parts.folder)',
        "rows are dropped and what they said is lost",
        (f"{_DURABILITY}::test_what_a_repair_places_is_durable_before_its_commit",),
    ),
    Mutant(
        "dropped-rows-not-kept", "lifecycle/repair.py",
        "            _keep_lost_rows(parts, corrections)\n    except _DryRun:",
        "    except _DryRun:",
        "rows are dropped and what they said is lost",
        (f"{_REPAIR}::test_a_reference_to_nothing_goes_and_is_kept_for_reading",),
    ),
    Mutant(
        "preview-corrects-the-catalog", "lifecycle/repair.py",
        "            if dry_run:\n"
        "                raise _DryRun\n",
        "",
        "a preview changes the catalog",
        (f"{_REPAIR}::test_what_follows_from_rows_is_corrected",),
    ),
    Mutant(
        "verify-minds-no-rate", "lifecycle/pace.py",
        "        self._rate = bytes_per_second\n", "        self._rate = None\n",
        "a verification takes all that the disk gives",
        (f"{_PACE}::test_no_more_bytes_are_read_than_the_rate_allows", f"{_PACE}::test_real_seconds_are_meant"),
    ),
    Mutant(
        "verify-minds-no-end", "lifecycle/pace.py",
        "return self._end is not None and time.monotonic() >= self._end", "return False",
        "a verification of a night goes on all day",
        (f"{_PACE}::test_no_document_is_begun_when_the_time_is_over",),
    ),
    Mutant(
        "verify-saves-time-up", "lifecycle/pace.py",
        "max(self._due, now) + count", "self._due + count",
        "after a pause a verification takes all that the disk gives",
        (f"{_PACE}::test_time_in_which_nothing_was_read_is_not_saved_up",),
    ),
)  # fmt: skip
