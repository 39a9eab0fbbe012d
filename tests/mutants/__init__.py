"""Edits to the real code that break durability or exclusion, each of which the suite must notice."""
