"""Mutants of grants, document sets and conversations."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_INCLUDES = "tests/test_includes.py"
_SETS = "tests/test_sets.py"
_CONVERSATIONS = "tests/test_conversations.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "views-do-not-look-at-what-is-included", "search.py",
        "    return tuple([each[:2] for each in owners])",
        "    return tuple([each[:2] for each in owners[:1]])",
        "searches go on covering what a grant no longer lends",
        (f"{_INCLUDES}::test_searches_cover_what_is_included_while_the_grant_lasts",),
    ),
    Mutant(
        "included-names-before-ones-own", "covered.py",
        "    found = read(owners[-1].id)\n    for owner in owners[-2::-1]:",
        "    found = read(owners[0].id)\n    for owner in owners[1:]:",
        "somebody else decides what a workspace calls its documents",
        (f"{_INCLUDES}::test_ones_own_name_and_metadata_come_first_then_the_older_workspaces",),
    ),
    Mutant(
        "deleted-workspaces-leave-their-grants", "migrations/m004_includes.py",
        "    included_id INTEGER NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE, -- whose documents",
        "    included_id INTEGER NOT NULL, -- whose documents",
        "a grant names nobody",
        (f"{_INCLUDES}::test_deleting_a_workspace_ends_its_grants_both_ways",),
    ),
    Mutant(
        "sets-are-pinned-when-they-are-full", "ingest/target.py",
        "        pins.pin(db, self.workspace, document.hash, keep=True)\n", "",
        "all who asked for a set find a document that is none of it",
        (f"{_SETS}::test_no_new_version_comes_into_a_set_that_is_being_filled",),
    ),
    Mutant(
        "sets-that-cannot-be-filled-stay", "sets.py",
        "                _leave(parts, name, members)",
        "                pass",
        "a failed call leaves half a set behind",
        (f"{_SETS}::test_what_cannot_be_filled_is_not_left_behind",),
    ),
    Mutant(
        "sets-depend-on-the-order", "sets.py",
        "''.join(sorted(hashes))",
        "''.join(hashes)",
        "two users of the same files do not share them",
        (f"{_SETS}::test_the_same_set_in_any_order_is_the_same_workspace",),
    ),
    Mutant(
        "sources-show-what-is-no-longer-covered", "conversations.py",
        "    places = [place for each in sources if (place := _place(each))[:2] in there]",
        "    places = [place for each in sources if there is not None and (place := _place(each))[1]]",
        "a document's text is shown to who has lost it",
        ("tests/test_conversation_sources.py::test_a_source_that_is_included_shows_while_the_grant_lasts",),
    ),
    Mutant(
        "damaged-messages-are-shown", "messages.py",
        "        yield row, row.checksum == checksum",
        "        yield row, True",
        "something else is shown than was said",
        (f"{_CONVERSATIONS}::test_a_damaged_message_shows",),
    ),
    Mutant(
        "messages-may-change", "migrations/m005_conversations.py",
        "BEFORE UPDATE ON messages\n",
        "BEFORE UPDATE ON messages WHEN 0\n",
        "what was said can be rewritten",
        (f"{_CONVERSATIONS}::test_the_database_itself_keeps_messages_as_they_are",),
    ),
    Mutant(
        "deleted-rows-stay-in-their-pages", "database.py",
        '    "secure_delete = FAST",',
        '    "secure_delete = OFF",',
        "what was deleted can be read in the catalog",
        (f"{_CONVERSATIONS}::test_no_byte_of_a_deleted_conversation_is_left_after_a_collection",),
    ),
    Mutant(
        "an-export-is-of-many-moments", "conversations.py",
        "while page := self._page(db, owners, last, _PAGE):", "while page := self.messages(last, _PAGE):",
        "an export holds what was said after it was begun, and may hold half of it",
        (f"{_CONVERSATIONS}::test_what_is_said_while_it_is_exported_is_not_in_it",),
    ),
)  # fmt: skip
