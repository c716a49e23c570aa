"""Changes made to a table one after the other, each waited for. Cut short anywhere, the next run goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...aws.wire import AwsError
from ...errors import TimedOut
from ..tables import TableFile
from ..tableshape import Extras
from .changes import Change, Plan, plan_changes
from .existing import Table, fetch_table, wait_for, wait_until_active
from .extras import fetch_extras, set_recovery, set_tags, set_time_to_live

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Say = Callable[[str], None]
DEADLINE_S = 3600.0
"""For one change: filling an index of a big table takes its time."""
SHOWN_WITHIN_S = 60.0
"""How long an ACTIVE table may still be described as before: AWS is in no hurry to tell."""


@dataclass(frozen=True)
class Observed:
    """A table that is there, beside its file."""

    table: Table
    extras: Extras
    plan: Plan


def observe(client: DynamoDBClient, file: TableFile) -> Observed | None:
    """Look at a table and at those extras that its file says something of; None where there is no table."""
    table = fetch_table(client, file.name)
    if table is None:
        return None
    extras = fetch_extras(client, table.description, file.extras)
    return Observed(table, extras, plan_changes(file, table.shape, extras))


def alter(client: DynamoDBClient, file: TableFile, say: Say, deadline_s: float = DEADLINE_S) -> int:
    """Make an ACTIVE table what its file says and return how many changes that took.

    Looks at the table again after each change, so that it can be cut short at any moment. Raises TimedOut when a
    change does not come about in time, AwsError where DynamoDB refuses one.
    """
    made = 0
    while True:
        seen = observe(client, file)
        if seen is None or not seen.plan.changes:
            return made
        change = seen.plan.changes[0]
        say(str(change))
        _make(client, file, seen, change)
        _wait_for_change(client, file, change, say, deadline_s)
        made += 1


def _make(client: DynamoDBClient, file: TableFile, seen: Observed, change: Change) -> None:
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
        error.hint = error.hint or "what was changed so far stays; run the same command again to go on"
        raise


def _wait_for_change(client: DynamoDBClient, file: TableFile, change: Change, say: Say, deadline_s: float) -> None:
    def is_done() -> bool:
        wait_until_active(client, file.name, deadline_s, say)
        seen = observe(client, file)
        return seen is None or change not in seen.plan.changes

    wait_until_active(client, file.name, deadline_s, say)
    if not wait_for(is_done, min(deadline_s, SHOWN_WITHIN_S)):
        raise TimedOut(
            f"the change was taken, and the ACTIVE table does not show it: {change.text}",
            hint="run the same command again to go on; leave it out of the file where the engine does not have it",
        )
