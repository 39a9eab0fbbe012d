"""Mutants of what adding many does with what is the caller's: embedder, callback, generator, file objects, memory."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ADD_MANY = "tests/test_add_many.py"
_COLLECT = "tests/test_collect.py"
_INGEST_MEMORY = "tests/test_ingest_memory.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "an-embedder-that-is-down-is-asked-for-each", "ingest/build.py",
        "if len(items) == 1 or not parts.pipeline.answers(_HARMLESS):", "if len(items) == 1:",
        "a group of documents takes as many timeouts as it has documents",
        (f"{_ADD_MANY}::test_an_embedder_that_is_down_is_not_asked_for_each_document",),
    ),
    Mutant(
        "the-name-of-a-file-object-is-trusted", "ingest/source.py",
        "        return getattr(given, name, None)\n    except MemoryError:\n",
        "        return getattr(given, name, None)\n    except Exception:\n",
        "hundreds of documents are lost with one that does not say its name",
        (f"{_ADD_MANY}::test_a_file_object_that_fails_to_say_what_it_has_does_not_stop_the_others",),
    ),
    Mutant(
        "who-does-not-know-a-word-is-down", "ingest/pipeline.py",
        "            given = self.embedder.embed([text])\n", "            given = self.embed([text])\n",
        "hundreds of documents fail for one that the embedder refuses",
        (f"{_ADD_MANY}::test_of_an_embedder_that_knows_few_words_only_what_it_does_not_know_fails",),
    ),
    Mutant(
        "a-wrong-dimension-is-right-for-other-texts", "ingest/pipeline.py",
        "            return vectors.size == 0 or vectors.shape[1:] == (self.dimension,)\n", "            return True\n",
        "where the dimension is wrong all documents are embedded again and again, which some pay for",
        (f"{_ADD_MANY}::test_an_embedder_whose_dimension_is_wrong_is_not_asked_for_each_document",),
    ),
    Mutant(
        "what-a-callback-raises-is-taken-for-our-own", "callbacks.py",
        "            raise _Aside from None\n", "            raise\n",
        "a broken pipe of the caller's is a full disk, and what the embedder is blamed for is not raised at all",
        (
            f"{_ADD_MANY}::test_what_the_progress_callback_raises_comes_out_as_it_is",
            f"{_COLLECT}::test_what_the_progress_callback_raises_comes_out_as_it_is",
        ),
    ),
    Mutant(
        "what-a-generator-gave-is-lost-with-it", "workspace.py",
        "                self.broken = error\n                return\n", "                raise\n",
        "hundreds of documents that a crawler brought are lost with it",
        (f"{_ADD_MANY}::test_what_a_generator_gave_before_it_failed_is_added",),
    ),
    Mutant(
        "a-warning-hides-what-a-generator-raised", "workspace.py",
        "        finally:  # where", "        except ZeroDivisionError:\n            pass\n        else:  # where",
        "where warnings are errors, nobody hears that the crawl broke, nor what of it is stored",
        (f"{_ADD_MANY}::test_what_a_generator_raised_comes_out_where_warnings_are_errors",),
    ),
    Mutant(
        "an-embedder-has-our-list", "ingest/pipeline.py",
        "self.embedder.embed(list(texts))", "self.embedder.embed(texts)",
        "an embedder that takes a text out of its list gives all behind it the vectors of others",
        (f"{_ADD_MANY}::test_an_embedder_that_changes_its_list_changes_nobody_elses_vectors",),
    ),
    Mutant(
        "what-is-refused-keeps-its-group", "workspace.py",
        "        error.__traceback__ = None\n", "",
        "one missing file in each group keeps all that is added in memory",
        (f"{_INGEST_MEMORY}::test_what_was_refused_keeps_nothing_else",),
    ),
    Mutant(
        "what-is-finished-keeps-its-text", "ingest/add.py",
        "                item.let_go()\n", "",
        "the texts of hundreds of documents are in memory at once",
        (f"{_INGEST_MEMORY}::test_stored_texts_are_embedded_batch_by_batch",),
    ),
    Mutant(
        "stored-texts-are-read-together", "ingest/build.py",
        "groups(_with_texts(items, parts),", "groups(list(_with_texts(items, parts)),",
        "under another embedder the texts of hundreds of documents are in memory at once",
        (f"{_INGEST_MEMORY}::test_stored_texts_are_embedded_batch_by_batch",),
    ),
    Mutant(
        "extraction-runs-ahead", "ingest/prepare.py",
        "self._ahead < _MOST_AHEAD", "True",
        "the texts of a whole group are in memory while the first is embedded, however large they are",
        (f"{_INGEST_MEMORY}::test_no_more_is_extracted_than_is_soon_embedded",),
    ),
    Mutant(
        "more-is-begun-at-the-end", "ingest/prepare.py",
        "if self._is_ending or not self._queue", "if not self._queue",
        "an interrupted addition extracts what nobody will take",
        (f"{_INGEST_MEMORY}::test_after_a_callback_has_raised_nothing_more_is_extracted",),
    ),
    Mutant(
        "parts-of-one-file-are-read-at-once", "ingest/prepare.py",
        "with nullcontext() if is_ours else self._reading:", "with nullcontext():",
        "members of an archive are refused, as if somebody wrote them meanwhile",
        (f"{_INGEST_MEMORY}::test_open_files_that_are_parts_of_one_are_read_one_after_the_other",),
    ),
)  # fmt: skip
