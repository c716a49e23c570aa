"""The environment as a whole: where its stores answer, whether it is what the files say, and the way back to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..cognito import seed, sync
from ..cognito.sync import Queries
from ..cognito.users import look_for_pool
from ..dynamodb import schema
from ..dynamodb.client import connect
from ..postgres import load
from ..settings.people import Person
from .app import Say, Seeding

if TYPE_CHECKING:
    from ..dynamodb.tables import TableFile
    from ..settings import Settings


def addresses(settings: Settings) -> list[tuple[str, str]]:
    """Give where each store answers, without a secret."""
    pool = look_for_pool(settings)
    cognito = str(settings.cognito.url) if settings.cognito else f"AWS, {settings.region}"
    return [
        ("postgres", settings.postgres.url()),
        ("dynamodb", settings.dynamodb.url if settings.dynamodb else f"AWS, {settings.region}"),
        ("cognito", cognito + (f", pool {pool.id}" if pool else "")),
    ]


def surplus(settings: Settings, people: Sequence[Person]) -> list[str]:
    """Name what `reset` removes for good: one line a store."""
    table = schema.fetch_table(connect(settings), settings.message_table)
    strangers = seed.strangers(settings, people) if settings.cognito_is_emulated else []
    lines = [f"every row of database {settings.postgres.database}"]
    lines += [f"table {settings.message_table} with {table.items:,} items"] if table else []
    return lines + [f"pool user {user}" for user in strangers]


def reset(
    settings: Settings,
    *,
    people: Sequence[Person],
    queries: Queries,
    tables: list[TableFile],
    seeding: Callable[[], Seeding],
    say: Say,
    yes: bool,
) -> str:
    """Put database, pool and tables back to the seeds. Cut short, it is completed by running it again.

    `seeding` is asked for once the users are there. Raises LocalEnvError for a table protected from deletion before
    anything is changed.
    """
    client = connect(settings)
    table = schema.fetch_table(client, settings.message_table)
    if table:
        schema.refuse_protected(table, settings.dynamodb.url if settings.dynamodb else "")
    say(load.reset(settings, say, yes=yes))
    if settings.cognito_is_emulated:
        seed.remove(settings, seed.strangers(settings, people))
        say(seed.apply(settings, people))
    sync.apply(settings, queries, sync.compare(settings, queries))
    if table:
        say(schema.drop_table(client, table))
    schema.apply_tables(client, tables)
    return f"all stores are back to the seeds; {seeding().seed(say)}"
