"""ddb: the function behind the table's stream, run here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TYPE_CHECKING

from .. import _output
from .._graph import StepContext, step
from . import tables

if TYPE_CHECKING:
    from ddb.streams.group_rows import Handled


@step(
    pre=[tables.schema_load],
    lock=False,
    local_only=True,
    plan=lambda c: [f"~ group rows of {c.step.settings.message_table}, for each message in its stream"],
    help={"once": "end when the stream has no further record, instead of at Ctrl-C"},
)
def stream(c: StepContext, once: bool = False) -> str:
    """Keep the group rows up to date from the table's stream, until Ctrl-C."""
    counted = _Counted()
    if not once:
        c.step.say("reading from the oldest record on; end it with Ctrl-C")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        _output.stream(counted.lines(_outcomes(c, once=once)))
    except KeyboardInterrupt:
        counted.ending = "; stopped by Ctrl-C"
    return counted.sentence


def _outcomes(c: StepContext, *, once: bool) -> Iterator[Handled]:
    from ddb.streams import group_rows

    from ..localenv.dynamodb import stream
    from ..localenv.dynamodb.client import connect

    settings = c.step.settings
    client, table = connect(settings), settings.message_table
    batches = stream.batches(settings, table, once=once)
    return stream.outcomes(batches, lambda records: group_rows.handle(client, table, records))


@dataclass
class _Counted:
    """Writes a line a record, and counts."""

    records: int = 0
    moved: int = 0
    failed: int = 0
    ending: str = ""

    def lines(self, outcomes: Iterable[Handled]) -> Iterator[str]:
        for one in outcomes:
            self.records += 1
            self.moved += one.moved
            self.failed += bool(one.error)
            done = f"{one.moved} changes to its rows" if one.moved else "its rows are right"
            yield f"{one.event:<6}  {one.sort_key}  group {one.group}  {f'gave up: {one.error}' if one.error else done}"

    @property
    def sentence(self) -> str:
        failed = f", {self.failed:,} given up" if self.failed else ""
        return f"{self.records:,} messages, {self.moved:,} changes to group rows{failed}{self.ending}"
