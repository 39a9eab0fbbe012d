"""Lost references: rows of `refs` that one flipped bit has moved to another workspace or document, from their index.

The index `refs_by_document` has a copy of each row, and what is counted beside each workspace and document says which
of the two is right.
"""

from __future__ import annotations

import sqlite3

from docstore.database import Database
from docstore.names import shown
from docstore.reports import Problem

_COLUMNS = "workspace_id, document_id, name, metadata, added_at, avoided"
_TABLE = "refs INDEXED BY sqlite_autoindex_refs_1"  # the primary key is the table itself
_INDEX = "refs INDEXED BY refs_by_document"

_ORDER = ("table", "index", "trigger")
_CONTRADICTED = """
SELECT EXISTS (SELECT 1 FROM workspaces AS w LEFT JOIN (SELECT workspace_id, count(*) AS counted FROM {rows} GROUP BY 1)
               ON workspace_id = w.id WHERE w.refs <> coalesce(counted, 0))
    OR EXISTS (SELECT 1 FROM documents AS d LEFT JOIN (SELECT document_id, count(*) AS counted FROM {rows} GROUP BY 1)
               ON document_id = d.id WHERE d.refcount <> coalesce(counted, 0))
    OR EXISTS (SELECT 1 FROM {rows} WHERE workspace_id NOT IN (SELECT id FROM workspaces)
               OR document_id NOT IN (SELECT id FROM documents))
    OR EXISTS (SELECT 1 FROM {rows} WHERE typeof(name) || typeof(metadata) || typeof(added_at) || typeof(avoided)
               <> 'texttexttextinteger')"""


Reference = tuple[int, int]
"""The ids of a workspace and of a document."""


def told(db: Database) -> list[Reference] | None:
    """The references that only the index has, if every count agrees with it and not with the table. None: the table is
    as good."""
    if _is_contradicted(db, _INDEX) or not _is_contradicted(db, _TABLE):
        return None
    columns = "workspace_id, document_id"
    try:
        return db.execute(f"SELECT {columns} FROM {_INDEX} EXCEPT SELECT {columns} FROM {_TABLE}").fetchall()
    except sqlite3.DatabaseError:  # the table cannot be read to its end
        return []


def restore(db: Database, references: list[Reference]) -> list[Problem]:
    """Makes the table anew from its index, unless somebody changed it meanwhile so that the counts do not agree any
    more. Gives what was wrong."""
    if _is_contradicted(db, _INDEX):
        return []
    _make_anew(db)
    return [_restored(db, *each) for each in references] or [
        Problem("catalog", "refs", "the table of references could not be read, and its index could", ())
    ]


def _is_contradicted(db: Database, rows: str) -> bool:
    try:
        ((found,),) = db.execute(_CONTRADICTED.format(rows=rows)).fetchall()
    except sqlite3.DatabaseError:  # its pages are damaged
        return True
    return bool(found)


def _make_anew(db: Database) -> None:
    """The whole table: a row that is not where its key belongs is found by no statement that could delete it."""
    made = db.execute("""SELECT type, name, sql FROM sqlite_schema WHERE tbl_name IN ('refs', 'pins')
                         AND sql IS NOT NULL""").fetchall()
    parts = sorted(made, key=lambda each: (_ORDER.index(each[0]), each[1] != "refs"))
    db.execute(f"CREATE TEMP TABLE told AS SELECT {_COLUMNS} FROM {_INDEX}")
    db.execute("CREATE TEMP TABLE pinned AS SELECT workspace_id, document_id FROM pins")
    # Pins name references: with these still there, dropping the table would delete row by row.
    db.execute("DROP TABLE pins")
    db.execute("DROP TABLE refs")
    for type, _, sql in parts:
        if type != "trigger":
            db.execute(sql)
    # Who lacked a document may have added it again: the index has it twice then, and the later one is what counts.
    db.execute(f"""INSERT OR IGNORE INTO refs ({_COLUMNS}) SELECT {_COLUMNS} FROM told
                   ORDER BY workspace_id, document_id, added_at DESC""")
    db.execute("""INSERT INTO pins (workspace_id, document_id) SELECT workspace_id, document_id FROM pinned AS p
                  WHERE EXISTS (SELECT 1 FROM refs AS r WHERE r.workspace_id = p.workspace_id
                                AND r.document_id = p.document_id)""")
    for type, _, sql in parts:
        if type == "trigger":  # only now: what they would count is counted already
            db.execute(sql)
    for table in ("told", "pinned"):
        db.execute(f"DROP TABLE {table}")


def _restored(db: Database, workspace: int, document: int) -> Problem:
    ((name,),) = db.execute("SELECT name FROM workspaces WHERE id = ?", (workspace,)).fetchall()
    ((hash,),) = db.execute("SELECT hash FROM documents WHERE id = ?", (document,)).fetchall()
    detail = f"the reference of workspace {shown(str(name))} to document {hash} had become another one"
    return Problem("reference", "refs", detail, (shown(str(name)),), (str(hash),))
