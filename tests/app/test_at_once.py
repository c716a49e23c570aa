"""Senders, the app's own puts, the stream's function, seeds and check: nothing lost, nothing twice, no alarm."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from ddb import consistency, messages
from ddb.consistency import Survey
from ddb.streams import group_rows
from tasks.localenv.dynamodb import streamreader
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.machine.parallel import side_by_side
from tasks.localenv.settings import Settings
from tests.support.chats import ANDREW, BAYKO, GROUP, LONDO, dump, make_seed, plant, send
from tests.support.environments import PATIENCE_S

EACH = 25


class Busy:
    """Knows whether anybody still writes, for those who run until all is written."""

    def __init__(self, writers: int) -> None:
        self._left = writers
        self._deadline = time.monotonic() + PATIENCE_S
        self._counting = threading.Lock()

    def leave(self) -> None:
        with self._counting:
            self._left -= 1

    def __bool__(self) -> bool:
        assert time.monotonic() < self._deadline
        return self._left > 0


@pytest.fixture
def table(fresh: Settings) -> Settings:
    """Settings of a table with one conversation."""
    return made(fresh)


def made(settings: Settings) -> Settings:
    """Make the message table with one conversation."""
    apply_tables(connect(settings), read_tables(settings))
    plant(settings, make_seed(["one", "two"]), now=datetime.now(timezone.utc))
    return settings


def faults(settings: Settings) -> list[str]:
    """Look at the whole table as `check` does."""
    client, survey = connect(settings), Survey()
    for item in scan(client, settings.message_table):
        survey.add(item)
    return [fault.text for fault in consistency.confirmed(client, settings.message_table, survey.faults())]


@pytest.mark.reliability("crowds")
def test_nothing_is_lost_and_no_alarm_is_false(table: Settings) -> None:
    prove_that_nothing_is_lost(table)


def prove_that_nothing_is_lost(table: Settings) -> None:
    """Let everybody work on the table at once, and look at what is left."""
    name = table.message_table
    busy = Busy(writers=4)
    alarms: list[str] = []
    rounds = Counter[str]()

    def writing(write: Callable[[Any, int], object]) -> Callable[[], None]:
        def work() -> None:
            client = connect(table)
            try:
                for number in range(EACH):
                    write(client, number)
            finally:
                busy.leave()

        return work

    def follow() -> None:
        client = connect(table)
        while busy:
            for one in streamreader.outcomes(
                streamreader.batches(table, name, once=True), lambda records: group_rows.handle(client, name, records)
            ):
                assert one.error == ""
            rounds["follow"] += 1

    def check() -> None:
        while busy:
            alarms.extend(faults(table))
            rounds["check"] += 1

    def seed() -> None:
        while busy:
            plant(table, make_seed(["one", "two"]), now=datetime.now(timezone.utc))
            rounds["seed"] += 1

    side_by_side(
        [
            writing(lambda client, n: messages.create_message(client, name, GROUP, ANDREW, f"andrew {n}")),
            writing(lambda client, n: messages.create_message_group(client, name, BAYKO, ANDREW, f"bayko {n}")),
            writing(lambda client, n: messages.create_message_group(client, name, LONDO, BAYKO, f"londo {n}")),
            writing(lambda client, n: send(table, f"app {n}", datetime.now(timezone.utc), sender=ANDREW)),
            follow,
            check,
            seed,
        ]
    )
    for _ in streamreader.outcomes(
        streamreader.batches(table, name, once=True), lambda records: group_rows.handle(connect(table), name, records)
    ):
        pass
    found = Counter(item["message"] for item in dump(table) if item["pk"].startswith("MSG#"))
    who = ("andrew", "bayko", "londo", "app")
    assert found == Counter(["one", "two", *(f"{name} {number}" for name in who for number in range(EACH))])
    rows = Counter((item["pk"], item["message_group_uuid"]) for item in dump(table) if item["pk"].startswith("GRP#"))
    assert (set(rows.values()), len(rows), len(dump(table))) == ({1}, 4, 4 * EACH + 2 + 4)
    assert (alarms, faults(table)) == ([], [])
    assert min(rounds.values()) >= 1 and len(rounds) == 3
