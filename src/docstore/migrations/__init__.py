"""What brings a catalog up to date: a file for each migration, with its statements. A released one never changes.

The next ones must each change the schema, if only by an index that is made and dropped: by SQLite's own number for it,
older versions which have the store open see that they are to look, and refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping

from docstore.migrations import (
    m001_first_release,
    m002_checked_and_checkable,
    m004_includes,
    m005_conversations,
    m006_replacements,
    m007_chunk_cache,
    m008_expiry,
    m009_limits,
)

MIGRATIONS: Mapping[str, tuple[str, ...]] = {
    "m001_first_release": m001_first_release.STATEMENTS,
    "m002_checked_and_checkable": m002_checked_and_checkable.STATEMENTS,
    # Release 0.2: pieces may be in `small.sqlar`. To who does not know of it they would be lost, so it must refuse.
    "m003_small_pieces_are_packed": (),
    "m004_includes": m004_includes.STATEMENTS,
    "m005_conversations": m005_conversations.STATEMENTS,
    "m006_replacements": m006_replacements.STATEMENTS,
    "m007_chunk_cache": m007_chunk_cache.STATEMENTS,
    "m008_expiry": m008_expiry.STATEMENTS,
    "m009_limits": m009_limits.STATEMENTS,
}
"""In the order in which they are applied."""
