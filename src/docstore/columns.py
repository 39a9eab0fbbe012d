"""What values the catalog's columns have in Python, by name: columns of one name are of one type in all tables.

Written down although the schema says it: to ask SQLite takes milliseconds, of which a new process has few. A test
compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

_INTEGER = """
    avoided bytes characters chunk conversation_id conversations_made digest document_id documents doomed embedded
    expired file_bytes file_size had_new id included_id lifted logical_bytes number refcount refs replacement_id size
    sliding sweeps_done sweeps_wanted vectors version warn_at workspace_id workspaces workspaces_made
"""
# A reference that is joined to no sub-index has none of a sub-index's.
_INTEGER_OR_NULL = """
    chunks index_size keep_free most_bytes most_documents pages physical_bytes pipeline_id spans_size text_id ttl
    workspace_bytes workspace_documents
"""
_TEXT = """
    added_at checked_at checksum content created_at description file_hash fingerprint granted_at hash key media_type
    metadata name new_hash old_hash owner replaced_at role rolled_back_at said_at sources stored_at
"""
_TEXT_OR_NULL = "accessed_at expired_at index_hash lives_from spans_hash unreferenced_at"

COLUMN_TYPES: Mapping[str, frozenset[type]] = {
    name: frozenset(types)
    for names, types in (
        (_INTEGER, (int,)),
        (_INTEGER_OR_NULL, (int, NoneType)),
        (_TEXT, (str,)),
        (_TEXT_OR_NULL, (str, NoneType)),
    )
    for name in names.split()
}
