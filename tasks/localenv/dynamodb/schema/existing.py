"""The tables of an engine: fetched, awaited, described and dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import LocalEnvError, TimedOut
from ...machine.parallel import side_by_side
from ...machine.words import counted
from ..client import TableMissing
from ..tableshape import TableShape, describe_index, describe_key, shape_of
from .definition import properties_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEADLINE_S = 120.0
REPORT_EVERY_S = 10.0


@dataclass(frozen=True)
class Table:
    """A table as DescribeTable returns it. AWS updates its counts every six hours, a local engine at once."""

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
        """The status of the table and of each index: table ACTIVE, by-kind CREATING (backfilling)."""
        indexes = self.description.get("GlobalSecondaryIndexes") or []
        filling = {index["IndexName"] for index in indexes if index.get("Backfilling")}
        statuses = [
            f"{name} {status}{' (backfilling)' * (name in filling)}" for name, status in self.index_statuses.items()
        ]
        return ", ".join([f"table {self.status}", *statuses])


def fetch_table(client: DynamoDBClient, name: str) -> Table | None:
    """Return a table, or None if there is none."""
    try:
        return require_table(client, name)
    except TableMissing:
        return None


def require_table(client: DynamoDBClient, name: str) -> Table:
    """Return a table. Raises TableMissing."""
    found: Any = client.describe_table(TableName=name)["Table"]
    indexes = [*(found.get("GlobalSecondaryIndexes") or ()), *(found.get("LocalSecondaryIndexes") or ())]
    return Table(
        shape=shape_of(properties_of(found)),
        status=found["TableStatus"],
        index_statuses={index["IndexName"]: index.get("IndexStatus", "ACTIVE") for index in indexes},
        items=found.get("ItemCount", 0),
        size_bytes=found.get("TableSizeBytes", 0),
        description=found,
    )


def fetch_names(client: DynamoDBClient) -> list[str]:
    """Return the names of all tables, sorted."""
    names: list[str] = []
    answer: Any = client.list_tables()
    names += answer["TableNames"]
    while answer.get("LastEvaluatedTableName"):
        answer = client.list_tables(ExclusiveStartTableName=answer["LastEvaluatedTableName"])
        names += answer["TableNames"]
    return sorted(names)


def fetch_tables(client: DynamoDBClient) -> list[Table]:
    """Return every table, sorted by name."""
    names = fetch_names(client)
    found = side_by_side([partial(fetch_table, client, name) for name in names], at_once=4)
    return [table for table in found if table is not None]


def wait_until_active(
    client: DynamoDBClient, name: str, deadline_s: float = DEADLINE_S, say: Callable[[str], None] = lambda text: None
) -> Table:
    """Wait until a table and its indexes are ACTIVE; report their status to `say` now and then.

    Raises TimedOut with the last status, TableMissing.
    """
    seen: list[Table] = []
    started = reported = time.monotonic()

    def is_active() -> bool:
        nonlocal reported
        seen.append(require_table(client, name))
        if not seen[-1].is_active and time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            say(f"waiting for table {name} for {reported - started:.0f} s: {seen[-1].states}")
        return seen[-1].is_active

    if not wait_for(is_active, deadline_s):
        raise TimedOut(
            f"table {name} did not become ACTIVE within {deadline_s:.0f} s: {seen[-1].states}",
            hint="run the same command again to keep waiting",
        )
    return seen[-1]


def refuse_protected(table: Table, endpoint_url: str = "") -> None:
    """Raise LocalEnvError if a table has deletion protection, with the command that turns it off."""
    name = table.shape.name
    if table.shape.deletion_protection:
        command = f"aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled"
        where = f" --endpoint-url {endpoint_url}" if endpoint_url else ""
        raise LocalEnvError(
            f"table {name} has deletion protection",
            hint=f"turn it off with `{command}{where}`, then run the same command again",
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
    """Return a table's name, item count and size."""
    return f"table {table.shape.name}, {counted(table.items, 'item')}, {table.size_bytes:,} bytes"


def describe(table: Table) -> list[tuple[str, str]]:
    """Return the properties of a table, as pairs of a label and its value."""
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
    """Poll, every 20 ms at first, up to every 1 s; return whether it was done in time."""
    end = time.monotonic() + deadline_s
    pause_s = 0.02
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 1.0)
    return True
