"""ddb.stream as typed, and how a stream is read: shards, expired and trimmed places, batches that fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ddb.messages import each_row_in_group, key_of
from ddb.streams.group_rows import Handled
from tasks.ddb.stream import Counted, _line
from tasks.localenv.aws.wire import AwsError
from tasks.localenv.dynamodb import streamreader
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings
from tests.conftest import Cli
from tests.support.chats import GROUP, NOW, ago, make_seed, plant, rows_of, send
from tests.support.environments import KEPT, PATIENCE_S


@pytest.fixture
def table(fresh: Settings) -> Settings:
    """Settings of a table with a conversation of two messages."""
    apply_tables(connect(fresh), read_tables(fresh))
    plant(fresh, make_seed(["one", "two"]), now=ago(minutes=1))
    return fresh


def test_once_repairs_what_is_there_and_tells_it(table: Settings, cli: Cli) -> None:
    item = send(table, "by the app", NOW)
    done = cli("ddb.stream", "--once", DDB_MESSAGE_TABLE=table.message_table)
    lines = done.stdout.splitlines()
    assert (done.code, len(lines), lines[-1].split()[1]) == (0, 3, item["sk"]["S"])
    assert {line.split(f"  group {GROUP}  ")[1] for line in lines} == {"its rows are right"}
    assert f"group {GROUP}  4 changes to its rows\n" in done.stderr
    assert "1 group repaired, 3 messages, 4 changes to group rows\n" in done.stderr
    assert {row[3] for row in rows_of(table)} == {"by the app"}
    again = cli("ddb.stream", "--once", DDB_MESSAGE_TABLE=table.message_table)
    assert "3 messages, 0 changes to group rows\n" in again.stderr
    assert "repaired" not in again.stderr


def test_once_drains_also_for_a_reader_who_has_enough(table: Settings, live_environment: dict[str, str]) -> None:
    environ = {**live_environment, "DDB_MESSAGE_TABLE": table.message_table}
    line = f"'{sys.executable}' -m invoke --search-root '{TOOL}' ddb.stream --once | true"
    done = subprocess.run(
        ["sh", "-c", line], env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert "2 messages, 0 changes to group rows\n" in done.stderr


def test_groups_of_one_row_or_none_are_told_and_those_of_two_known_users_get_theirs(table: Settings, cli: Cli) -> None:
    alone = "99999999-0000-4000-8000-000000000000"
    send(table, "who reads this?", NOW, group=alone)
    client, name = connect(table), table.message_table
    for row in each_row_in_group(client, name, GROUP):
        client.delete_item(TableName=name, Key=key_of(row))
    done = cli("ddb.stream", "--once", DDB_MESSAGE_TABLE=name)
    assert (done.code, done.stdout.count("its rows are right")) == (0, 2)
    assert f"group {alone}  it has no rows: `inv check` says more\n" in done.stdout
    assert [(row[0], row[2], row[3]) for row in rows_of(table)] == [
        ("andrewbrown", "bayko", "two"),
        ("bayko", "andrewbrown", "two"),
    ]


def test_what_was_given_up_at_last_is_a_failure_of_once() -> None:
    told = Counted()
    handled = [
        Handled("1", "INSERT", GROUP, "t1", 0, "Busy: no room"),
        Handled("2", "INSERT", "another", "t2", 0, "Busy: no room"),
        Handled("3", "INSERT", "another", "t3", 2),
    ]
    assert [_line(one, lambda group: "").split("  ")[-1] for one in told.each(handled)] == [
        "gave up: Busy: no room",
        "gave up: Busy: no room",
        "2 changes to its rows",
    ]
    said = "3 messages, 2 changes to group rows, 2 given up"
    assert told.result(once=False) == said
    with pytest.raises(LocalEnvError) as caught:
        told.result(once=True)
    assert (caught.value.message, caught.value.evidence) == (
        f"the rows of 1 group are not right: {said}",
        f"group {GROUP}: Busy: no room",
    )


def test_it_follows_until_ctrl_c_which_is_no_failure(
    table: Settings, live_environment: dict[str, str], tmp_path: Path
) -> None:
    environ = {name: os.environ[name] for name in KEPT if name in os.environ}
    words = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), "ddb.stream"]
    with subprocess.Popen(
        words,
        env={**environ, **live_environment, "DDB_MESSAGE_TABLE": table.message_table},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        try:
            assert [GROUP in running.stdout.readline() for _ in range(2)] == [True, True]
            item = send(table, "while it runs", NOW)
            assert running.stdout.readline().split()[1] == item["sk"]["S"]
            running.send_signal(signal.SIGINT)
            assert running.wait(timeout=PATIENCE_S) == 0
        finally:
            running.kill()
        assert "3 messages, 4 changes to group rows; stopped by Ctrl-C\n" in running.stderr.read()
    assert {row[3] for row in rows_of(table)} == {"while it runs"}


def test_it_is_not_for_production_and_a_plan_does_nothing(table: Settings, cli: Cli) -> None:
    send(table, "by the app", NOW)
    assert cli("ddb.stream", "--target", "prod").code == 2
    planned = cli("ddb.stream", "--plan", DDB_MESSAGE_TABLE=table.message_table)
    assert f"~ group rows of {table.message_table}, for each message in its stream" in planned.stdout
    assert {row[3] for row in rows_of(table)} == {"two"}


def test_a_table_without_a_stream_is_said(table: Settings) -> None:
    off: Any = {"StreamEnabled": False}
    connect(table).update_table(TableName=table.message_table, StreamSpecification=off)
    with pytest.raises(LocalEnvError) as caught:
        list(streamreader.batches(table, table.message_table, once=True))
    assert (caught.value.message, caught.value.hint) == (
        f"table {table.message_table} has no stream",
        "add a StreamSpecification to its file in ddb/tables, then run `inv ddb.schema-load`",
    )


class Shards:
    """A stream as DynamoDB tells it: shards with parents, and errors where the test wants them."""

    def __init__(self, shards: dict[str, tuple[str, list[int]]], closed: set[str]) -> None:
        self.shards = shards
        self.closed = closed
        self.errors: list[str] = []

    def __call__(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        return dict(getattr(self, operation)(**parameters))

    def DescribeStream(self, StreamArn: str, ExclusiveStartShardId: str = "") -> Any:  # noqa: N802, N803
        names = list(self.shards)
        place = names.index(ExclusiveStartShardId) + 1 if ExclusiveStartShardId else 0
        name = names[place]
        more = {"LastEvaluatedShardId": name} if place + 1 < len(names) else {}
        return {"StreamDescription": {"Shards": [{"ShardId": name, "ParentShardId": self.shards[name][0]}], **more}}

    def GetShardIterator(  # noqa: N802
        self,
        StreamArn: str,  # noqa: N803
        ShardId: str,  # noqa: N803
        ShardIteratorType: str,  # noqa: N803
        SequenceNumber: str = "",  # noqa: N803
    ) -> Any:
        place = 0 if ShardIteratorType == "TRIM_HORIZON" else self.shards[ShardId][1].index(int(SequenceNumber)) + 1
        return {"ShardIterator": f"{ShardId}:{place}"}

    def GetRecords(self, ShardIterator: str, Limit: int) -> Any:  # noqa: N802, N803
        name, _, place = ShardIterator.partition(":")
        if int(place) and self.errors:
            raise AwsError("dynamodbstreams GetRecords", self.errors.pop(0), "no")
        numbers = self.shards[name][1][int(place) : int(place) + 2]
        end = int(place) + len(numbers)
        more = name not in self.closed or end < len(self.shards[name][1])
        return {
            "Records": [{"dynamodb": {"SequenceNumber": str(number)}} for number in numbers],
            **({"NextShardIterator": f"{name}:{end}"} if more else {}),
        }


FAMILY = {"child": ("parent", [4, 5]), "parent": ("gone", [1, 2, 3]), "grandchild": ("child", [6])}


def read_all(monkeypatch: pytest.MonkeyPatch, shards: Shards) -> list[int]:
    monkeypatch.setattr(streamreader, "api", lambda settings, service: shards)
    monkeypatch.setattr(streamreader, "_arn", lambda settings, table: "arn:stream")
    settings: Any = None
    found = [record for batch in streamreader.batches(settings, "t", once=True) for record in batch]
    assert {record["eventSourceARN"] for record in found} == {"arn:stream"}
    return [int(record["dynamodb"]["SequenceNumber"]) for record in found]


def test_a_parents_records_come_before_its_childrens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_all(monkeypatch, Shards(FAMILY, {"parent", "child"})) == [1, 2, 3, 4, 5, 6]


def test_an_expired_place_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shards = Shards({"only": ("", [1, 2, 3, 4])}, set())
    shards.errors = ["ExpiredIteratorException"]
    assert read_all(monkeypatch, shards) == [1, 2, 3, 4]


def test_after_trimmed_records_it_goes_on_with_the_oldest_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shards = Shards({"only": ("", [1, 2, 3, 4])}, set())
    shards.errors = ["TrimmedDataAccessException"]
    assert read_all(monkeypatch, shards) == [1, 2, 1, 2, 3, 4]


def test_a_stream_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    shards = Shards({"only": ("", [1, 2, 3, 4])}, set())
    shards.errors = ["ResourceNotFoundException"]
    with pytest.raises(LocalEnvError, match="the stream of table t is gone"):
        read_all(monkeypatch, shards)


def test_a_table_that_was_made_anew_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one's stream is still there to be read, and nothing comes any more."""
    shards, arns = Shards({"only": ("", [1])}, set()), ["arn:old", "arn:old", "arn:new"]
    monkeypatch.setattr(streamreader, "api", lambda settings, service: shards)
    monkeypatch.setattr(streamreader, "_arn", lambda settings, table: arns.pop(0))
    monkeypatch.setattr(streamreader, "REFRESH_S", -1)
    settings: Any = None
    read = streamreader.batches(settings, "t", sleep=lambda seconds: None)
    assert next(read)[0]["eventSourceARN"] == "arn:old"
    with pytest.raises(LocalEnvError, match="the stream of table t is gone"):
        next(read)
    assert arns == []


def test_a_table_that_was_dropped_is_said(table: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamreader, "REFRESH_S", -1)
    read = streamreader.batches(table, table.message_table)
    assert next(read)
    connect(table).delete_table(TableName=table.message_table)
    with pytest.raises(LocalEnvError, match=r"the stream of table .* is gone"):
        next(read)


@dataclass(frozen=True)
class Done:
    sequence_number: str
    error: str = ""


def test_a_batch_is_tried_again_from_the_first_that_failed_and_in_the_end_without_it() -> None:
    seen: list[list[str]] = []
    pauses: list[float] = []

    def handle(records: list[Any]) -> Iterable[Done]:
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        seen.append(numbers)
        once = len(seen) == 1
        return [Done(n, "bad" if n == "3" or (n == "5" and once) else "") for n in numbers if n != "2"]

    records = [{"dynamodb": {"SequenceNumber": number}} for number in "12345"]
    found = list(streamreader.outcomes([records, records[:1]], handle, sleep=pauses.append))
    assert [(one.sequence_number, one.error) for one in found] == [
        ("1", ""),
        ("3", "bad"),
        ("4", ""),
        ("5", ""),
        ("1", ""),
    ]
    assert seen == [list("12345"), *[list("345")] * 5, list("45"), ["1"]]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2]


def test_a_reader_that_waits_asks_again(table: Settings) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            send(table, "late", NOW)

    found = []
    deadline = time.monotonic() + PATIENCE_S
    for batch in streamreader.batches(table, table.message_table, sleep=sleep):
        found += batch
        if any(record["dynamodb"]["NewImage"].get("message", {}).get("S") == "late" for record in batch):
            break
        assert time.monotonic() < deadline
    assert pauses == [streamreader.IDLE_S] * 2
