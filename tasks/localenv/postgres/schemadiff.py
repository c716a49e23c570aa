"""The live database compared with one freshly built from schema and migrations: two dumps of the shape."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import databases, ledger, load, migrating
from .connection import connect, server_errors
from .databases import sibling_name
from .dump import read_shape_lines
from .load import Say

if TYPE_CHECKING:
    from ..settings import Settings

DumpCommand = Callable[["Settings"], Sequence["str | Path"]]
"""Returns pg_dump with its options for the database that the settings name."""


def plan(settings: Settings) -> list[str]:
    """Return what `compare` would do, a line each. Raises DatabaseMissing."""
    connect(settings.postgres).close()
    return [f"create {sibling_name(settings.postgres.database, 'diff')} from the files, compare, and drop it"]


def compare(settings: Settings, dump_command: DumpCommand, say: Say) -> list[str]:
    """Return the unified diff from what the files make to the live database; empty when they are alike.

    Without owners, privileges and what the tools note of themselves. Raises DatabaseMissing, SqlError with the place.
    """
    connect(settings.postgres).close()
    with _built(settings, say) as fresh:
        made = read_shape_lines(dump_command(fresh), fresh.postgres)
    live = read_shape_lines(dump_command(settings), settings.postgres)
    return list(difflib.unified_diff(made, live, "files", f"database {settings.postgres.database}", lineterm=""))


@contextmanager
def _built(settings: Settings, say: Say) -> Iterator[Settings]:
    """Build a database from the files, and drop it afterwards; one that a killed run has left is dropped before."""
    name = sibling_name(settings.postgres.database, "diff")
    fresh = replace(settings, postgres=replace(settings.postgres, database=name))
    with databases.maintenance(settings.postgres) as conn:
        databases.drop(conn, name)
        databases.create(conn, name)
        try:
            with server_errors(f"database {name}"), connect(fresh.postgres) as inside:
                ledger.prepare(inside, ledger.owner(settings))
                load.apply(inside, migrating.read_shape(settings), say, was_empty=True)
            yield fresh
        finally:
            databases.drop(conn, name)
