"""Mutants of what touches files: durable, scratch, cas, reserve, frozen, and the folder of the store."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ORDER = "tests/test_durability.py"
_RACES = "tests/test_forced_races.py"
_COLLECT = "tests/test_collect.py"
_READONLY = "tests/test_readonly.py"
_LOCKS = "tests/test_catalog_locks.py"

_DURABLE_BEFORE_ROW = (f"{_ORDER}::test_every_file_and_directory_is_durable_before_its_row_commits",)
_WHOLE = (f"{_ORDER}::test_a_file_is_whole_when_it_is_synced",)
_RESERVE = ("tests/test_reserve.py::test_the_reserve_is_lent_and_filled_again",)
_REMOVALS = (f"{_ORDER}::test_removals_are_durable_before_they_are_settled",)
_LIVING = (f"{_COLLECT}::test_a_dead_owners_temporary_files_are_swept_and_a_living_ones_spared",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "write-without-sync", "durable.py",
        "        sync_file(file.fileno())\n\n\ndef hash_stream", "\n\ndef hash_stream",
        "a staged text or index may be empty after a power cut", _DURABLE_BEFORE_ROW,
    ),
    Mutant(
        "copy-without-sync", "durable.py",
        "        sync_file(file.fileno())\n    return hasher", "    return hasher",
        "a staged blob may be empty after a power cut", _DURABLE_BEFORE_ROW,
    ),
    Mutant(
        "write-without-flush", "durable.py",
        "        file.write(data)\n        file.flush()\n", "        file.write(data)\n",
        "the sync comes before the bytes have reached the kernel", _WHOLE,
    ),
    Mutant(
        "copy-without-flush", "durable.py",
        "            size += len(block)\n        file.flush()\n", "            size += len(block)\n",
        "the sync comes before the bytes have reached the kernel", _WHOLE,
    ),
    Mutant(
        "sync-file-does-nothing", "durable.py", "        os.fsync(fd)", "        pass",
        "nothing is durable", (f"{_ORDER}::test_syncing_reaches_the_kernel",),
    ),
    Mutant(
        "sync-directory-does-nothing", "durable.py",
        "        sync_file(fd)\n    finally:", "        pass\n    finally:",
        "new entries of directories may be lost", _DURABLE_BEFORE_ROW,
    ),
    Mutant(
        "place-forgets-the-directory", "durable.py",
        "        self._directories.add(directory)\n        while directory != keep:", "        while directory != keep:",
        "the published file's entry may be lost", _DURABLE_BEFORE_ROW,
    ),
    Mutant(
        "place-forgets-the-parents", "durable.py",
        "            directory = directory.parent\n            self._directories.add(directory)\n",
        "            directory = directory.parent\n",
        "the entry of a new directory may be lost, with all that is in it", _DURABLE_BEFORE_ROW,
    ),
    Mutant(
        "publication-sync-does-nothing", "durable.py",
        "        for directory in self._directories:\n            sync_directory(directory)",
        "        return",
        "rows are committed whose files may be lost", _DURABLE_BEFORE_ROW,
    ),
    Mutant(
        "undo-does-nothing", "durable.py",
        "                unlink(target, keep)", "                pass",
        "a failed publication leaves files", ("tests/test_claims.py::test_a_failed_publication_leaves_no_file",),
    ),
    Mutant(
        "unlink-keeps-empty-directories", "durable.py",
        "    prune(path.parent, keep)", "    pass",
        "directories accumulate for ever", (f"{_COLLECT}::test_only_the_last_reference_frees",),
    ),
    Mutant(
        "sync-entries-does-nothing", "durable.py",
        "            sync_directory(directory)\n\n\ndef prune", "            pass\n\n\ndef prune",
        "removals are settled that a power cut may undo", _REMOVALS,
    ),
    Mutant(
        "sync-entries-stops-at-removed-directories", "durable.py",
        "        while above != keep and not above.is_dir():\n            above = above.parent\n", "",
        "the removal of a directory is settled and may be undone", _REMOVALS,
    ),
    Mutant(
        "store-folder-not-synced", "store.py",
        "        sync_directory(root.parent)", "        pass",
        "a new store may be lost whole", (f"{_ORDER}::test_a_new_stores_own_entry_is_synced",),
    ),
    # -- scratch
    Mutant(
        "lock-not-taken", "scratch.py",
        "            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n            # Between", "            # Between",
        "a running operation looks dead: its files are swept, its claims stolen", _LIVING,
    ),
    Mutant(
        "lock-without-a-name-trusted", "scratch.py",
        "if os.fstat(fd).st_nlink > 0:", "if True:",
        "a lock that a sweeper unlinked protects nothing",
        (f"{_COLLECT}::test_a_lock_that_was_swept_before_it_was_taken_is_not_trusted",),
    ),
    Mutant(
        "everybody-is-dead", "scratch.py",
        "    except BlockingIOError:\n        return True\n", "    except BlockingIOError:\n        return False\n",
        "claims of the living are stolen", ("tests/test_claims.py::test_threads_that_add_the_same_embed_it_once",),
    ),
    Mutant(
        "everybody-is-alive", "scratch.py",
        "        os.close(fd)\n    return False\n\n\ndef sweep", "        os.close(fd)\n    return True\n\n\ndef sweep",
        "a crashed owner blocks everybody for ever", _LIVING,
    ),
    Mutant(
        "sweep-without-lock", "scratch.py",
        "        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    except BlockingIOError:\n        return 0",
        "        pass\n    except BlockingIOError:\n        return 0",
        "files of the living are swept", _LIVING,
    ),
    Mutant(
        "leaving-unlinks-the-lock-first", "scratch.py",
        '        shutil.rmtree(self._tmp / lock.name.removesuffix(_LOCK), ignore_errors=True)\n        lock.unlink(missing_ok=True)\n        os.close(fd)',
        '        lock.unlink(missing_ok=True)\n        shutil.rmtree(self._tmp / lock.name.removesuffix(_LOCK), ignore_errors=True)\n        os.close(fd)',
        "a living operation's files pass for a crash's", ("tests/test_scratch.py::test_a_folder_that_is_being_left_is_not_a_dead_ones",),
    ),
    Mutant(
        "sweep-unlinks-the-lock-first", "scratch.py",
        "        shutil.rmtree(folder, ignore_errors=True)\n        lock.unlink(missing_ok=True)\n        return removed",
        "        lock.unlink(missing_ok=True)\n        shutil.rmtree(folder, ignore_errors=True)\n        return removed",
        "two sweepers remove the same folder, and count it twice", ("tests/test_scratch.py::test_one_sweeper_has_a_dead_folder",),
    ),
    Mutant(
        "child-keeps-the-lock", "scratch.py",
        "            os.close(self._held[0])\n            self._held = None", "            self._held = None",
        "a forked child keeps its dead parent's claims alive",
        ("tests/test_scratch.py::test_a_forked_child_has_no_part_in_its_parents_scratch",),
    ),
    Mutant(
        "child-cleans-up-for-its-parent", "scratch.py",
        "            os.close(self._held[0])\n            self._held = None", "            os.close(self._held[0])",
        "a forked child that leaves the block removes its parent's work",
        ("tests/test_scratch.py::test_a_forked_child_has_no_part_in_its_parents_scratch",),
    ),
    Mutant(
        "scratch-opened-twice", "scratch.py", "        with self._opening:\n", "        if True:\n",
        "two threads of one operation make two locks, and one is never removed",
        ("tests/test_scratch.py::test_threads_of_one_operation_share_its_scratch",),
    ),
    Mutant(
        "nobody-is-told-of-a-fork", "forking.py", "        if (reset := each()) is not None:\n            reset()", "        each()",
        "children use locks and connections of their parents",
        ("tests/test_scratch.py::test_a_forked_child_has_no_part_in_its_parents_scratch",),
    ),
    # -- cas
    Mutant(
        "lost-files-look-intact", "cas.py",
        "            return self.path(hash, suffix).stat().st_size == size\n        except (FileNotFoundError, NotADirectoryError):\n            return False",
        "            return self.path(hash, suffix).stat().st_size == size\n        except (FileNotFoundError, NotADirectoryError):\n            return True",
        "a lost file is deduplicated onto", ("tests/test_subindex.py::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "shortened-files-look-intact", "cas.py",
        "return self.path(hash, suffix).stat().st_size == size", "return self.path(hash, suffix).stat().st_size >= 0",
        "a shortened file is deduplicated onto", ("tests/test_subindex.py::test_a_lost_file_is_not_deduplicated_onto",),
    ),
    Mutant(
        "damaged-files-are-read", "cas.py",
        "        if blake3(data).hexdigest() != file_hash:", "        if not data:",
        "damaged bytes are used", ("tests/test_subindex.py::test_faiss_never_sees_bytes_that_do_not_hash",),
    ),
    # -- reserve
    Mutant(
        "reserve-kept-on-a-full-disk", "reserve.py",
        "            with contextlib.suppress(OSError):\n                self._path.unlink()\n        # Where", "        # Where",
        "on a full disk nothing can be deleted", _RESERVE,
    ),
    Mutant(
        "reserve-not-filled-again", "reserve.py",
        "        finally:\n            self.fill()", "        finally:\n            pass",
        "the next full disk finds no reserve until the store is opened again", _RESERVE,
    ),
    Mutant(
        "reserve-lent-for-any-error", "reserve.py",
        "                if self._readonly or not _is_full(error):", "                if self._readonly:",
        "an operation that failed for another reason runs twice", _RESERVE,
    ),
    Mutant(
        "reserve-filled-in-part", "reserve.py",
        "                self._path.unlink(missing_ok=True)  # a part", "                pass  # a part",
        "a part of the reserve takes the room that deleting needs",
        ("tests/test_reserve.py::test_a_reserve_that_does_not_fit_leaves_nothing",),
    ),
    # -- frozen
    Mutant(
        "log-begun-anew-goes-unseen", "frozen.py",
        "    if now is None or state.log is None or now[3] != state.log[3] or log[:_HEADER] != state.log[3]:",
        "    if now is None or state.log is None:",
        "a copy lacks what was checkpointed while it was made",
        (f"{_READONLY}::test_a_log_that_is_begun_anew_while_it_is_copied",),
    ),
    Mutant(
        "log-copied-before-the-file", "frozen.py",
        '        data = immutable.serialize()\n    log = Path(f"{path}-wal").read_bytes()\n',
        '        log = Path(f"{path}-wal").read_bytes()\n        data = immutable.serialize()\n',
        "old pages of the log cover new ones of the file", (f"{_READONLY}::test_a_checkpoint_between_the_two_copies",),
    ),
    Mutant(
        "everything-is-settled", "frozen.py",
        "        return time.time_ns() - newest > _TICK_NS", "        return newest > 0",
        "a change within a tick of the clock is not seen", (f"{_READONLY}::test_a_change_within_a_tick_of_the_clock",),
    ),
    Mutant(
        "overwriting-goes-unseen", "frozen.py",
        "        return image.copied_to is None and _State.of(self._path).file != image.state.file", "        return False",
        "a read without locks mixes two states", (f"{_READONLY}::test_what_is_changed_while_it_is_read_is_refused",),
    ),
    Mutant(
        "changes-go-unseen", "frozen.py",
        "if self._image is None or not self._image.settled or self._image.state != state:", "if self._image is None:",
        "a reader never sees what others write",
        (f"{_READONLY}::test_not_a_byte_beside_a_writer_whose_changes_are_seen",),
    ),
    Mutant(
        "frozen-lock-kept-over-fork", "frozen.py",
        "    def _leave_parent(self) -> None:\n        self._guard = threading.Lock()\n", "    def _leave_parent(self) -> None:\n",
        "a child forked while a thread looks hangs", (f"{_LOCKS}::test_a_child_forked_while_locks_are_held_can_use_the_store",),
    ),
    # -- views
    Mutant(
        "views-put-without-lock", "views.py",
        '        """Caches a view, dropping those not used for longest. One larger than the budget is not kept."""\n        with self._guard:',
        '        """Caches a view, dropping those not used for longest. One larger than the budget is not kept."""\n        if True:',
        "the cache loses count of its memory", (f"{_RACES}::test_two_views_put_at_once_are_both_counted",),
    ),
    Mutant(
        "views-lock-kept-over-fork", "views.py", "        in_child(self._make_lock)\n", "",
        "a child forked while a thread searches hangs", (f"{_LOCKS}::test_a_child_forked_while_locks_are_held_can_use_the_store",),
    ),
)  # fmt: skip
