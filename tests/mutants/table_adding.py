"""Mutants of adding: extraction, HTML, fonts and interpreters, and the protocol."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CLAIMS = "tests/test_claims.py"
_COLLECT = "tests/test_collect.py"
_ANOTHER_TEXT = "tests/test_another_text.py"
_DEMAND_BYTES = "tests/test_demand_bytes.py"
_DOCUMENTS = "tests/test_documents.py"
_DURABILITY = "tests/test_durability.py"
_FORCED_RACES = "tests/test_forced_races.py"
_INTERPRETER = "tests/test_interpreter.py"
_SUBINDEX = "tests/test_subindex.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "extracts-again-before-those-who-wait", "ingest/extractor.py",
        "            with self._next:  #", "            if True:  #",
        "of threads that add at once one waits for ever",
        ("tests/test_interrupts.py::test_who_waits_for_a_place_gets_it_before_who_has_just_been",),
    ),
    Mutant(
        "opens-its-own-databases", "ingest/source.py",
        "    if is_own(path, found):\n", "    if False:\n",
        "a store below the folder that is added to it loses its locks, and then commits",
        ("tests/test_ownfiles.py::test_a_folder_with_the_store_in_it_is_added_without_its_databases",),
    ),
    Mutant(
        "words-join-where-a-font-has-no-space", "ingest/extract.py",
        "    _see_narrow_spaces()\n", "",
        "of a PDF that LuaTeX has made most words are joined",
        ("tests/test_extraction.py::test_types_are_decided_by_content",),
    ),
    Mutant(
        "html-ends-where-it-says-so", "ingest/markup.py",
        "trees = [tree, *(each for each in tree.itersiblings() if isinstance(each.tag, str))]", "trees = [tree]",
        "of two mails in one file the second is lost",
        ("tests/test_markup.py::test_html",),
    ),
    Mutant(
        "entities-are-decoded-twice", "ingest/markup.py",
        "    _mend_inscriptis()\n", "",
        "addresses and code are stored as other addresses and code",
        ("tests/test_markup.py::test_html",),
    ),
    Mutant(
        "what-hides-the-rest-hides-it", "ingest/markup.py",
        """            return "&lt;" if end < (at, found.start()) else "<"\n""", """            return "<"\n""",
        "of a text that speaks of a tag the rest is lost",
        ("tests/test_markup.py::test_markdown",),
    ),
    Mutant(
        "pages-lose-their-text-silently", "ingest/extract.py",
        "        if not is_whole(data):\n", "        if False:\n",
        "a page of a damaged PDF is stored without its text, or with another",
        ("tests/test_extraction.py::test_a_page_whose_stream_is_damaged_is_not_stored_without_its_text",),
    ),
    Mutant(
        "published-without-sync", "ingest/publish.py",
        "                    publication.sync()\n",
        "",
        "rows are committed whose files may be lost",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "synced-after-the-commit", "ingest/publish.py",
        "                    publication.sync()\n",
        "",
        "between commit and sync a power cut loses what was acknowledged",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
        (
            (
                "        self.is_unsure = False\n        self._admission",
                "        publication.sync()\n        self.is_unsure = False\n        self._admission",
            ),
        ),
    ),
    Mutant(
        "blobs-placed-before-the-lock", "ingest/publish.py",
        "        self.is_unsure = True\n",
        "        self.is_unsure = True\n"
        "        for item in items:\n"
        "            if item.blob is not None and item.extraction is not None:\n"
        "                self._parts.documents.place(\n"
        "                    publication, item.blob.path, item.hash, SUFFIXES[item.extraction.media_type]\n"
        "                )\n",
        "a sweep deletes a file whose row is about to be committed",
        (f"{_DURABILITY}::test_renames_and_unlinks_happen_under_the_write_lock",),
        (
            (
                "        self._parts.documents.place(publication, item.blob.path, item.hash, "
                "SUFFIXES[media_type])\n",
                "",
            ),
        ),
    ),
    Mutant(
        "published-in-a-second-transaction", "ingest/publish.py",
        "        published = self._publish_text(db, known, item, publication)\n",
        '        db.execute("COMMIT")\n'
        '        db.execute("BEGIN IMMEDIATE")\n'
        "        published = self._publish_text(db, known, item, publication)\n",
        "what was looked at may be collected before it is used",
        (f"{_DURABILITY}::test_checks_share_a_transaction_with_what_rests_on_them",),
    ),
    Mutant(
        "rows-and-reference-in-two-transactions", "ingest/publish.py",
        "            known.add_document(document)\n",
        "            known.add_document(document)\n"
        '        db.execute("COMMIT")\n'
        '        db.execute("BEGIN IMMEDIATE")\n',
        "a document that was just added is collected before it is referenced",
        (f"{_DURABILITY}::test_checks_share_a_transaction_with_what_rests_on_them",),
    ),
    Mutant(
        "adding-for-a-deleted-workspace", "quotas.py",
        '    if workspace and not found["is_there"]:\n        raise lifetimes.gone(db, workspace)\n', "",
        "an error that says the catalog is damaged",
        (
            f"{_DOCUMENTS}::test_a_deleted_workspace_is_gone_for_its_handles",
            f"{_FORCED_RACES}::test_a_workspace_deleted_while_it_embeds",
        ),
    ),
    Mutant(
        "replacing-what-is-gone", "ingest/plan.py",
        ", self._parts.archive.reading():\n            self._target.require(db)\n            self._admission",
        ", self._parts.archive.reading():\n            self._admission",
        "a document is extracted and embedded in the place of one that is not there",
        ("tests/test_replace.py::test_refusals_change_nothing",),
    ),
    Mutant(
        "doomed-rows-are-reused", "ingest/publish.py",
        "        if document is not None and document.doomed:\n"
        "            self._reap(db, known, [document])\n"
        "            document = None\n",
        "",
        "a reference to a document whose files are going",
        (f"{_COLLECT}::test_a_doomed_document_whose_text_lives_on_is_a_miss",),
    ),
    Mutant(
        "reaped-rows-still-known", "ingest/publish.py",
        "        reap(self._parts, db, documents, set())\n        known.delete(documents)\n",
        "        reap(self._parts, db, documents, set())\n",
        "a document is published with a text that was just deleted",
        (f"{_COLLECT}::test_doomed_documents_of_one_text_come_back_together",),
    ),
    Mutant(
        "condemned-texts-are-reused", "ingest/publish.py",
        "            self._reap(db, known, contents.documents_of_text(db, text))\n"
        "            text = None\n",
        "            pass\n",
        "sub-indexes of other pipelines, whose files are gone, come back to life",
        (f"{_FORCED_RACES}::test_a_condemned_text_takes_the_sub_indexes_of_all_pipelines_with_it",),
    ),
    Mutant(
        "links-publish-what-is-gone", "ingest/publish.py",
        "        if item.blob is None and (document is None or document.doomed):",
        "        if False:",
        "a link fails with an assertion",
        (f"{_FORCED_RACES}::test_a_document_collected_while_its_text_lives_on_cannot_be_linked",),
    ),
    Mutant(
        "another-text-of-the-same-bytes-ignored", "ingest/publish.py",
        "        if document is not None and document.text.hash != item.text_hash:",
        "        if False:",
        "vectors and rows of a text that no document has",
        (f"{_ANOTHER_TEXT}::test_the_text_it_has_stays",),
    ),
    Mutant(
        "claims-on-another-text-forgotten", "ingest/publish.py",
        "            self._holding.give_up(db, item)  # they are on the other text\n",
        "",
        "claims that nobody releases: every such add looks like a crash",
        (f"{_ANOTHER_TEXT}::test_the_text_it_has_stays",),
    ),
    Mutant(
        "live-row-overlooked-when-publishing", "ingest/publish.py",
        "        document = known.document(item.hash)\n        if item.blob is None and",
        "        document = None\n        if item.blob is None and",
        "the second of two adds fails",
        (f"{_DEMAND_BYTES}::test_adding_what_another_has_looks_like_adding_what_nobody_has",),
    ),
    Mutant(
        "stored-text-overlooked-when-publishing", "ingest/publish.py",
        "        text = known.text(item.text_hash)\n        if text is not None and text.condemned:",
        "        text = None\n        if text is not None and text.condemned:",
        "an add without its own text loops for ever, or embeds twice",
        (
            f"{_CLAIMS}::test_what_a_link_needs_may_vanish_while_it_embeds",
            f"{_FORCED_RACES}::test_linking_under_a_second_pipeline_uses_the_stored_text",
        ),
    ),
    Mutant(
        "lost-vectors-not-looked-for-when-publishing", "ingest/publish.py",
        "        vectors = None if text is None else known.intact_subindex(text)\n        text_is_intact",
        "        vectors = None if text is None else known.subindex(text)\n"
        "        text_is_intact",
        "a lost index is deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "lost-vectors-not-looked-for-when-planning", "ingest/known.py",
        "row if row is not None and self._parts.subindex_is_intact(text, self._fingerprint, row) else None",
        "row",
        "a lost index is deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "lost-text-not-looked-for-when-publishing", "ingest/publish.py",
        "        text_is_intact = text is not None and self._parts.text_is_intact(text)\n",
        "        text_is_intact = text is not None\n",
        "a lost text is deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "vanished-parts-are-published", "ingest/publish.py",
        "        if not (vectors or item.subindex) or not (text_is_intact or item.text_file):\n"
        "            return None\n",
        "",
        "an add fails with an assertion",
        (f"{_FORCED_RACES}::test_a_text_collected_after_the_look_is_published_afresh",),
    ),
    Mutant(
        "lost-blob-not-looked-for-when-publishing", "ingest/publish.py",
        "        if document is None or not self._parts.documents.intact(document.hash, document.suffix, "
        "document.size):",
        "        if document is None:",
        "a lost document is deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "not-undone", "ingest/publish.py",
        "                publication.undo()\n                raise",
        "                raise",
        "a failed publication leaves files",
        (f"{_CLAIMS}::test_a_failed_publication_leaves_no_file",),
    ),
    Mutant(
        "never-unsure", "ingest/publish.py",
        "        self.is_unsure = True\n",
        "        self.is_unsure = False\n",
        "files of a publication that could not be undone stay for ever",
        (f"{_FORCED_RACES}::test_a_publication_that_cannot_be_undone_is_swept",),
    ),
    Mutant(
        "for-ever-unsure", "ingest/publish.py",
        "        self.is_unsure = False\n        self._admission",
        "        self._admission",
        "every failed add looks like a crash",
        (f"{_CLAIMS}::test_a_failure_after_a_publication_asks_for_no_sweep",),
    ),
    Mutant(
        "claims-kept-after-a-failure", "ingest/add.py",
        "                with contextlib.suppress(DocStoreError):\n                    self._holding.release(incoming)",
        "                pass",
        "every failed add looks like a crash",
        (f"{_CLAIMS}::test_a_failed_add_asks_for_no_sweep",),
    ),
    Mutant(
        "claims-of-failed-documents-kept", "ingest/add.py",
        "        self._holding.release([item for item in items if isinstance(item.outcome, DocStoreError)])\n",
        "",
        "others wait for what has failed already",
        (f"{_CLAIMS}::test_when_the_first_fails_the_second_tries",),
    ),
    Mutant(
        "reaping-asks-for-no-sweep", "ingest/publish.py",
        "        claims.request_sweep(db)\n        reap(",
        "        reap(",
        "after a power cut, files of what an add reaped stay for ever",
        (f"{_FORCED_RACES}::test_what_an_add_reaps_is_swept_later",),
    ),
    Mutant(
        "doomed-documents-look-live", "ingest/plan.py",
        "            not document.doomed\n            and self",
        "            self",
        "a reference to a document whose files are going",
        (f"{_COLLECT}::test_a_doomed_document_whose_text_lives_on_is_a_miss",),
    ),
    Mutant(
        "lost-documents-look-live", "ingest/plan.py",
        "            and self._parts.documents.intact(document.hash, document.suffix, document.size)\n"
        "            and",
        "            and",
        "a lost document is deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "lost-texts-look-live", "ingest/plan.py",
        "\n"
        "            and self._parts.text_is_intact(document.text)\n",
        "\n",
        "a document whose text is lost is deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "claims-of-others-are-released", "claims.py",
        "WHERE key = ? AND owner = ?\", [(key, owner) for", "WHERE key = ?\", [(key,) for",
        "who fails after others took its work over lets a third do the same, and files of a crash are not looked for",
        ("tests/test_claims.py::test_who_fails_late_leaves_others_their_claims",),
    ),
    Mutant(
        "claims-released-before-publishing", "ingest/publish.py",
        "        self.is_unsure = True\n",
        "        self._holding.release(items)\n        self.is_unsure = True\n",
        "a crash while publishing leaves files that nobody looks for",
        (f"{_FORCED_RACES}::test_claims_are_held_until_the_commit",),
    ),
    Mutant(
        "waiting-with-a-claim", "ingest/plan.py",
        "            may_prepare = item.held or self._holding.claim(db, item, claims.document_key(item.hash))",
        "            may_prepare = self._holding.claim(db, item, claims.document_key(item.hash))",
        "two adds wait for each other for ever",
        (f"{_CLAIMS}::test_two_adds_and_a_collection_do_not_deadlock",),
    ),
    Mutant(
        "demanding-stores-share-claims", "ingest/holding.py",
        '            key = f"{key}:{self._scratch.token}"\n',
        "            pass\n",
        "the time of an add tells that somebody else adds the same",
        (f"{_DEMAND_BYTES}::test_somebody_elses_living_claim_is_not_waited_for",),
    ),
    Mutant(
        "vanished-text-is-read", "ingest/build.py",
        "    if text is None or not parts.text_is_intact(text):\n        return  # collected",
        "    if text is None:\n        return  # collected",
        "an add fails instead of looking again",
        (f"{_FORCED_RACES}::test_a_text_collected_before_it_is_loaded_is_looked_for_again",),
    ),
    Mutant(
        "room-for-vectors-is-not-asked-for", "ingest/admission.py",
        "        if item.blob is None or item.subindex is not None:\n", "        if item.held:\n",
        "in a store with little room all documents are embedded in vain",
        ("tests/test_limits_of_many.py::test_a_nearly_full_store_embeds_nothing_in_vain",),
    ),
    Mutant(
        "all-that-wait-for-room-are-looked-at-again", "ingest/add.py",
        "if not item.held][:_SOME]\n", "if not item.held]\n",
        "adding many to a store with little room takes time by the square of their number",
        ("tests/test_limits_of_many.py::test_a_nearly_full_store_embeds_nothing_in_vain",),
    ),
    Mutant(
        "what-was-begun-is-forgotten", "ingest/add.py",
        "                    begun = [item for item in ready if item.held]  # takes room until it is done\n"
        "                    ready = begun + [item for item in ready if not item.held][:_SOME]\n",
        "                    ready = ready[:_SOME]\n",
        "documents wait for ever for the room of one that nobody looks at any more, and others for that one",
        ("tests/test_limits_of_many.py::test_what_waits_for_room_does_not_keep_what_was_begun_from_its_end",),
    ),
    Mutant(
        "a-handle-of-another-file-lends", "workspace_includes.py",
        "            other._parts.database.require_usable()\n", "",
        "a workspace is granted that only has the number of the one that was meant",
        ("tests/test_exchanged.py::test_a_workspace_of_before_the_exchange_is_lent_to_nobody",),
    ),
    Mutant(
        "prepared-by-everybody-who-has-it", "ingest/prepare.py",
        "if not self._begun.acquire(blocking=False):", "if False:",
        "where few threads can be started, a document is staged twice, by two threads at once",
        ("tests/test_extraction.py::test_what_a_pool_kept_and_its_user_did_is_done_once",),
    ),
    Mutant(
        "what-is-built-waits-for-nothing", "ingest/add.py",
        "while ready or preparation.items or self._built:", "while ready or preparation.items:",
        "a document is lost, and add_many fails, where another takes longer to extract and fails",
        ("tests/test_ingest_overlap.py::test_what_is_embedded_is_stored_where_the_last_that_was_extracted_fails",),
    ),
    Mutant(
        "what-is-on-the-disk-counts-twice", "ingest/admission.py",
        "_Weight(weight.logical, new, _unwritten(item) + vectors)", "_Weight(weight.logical, new, new)",
        "a large document is refused on a disk that has room for it",
        ("tests/test_limits.py::test_what_is_on_the_disk_already_is_not_counted_again",),
    ),
    Mutant(
        "outlives-a-parent-that-ended-in-a-line", "ingest/worker.py",
        "    finally:\n        # The parent", "    except EOFError:\n        pass\n    else:\n        # The parent",
        "a process that nobody knows of stays for ever",
        ("tests/test_extraction.py::test_a_worker_ends_when_its_parent_does_wherever_that_stopped_writing",),
    ),
    Mutant(
        "starts-the-application-again", "ingest/interpreter.py",
        '    if getattr(sys, "frozen", False):\n', "    if False:\n",
        "a frozen program starts itself until the machine is full",
        (f"{_INTERPRETER}::test_a_program_without_python_is_not_started_again",),
    ),
    Mutant(
        "whatever-embeds-python-is-one", "ingest/interpreter.py",
        "    if is_python and _can_run(Path(program)):", "    if program:",
        "under uWSGI nothing can be added",
        (f"{_INTERPRETER}::test_an_application_may_embed_python",),
    ),
    Mutant(
        "waits-for-a-start-for-ever", "ingest/worker_process.py",
        "deadline = bytearray(), time.monotonic() + _START_SECONDS", "deadline = bytearray(), time.monotonic() + 22",
        "an add waits for ever for a program that is none of ours, and so does who adds the same",
        (f"{_INTERPRETER}::test_what_is_none_of_ours_is_not_waited_for",),
    ),
    Mutant(
        "workers-of-a-burst-stay", "ingest/extractor.py",
        "while worker.idle_since - self._idle[0].idle_since > _IDLE_SECONDS:", "while False:",
        "after a burst of uploads a server keeps a process for each processor for ever",
        ("tests/test_extraction.py::test_workers_that_only_a_burst_needed_end",),
    ),
    Mutant(
        "adding-takes-longer-where-others-have-it", "ingest/plan.py",
        "            if len(pending) > 1:  # a document alone",
        "            for each in pending if self._parts.demand_bytes else ():\n"
        "                if db.execute('SELECT 1 FROM documents WHERE hash = ?', (each.hash,)).fetchall():\n"
        "                    _ = [db.execute('SELECT 1') for _ in range(100)]\n"
        "            if len(pending) > 1:  # a document alone",
        "where bytes are demanded the time of an add tells who else has the document",
        ("tests/test_noninterference.py::test_nobody_else_shows_in_add_and_link_either",),
    ),
)  # fmt: skip
