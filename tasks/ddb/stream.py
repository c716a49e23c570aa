"""ddb: the function behind the table's stream, run here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from io import TextIOWrapper
from typing import TYPE_CHECKING

from .. import _output
from .._graph import WRITES, StepContext, step
from .._lazy import lazy, lazy_of_app
from ..localenv.errors import LocalEnvError
from ..localenv.hints import Command, inv
from ..localenv.machine.words import counted
from . import tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ddb import consistency, messages, repairs
    from ddb.streams import group_rows
    from ddb.streams.group_rows import Handled

    from ..localenv.dynamodb import client as dynamodb
    from ..localenv.dynamodb import scan as scanning
    from ..localenv.dynamodb import streamreader as streaming
    from ..localenv.machine import progress as progressing
    from ..localenv.postgres import handles
    from ..localenv.postgres.handles import User
else:
    consistency = lazy_of_app("ddb.consistency")
    messages = lazy_of_app("ddb.messages")
    repairs = lazy_of_app("ddb.repairs")
    group_rows = lazy_of_app("ddb.streams.group_rows")
    dynamodb = lazy("localenv.dynamodb.client")
    scanning = lazy("localenv.dynamodb.scan")
    streaming = lazy("localenv.dynamodb.streamreader")
    progressing = lazy("localenv.machine.progress")
    handles = lazy("localenv.postgres.handles")

REASONS_SHOWN = 10


@step(
    example="inv ddb.stream --once",
    effect=WRITES,
    pre=[tables.schema_load],
    lock=False,
    local_only=True,
    plan=lambda c: [
        f"~ group rows of {c.step.settings.message_table} that are not as its messages",
        f"~ group rows of {c.step.settings.message_table}, for each message in its stream",
    ],
    help={"once": "end when the stream has no further record, instead of at Ctrl-C"},
)
def stream(c: StepContext, once: bool = False) -> str:
    """Keep the group rows up to date from the table's stream, until Ctrl-C."""
    tally = Counted()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        _repair(c, tally)
        if not once:
            c.step.say("reading from the oldest record on; end it with Ctrl-C")
        _follow(c, tally, once=once)
    except KeyboardInterrupt:
        tally.ending = "; stopped by Ctrl-C"
    c.step.note(changes=tally.moved, repaired=tally.repaired, failed=tally.failed)
    return tally.result(once=once)


def _repair(c: StepContext, tally: Counted) -> None:
    """Look at the whole table first: the stream may have lost records, a local one all of them in a restart."""
    settings = c.step.writable(c.step.settings.message_table)
    client, table, survey = dynamodb.connect(settings), settings.message_table, consistency.Survey()
    for item in scanning.scan(client, table):
        survey.add(item)
    for one in repairs.repair(client, table, survey, _everybody(c) if survey.groups else []):
        tally.repaired += not one.error and one.moved > 0
        tally.moved += one.moved
        tally.note(one.group, one.error)
        done = f"gave up: {one.error}" if one.error else f"{counted(one.moved, 'change')} to its rows"
        c.step.say(f"group {one.group}  {done}")


def _everybody(c: StepContext) -> list[User]:
    """Read the users from the database; without it their names are those in the items."""
    try:
        return handles.fetch_everybody(c.step.settings, c.step.settings.root / "sql" / "users" / "names.sql")
    except LocalEnvError as error:
        c.step.say(f"names as the messages have them: {error}")
        return []


def _follow(c: StepContext, tally: Counted, *, once: bool) -> None:
    settings = c.step.writable(c.step.settings.message_table)
    client, table = dynamodb.connect(settings), settings.message_table
    states: dict[str, str] = {}

    def state_of(group: str) -> str:
        if group not in states:
            states[group] = _state(client, table, group)
        return states[group]

    def handle(records: list[streaming.Record]) -> Iterable[Handled]:
        states.clear()
        return group_rows.handle(client, table, records)

    batches = streaming.batches(settings, table, once=once)
    handled = tally.each(streaming.outcomes(batches, handle))
    with progressing.progress(f"stream of {table}", unit="records") if once else nullcontext() as done:
        tally.done = done
        shown = c.step.stream("record", handled, lambda found: (_line(one, state_of) for one in found), _as_value)
        if shown is None and once:
            for _ in handled:  # the reader had enough (`| head`), the stream has more
                pass


def _line(one: Handled, state_of: Callable[[str], str]) -> str:
    done = f"gave up: {one.error}" if one.error else f"{counted(one.moved, 'change')} to its rows"
    done = done if one.error or one.moved else _output.as_typed(state_of(one.group))
    return f"{one.event:<6}  {one.sort_key}  group {one.group}  {done}"


def _as_value(one: Handled) -> dict[str, object]:
    return {"event": one.event, "sk": one.sort_key, "group": one.group, "changes": one.moved, "error": one.error}


def _state(client: DynamoDBClient, table: str, group: str) -> str:
    """Say of a group whose rows needed no change how it is: of two people, each needs a row."""
    rows = sum(1 for _ in messages.each_row_in_group(client, table, group))
    if rows < 2 and group_rows.newest_message(client, table, group):
        return f"it has {'one row only' if rows else 'no rows'}: {inv('check')} says more"
    return "its rows are right"


@dataclass
class Counted:
    """Counts records as they are handled. `reasons` tell why a group was given up."""

    records: int = 0
    moved: int = 0
    repaired: int = 0
    failed: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    ending: str = ""
    done: progressing.Progress | None = None

    def each(self, outcomes: Iterable[Handled]) -> Iterator[Handled]:
        for one in outcomes:
            self.records += 1
            if self.done:
                self.done.add(1)
            self.moved += one.moved
            self.note(one.group, one.error)
            yield one

    def note(self, group: str, error: str) -> None:
        """Take note of what became of a group at last."""
        if error:
            self.failed += 1
            self.reasons[group] = error
        else:
            self.reasons.pop(group, None)

    def result(self, *, once: bool) -> str:
        """Return what was done. Raises LocalEnvError where this was all, and rows are still not right."""
        repaired = f"{counted(self.repaired, 'group')} repaired, " if self.repaired else ""
        failed = f", {self.failed:,} given up" if self.failed else ""
        changes = counted(self.moved, "change")
        said = f"{repaired}{counted(self.records, 'message')}, {changes} to group rows{failed}{self.ending}"
        if once and self.reasons:
            raise _given_up(self.reasons, said)
        return said


def _given_up(reasons: dict[str, str], said: str) -> Exception:
    return LocalEnvError(
        f"the rows of {counted(len(reasons), 'group')} are not right: {said}",
        hint=Command("ddb.stream", "--once", first="remove the reason"),
        evidence=[f"group {group}: {reason}" for group, reason in reasons.items()][:REASONS_SHOWN],
    )
