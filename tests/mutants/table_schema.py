"""Mutants of the schema: each trigger, each RESTRICT, each CHECK."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_SCHEMA = "tests/test_schema.py"
_REFCOUNT = "tests/test_refcount.py"
_SEARCH = "tests/test_search.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "doomed-documents-can-be-referenced", "migrations/m001_first_release.py",
        "WHEN (SELECT doomed FROM documents WHERE id = NEW.document_id)",
        "WHEN 0",
        "a reference to a document whose files are going",
        (f"{_REFCOUNT}::test_a_doomed_document_cannot_be_referenced",),
        (
            (
                "    CHECK ((refcount = 0) = (unreferenced_at IS NOT NULL)),\n"
                "    CHECK (doomed = 0 OR refcount = 0)\n",
                "    CHECK ((refcount = 0) = (unreferenced_at IS NOT NULL))\n",
            ),
        ),
    ),
    Mutant(
        "doomed-with-references", "migrations/m001_first_release.py",
        "    CHECK ((refcount = 0) = (unreferenced_at IS NOT NULL)),\n"
        "    CHECK (doomed = 0 OR refcount = 0)\n",
        "    CHECK ((refcount = 0) = (unreferenced_at IS NOT NULL))\n",
        "a referenced document is collected",
        (f"{_REFCOUNT}::test_the_database_refuses_what_breaks_an_invariant",),
    ),
    Mutant(
        "counts-below-zero", "migrations/m001_first_release.py",
        "refcount INTEGER NOT NULL DEFAULT 0 CHECK (refcount >= 0),",
        "refcount INTEGER NOT NULL DEFAULT 0,",
        "a count that lies is not refused",
        (f"{_SCHEMA}::test_a_count_and_its_time_agree",),
    ),
    Mutant(
        "unreferenced-without-a-time", "migrations/m001_first_release.py",
        "    CHECK ((refcount = 0) = (unreferenced_at IS NOT NULL)),\n",
        "",
        "what is unreferenced is never collected",
        (f"{_SCHEMA}::test_a_count_and_its_time_agree",),
    ),
    Mutant(
        "cascade-refs-workspaces", "migrations/m001_first_release.py",
        "workspace_id INTEGER NOT NULL REFERENCES workspaces(id) ON DELETE RESTRICT",
        "workspace_id INTEGER NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE",
        "deleting one row silently deletes those that point to it",
        (f"{_SCHEMA}::test_nothing_that_is_pointed_to_can_be_deleted",),
    ),
    Mutant(
        "cascade-refs-documents", "migrations/m001_first_release.py",
        "document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE RESTRICT",
        "document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE",
        "deleting one row silently deletes those that point to it",
        (f"{_SCHEMA}::test_nothing_that_is_pointed_to_can_be_deleted",),
    ),
    Mutant(
        "cascade-documents-texts", "migrations/m001_first_release.py",
        "of the bytes; names documents/<ab>/<hash><suffix>\n"
        "    media_type TEXT NOT NULL,           -- decided from the content; gives the suffix\n"
        "    size INTEGER NOT NULL CHECK (size > 0), -- bytes of the blob\n"
        "    text_id INTEGER NOT NULL REFERENCES texts(id) ON DELETE RESTRICT",
        "of the bytes; names documents/<ab>/<hash><suffix>\n"
        "    media_type TEXT NOT NULL,           -- decided from the content; gives the suffix\n"
        "    size INTEGER NOT NULL CHECK (size > 0), -- bytes of the blob\n"
        "    text_id INTEGER NOT NULL REFERENCES texts(id) ON DELETE CASCADE",
        "deleting one row silently deletes those that point to it",
        (f"{_SCHEMA}::test_nothing_that_is_pointed_to_can_be_deleted",),
    ),
    Mutant(
        "cascade-subindexes-texts", "migrations/m001_first_release.py",
        "text_id INTEGER NOT NULL REFERENCES texts(id) ON DELETE RESTRICT, -- whose chunks",
        "text_id INTEGER NOT NULL REFERENCES texts(id) ON DELETE CASCADE, -- whose chunks",
        "deleting one row silently deletes those that point to it",
        (f"{_SCHEMA}::test_nothing_that_is_pointed_to_can_be_deleted",),
    ),
    Mutant(
        "cascade-subindexes-pipelines", "migrations/m001_first_release.py",
        "REFERENCES pipelines(id) ON DELETE RESTRICT",
        "REFERENCES pipelines(id) ON DELETE CASCADE",
        "deleting one row silently deletes those that point to it",
        (f"{_SCHEMA}::test_nothing_that_is_pointed_to_can_be_deleted",),
    ),
    Mutant(
        "references-not-counted", "migrations/m001_first_release.py",
        "UPDATE documents SET refcount = refcount + 1, unreferenced_at = NULL WHERE id = NEW.document_id;",
        "UPDATE documents SET refcount = refcount WHERE id = NEW.document_id;",
        "a referenced document looks unreferenced",
        (f"{_REFCOUNT}::test_any_program_that_deletes_references_keeps_the_counts",),
    ),
    Mutant(
        "lost-references-not-counted", "migrations/m001_first_release.py",
        "UPDATE documents SET refcount = refcount - 1,\n"
        "        unreferenced_at = CASE WHEN refcount = 1 THEN {NOW} END WHERE",
        "UPDATE documents SET refcount = refcount WHERE",
        "documents are never collected",
        (f"{_REFCOUNT}::test_any_program_that_deletes_references_keeps_the_counts",),
    ),
    Mutant(
        "new-references-unseen", "migrations/m001_first_release.py",
        "UPDATE workspaces SET version = version + 1, refs = refs + 1",
        "UPDATE workspaces SET refs = refs + 1",
        "cached views miss new documents",
        (f"{_SEARCH}::test_a_change_by_another_store_is_seen_by_the_next_search",),
    ),
    Mutant(
        "lost-references-unseen", "migrations/m001_first_release.py",
        "UPDATE workspaces SET version = version + 1, refs = refs - 1",
        "UPDATE workspaces SET refs = refs - 1",
        "cached views show removed documents",
        (f"{_SEARCH}::test_a_change_by_another_store_is_seen_by_the_next_search",),
    ),
    Mutant(
        "changed-references-unseen", "migrations/m001_first_release.py",
        "BEGIN\n"
        "    UPDATE workspaces SET version = version + 1 WHERE id = NEW.workspace_id;\n"
        "END",
        "BEGIN\n"
        "    UPDATE workspaces SET version = version WHERE id = NEW.workspace_id;\n"
        "END",
        "cached views show old names",
        (f"{_SEARCH}::test_a_change_by_another_store_is_seen_by_the_next_search",),
    ),
    Mutant(
        "references-can-move", "migrations/m001_first_release.py",
        "CREATE TRIGGER refs_identity BEFORE UPDATE OF workspace_id, document_id ON refs\nBEGIN",
        "CREATE TRIGGER refs_identity BEFORE UPDATE OF workspace_id, document_id ON refs\nWHEN 0 BEGIN",
        "a reference changes uncounted",
        (f"{_SCHEMA}::test_identities_do_not_change",),
    ),
    Mutant(
        "documents-can-change", "migrations/m001_first_release.py",
        "CREATE TRIGGER documents_identity BEFORE UPDATE OF hash, size, text_id ON documents\nBEGIN",
        "CREATE TRIGGER documents_identity BEFORE UPDATE OF hash, size, text_id ON documents\nWHEN 0 BEGIN",
        "a row no longer names its file",
        (f"{_SCHEMA}::test_identities_do_not_change",),
    ),
    Mutant(
        "uncounted-references", "migrations/m001_first_release.py",
        "UPDATE totals SET refs = refs + 1, avoided = avoided + NEW.avoided",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-lost-references", "migrations/m001_first_release.py",
        "UPDATE totals SET refs = refs - 1",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-logical-bytes", "migrations/m001_first_release.py",
        "UPDATE totals SET logical_bytes = logical_bytes + (NEW.refcount - OLD.refcount) * {_FOOTPRINT}",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-documents", "migrations/m001_first_release.py",
        "UPDATE totals SET documents = documents + 1, file_bytes = file_bytes + NEW.size",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-lost-documents", "migrations/m001_first_release.py",
        "UPDATE totals SET documents = documents - 1, file_bytes = file_bytes - OLD.size",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-texts", "migrations/m001_first_release.py",
        "AFTER INSERT ON texts BEGIN\n    UPDATE totals SET file_bytes = file_bytes + NEW.file_size;",
        "AFTER INSERT ON texts BEGIN\n    UPDATE totals SET id = 1;",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-lost-texts", "migrations/m001_first_release.py",
        "UPDATE totals SET file_bytes = file_bytes - OLD.file_size",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-rewritten-texts", "migrations/m001_first_release.py",
        "UPDATE totals SET file_bytes = file_bytes + NEW.file_size - OLD.file_size,\n"
        "        logical_bytes = logical_bytes + (NEW.file_size - OLD.file_size)\n"
        "            * (SELECT coalesce(sum(refcount), 0) FROM documents WHERE text_id = NEW.id)",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-subindexes", "migrations/m001_first_release.py",
        "UPDATE totals SET chunks = chunks + NEW.chunks, embedded = embedded + NEW.chunks,\n"
        "        file_bytes = file_bytes + NEW.index_size + NEW.spans_size,\n"
        "        logical_bytes = logical_bytes + (NEW.index_size + NEW.spans_size)\n"
        "            * (SELECT coalesce(sum(refcount), 0) FROM documents WHERE text_id = NEW.text_id)",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-lost-subindexes", "migrations/m001_first_release.py",
        "UPDATE totals SET chunks = chunks - OLD.chunks, file_bytes = file_bytes - OLD.index_size - "
        "OLD.spans_size,\n"
        "        logical_bytes = logical_bytes - (OLD.index_size + OLD.spans_size)\n"
        "            * (SELECT coalesce(sum(refcount), 0) FROM documents WHERE text_id = OLD.text_id)",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-workspaces", "migrations/m002_checked_and_checkable.py",
        "UPDATE totals SET workspaces = workspaces + 1, workspaces_made = workspaces_made + 1",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "uncounted-lost-workspaces", "migrations/m001_first_release.py",
        "UPDATE totals SET workspaces = workspaces - 1",
        "UPDATE totals SET id = 1",
        "totals that nobody can trust",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "documents-not-listed-for-checking", "migrations/m002_checked_and_checkable.py",
        "    INSERT INTO checks VALUES (NEW.id, '');",
        "    SELECT 1;",
        "verify passes over new documents",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
    Mutant(
        "checks-outlive-documents", "migrations/m002_checked_and_checkable.py",
        "    DELETE FROM checks WHERE document_id = OLD.id;",
        "    SELECT 1;",
        "no document can be collected",
        (f"{_SCHEMA}::test_counts_and_totals_follow_every_change",),
    ),
)  # fmt: skip
