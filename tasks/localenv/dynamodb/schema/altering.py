"""Applies changes to a table one at a time and waits for each. An interrupted run is resumed by the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...aws.wire import AwsError
from ...errors import TimedOut
from ..tablefiles import TableFile
from ..tableshape import Extras
from .changes import Change, Plan, plan_changes
from .existing import Table, fetch_table, wait_for, wait_until_active
from .extras import fetch_extras, set_recovery, set_tags, set_time_to_live

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Say = Callable[[str], None]
DEADLINE_S = 3600.0
"""For one change: backfilling an index of a big table takes long."""
SHOWN_WITHIN_S = 60.0
"""How long an ACTIVE table may still be described as before: DescribeTable is eventually consistent."""


@dataclass(frozen=True)
class Observed:
    """An existing table, compared with its file."""

    table: Table
    extras: Extras
    plan: Plan


def observe(client: DynamoDBClient, file: TableFile) -> Observed | None:
    """Fetch a table and those extras that its file sets; None if there is no table."""
    table = fetch_table(client, file.name)
    if table is None:
        return None
    extras = fetch_extras(client, table.description, file.extras)
    return Observed(table, extras, plan_changes(file, table.shape, extras))


def alter(client: DynamoDBClient, file: TableFile, say: Say, deadline_s: float = DEADLINE_S) -> int:
    """Change an ACTIVE table to match its file and return how many changes that took.

    Fetches the table again after each change, so it can be interrupted at any moment. Raises TimedOut when a change
    does not take effect in time, AwsError when DynamoDB refuses one.
    """
    applied = 0
    while True:
        seen = observe(client, file)
        if seen is None or not seen.plan.changes:
            return applied
        change = seen.plan.changes[0]
        say(str(change))
        _apply_change(client, file, seen, change)
        _wait_for_change(client, file, change, say, deadline_s)
        applied += 1


def _apply_change(client: DynamoDBClient, file: TableFile, seen: Observed, change: Change) -> None:
    wanted, found = file.extras, seen.extras
    try:
        if change.extra == "time_to_live":
            set_time_to_live(client, file.name, wanted.time_to_live or "", found.time_to_live or "")
        elif change.extra == "recovery" and wanted.recovery:
            set_recovery(client, file.name, wanted.recovery)
        elif change.extra == "tags":
            set_tags(client, seen.table.description["TableArn"], wanted.tags or (), found.tags or ())
        else:
            client.update_table(TableName=file.name, **change.update)
    except AwsError as error:
        error.hint = error.hint or "the changes made so far stay; run the same command again to continue"
        raise


def _wait_for_change(client: DynamoDBClient, file: TableFile, change: Change, say: Say, deadline_s: float) -> None:
    def is_done() -> bool:
        wait_until_active(client, file.name, deadline_s, say)
        seen = observe(client, file)
        return seen is None or change not in seen.plan.changes

    wait_until_active(client, file.name, deadline_s, say)
    if not wait_for(is_done, min(deadline_s, SHOWN_WITHIN_S)):
        raise TimedOut(
            f"the change was accepted, but the ACTIVE table does not show it: {change.text}",
            hint="run the same command again to continue; remove it from the file if the engine does not support it",
        )
