"""Tables as an engine has them: looked at, waited for, described and dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import LocalEnvError, TimedOut
from ...machine.parallel import side_by_side
from ..client import TableMissing
from ..tableshape import TableShape, describe_index, describe_key, shape_of
from .definition import properties_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEADLINE_S = 120.0
TELL_EVERY_S = 10.0


@dataclass(frozen=True)
class Table:
    """A table as DescribeTable sees it. AWS counts items and bytes every six hours, a local engine at once."""

    shape: TableShape
    status: str
    index_statuses: dict[str, str]
    items: int
    size_bytes: int
    description: dict[str, Any]

    @property
    def is_active(self) -> bool:
        return {self.status, *self.index_statuses.values()} == {"ACTIVE"}

    @property
    def states(self) -> str:
        """The state of the table and of each index: table ACTIVE, by-kind CREATING (being filled)."""
        indexes = self.description.get("GlobalSecondaryIndexes") or []
        filling = {index["IndexName"] for index in indexes if index.get("Backfilling")}
        told = [
            f"{name} {status}{' (being filled)' * (name in filling)}" for name, status in self.index_statuses.items()
        ]
        return ", ".join([f"table {self.status}", *told])


def fetch_table(client: DynamoDBClient, name: str) -> Table | None:
    """Describe a table; None where there is none."""
    try:
        found: Any = client.describe_table(TableName=name)["Table"]
    except TableMissing:
        return None
    indexes = [*(found.get("GlobalSecondaryIndexes") or ()), *(found.get("LocalSecondaryIndexes") or ())]
    return Table(
        shape=shape_of(properties_of(found)),
        status=found["TableStatus"],
        index_statuses={index["IndexName"]: index.get("IndexStatus", "ACTIVE") for index in indexes},
        items=found.get("ItemCount", 0),
        size_bytes=found.get("TableSizeBytes", 0),
        description=found,
    )


def need_table(client: DynamoDBClient, name: str) -> Table:
    """Describe a table. Raises TableMissing where there is none."""
    found = fetch_table(client, name)
    if found is None:
        raise TableMissing(name)
    return found


def fetch_names(client: DynamoDBClient) -> list[str]:
    """List the names of all tables, from all pages, sorted."""
    names: list[str] = []
    answer: Any = client.list_tables()
    names += answer["TableNames"]
    while answer.get("LastEvaluatedTableName"):
        answer = client.list_tables(ExclusiveStartTableName=answer["LastEvaluatedTableName"])
        names += answer["TableNames"]
    return sorted(names)


def fetch_tables(client: DynamoDBClient) -> list[Table]:
    """Describe every table, in the order of their names."""
    names = fetch_names(client)
    found = side_by_side([partial(fetch_table, client, name) for name in names], at_once=4)
    return [table for table in found if table is not None]


def wait_until_active(
    client: DynamoDBClient, name: str, deadline_s: float = DEADLINE_S, say: Callable[[str], None] = lambda text: None
) -> Table:
    """Wait until a table and its indexes are ACTIVE; `say` hears the states now and then.

    Raises TimedOut with the states last seen, TableMissing.
    """
    seen: list[Table] = []
    started = told = time.monotonic()

    def is_active() -> bool:
        nonlocal told
        seen.append(need_table(client, name))
        if not seen[-1].is_active and time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            say(f"waiting for table {name} since {told - started:.0f} s: {seen[-1].states}")
        return seen[-1].is_active

    if not wait_for(is_active, deadline_s):
        raise TimedOut(
            f"table {name} did not become ACTIVE within {deadline_s:.0f} s: {seen[-1].states}",
            hint="run the same command again to go on waiting",
        )
    return seen[-1]


def refuse_protected(table: Table, endpoint_url: str = "") -> None:
    """Raise LocalEnvError where a table is protected from deletion, with the one command that lifts that."""
    name = table.shape.name
    if table.shape.deletion_protection:
        lift = f"aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled"
        where = f" --endpoint-url {endpoint_url}" if endpoint_url else ""
        raise LocalEnvError(
            f"table {name} is protected from deletion",
            hint=f"lift that with `{lift}{where}`, then run the same command again",
        )


def drop_table(client: DynamoDBClient, table: Table, deadline_s: float = DEADLINE_S) -> str:
    """Delete a table and wait until it is gone. Raises TimedOut."""
    name = table.shape.name
    with suppress(TableMissing):
        client.delete_table(TableName=name)
    if not wait_for(lambda: fetch_table(client, name) is None, deadline_s):
        raise TimedOut(
            f"table {name} is still being deleted after {deadline_s:.0f} s",
            hint="wait a moment, then run the same command again",
        )
    return f"dropped {summary(table)}"


def summary(table: Table) -> str:
    """Return what a table is in a few words: its name and how much is in it."""
    return f"table {table.shape.name}, {table.items:,} items, {table.size_bytes:,} bytes"


def describe(table: Table) -> list[tuple[str, str]]:
    """Return what a table is, as pairs of a word and its value."""
    shape = table.shape
    return [
        ("table", shape.name),
        ("status", table.status),
        ("key", describe_key(shape.key)),
        *((f"index {index.name}", describe_index(index)) for index in shape.indexes),
        ("throughput", str(shape.throughput or "on demand")),
        ("stream", shape.stream or "none"),
        ("deletion protection", "on" if shape.deletion_protection else "off"),
        ("items", f"{table.items:,}"),
        ("size", f"{table.size_bytes:,} bytes"),
    ]


def wait_for(is_done: Callable[[], bool], deadline_s: float) -> bool:
    """Ask again and again, after 20 ms at first and 1 s at last; tell whether it was done in time."""
    end = time.monotonic() + deadline_s
    pause_s = 0.02
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 1.0)
    return True
