"""Tables on the target: made as their files say, waited for, compared, described and dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, TimedOut
from ..parallel import side_by_side
from ..wire import AwsError
from .client import TableMissing
from .definition import properties_of
from .extras import fetch_extras, set_recovery, set_tags, set_time_to_live
from .tables import TableFile, TableShape, describe_index, describe_key, differences, shape_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEADLINE_S = 120.0


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


def check_tables(client: DynamoDBClient, files: list[TableFile]) -> str | None:
    """Say that every table is there, ACTIVE and as its file says; None otherwise."""
    for file in files:
        found = fetch_table(client, file.name)
        if found is None or not found.is_active or differences(file.shape, found.shape):
            return None
    return f"{_counted(len(files))} ACTIVE and as {_source(files)} says"


def plan_tables(client: DynamoDBClient, files: list[TableFile]) -> list[str]:
    """Say what `apply_tables` would create, and what differs."""
    lines = []
    for file in files:
        found = fetch_table(client, file.name)
        lines += _plan_creation(file) if found is None else differences(file.shape, found.shape)
    return lines


def find_missing(client: DynamoDBClient, files: list[TableFile]) -> list[str]:
    """Name the tables that `apply_tables` would create."""
    return [file.name for file in files if fetch_table(client, file.name) is None]


def apply_tables(client: DynamoDBClient, files: list[TableFile], deadline_s: float = DEADLINE_S) -> str:
    """Create the tables that are missing, wait until all are ACTIVE, and compare them with their files.

    Raises LocalEnvError with every difference as evidence, TimedOut at the deadline. An existing table is not changed.
    """
    created = sum(side_by_side([partial(create_table, client, file) for file in files]))
    tables = side_by_side([partial(wait_until_active, client, file.name, deadline_s) for file in files])
    for file, table in zip(files, tables, strict=True):
        apply_extras(client, file, table)
    found = [line for file, table in zip(files, tables, strict=True) for line in differences(file.shape, table.shape)]
    if found:
        raise _different(found, files)
    return f"{_counted(created)} created; {len(files)} ACTIVE and as {_source(files)} says"


def create_table(client: DynamoDBClient, file: TableFile) -> bool:
    """Create a table and tell whether it was missing; it is not ACTIVE yet."""
    if fetch_table(client, file.name) is not None:
        return False
    try:
        client.create_table(**file.parameters)
    except AwsError as error:
        if error.aws_code == "ResourceInUseException":
            return False
        raise
    return True


def apply_extras(client: DynamoDBClient, file: TableFile, table: Table) -> None:
    """Give an ACTIVE table the time to live, recovery and tags of its file, where the engine has them."""
    wanted, found = file.extras, fetch_extras(client, table.description, file.extras)
    if None not in (wanted.time_to_live, found.time_to_live) and wanted.time_to_live != found.time_to_live:
        set_time_to_live(client, file.name, wanted.time_to_live or "", found.time_to_live or "")
    if wanted.recovery and found.recovery and wanted.recovery != found.recovery:
        set_recovery(client, file.name, wanted.recovery)
    if wanted.tags is not None and found.tags is not None and wanted.tags != found.tags:
        set_tags(client, table.description["TableArn"], wanted.tags, found.tags)


def wait_until_active(client: DynamoDBClient, name: str, deadline_s: float = DEADLINE_S) -> Table:
    """Wait until a table and its indexes are ACTIVE. Raises TimedOut with the states last seen."""
    seen: list[Table] = []

    def is_active() -> bool:
        seen.append(need_table(client, name))
        return seen[-1].is_active

    if not _wait(is_active, deadline_s):
        states = {"table": seen[-1].status, **seen[-1].index_statuses}
        states_told = ", ".join(f"{what} {state}" for what, state in states.items())
        raise TimedOut(
            f"table {name} did not become ACTIVE within {deadline_s:.0f} s: {states_told}",
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
            f"table {name} is protected from deletion", hint=f"lift that with `{lift}{where}`, then drop it again"
        )


def drop_table(client: DynamoDBClient, table: Table, deadline_s: float = DEADLINE_S) -> str:
    """Delete a table and wait until it is gone. Raises TimedOut."""
    name = table.shape.name
    with suppress(TableMissing):
        client.delete_table(TableName=name)
    if not _wait(lambda: fetch_table(client, name) is None, deadline_s):
        raise TimedOut(
            f"table {name} is still being deleted after {deadline_s:.0f} s", hint="run `inv ddb.list-tables`"
        )
    return f"dropped {summary(table)}"


def summary(table: Table) -> str:
    """Say what a table is in a few words: its name and how much is in it."""
    return f"table {table.shape.name}, {table.items:,} items, {table.size_bytes:,} bytes"


def describe(table: Table) -> list[tuple[str, str]]:
    """Tell what a table is, as pairs of a word and its value."""
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


def _plan_creation(file: TableFile) -> list[str]:
    shape = file.shape
    parts = [f"key {describe_key(shape.key)}", f"throughput {shape.throughput or 'on demand'}"]
    if shape.stream:
        parts.append(f"stream {shape.stream}")
    indexes = [f"+ index {index.name} of {shape.name}: {describe_index(index)}" for index in shape.indexes]
    return [f"+ table {shape.name}: {', '.join(parts)}", *indexes]


def _different(found: list[str], files: list[TableFile]) -> LocalEnvError:
    hint = "run `inv ddb.drop` and then `inv ddb.schema-load` to make the table anew, or correct its file"
    if len(found) == 1:
        return LocalEnvError(found[0], hint=hint)
    return LocalEnvError(f"{len(found)} differences from {_source(files)}", hint=hint, evidence="\n".join(found))


def _wait(is_done: Callable[[], bool], deadline_s: float) -> bool:
    """Ask again and again, after 20 ms at first and 1 s at last; tell whether it was done in time."""
    end = time.monotonic() + deadline_s
    pause_s = 0.02
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 1.0)
    return True


def _counted(count: int) -> str:
    return f"{count} table" if count == 1 else f"{count} tables"


def _source(files: list[TableFile]) -> str:
    """Name the folder that the files are in."""
    return files[0].shown.rpartition("/")[0] or "."
