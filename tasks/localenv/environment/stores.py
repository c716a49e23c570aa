"""The environment as a whole: where its stores answer, whether it is what the files say, and the way back to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..cognito import seed, sync
from ..cognito.sync import Queries
from ..cognito.users import look_for_pool
from ..dynamodb import schema
from ..dynamodb.client import connect
from ..postgres import load
from ..settings.people import Person
from .app import Say, Seeding

if TYPE_CHECKING:
    import psycopg

    from ..dynamodb.schema import Table
    from ..dynamodb.tables import TableFile
    from ..settings import Settings

Prepare = Callable[["psycopg.Connection[Any] | None"], "Seeding | None"]
"""Reads and checks the items of the seeds, with the users whom a connection sees, and gives them to be written."""


def addresses(settings: Settings) -> list[tuple[str, str]]:
    """Return where each store answers, without a secret."""
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


def surplus(settings: Settings, people: Sequence[Person], tables: Sequence[TableFile]) -> list[str]:
    """Return what `reset` removes for good: one line a store."""
    strangers = seed.unseeded_users(settings, people) if settings.cognito_is_emulated else []
    lines = [f"every row of database {settings.postgres.database}"] if "postgres" in settings.services else []
    lines += [f"table {table.shape.name} with {table.items:,} items" for table in _fetch_tables(settings, tables)]
    return lines + [f"pool user {user}" for user in strangers]


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
    """Put database, pool and tables back to the seeds. Cut short, it is completed by running it again.

    What can be wrong is found first: in the files, in tables protected from deletion, in a pool that does not answer,
    and, in the open transaction that fills the database, among the users there. Then nothing is changed.
    """
    found = _fetch_tables(settings, tables)
    for table in found:
        schema.refuse_protected(table, settings.dynamodb.url if settings.dynamodb else "")
    strangers = seed.unseeded_users(settings, people) if settings.cognito_is_emulated else []
    has_pool = "cognito" in settings.services
    seedings: list[Seeding | None] = []

    def prove(conn: psycopg.Connection[Any]) -> None:
        if queries and has_pool:
            sync.require_match(settings, queries, conn, people)
        seedings.append(prepare(conn))

    if "postgres" in settings.services:
        say(load.reset(settings, say, yes=yes, prove=prove))
    else:
        seedings.append(prepare(None))
    if settings.cognito_is_emulated:
        seed.remove(settings, strangers)
        say(seed.apply(settings, people))
    if queries and has_pool:
        sync.apply(settings, queries, sync.compare(settings, queries))
    for table in found:
        say(schema.drop_table(connect(settings), table))
    if tables:
        schema.apply_tables(connect(settings), tables)
    (seeding,) = seedings
    return "all stores are back to the seeds" + (f"; {seeding.seed(say)}" if seeding else "")


def _fetch_tables(settings: Settings, tables: Sequence[TableFile]) -> list[Table]:
    """Return those of the tables that are there."""
    if not tables:
        return []
    client = connect(settings)
    found = (schema.fetch_table(client, file.name) for file in tables)
    return [table for table in found if table]
