"""Mutants of what makes files durable, and of temporary folders."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ARCHIVE = "tests/test_archive.py"
_ARCHIVE_DAMAGE = "tests/test_archive_damage.py"
_CLAIMS = "tests/test_claims.py"
_COLLECT = "tests/test_collect.py"
_DURABILITY = "tests/test_durability.py"
_SCRATCH = "tests/test_scratch.py"
_SUBINDEX = "tests/test_subindex.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "staged-files-not-synced", "durable.py",
        "        sync_files([each.path for each in files])\n",
        "",
        "a published file may be empty after a power cut",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "opened-and-not-synced", "durable.py",
        "        sync_file(fd)\n    finally:\n        os.close(fd)\n\n\ndef _all",
        "        pass\n    finally:\n        os.close(fd)\n\n\ndef _all",
        "a published file may be empty after a power cut",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "some-of-many-not-synced", "durable.py",
        "        for path in paths[first::step]:\n",
        "        for path in paths[first :: step * step]:\n",
        "of a large group some files may be empty after a power cut",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "failed-syncs-of-threads-overlooked", "durable.py",
        "        each.result()\n",
        "        each.exception()\n",
        "rows are committed whose files never reached the disk",
        (f"{_DURABILITY}::test_a_file_that_cannot_be_synced_is_not_published",),
    ),
    Mutant(
        "publication-begun-with-the-commit-in-sight", "ingest/publish.py",
        "            publication = Publication([piece for item in items for piece in item.staged], self._parts."
        "archive)\n",
        "            publication = Publication()\n",
        "everybody waits for the lock while files are synced",
        (f"{_DURABILITY}::test_files_are_synced_before_the_lock_is_taken",),
        (
            (
                "                with storage_errors(\"publishing a document\"):\n",
                "                with storage_errors(\"publishing a document\"):\n"
                "                    publication = Publication([piece for item in items for piece in item.staged], "
                "self._parts.archive)\n",
            ),
        ),
    ),
    Mutant(
        "texts-not-synced", "ingest/incoming.py",
        "for file in (self.blob, self.text_file) if",
        "for file in (self.blob,) if",
        "a text may be empty after a power cut",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "blobs-not-synced", "ingest/incoming.py",
        "for file in (self.blob, self.text_file) if",
        "for file in (self.text_file,) if",
        "a document may be empty after a power cut",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "sub-indexes-not-synced", "ingest/incoming.py",
        "[*files, *(self.subindex.staged if self.subindex is not None else ())]",
        "files",
        "a sub-index may be empty after a power cut",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "spans-not-synced", "ingest/pipeline.py",
        "        return self.index, self.spans\n",
        "        return self.index, self.index\n",
        "a sub-index may be empty after a power cut",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "published-while-written", "durable.py",
        "                file.write(self.data)\n",
        "                file.write(self.data[:-1])\n",
        "a file is published that is not whole",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "sync-file-does-nothing", "durable.py",
        "        os.fsync(fd)",
        "        pass",
        "nothing is durable",
        (f"{_DURABILITY}::test_syncing_reaches_the_kernel",),
    ),
    Mutant(
        "sync-directory-does-nothing", "durable.py",
        "        sync_file(fd)\n    finally:\n        os.close(fd)\n\n\ndef sync_files",
        "        pass\n    finally:\n        os.close(fd)\n\n\ndef sync_files",
        "new entries of directories may be lost",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "place-forgets-the-directory", "durable.py",
        "        while directory not in self._directories:\n",
        "        directory = _parent(directory)\n        while directory not in self._directories:\n",
        "the published file's entry may be lost",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "place-forgets-the-parents", "durable.py",
        "            if directory != top:\n                directory = _parent(directory)\n",
        "",
        "the entry of a new directory may be lost, with all that is in it",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "publication-sync-does-nothing", "durable.py",
        "        _all_at_once(sync_directory, [each for each in self._directories if os.path.lexists(each)])",
        "        return",
        "rows are committed whose files may be lost",
        (f"{_DURABILITY}::test_every_file_and_directory_is_durable_before_its_row_commits",),
    ),
    Mutant(
        "undo-does-nothing", "durable.py",
        "                unlink(Path(target), keep)",
        "                pass",
        "a failed publication leaves files",
        (f"{_CLAIMS}::test_a_failed_publication_leaves_no_file",),
    ),
    Mutant(
        "unlink-keeps-empty-directories", "durable.py",
        "    prune(path.parent, keep)",
        "    pass",
        "directories accumulate for ever",
        (f"{_COLLECT}::test_only_the_last_reference_frees",),
    ),
    Mutant(
        "sync-entries-does-nothing", "durable.py",
        "            sync_directory(directory)\n"
        "\n"
        "\n"
        "def prune",
        "            pass\n"
        "\n"
        "\n"
        "def prune",
        "removals are settled that a power cut may undo",
        (f"{_DURABILITY}::test_removals_are_durable_before_they_are_settled",),
    ),
    Mutant(
        "sync-entries-stops-at-removed-directories", "durable.py",
        "        while above != keep and not above.is_dir():\n"
        "            above = above.parent\n",
        "",
        "the removal of a directory is settled and may be undone",
        (f"{_DURABILITY}::test_removals_are_durable_before_they_are_settled",),
    ),
    Mutant(
        "what-has-ended-begins-anew", "scratch.py",
        "        self._has_ended = True\n", "",
        "after two interrupts a folder stays that no collection removes while the process lives",
        (f"{_SCRATCH}::test_what_has_ended_makes_no_folder_any_more",),
    ),
    Mutant(
        "lock-not-taken", "scratch.py",
        "            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n            # Between",
        "            # Between",
        "a running operation looks dead: its files are swept, its claims stolen",
        (f"{_SCRATCH}::test_a_dead_owners_temporary_files_are_swept_and_a_living_ones_spared",),
    ),
    Mutant(
        "lock-without-a-name-trusted", "scratch.py",
        "if os.fstat(fd).st_nlink > 0:",
        "if True:",
        "a lock that a sweeper unlinked protects nothing",
        (f"{_SCRATCH}::test_a_lock_that_was_swept_before_it_was_taken_is_not_trusted",),
    ),
    Mutant(
        "everybody-is-dead", "scratch.py",
        "    except BlockingIOError:\n"
        "        return True\n",
        "    except BlockingIOError:\n"
        "        return False\n",
        "claims of the living are stolen",
        (f"{_CLAIMS}::test_threads_that_add_the_same_embed_it_once",),
    ),
    Mutant(
        "everybody-is-alive", "scratch.py",
        "        os.close(fd)\n"
        "    return False\n"
        "\n"
        "\n"
        "def sweep",
        "        os.close(fd)\n"
        "    return True\n"
        "\n"
        "\n"
        "def sweep",
        "a crashed owner blocks everybody for ever",
        (f"{_SCRATCH}::test_a_dead_owners_temporary_files_are_swept_and_a_living_ones_spared",),
    ),
    Mutant(
        "sweep-without-lock", "scratch.py",
        "        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except BlockingIOError:\n"
        "        return 0",
        "        pass\n"
        "    except BlockingIOError:\n"
        "        return 0",
        "files of the living are swept",
        (f"{_SCRATCH}::test_a_dead_owners_temporary_files_are_swept_and_a_living_ones_spared",),
    ),
    Mutant(
        "leaving-unlinks-the-lock-first", "scratch.py",
        "                _remove(folder)\n                lock.unlink(missing_ok=True)\n",
        "                lock.unlink(missing_ok=True)\n                _remove(folder)\n",
        "a living operation's files pass for a crash's",
        (f"{_SCRATCH}::test_a_folder_that_is_being_left_is_not_a_dead_ones",),
    ),
    Mutant(
        "leaving-keeps-the-lock", "scratch.py",
        "        finally:\n            with contextlib.suppress(OSError):\n                os.close(fd)  # else",
        "            os.close(fd)\n        finally:\n            if True:\n                pass  # else",
        "claims of an operation that has failed seem alive for ever",
        (f"{_SCRATCH}::test_whatever_happens_the_lock_is_let_go",),
    ),

    Mutant(
        "sweep-unlinks-the-lock-first", "scratch.py",
        "        _remove(folder)\n        lock.unlink(missing_ok=True)\n        return removed",
        "        lock.unlink(missing_ok=True)\n        _remove(folder)\n        return removed",
        "two sweepers remove the same folder, and count it twice",
        (f"{_SCRATCH}::test_one_sweeper_has_a_dead_folder",),
    ),
    Mutant(
        "child-keeps-the-lock", "scratch.py",
        "            os.close(self._held[0])\n            self._held = None",
        "            self._held = None",
        "a forked child keeps its dead parent's claims alive",
        (f"{_SCRATCH}::test_a_forked_child_has_no_part_in_its_parents_scratch",),
    ),
    Mutant(
        "child-cleans-up-for-its-parent", "scratch.py",
        "            os.close(self._held[0])\n            self._held = None",
        "            os.close(self._held[0])",
        "a forked child that leaves the block removes its parent's work",
        (f"{_SCRATCH}::test_a_forked_child_has_no_part_in_its_parents_scratch",),
    ),
    Mutant(
        "scratch-opened-twice", "scratch.py",
        "        with self._opening:\n",
        "        if True:\n",
        "two threads of one operation make two locks, and one is never removed",
        (f"{_SCRATCH}::test_threads_of_one_operation_share_its_scratch",),
    ),
    Mutant(
        "nobody-is-told-of-a-fork", "forking.py",
        "        getattr(each, name)()",
        "        pass",
        "children use locks and connections of their parents",
        (f"{_SCRATCH}::test_a_forked_child_has_no_part_in_its_parents_scratch",),
    ),
    Mutant(
        "lost-files-look-intact", "cas.py",
        '            return self._archive.size(f"{self._root_name}/{piece}") == size',
        "            return True",
        "a lost file is deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "shortened-files-look-intact", "cas.py",
        ".st_size == size  # noqa",
        ".st_size >= 0  # noqa",
        "a shortened file is deduplicated onto",
        (f"{_SUBINDEX}::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "archive-committed-after-the-rows", "parts.py",
        "        with self.database.write() as db, self.archive.writing():\n",
        "        with self.archive.writing(), self.database.write() as db:\n",
        "rows are deleted whose pieces stay for ever after a crash",
        (f"{_ARCHIVE}::test_the_archive_changes_inside_the_catalogs_transactions_and_commits_first",),
    ),
    Mutant(
        "archive-synced-carelessly", "sqlar.py",
        '    "synchronous = FULL",\n',
        '    "synchronous = NORMAL",\n',
        "rows are committed whose pieces a power cut takes back",
        (f"{_ARCHIVE}::test_commits_of_the_archive_survive_power_cuts",),
    ),
    Mutant(
        "packed-bytes-stay", "sqlar.py",
        '    "secure_delete = ON",\n',
        '    "secure_delete = OFF",\n',
        "what was collected can still be read in the archive",
        (f"{_ARCHIVE}::test_what_is_collected_leaves_no_byte",),
    ),
    Mutant(
        "archive-damage-is-believed-at-once", "archive.py",
        "        return self._damage() and self._damage()", "        return self._damage()",
        "an archive is made anew because the system failed one call",
        ("tests/test_archive_damage.py::test_a_look_that_fails_once_is_no_damage",),
    ),
    Mutant(
        "archive-never-shrinks", "archive.py",
        '                    writer.execute("PRAGMA auto_vacuum = FULL")\n',
        "                    pass\n",
        "what was collected still takes its room on the disk",
        (f"{_ARCHIVE}::test_what_is_collected_leaves_no_byte",),
    ),
    Mutant(
        "packed-pieces-not-unlinked", "cas.py",
        "        self._archive.delete(self.packed_name(hash, suffix))\n",
        "",
        "packed pieces of collected documents stay",
        (f"{_ARCHIVE}::test_what_is_collected_leaves_no_byte",),
    ),
    Mutant(
        "packed-leftovers-not-swept", "lifecycle/collect.py",
        "                    parts.archive.delete(name)\n",
        "                    pass\n",
        "packed pieces that a crash left stay for ever",
        (f"{_ARCHIVE}::test_what_a_crash_between_the_commits_left_is_swept",),
    ),
    Mutant(
        "second-copies-not-swept", "lifecycle/collect.py",
        "        if path.exists() or not _has_row(",
        "        if not _has_row(",
        "a piece that is a file takes the room of two",
        (f"{_ARCHIVE_DAMAGE}::test_a_sweep_removes_the_copy_that_does_not_count",),
    ),
    Mutant(
        "undo-forgets-the-archive", "durable.py",
        "                    self._archive.delete(name)\n                self._archive.commit()",
        "                    pass\n                self._archive.commit()",
        "a failed publication leaves packed pieces",
        (f"{_ARCHIVE}::test_a_publication_that_fails_is_undone",),
    ),
    Mutant(
        "damaged-files-hide-packed-pieces", "durable.py",
        "            self._clear(target)\n",
        "",
        "a damaged file stands before the piece that heals it",
        (f"{_ARCHIVE_DAMAGE}::test_a_lost_piece_may_come_back_as_a_file_and_a_lost_file_as_a_packed_piece",),
    ),
    Mutant(
        "links-hide-packed-pieces", "durable.py",
        "if os.path.lexists(target):", "if os.access(target, os.F_OK):",
        "a link that leads nowhere stands before the piece that was just stored",
        (f"{_ARCHIVE_DAMAGE}::test_a_link_that_leads_nowhere_does_not_hide_a_packed_piece",),
    ),
    Mutant(
        "commits-that-change-nothing-wait-for-readers", "archive.py",
        'writer.execute("COMMIT" if is_changed else "ROLLBACK")', 'writer.execute("COMMIT")',
        "a process that was stopped while it searched keeps everybody from adding a document",
        ("tests/test_archive_readers.py::test_a_reader_that_was_stopped_keeps_no_single_document_out",),
    ),
    Mutant(
        "written-to-a-removed-archive", "archive.py",
        "        if taken.inode == now:\n",
        "        if taken.inode:\n",
        "pieces are written to a file that a repair replaced",
        (f"{_ARCHIVE_DAMAGE}::test_what_can_be_read_of_a_damaged_archive_is_saved",),
    ),
    Mutant(
        "changed-archives-are-written", "archive.py",
        "                    sqlar.require(writer, sqlar.EXPECTED, self.path)\n",
        "                    pass\n",
        "somebody else's trigger runs when a piece is stored",
        (f"{_ARCHIVE_DAMAGE}::test_an_archive_whose_schema_was_changed_is_not_written",),
    ),
    Mutant(
        "large-packed-pieces-are-read", "archive.py",
        "CASE WHEN length(data) <= ? THEN data END",
        "CASE WHEN ? THEN data END",
        "a tampered archive fills the memory",
        (f"{_ARCHIVE_DAMAGE}::test_a_piece_that_grew_is_not_read_whole",),
    ),
    Mutant(
        "archive-forgotten-beside-a-lost-catalog", "database.py",
        '"embeddings", ARCHIVE)',
        '"embeddings")',
        "a new catalog is made beside packed documents, which are then leftovers",
        (f"{_ARCHIVE_DAMAGE}::test_packed_documents_beside_a_lost_catalog_are_not_forgotten",),
    ),
    Mutant(
        "damaged-files-are-read", "cas.py",
        "        if len(data) != size or blake3(data).hexdigest() != file_hash:",
        "        if len(data) != size:",
        "damaged bytes are used",
        (f"{_SUBINDEX}::test_faiss_never_sees_bytes_that_do_not_hash",),
    ),
    Mutant(
        "damaged-packed-pieces-are-read", "cas.py",
        "if data is not None and len(data) == piece[2] and blake3(data).hexdigest() == piece[1]:",
        "if data is not None and len(data) == piece[2]:",
        "damaged bytes of the archive are used",
        ("tests/test_archive_readers.py::test_of_spans_that_are_read_together_each_is_checked",),
    ),
    Mutant(
        "files-are-for-everybody", "durable.py",
        "        self._placed.append((target, keep))",
        "        os.chmod(target, 0o666)\n        self._placed.append((target, keep))",
        "documents are readable for all users of the machine, whatever the umask",
        (f"{_DURABILITY}::test_nothing_is_more_public_than_the_umask_says",),
    ),
)  # fmt: skip
