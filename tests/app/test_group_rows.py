"""The stream's function: whatever records come, in whatever order, the rows end at the newest message."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ddb import messages
from ddb.streams import group_rows
from ddb.streams.transactions import Busy
from tasks.localenv.aws.wire import AwsError
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.streamreader import batches
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.machine.parallel import side_by_side
from tasks.localenv.settings import Settings
from tests.support.chats import (
    ANDREW,
    BAYKO,
    GROUP,
    LONDO,
    NOW,
    dump,
    make_seed,
    messages_of,
    plant,
    rows_of,
    send,
    surplus_rows,
)

FOLDER = TOOL / "ddb" / "streams"
OTHER_GROUP = "0f6b6d0e-3c41-4b7e-9a55-7d1c5a0e9b42"


class Permitted:
    """A client that may do what policy.json allows, and nothing else; the index lags behind where told to."""

    def __init__(self, settings: Settings) -> None:
        self._client: Any = connect(settings)
        self._table = settings.message_table
        self.calls: list[str] = []
        self.stale: list[Any] = []
        self.before_write: Callable[[], object] = lambda: None
        policy = json.loads((FOLDER / "policy.json").read_text())
        self._allowed = {
            (action, statement["Resource"].rpartition("table/cruddur-messages")[2])
            for statement in policy["Statement"]
            for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        }

    def query(self, **parameters: Any) -> Any:
        index = f"/index/{parameters['IndexName']}" if "IndexName" in parameters else ""
        self._check("Query", index, parameters["TableName"])
        assert not (index and parameters.get("ConsistentRead"))
        if index and self.stale:
            return {"Items": self.stale.pop(0)}
        return self._client.query(**parameters)

    def transact_write_items(self, **parameters: Any) -> Any:
        before, self.before_write = self.before_write, lambda: None
        before()
        for action in parameters["TransactItems"]:
            ((kind, what),) = action.items()
            self._check(f"{kind}Item" if kind != "ConditionCheck" else "ConditionCheckItem", "", what["TableName"])
        return self._client.transact_write_items(**parameters)

    def _check(self, action: str, index: str, table: str) -> None:
        self.calls.append(action + index)
        assert (f"dynamodb:{action}", index) in self._allowed
        assert table == self._table


@pytest.fixture
def table(fresh: Settings) -> Settings:
    """Settings of a table with a conversation of two messages."""
    apply_tables(connect(fresh), read_tables(fresh))
    plant(fresh, make_seed(["one", "two"]))
    return fresh


@pytest.fixture
def client(table: Settings) -> Permitted:
    return Permitted(table)


def record(item: dict[str, Any], event: str = "INSERT", number: int = 1) -> dict[str, Any]:
    image = {"NewImage": item} if event != "REMOVE" else {}
    keys = {"pk": item["pk"], "sk": item["sk"]}
    return {
        "eventName": event,
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/some-table/stream/2026-11-21T00:00:00.000",
        "dynamodb": {"Keys": keys, "SequenceNumber": f"{number:05}", **image},
    }


def handle(client: Any, settings: Settings, *records: dict[str, Any]) -> list[tuple[str, int, str]]:
    found = group_rows.handle(client, settings.message_table, records)
    return [(one.event, one.moved, one.error) for one in found]


def at(seconds: int) -> Any:
    return NOW + timedelta(seconds=seconds)


def rows_at(seconds: int, text: str) -> list[tuple[str, str, str, str]]:
    time = messages.format_time(at(seconds))
    return [("andrewbrown", time, "bayko", text), ("bayko", time, "andrewbrown", text)]


def test_a_message_among_the_groups_is_no_row(table: Settings, client: Permitted) -> None:
    """One that carries message_group_uuid is in the index of rows; what the rows need must not remove it."""
    odd = {**send(table, "odd", at(3)), "message_group_uuid": {"S": GROUP}}
    connect(table).put_item(TableName=table.message_table, Item=odd)
    item = send(table, "three", at(5))
    assert handle(client, table, record(odd), record(item)) == [("INSERT", 4, ""), ("INSERT", 0, "")]
    assert [text for _, _, text in messages_of(table)][-2:] == ["odd", "three"]


def test_a_message_moves_the_rows_and_a_second_time_nothing(table: Settings, client: Permitted) -> None:
    item = send(table, "three", at(5))
    assert handle(client, table, record(item)) == [("INSERT", 4, "")]
    assert rows_of(table) == rows_at(5, "three")
    before = dump(table)
    client.calls.clear()
    assert handle(client, table, record(item), record(item)) == [("INSERT", 0, ""), ("INSERT", 0, "")]
    assert (dump(table), client.calls) == (before, ["Query/index/message-group-sk-index", "Query"])


def test_any_order_of_records_ends_at_the_newest(table: Settings, client: Permitted) -> None:
    items = [send(table, f"number {number}", at(number)) for number in (1, 2, 3)]
    for order in itertools.permutations(items):
        for item in order:
            handle(client, table, record(item))
        assert rows_of(table) == rows_at(3, "number 3")


def test_every_record_of_a_batch_counts(table: Settings, client: Permitted) -> None:
    plant(table, make_seed(["Londo?"], group=OTHER_GROUP, users=(ANDREW, LONDO)), now=at(-60))
    records = [record(send(table, "three", at(5))), record(send(table, "Yes!", at(6), sender=LONDO, group=OTHER_GROUP))]
    assert handle(client, table, *records) == [("INSERT", 4, ""), ("INSERT", 4, "")]
    assert (rows_of(table)[0][3], rows_of(table, OTHER_GROUP)[0][3]) == ("three", "Yes!")


def test_records_of_group_rows_are_nobodys_business(table: Settings, client: Permitted) -> None:
    row = {"pk": {"S": f"GRP#{ANDREW.uuid}"}, "sk": {"S": "x"}, "message_group_uuid": {"S": GROUP}}
    assert handle(client, table, record(row), record(row, "REMOVE")) == []
    assert client.calls == []


def test_a_removed_last_message_moves_the_rows_back(table: Settings, client: Permitted) -> None:
    item = send(table, "a slip", at(5))
    handle(client, table, record(item))
    connect(table).delete_item(TableName=table.message_table, Key=messages.key_of(item))
    assert handle(client, table, record(item, "REMOVE")) == [("REMOVE", 4, "")]
    assert rows_of(table) == rows_at(0, "two")
    assert handle(client, table, record(item), record(item, "REMOVE")) == [("INSERT", 0, ""), ("REMOVE", 0, "")]


def test_a_removed_older_message_changes_nothing(table: Settings, client: Permitted) -> None:
    older = next(messages.each_message(connect(table), table.message_table, GROUP))
    send(table, "three", at(5))
    handle(client, table, record(older))
    connect(table).delete_item(TableName=table.message_table, Key=messages.key_of(older))
    assert handle(client, table, record(older, "REMOVE")) == [("REMOVE", 0, "")]
    assert rows_of(table) == rows_at(5, "three")


def test_without_a_message_the_rows_go(table: Settings, client: Permitted) -> None:
    items = list(messages.each_message(connect(table), table.message_table, GROUP))
    for item in items:
        connect(table).delete_item(TableName=table.message_table, Key=messages.key_of(item))
    assert handle(client, table, *(record(item, "REMOVE") for item in items)) == [("REMOVE", 2, ""), ("REMOVE", 0, "")]
    assert dump(table) == []


def test_a_changed_last_message_changes_the_text_of_the_rows(table: Settings, client: Permitted) -> None:
    item = send(table, "teh", at(5))
    handle(client, table, record(item))
    changed = {**item, "message": {"S": "the"}}
    connect(table).put_item(TableName=table.message_table, Item=changed)
    assert handle(client, table, record(changed, "MODIFY")) == [("MODIFY", 2, "")]
    assert rows_of(table) == rows_at(5, "the")


def test_rows_that_a_sender_moved_are_left(table: Settings, client: Permitted) -> None:
    sent = messages.create_message(connect(table), table.message_table, GROUP, BAYKO, "three", at=at(5))
    item = {name: {"S": value} for name, value in sent.message.items()}
    assert handle(client, table, record(item)) == [("INSERT", 0, "")]
    assert rows_of(table) == rows_at(5, "three")


def test_doubled_rows_become_one(table: Settings, client: Permitted) -> None:
    row = next(messages.each_row_in_group(connect(table), table.message_table, GROUP))
    double = {**row, "sk": {"S": messages.format_time(at(-3600))}}
    connect(table).put_item(TableName=table.message_table, Item=double)
    assert handle(client, table, record(send(table, "three", at(5)))) == [("INSERT", 5, "")]
    assert rows_of(table) == rows_at(5, "three")


@pytest.mark.parametrize("shown", [[], [0], [1]], ids=["none", "one", "the other"])
def test_an_index_that_lags_behind_loses_no_row(table: Settings, client: Permitted, shown: list[int]) -> None:
    """The index shows no row yet, or one of the two."""
    rows = list(messages.each_row_in_group(connect(table), table.message_table, GROUP))
    client.stale = [[rows[number] for number in shown]]
    assert handle(client, table, record(send(table, "three", at(5)))) == [("INSERT", 4, "")]
    assert rows_of(table) == rows_at(5, "three")


def test_an_index_that_shows_old_rows_brings_none_back(table: Settings, client: Permitted) -> None:
    old = list(messages.each_row_in_group(connect(table), table.message_table, GROUP))
    messages.create_message(connect(table), table.message_table, GROUP, BAYKO, "three", at=at(5))
    item = send(table, "four", at(6))
    client.stale = [old]
    assert handle(client, table, record(item)) == [("INSERT", 4, "")]
    assert (rows_of(table), len(dump(table))) == (rows_at(6, "four"), 6)


def test_a_sender_in_between_wins_with_the_newer_message(table: Settings, client: Permitted) -> None:
    item = send(table, "three", at(5))
    client.before_write = lambda: messages.create_message(
        connect(table), table.message_table, GROUP, BAYKO, "four", at=at(6)
    )
    assert handle(client, table, record(item)) == [("INSERT", 0, "")]
    assert (rows_of(table), len(dump(table))) == (rows_at(6, "four"), 6)


def test_the_index_is_read_to_its_last_page(table: Settings, client: Permitted) -> None:
    row = next(messages.each_row_in_group(connect(table), table.message_table, GROUP))
    for number in range(6):
        double = {**row, "sk": {"S": messages.format_time(at(-3600 - number))}, "filler": {"S": "x" * 300_000}}
        connect(table).put_item(TableName=table.message_table, Item=double)
    assert handle(client, table, record(send(table, "three", at(5)))) == [("INSERT", 10, "")]
    assert rows_of(table) == rows_at(5, "three")


def test_more_rows_than_a_transaction_takes_become_one_each(table: Settings, client: Permitted) -> None:
    surplus_rows(table, 203)
    assert handle(client, table, record(send(table, "three", at(5)))) == [("INSERT", 207, "")]
    assert rows_of(table) == rows_at(5, "three")
    surplus_rows(table, 101)
    assert messages.settle_rows(connect(table), table.message_table, GROUP, (ANDREW, BAYKO)) == (0, 101)
    assert rows_of(table) == rows_at(5, "three")


def test_new_rows_come_before_what_goes_and_that_the_newest_first() -> None:
    message = messages.message_item(GROUP, at(9), "0d3e", "nine", ANDREW)
    rows = [
        row
        for second in range(2)
        for row in messages.group_items(
            GROUP, messages.message_item(GROUP, at(second), "0d3e", "", ANDREW), (ANDREW, BAYKO)
        )
    ]
    plan = group_rows.plan_rows("table", GROUP, rows, message)
    assert [
        (kind, (what.get("Item") or what["Key"])["sk"]["S"][17:19]) for action in plan for kind, what in action.items()
    ] == [("Put", "09"), ("Put", "09"), ("Delete", "01"), ("Delete", "01"), ("Delete", "00"), ("Delete", "00")]


def test_a_row_of_another_group_in_the_way_is_named_at_once(table: Settings, client: Permitted) -> None:
    plant(table, make_seed(["Londo?"], group=OTHER_GROUP, users=(ANDREW, LONDO)), now=at(-60))
    one, other = send(table, "three", at(5)), send(table, "Yes!", at(5), sender=LONDO, group=OTHER_GROUP)
    assert handle(client, table, record(one), record(other)) == [
        ("INSERT", 4, ""),
        (
            "INSERT",
            0,
            f"Taken: at {messages.format_time(at(5))} user {ANDREW.uuid} has the row of group {GROUP}: "
            "the rows of this one move with its next message",
        ),
    ]
    assert handle(client, table, record(send(table, "Yes", at(6), sender=LONDO, group=OTHER_GROUP)))[0][2] == ""
    assert (rows_of(table), rows_of(table, OTHER_GROUP)[0][3]) == (rows_at(5, "three"), "Yes")


def test_a_removed_message_is_gone_from_the_rows_however_old_the_index(table: Settings, client: Permitted) -> None:
    old = list(messages.each_row_in_group(connect(table), table.message_table, GROUP))
    item = send(table, "a slip", at(5))
    handle(client, table, record(item))
    connect(table).delete_item(TableName=table.message_table, Key=messages.key_of(item))
    client.stale = [old]
    assert handle(client, table, record(item, "REMOVE")) == [("REMOVE", 4, "")]
    assert rows_of(table) == rows_at(0, "two")


def test_an_index_without_rows_is_asked_again_when_all_messages_are_removed(
    table: Settings, client: Permitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then believed: a group may be gone."""
    monkeypatch.setattr(group_rows, "INDEX_LAG_S", 0.05)
    items = list(messages.each_message(connect(table), table.message_table, GROUP))
    for item in items:
        connect(table).delete_item(TableName=table.message_table, Key=messages.key_of(item))
    removed = record(items[0], "REMOVE")
    client.stale = [[]]
    for moment in (time.time(), datetime.now(timezone.utc)):
        removed["dynamodb"]["ApproximateCreationDateTime"] = moment
        assert handle(client, table, removed)[0][2] == ""
    assert dump(table) == []


class Throttled(Permitted):
    """May not write to one group for lack of capacity."""

    def transact_write_items(self, **parameters: Any) -> Any:
        if GROUP in str(parameters):
            raise AwsError("dynamodb TransactWriteItems", "ThrottlingException", "slow down")
        return super().transact_write_items(**parameters)


def test_the_groups_of_a_batch_share_its_time(table: Settings) -> None:
    plant(table, make_seed(["Londo?"], group=OTHER_GROUP, users=(ANDREW, LONDO)), now=at(-60))
    bad, good = send(table, "three", at(5)), send(table, "Yes!", at(6), sender=LONDO, group=OTHER_GROUP)
    found = group_rows.handle(Throttled(table), table.message_table, [record(bad), record(good)], seconds=0.9)
    (moved, error), (also_moved, no_error) = [(one.moved, one.error) for one in found]
    assert (moved, also_moved, no_error) == (0, 4, "")
    assert error.startswith("Busy: the table refused ") and " attempts in 0.45 s: " in error
    assert error.endswith("it is short of capacity (ThrottlingException)")


def test_a_function_whose_time_is_up_leaves_the_rest_to_the_next_one(
    table: Settings, client: Permitted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(group_rows, "_client", lambda: client)
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 9_000)
    event = {"Records": [record(send(table, "three", at(5)))]}
    assert group_rows.handler(event, context) == {"batchItemFailures": [{"itemIdentifier": "00001"}]}
    assert "the groups before it took all the time of the batch" in capsys.readouterr().out
    assert client.calls == []


def test_a_failing_group_is_reported_and_the_others_are_done(
    table: Settings, client: Permitted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(table, make_seed(["Londo?"], group=OTHER_GROUP, users=(ANDREW, LONDO)), now=at(-60))
    bad = record(send(table, "three", at(5)), number=1)
    good = record(send(table, "Yes!", at(6), sender=LONDO, group=OTHER_GROUP), number=2)
    settle = group_rows.settle

    def fail(client: Any, name: str, group: str, **options: Any) -> tuple[int, int]:
        if group == GROUP:
            raise Busy("the table refused")
        return settle(client, name, group, **options)

    monkeypatch.setattr(group_rows, "settle", fail)
    monkeypatch.setattr(group_rows, "_client", lambda: client)
    monkeypatch.setattr(group_rows, "table_of", lambda record: table.message_table)
    assert group_rows.handler({"Records": [bad, good]}, None) == {"batchItemFailures": [{"itemIdentifier": "00001"}]}
    assert capsys.readouterr().out == (f"INSERT MSG#{GROUP} {messages.format_time(at(5))}: Busy: the table refused\n")
    assert rows_of(table, OTHER_GROUP)[0][3] == "Yes!"
    monkeypatch.setattr(group_rows, "settle", settle)
    assert group_rows.handler({"Records": [bad, good]}, None) == {"batchItemFailures": []}
    assert rows_of(table) == rows_at(5, "three")
    assert group_rows.handler({"Records": []}, None) == {"batchItemFailures": []}


def test_the_table_is_the_one_of_the_records() -> None:
    assert group_rows.table_of(record({"pk": {"S": ""}, "sk": {"S": ""}})) == "some-table"


@pytest.mark.reliability("crowds")
def test_many_messages_and_functions_at_once_end_at_the_newest(table: Settings) -> None:
    """The app only puts messages; senders move rows; two functions handle the records in their own order, twice."""
    items = [send(table, f"app {number}", at(number)) for number in range(0, 40, 2)]

    def function(seed: int) -> Callable[[], None]:
        def work() -> None:
            records = [record(item) for item in items * 2]
            random.Random(seed).shuffle(records)
            for chunk in range(0, len(records), 3):
                assert [error for _, _, error in handle(Permitted(table), table, *records[chunk : chunk + 3])] == [
                    ""
                ] * len(records[chunk : chunk + 3])

        return work

    def sender() -> None:
        for number in range(41, 61):
            messages.create_message(connect(table), table.message_table, GROUP, BAYKO, f"sent {number}", at=at(number))

    side_by_side([function(1), function(2), sender])
    assert rows_of(table) == rows_at(60, "sent 60")
    assert len(messages_of(table)) == 2 + 19 + 20  # the first of the app's is at the time of "two", and over it


def test_the_records_of_the_tables_own_stream_are_understood(table: Settings, client: Permitted) -> None:
    send(table, "three", at(5))
    (records,) = list(_together(batches(table, table.message_table, once=True)))
    found = list(group_rows.handle(client, table.message_table, records))
    assert [(one.event, one.group, one.error) for one in found] == [("INSERT", GROUP, "")] * 3
    assert sum(one.moved for one in found) == 4
    assert group_rows.table_of(records[0]) == table.message_table


def _together(batches: Iterator[list[Any]]) -> Iterator[list[Any]]:
    yield [record for batch in batches for record in batch]


class _Loader(yaml.SafeLoader):
    """Reads a template: !Sub x is {"Sub": x}, and so on."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: {tag: loader.construct_scalar(node)})


def test_the_folder_is_deployed_alone() -> None:
    """As Lambda does: the handler's module from the folder that is its code."""
    template = yaml.load((FOLDER / "template.yaml").read_text(), Loader=_Loader)
    properties = template["Resources"]["GroupRows"]["Properties"]
    module, _, name = properties["Handler"].rpartition(".")
    code = f"import importlib; print(importlib.import_module('{module}').{name}({{'Records': []}}, None))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=FOLDER / properties["CodeUri"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{'batchItemFailures': []}\n"


def test_template_and_policy_allow_the_same_and_name_the_same_table() -> None:
    text = (FOLDER / "template.yaml").read_text()
    template = yaml.load(text, Loader=_Loader)
    policy = json.loads((FOLDER / "policy.json").read_text())
    name = template["Parameters"]["TableName"]["Default"]
    (inline,) = template["Resources"]["GroupRows"]["Properties"]["Policies"]
    prefix = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${TableName}"
    for statement in inline["Statement"]:
        resource = statement["Resource"]["Sub"]
        assert resource.startswith(prefix)
        statement["Resource"] = f"arn:aws:dynamodb:*:*:table/{name}" + resource[len(prefix) :]
    assert inline == policy
    table = json.loads((TOOL / "ddb" / "tables" / "cruddur-messages.json").read_text())
    assert table["TableName"] == name
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == [group_rows.GROUP_INDEX]
    event = template["Resources"]["GroupRows"]["Properties"]["Events"]["Messages"]["Properties"]
    assert (event["FunctionResponseTypes"], event["BisectBatchOnFunctionError"]) == (["ReportBatchItemFailures"], True)
    (pattern,) = (json.loads(one["Pattern"]) for one in event["FilterCriteria"]["Filters"])
    assert pattern["dynamodb"] == {"Keys": {"pk": {"S": [{"prefix": group_rows.MESSAGE}]}}}


def test_the_template_is_sound() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), FOLDER / "template.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_renamed_partner_keeps_the_name_of_the_row(table: Settings, client: Permitted) -> None:
    """The function knows no names: it keeps those that the row has."""
    item = send(table, "three", at(5), sender=replace(BAYKO, handle="andy"))
    handle(client, table, record(item))
    assert [row[2] for row in rows_of(table)] == ["bayko", "andrewbrown"]
