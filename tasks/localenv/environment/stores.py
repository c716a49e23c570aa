"""The stores as a whole: their addresses, what a reset removes, and the reset to the seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..cognito import seed, sync
from ..cognito.sync import Queries
from ..cognito.users import look_for_pool
from ..dynamodb import schema
from ..dynamodb.client import connect
from ..machine.words import counted
from ..postgres import setup
from ..settings.guard import keeper_of
from ..settings.people import Person
from .app import Say, Seeding

if TYPE_CHECKING:
    import psycopg

    from ..dynamodb.schema import Table
    from ..dynamodb.tablefiles import TableFile
    from ..settings import Settings

Prepare = Callable[["psycopg.Connection[Any] | None"], "Seeding | None"]
"""Reads and checks the items of the seeds, with the users in a connection's transaction, and returns their seeding."""


def addresses(settings: Settings) -> list[tuple[str, str]]:
    """Return the address of each store, without secrets."""
    found = []
    if "postgres" in settings.services:
        found.append(("postgres", settings.postgres.url()))
    if "dynamodb" in settings.services:
        found.append(("dynamodb", settings.dynamodb.url if settings.dynamodb else f"AWS, {settings.region}"))
    if "cognito" in settings.services:
        pool = look_for_pool(settings)
        cognito = str(settings.cognito.url) if settings.cognito else f"AWS, {settings.region}"
        found.append(("cognito", cognito + (f", pool {pool.id}" if pool else "")))
    return found


def removed_by_reset(settings: Settings, people: Sequence[Person], tables: Sequence[TableFile]) -> list[str]:
    """Return what `reset` removes: rows, tables and pool users."""
    unseeded = seed.unseeded_users(settings, people) if settings.cognito_is_emulated else []
    lines = [f"every row of database {settings.postgres.database}"] if "postgres" in settings.services else []
    lines += [
        f"table {table.shape.name} with {counted(table.items, 'item')}" for table in _fetch_tables(settings, tables)
    ]
    return lines + [f"pool user {user}" for user in unseeded]


def reset(
    settings: Settings,
    *,
    people: Sequence[Person],
    queries: Queries | None,
    tables: list[TableFile],
    prepare: Prepare,
    say: Say,
    yes: bool,
) -> str:
    """Reset database, pool and tables to the seeds. Running it again completes an interrupted reset.

    Checks first, so that on an error nothing is changed: the files, deletion protection, whether the pool answers, and
    the users of the new database, before it is swapped in.
    """
    found = _fetch_tables(settings, tables)
    for table in found:
        schema.refuse_protected(table, settings.dynamodb.url if settings.dynamodb else "")
    unseeded = seed.unseeded_users(settings, people) if settings.cognito_is_emulated else []
    has_pool = "cognito" in settings.services
    seedings: list[Seeding | None] = []

    def prove(conn: psycopg.Connection[Any]) -> None:
        if queries and has_pool:
            sync.require_match(settings, queries, conn, people)
        seedings.append(prepare(conn))

    if "postgres" in settings.services:
        say(setup.reset(settings, say, yes=yes, prove=prove, keeps_empty=True))
    else:
        seedings.append(prepare(None))
    keeper = keeper_of(settings)
    if settings.cognito_is_emulated:
        if keeper:
            keeper.pool()
        seed.remove(settings, unseeded)
        say(seed.apply(settings, people))
    if queries and has_pool:
        sync.apply(settings, queries, sync.compare(settings, queries))
    if keeper and tables:
        keeper.tables(table.name for table in tables)
    for table in found:
        say(schema.drop_table(connect(settings), table))
    if tables:
        schema.apply_tables(connect(settings), tables)
    (seeding,) = seedings
    done = f"; {seeding.seed(say)}" if seeding else ""
    return f"all stores are reset to the seeds{done}"


def _fetch_tables(settings: Settings, tables: Sequence[TableFile]) -> list[Table]:
    """Return those of the tables that exist."""
    if not tables:
        return []
    client = connect(settings)
    found = (schema.fetch_table(client, file.name) for file in tables)
    return [table for table in found if table]
