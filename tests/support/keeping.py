"""Runs that keep what they replace, for tests of the library; and a keeper of databases alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.localenv.errors import LocalEnvError
from tasks.localenv.postgres import databases
from tasks.localenv.settings import Settings
from tasks.localenv.settings.guard import Permit, permitted
from tasks.localenv.snapshot import keeper, restore, undoing
from tests.support.seeded import quiet

if TYPE_CHECKING:
    import psycopg


@contextmanager
def run(settings: Settings, command: str = "inv test") -> Iterator[Settings]:
    """Yield settings as a command has them that undo can undo; at its end it is done, or given up."""
    made = keeper.Keeper(settings, command)
    try:
        yield permitted(settings, _undoable(settings), lambda settings: made)
    except LocalEnvError:
        if made.is_done:
            made.finish()
        else:
            made.give_up()
        raise
    made.finish()


def restored(settings: Settings, name: str, **options: Any) -> str:
    with run(settings, f"inv snapshot.restore {name}") as its:
        return restore.restore(its, name, quiet, **options)


def undone(settings: Settings, entry_id: str = "") -> str:
    with run(settings, "inv undo") as its:
        return undoing.undo(its, entry_id, quiet)


def _undoable(settings: Settings) -> Permit:
    assert settings.permit
    return replace(settings.permit, effect=replace(settings.permit.effect, undoable=True))


class KeepsDatabases:
    """The one replaced last has the name NAME__kept, as if each call were a run of its own and one were kept."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def database(self, conn: psycopg.Connection[Any], *, copy: bool = False) -> str:
        name = self.settings.postgres.database
        kept = databases.sibling_name(name, "kept")
        databases.drop(conn, kept)
        if copy:
            databases.clone(conn, self.settings.postgres, name, kept)
        return kept

    def tables(self, names: Iterable[str]) -> None:
        raise AssertionError("asked to keep tables")

    def pool(self) -> None:
        raise AssertionError("asked to keep the pool")


def keeping_databases(settings: Settings) -> Settings:
    return permitted(settings, _undoable(settings), KeepsDatabases)


def swap_back(settings: Settings) -> None:
    """Swap the database with the one that was kept."""
    name, kept, between = (
        settings.postgres.database,
        *(databases.sibling_name(settings.postgres.database, role) for role in ("kept", "between")),
    )
    with databases.maintenance(settings.postgres) as conn:
        pairs = [(kept, name)]
        if databases.exists(conn, name):
            pairs = [(name, between), (kept, name), (between, kept)]
        databases.rename(conn, settings.postgres, pairs)
