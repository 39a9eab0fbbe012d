"""Claims: who is computing what is not stored yet, so that everybody else waits instead of doing it again.

A claim is a row; its owner is alive while it holds the lock of its scratch folder. Deadlock is impossible because of
two rules that `ingest.plan` keeps for each document: whoever holds an embedding claim waits for nothing until it is
released, and a document claim is waited for only by those who hold no claim. So a wait leads to the holder of a
document claim at most once, from there to the holder of an embedding claim, and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from docstore.database import Database, row, rows
from docstore.errors import IntegrityError


def document_key(hash: str) -> str:
    """The claim on storing a document: copying and extracting it."""
    return f"document:{hash}"


def embedding_key(fingerprint: str, text_hash: str) -> str:
    """The claim on embedding a text under a pipeline."""
    return f"embedding:{fingerprint}:{text_hash}"


def claim(db: Database, key: str, owner: str, is_alive: Callable[[str], bool]) -> bool:
    """Takes a claim if it is free or its owner is dead. False: somebody alive has it; wait for the result."""
    taken = db.execute("INSERT INTO claims (key, owner) VALUES (?, ?) ON CONFLICT DO NOTHING", (key, owner))
    if taken.rowcount:
        return True
    (held,) = rows(db, "SELECT owner FROM claims WHERE key = ?", key)
    if is_alive(held["owner"]):
        return False
    # The dead owner may have renamed files into place and not committed their rows.
    request_sweep(db)
    db.execute("UPDATE claims SET owner = ? WHERE key = ?", (owner, key))
    return True


def release(db: Database, keys: Iterable[str], owner: str) -> None:
    """Gives claims up, in the transaction that publishes what they were for, or after a failure.

    Only its owner's: what an operation has given up before, somebody else may hold by now.
    """
    db.executemany("DELETE FROM claims WHERE key = ? AND owner = ?", [(key, owner) for key in keys])


def discard_dead(db: Database, is_alive: Callable[[str], bool]) -> None:
    """Deletes the claims of dead owners, remembering that they may have left files."""
    dead = [owner["owner"] for owner in rows(db, "SELECT DISTINCT owner FROM claims") if not is_alive(owner["owner"])]
    for owner in dead:
        request_sweep(db)
        db.execute("DELETE FROM claims WHERE owner = ?", (owner,))


def request_sweep(db: Database) -> None:
    """Notes that files without rows may exist, so that the next collection looks through all folders."""
    db.execute("UPDATE totals SET sweeps_wanted = sweeps_wanted + 1")


def sweeps(db: Database) -> tuple[int, int]:
    """(how often a sweep was asked for, how many of those requests are met). Equal: nothing is to be swept."""
    found = row(db, "SELECT sweeps_wanted, sweeps_done FROM totals")
    if found is None:
        raise IntegrityError("The catalog has lost its totals. Run `docstore repair`.")
    return found["sweeps_wanted"], found["sweeps_done"]


def sweep_done(db: Database, wanted: int) -> None:
    """Notes that all requests are met, if there were so many. Two numbers, not a flag: a request made while the sweep
    ran, for a folder it had passed already, must not be cleared with it; the next collection meets it."""
    query = "UPDATE totals SET sweeps_done = sweeps_wanted WHERE sweeps_wanted = ? AND sweeps_done <> sweeps_wanted"
    db.execute(query, (wanted,))  # nothing is written where nothing was asked for
