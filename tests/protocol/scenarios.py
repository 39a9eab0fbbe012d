"""Who meets whom in the model, in a short and a long form; and the mistakes that the exploration must find."""

from __future__ import annotations

from dataclasses import replace

from tests.protocol.world import Scenario

TWINS = Scenario("twins")
"""Two documents with one text come at once; one is dropped and collected meanwhile."""

CROWD = Scenario("crowd", texts=(0,), adders=((0, 0),), stored=((0, 2),), collectors=2)
"""A document is added anew while its last reference goes, and two collections run beside."""

REVIVED = Scenario("revived", adders=((0, 0), (1, 0)), stored=((0, 0),), errors=1)
"""A stored document and its twin come while the first is dropped and collected: their text is condemned and revived."""

APART = Scenario("apart", texts=(0, 1))
"""Two documents that have nothing in common: the open transaction of one is in the way of the other."""

SEARCHED = Scenario(
    "searched", texts=(0,), adders=((0, 0),), stored=((0, 0), (0, 1)), removals=2, searchers=(0,), powers=0
)
"""A search of a workspace whose document goes, is collected, and comes back."""

READ = Scenario("read", texts=(0,), adders=((0, 0),), stored=((0, 0),), readers=(0,))
"""A reader that has a document's row, and opens its file later: `store.read`, `verify`, a backup."""

SHORT = (TWINS, CROWD, REVIVED, APART, SEARCHED, READ)

# Two more of something in each: what meets in threes meets in twos, and all of it at once would take days.
LONG = (
    replace(TWINS, name="twins, two crashes", kills=2, powers=2, errors=1),
    replace(TWINS, name="twins, two collections", removals=2, collectors=2),
    replace(CROWD, name="crowd, two crashes", kills=2, powers=2, errors=1),
    replace(CROWD, name="crowd of four", adders=((0, 0), (0, 1))),
    replace(REVIVED, name="revived, two crashes", kills=2, powers=2),
    replace(REVIVED, name="revived, two drops", removals=2),
    replace(APART, name="apart, two crashes", kills=2, powers=2),
    replace(SEARCHED, name="searched, crowd", kills=1, powers=1, adders=((0, 0), (0, 2))),
    replace(READ, name="read, crowd", kills=2, powers=2, removals=2),
)

# Each mistake with a scenario that shows it, and the invariant it breaks: a model that finds nothing must be able to.
_MISTAKES = (
    ("staged files are not synced", READ, "1"),
    ("directories are not synced", READ, "1"),
    ("only directories above are synced", READ, "1"),
    ("only the file's directory is synced", READ, "1"),
    ("files are published outside of the lock", READ, "4"),
    ("the last transaction does not look again", REVIVED, "4"),
    ("a doomed row is deduplicated onto", REVIVED, "4"),
    ("a condemned text is built upon", REVIVED, "4"),
    ("a living owner is taken for dead", READ, "9"),
    ("a dead owner's claim asks for no sweep", READ, "5"),
    ("reaping in an add asks for no sweep", REVIVED, "5"),
    ("a failed publication gives its claims up", REVIVED, "5"),
    ("settled without syncing", READ, "5"),
    ("settling clears later requests", REVIVED, "5"),
    ("what to doom is read in another transaction", READ, "4"),
    ("reaping asks for no sweep", READ, "5"),
    ("dooming asks for the sweep, not reaping", CROWD, "5"),
    ("files go before doom is committed", READ, "1"),
    ("rows go before files", READ, "5"),
    ("the sweep takes no lock", CROWD, "4"),
    ("the sweep asks before it lists", CROWD, "4"),
    ("a sweep is settled without syncing", READ, "5"),
    ("the count trusts itself", READ, "3"),
    ("a reader believes its second look", READ, "reader"),
)
MISTAKES = tuple((replace(scenario, variation=variation), breaks) for variation, scenario, breaks in _MISTAKES)
