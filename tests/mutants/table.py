"""All mutants, gathered from the tables of each part of the library."""

from __future__ import annotations

from tests.mutants import (
    table_adding,
    table_callers,
    table_catalog,
    table_collect,
    table_files,
    table_lifetimes,
    table_nearest,
    table_reading,
    table_repair,
    table_schema,
    table_searching,
    table_sessions,
    table_versions,
)
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *table_files.MUTANTS,
    *table_reading.MUTANTS,
    *table_searching.MUTANTS,
    *table_nearest.MUTANTS,
    *table_catalog.MUTANTS,
    *table_schema.MUTANTS,
    *table_adding.MUTANTS,
    *table_callers.MUTANTS,
    *table_collect.MUTANTS,
    *table_repair.MUTANTS,
    *table_sessions.MUTANTS,
    *table_lifetimes.MUTANTS,
    *table_versions.MUTANTS,
)
