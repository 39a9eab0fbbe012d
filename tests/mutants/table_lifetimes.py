"""Mutants of expiry and limits."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ACCESSES = "tests/test_accesses.py"
_EXPIRY = "tests/test_expiry.py"
_LIMITS = "tests/test_limits.py"
_LIMITS_HOLD = "tests/test_limits_hold.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "expired-without-mercy",
        "lifetimes.py",
        "(NOT sliding OR expires_at <= :merciful)",
        "(NOT sliding OR expires_at <= :now)",
        "who searched in another process within the last minute loses the workspace",
        (f"{_ACCESSES}::test_what_another_process_searched_a_minute_ago_stays",),
    ),
    Mutant(
        "expired-ones-are-found",
        "refcount.py",
        "SELECT version, refs FROM workspaces WHERE id = ? AND expired_at IS NULL",
        "SELECT version, refs FROM workspaces WHERE id = ?",
        "handles on an expired workspace go on",
        (f"{_EXPIRY}::test_an_expired_workspace_is_gone_and_its_documents_are_not",),
    ),
    Mutant(
        "undeleted-as-it-was",
        "lifetimes.py",
        '"UPDATE workspaces SET name = ?, expired_at = NULL, lives_from = ?, accessed_at = ? WHERE id = ?",\n'
        "        (name, now, now, workspace),",
        '"UPDATE workspaces SET name = ?, expired_at = NULL WHERE id = ?",\n        (name, workspace),',
        "what comes back expires again at once",
        (f"{_EXPIRY}::test_undelete_restores_all", f"{_EXPIRY}::test_a_fixed_time_begins_anew_too"),
    ),
    Mutant(
        "undeleted-over-another",
        "lifecycle/expire.py",
        "if refcount.workspace_id(db, wanted) is not None:",
        "if False:",
        "an error that says the catalog contradicts itself",
        (f"{_EXPIRY}::test_the_name_is_free_at_once",),
    ),
    Mutant(
        "accesses-may-shrink",
        "lifetimes.py",
        " AND coalesce(accessed_at, '') < ?",
        " AND ? > ''",
        "a process whose clock is behind takes others' accesses back",
        (f"{_ACCESSES}::test_accesses_only_grow",),
    ),
    Mutant(
        "a-note-that-met-a-lock-is-forgotten",
        "accesses.py",
        "                self._write_later(due)\n",
        "                pass\n",
        "beside a writer, a workspace that was just searched expires",
        (f"{_ACCESSES}::test_an_access_that_met_a_lock_is_written_soon",),
    ),
    Mutant(
        "forked-while-the-thread-writes",
        "accesses.py",
        "        self._trying.acquire()  # or",
        "        pass  # or",
        "a child inherits a connection that is in use",
        (f"{_ACCESSES}::test_a_fork_waits_for_the_thread_and_not_the_other_way_round",),
    ),
    Mutant(
        "the-first-is-paused-first",
        "forking.py",
        "in reversed(_registered(_pauses)):",
        "in _registered(_pauses):",
        "a fork waits for ever for a thread that waits for it",
        (f"{_ACCESSES}::test_a_fork_waits_for_the_thread_and_not_the_other_way_round",),
    ),
    Mutant(
        "every-search-writes",
        "accesses.py",
        "        return due is None or not due - _EVERY <= now < due",
        "        return True",
        "a commit with every search",
        (f"{_ACCESSES}::test_accesses_are_written_once_a_minute_and_at_the_end",),
    ),
    Mutant(
        "changes-commit-twice",
        "accesses.py",
        "        if is_due:\n            self._postpone(",
        "        if False:\n            self._postpone(",
        "every change writes its access once more, in a commit of its own",
        (f"{_ACCESSES}::test_a_change_is_an_access_in_one_commit",),
    ),
    Mutant(
        "searches-wait-to-note",
        "accesses.py",
        "self._write(due, timeout=0)",
        "self._write(due, timeout=2)",
        "a search waits for whoever holds the write lock",
        (f"{_ACCESSES}::test_a_search_does_not_wait_to_write_its_access",),
    ),
    Mutant(
        "limits-not-asked-before-work",
        "ingest/add.py",
        "            case Verdict.REFUSED:\n                return Step.DONE",
        "            case Verdict.REFUSED:\n                item.outcome = None",
        "documents are embedded in vain",
        (f"{_LIMITS}::test_documents_of_a_workspace",),
    ),
    Mutant(
        "limits-not-asked-when-publishing",
        "ingest/add.py",
        "        item.outcome = self._admission.publication(db, known, item, document)",
        "        item.outcome = None",
        "adders that work at once exceed a limit of the store, or the database refuses all of their group",
        (f"{_LIMITS_HOLD}::test_of_a_group_that_others_overtake_what_still_fits_is_added",),
    ),
    Mutant(
        "nobody-waits-for-a-place",
        "ingest/add.py",
        "            case Verdict.WAIT:\n                return Step.WAIT\n",
        "",
        "documents are embedded in vain",
        ("tests/test_limits_of_many.py::test_many_fill_it_to_the_brim",),
    ),
    Mutant(
        "a-full-store-tells-of-others",
        "ingest/admission.py",
        "        if self._secretive:\n            return sum",
        "        if False:\n            return sum",
        "who adds to a full store learns what others have",
        (f"{_LIMITS_HOLD}::test_who_is_overtaken_learns_nothing_where_bytes_are_demanded",),
    ),
    Mutant(
        "bytes-kept-when-removed",
        "migrations/m009_limits.py",
        "UPDATE workspaces SET bytes = bytes - coalesce",
        "UPDATE workspaces SET bytes = bytes - 0 * coalesce",
        "what was removed still counts",
        (f"{_LIMITS}::test_bytes_of_a_workspace",),
    ),
    Mutant(
        "no-backstop-for-references",
        "migrations/m009_limits.py",
        "(SELECT refs >= most_documents OR",
        "(SELECT 0 * refs >= most_documents + 1 OR",
        "other code exceeds the limit of a workspace",
        (f"{_LIMITS_HOLD}::test_the_database_refuses_what_other_code_would_insert",),
    ),
    Mutant(
        "notes-of-what-is-deleted-stay",
        "parts.py",
        "        self.accesses.deleted(workspace)\n",
        "",
        "a million temporary workspaces take 240 MB",
        (f"{_ACCESSES}::test_workspaces_that_are_deleted_leave_no_note",),
    ),
    Mutant(
        "a-line-is-followed-to-its-ends",
        "replacements.py",
        "ON d.hash = line.hash LIMIT 1",
        "ON d.hash = line.hash",
        "collecting what one document replaced takes time by the square of their number",
        ("tests/test_replace.py::test_a_long_line_is_not_followed_for_each_that_goes",),
    ),
)
