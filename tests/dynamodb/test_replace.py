"""A table made anew with its items: no item is lost, whenever that is cut short."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.dynamodb import itemwriter, schema
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema.contents import Contents, key_digest, read_contents
from tasks.localenv.dynamodb.schema.fitness import key_limits, why_unfit
from tasks.localenv.dynamodb.schema.replacement import Replacement, copy_name
from tasks.localenv.dynamodb.tablefiles import TableFile, read_table
from tasks.localenv.dynamodb.tableshape import Index, TableShape
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings
from tasks.localenv.snapshot.entries import Entries
from tests.dynamodb.test_changes import Cut, index, table
from tests.support.environments import KEPT, PATIENCE_S, Finished
from tests.support.reliability import Count

COUNT = 60


def written(tmp_path: Path, properties: dict[str, Any], name: str = "t.json") -> TableFile:
    path = tmp_path / name
    path.write_text(json.dumps(properties))
    return read_table(path, f"ddb/tables/{name}", {})


def rekeyed(name: str, **changes: Any) -> dict[str, Any]:
    """The table of `table`, with the key (group, id), an index and a stream."""
    properties = table(name, index("by-other", "other"), StreamSpecification={"StreamViewType": "NEW_IMAGE"}, **changes)
    properties["KeySchema"] = [
        {"AttributeName": "group", "KeyType": "HASH"},
        {"AttributeName": "id", "KeyType": "RANGE"},
    ]
    properties["AttributeDefinitions"].append({"AttributeName": "group", "AttributeType": "S"})
    return properties


def some_items(count: int = COUNT) -> list[dict[str, Any]]:
    """Items of every type, with all that a copy could lose."""
    return [
        {
            "id": {"S": f"{number:05}"},
            "group": {"S": f"g{number % 7}"},
            "other": {"S": "o"},
            "n": {"N": "12345678901234567890.5"},
            "b": {"B": "AAEC"},
            "m": {"M": {"l": {"L": [{"NULL": True}, {"BOOL": False}, {"NS": ["1", "2"]}]}}},
        }
        for number in range(count)
    ]


@pytest.fixture
def filled(fresh: Settings, tmp_path: Path) -> Any:
    """A client; the message table is there with items, and has the key id."""
    client = connect(fresh)
    schema.apply_tables(client, [written(tmp_path, table(fresh.message_table))])
    itemwriter.write(client, fresh.message_table, itemwriter.puts(some_items()))
    yield client
    aside = schema.fetch_table(client, copy_name(fresh.message_table))
    if aside:
        client.update_table(TableName=aside.shape.name, DeletionProtectionEnabled=False)
        client.delete_table(TableName=aside.shape.name)


def is_replaced(client: Any, file: TableFile, before: Contents) -> bool:
    return (
        schema.check_tables(client, [file]) is not None
        and read_contents(client, file.name) == before
        and schema.fetch_table(client, copy_name(file.name)) is None
    )


def test_a_replaced_table_has_every_item_and_is_as_its_file_says(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    file, before = written(tmp_path, rekeyed(fresh.message_table)), read_contents(filled, fresh.message_table)
    done = schema.apply_tables(filled, [file], replace=True)
    assert (done, is_replaced(filled, file, before)) == (
        f"0 tables created, 1 table replaced, {COUNT} items before and after, 1 change made;"
        " 1 ACTIVE and as ddb/tables says",
        True,
    )


def test_the_stream_does_not_see_the_copied_items(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, rekeyed(fresh.message_table))
    assert Replacement(filled, file, lambda text: None).run() == COUNT
    assert schema.require_table(filled, fresh.message_table).shape.stream == ""


def test_what_a_local_index_needs_is_replaced_as_well(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    local = {
        "IndexName": "by-other",
        "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}, {"AttributeName": "other", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    properties = {**rekeyed(fresh.message_table), "LocalSecondaryIndexes": [local]}
    del properties["GlobalSecondaryIndexes"]
    file, before = written(tmp_path, properties), read_contents(filled, fresh.message_table)
    schema.apply_tables(filled, [written(tmp_path, {**rekeyed(fresh.message_table)}, "u.json")], replace=True)
    schema.apply_tables(filled, [file], replace=True)
    assert is_replaced(filled, file, before)


@pytest.mark.reliability("kills")
def test_cut_short_after_any_call_no_item_is_lost_and_the_next_run_ends_it(
    filled: Any, fresh: Settings, tmp_path: Path, trials: Count
) -> None:
    name, before = fresh.message_table, read_contents(filled, fresh.message_table)
    files = [written(tmp_path, rekeyed(name), "new.json"), written(tmp_path, table(name), "old.json")]
    calls = 0
    while True:
        file = files[calls // 2 % 2]
        try:
            schema.apply_tables(Cut(filled, calls), [file], replace=True)  # type: ignore[arg-type]
            break
        except Cut.End:
            held = [read_contents(filled, one) for one in (name, copy_name(name)) if schema.fetch_table(filled, one)]
            assert before in held, f"after {calls} calls"
            schema.apply_tables(filled, [file], replace=True)
            assert is_replaced(filled, file, before), f"after {calls} calls"
            calls += 2
    assert calls > 30
    trials(calls // 2)


def test_what_is_half_done_is_said_by_everything(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    name = fresh.message_table
    file = written(tmp_path, rekeyed(name))
    for calls in range(60):
        with pytest.raises(Cut.End):
            schema.apply_tables(Cut(filled, calls), [file], replace=True)  # type: ignore[arg-type]
        if schema.fetch_table(filled, name) is None:
            break
    said = f"table {name} is half replaced: its {COUNT} items are safe in {name}.replacing"
    with pytest.raises(ConfirmationNeeded) as caught:
        schema.apply_tables(filled, [file])
    assert (caught.value.message, caught.value.hint, caught.value.code) == (
        said,
        "run `inv ddb.schema-load --replace` to finish that",
        3,
    )
    assert schema.check_tables(filled, [file]) is None
    assert schema.plan_tables(filled, [file]) == [f"± {said}; only --replace finishes that"]
    assert schema.half_replaced(schema.fetch_tables(filled)) == [said]
    other = written(
        tmp_path,
        {
            **table(name),
            "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "group", "AttributeType": "S"}],
        },
        "other.json",
    )
    with pytest.raises(LocalEnvError, match="whose key or local indexes differ from the file"):
        schema.apply_tables(filled, [other], replace=True)
    assert schema.apply_tables(filled, [file], replace=True).startswith(
        f"0 tables created, 1 table replaced, {COUNT} items before and after"
    )


def test_an_old_table_that_was_written_to_since_is_the_truth(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    """Killed with the copy complete and the old table still there, which the app then wrote to."""
    name = fresh.message_table
    file = written(tmp_path, rekeyed(name))
    for calls in range(60):
        with pytest.raises(Cut.End):
            schema.apply_tables(Cut(filled, calls), [file], replace=True)  # type: ignore[arg-type]
        copy = schema.fetch_table(filled, copy_name(name))
        if copy and copy.shape.deletion_protection:
            break
    new = {"id": {"S": "new"}, "group": {"S": "g"}}
    filled.put_item(TableName=name, Item=new)
    before = read_contents(filled, name)
    schema.apply_tables(filled, [file], replace=True)
    assert (is_replaced(filled, file, before), before.count) == (True, COUNT + 1)


def test_an_old_table_that_lost_items_since_stops_the_replacement(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    name = fresh.message_table
    file = written(tmp_path, rekeyed(name))
    for calls in range(60):
        with pytest.raises(Cut.End):
            schema.apply_tables(Cut(filled, calls), [file], replace=True)  # type: ignore[arg-type]
        copy = schema.fetch_table(filled, copy_name(name))
        if copy and copy.shape.deletion_protection:
            break
    filled.delete_item(TableName=name, Key={"id": {"S": "00000"}})
    with pytest.raises(LocalEnvError) as caught:
        schema.apply_tables(filled, [file], replace=True)
    assert caught.value.message == f"table {name} lacks 1 item of {name}.replacing, its complete copy"
    assert [read_contents(filled, one).count for one in (name, copy_name(name))] == [COUNT - 1, COUNT]


class Writing:
    """A client beside which an app writes to the table once the copy is made."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name

    def __getattr__(self, method: str) -> Any:
        def call(**parameters: Any) -> Any:
            answer = getattr(self._client, method)(**parameters)
            if method == "batch_write_item":
                self._client.put_item(TableName=self._name, Item={"id": {"S": "late"}, "group": {"S": "g"}})
            return answer

        return call


def test_a_table_that_is_written_to_meanwhile_is_not_replaced(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    name = fresh.message_table
    writing: Any = Writing(filled, name)
    with pytest.raises(LocalEnvError) as caught:
        schema.apply_tables(writing, [written(tmp_path, rekeyed(name))], replace=True)
    assert caught.value.message == f"table {name} changed while it was copied: nothing was replaced"
    assert read_contents(filled, name).count == COUNT + 1


def test_items_that_do_not_fit_are_named_before_anything_is_changed(
    filled: Any, fresh: Settings, tmp_path: Path
) -> None:
    name = fresh.message_table
    filled.put_item(TableName=name, Item={"id": {"S": "lone"}})
    filled.put_item(TableName=name, Item={"id": {"S": "number"}, "group": {"N": "1"}})
    with pytest.raises(LocalEnvError) as caught:
        schema.apply_tables(filled, [written(tmp_path, rekeyed(name))], replace=True)
    assert (caught.value.message, sorted(caught.value.evidence.splitlines())) == (
        f"2 items of table {name} do not fit the new one: nothing was changed",
        ["id lone: it has no group", "id number: its group is of type N, not S"],
    )
    assert schema.fetch_table(filled, copy_name(name)) is None


def test_two_items_with_one_new_key_are_named(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    name = fresh.message_table
    properties = table(name, KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}])
    properties["AttributeDefinitions"] = [{"AttributeName": "group", "AttributeType": "S"}]
    with pytest.raises(LocalEnvError) as caught:
        schema.apply_tables(filled, [written(tmp_path, properties)], replace=True)
    assert caught.value.message == f"{COUNT - 7} items of table {name} do not fit the new one: nothing was changed"
    assert caught.value.evidence.splitlines()[-1] == f"and {COUNT - 12} more"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"pk": {"S": "a"}}, ""),
        ({"x": {"S": "a"}}, "it has no pk"),
        ({"pk": {"S": ""}}, "its pk is empty"),
        ({"pk": {"S": "é" * 1025}}, "its pk has more than 2048 bytes"),
        ({"pk": {"S": "a"}, "other": {"S": "1"}}, "its other is of type S, not N"),
        ({"pk": {"S": "a"}, "other": {"N": "1"}}, ""),
        ({"pk": {"S": "a"}, "bytes": {"B": base64.b64encode(b"b" * 1024).decode()}}, ""),
        ({"pk": {"S": "a"}, "bytes": {"B": b"b" * 1024}}, ""),
        ({"pk": {"S": "a"}, "bytes": {"B": b"b" * 1025}}, "its bytes has more than 1024 bytes"),
    ],
)
def test_an_item_must_fit_the_keys_of_table_and_indexes(item: Any, reason: str) -> None:
    index = Index("by-other", (("other", "N"), ("bytes", "B")), "ALL", None)
    shape = TableShape("t", (("pk", "S"),), (index,), None, "")
    assert why_unfit(item, shape) == reason


def test_each_attribute_of_a_partition_may_be_longer_than_those_of_a_sort_key() -> None:
    index = Index("by-all", (("a", "S"), ("b", "S"), ("c", "S"), ("d", "S")), "ALL", None, partition_size=2)
    shape = TableShape("t", (("a", "S"),), (index,), None, "")
    assert key_limits(shape) == {"a": 2048, "b": 2048, "c": 1024, "d": 1024}


def test_equal_items_have_equal_digests_however_they_are_written() -> None:
    one: Any = {"a": {"N": "1.0"}, "b": {"NS": ["2", "10"]}, "c": {"M": {"x": {"S": "1"}, "y": {"L": []}}}}
    other: Any = {"c": {"M": {"y": {"L": []}, "x": {"S": "1"}}}, "b": {"NS": ["10.0", "2"]}, "a": {"N": "1"}}
    keys = [(name, "") for name in "abc"]
    assert key_digest(one, tuple(keys)) == key_digest(other, tuple(keys))
    assert key_digest({"a": {"S": "1"}}, (("a", "S"),)) != key_digest({"a": {"N": "1"}}, (("a", "N"),))


@pytest.mark.parametrize("kind", ["N", "NS"])
def test_numbers_differ_in_any_of_their_38_digits_and_zero_has_no_sign(kind: str) -> None:
    def digest(number: str) -> bytes:
        return key_digest({"a": {kind: number if kind == "N" else [number, "5"]}}, (("a", kind),))

    assert digest("0") == digest("-0.0")
    assert digest(f"{'1' * 35}671") != digest(f"{'1' * 35}672")
    assert digest(f"{'1' * 35}671") == digest(f"{'1' * 35}671.00")


def test_what_is_set_on_the_table_and_not_in_the_file_is_not_lost(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    name = fresh.message_table
    filled.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"})
    with pytest.raises(LocalEnvError) as caught:
        schema.apply_tables(filled, [written(tmp_path, rekeyed(name))], replace=True)
    assert caught.value.message == (
        f"table {name} has TimeToLiveSpecification, which ddb/tables/t.json does not mention: replacing it loses that"
    )


def test_limits_of_an_on_demand_table_are_not_lost(live: Settings, table_name: str, tmp_path: Path) -> None:
    client, on_demand = connect(live), {"BillingMode": "PAY_PER_REQUEST"}
    limits = {"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": 6}
    before = {**table(table_name), **on_demand, "OnDemandThroughput": limits}
    after = {**rekeyed(table_name), **on_demand}
    for properties in (before, after):
        properties.pop("ProvisionedThroughput", None)
    for entry in after["GlobalSecondaryIndexes"]:
        entry.pop("ProvisionedThroughput", None)
    schema.apply_tables(client, [written(tmp_path, before)])
    with pytest.raises(LocalEnvError, match=f"table {table_name} has OnDemandThroughput, which ddb/tables/t.json"):
        schema.apply_tables(client, [written(tmp_path, after)], replace=True)


def test_a_protected_table_is_not_replaced(filled: Any, fresh: Settings, tmp_path: Path) -> None:
    name = fresh.message_table
    filled.update_table(TableName=name, DeletionProtectionEnabled=True)
    with pytest.raises(LocalEnvError, match="has deletion protection"):
        schema.apply_tables(filled, [written(tmp_path, rekeyed(name))], replace=True)
    assert schema.fetch_table(filled, copy_name(name)) is None


Ddb = Callable[..., Finished]


def test_replace_asks_first(cli: Ddb, filled: Any, fresh: Settings, tmp_path: Path) -> None:
    written(tmp_path, rekeyed(fresh.message_table))
    done = cli("ddb.schema-load", "--file", "t.json", "--replace")
    name = fresh.message_table
    told = re.sub(r" +", " ", done.stderr)
    assert (done.code, schema.fetch_table(filled, copy_name(name))) == (3, None)
    assert f"will replace table {name}: copy its {COUNT} items to {name}.replacing, drop it" in told
    assert "hint run `inv ddb.schema-load --file t.json --replace" in told


@pytest.mark.reliability("kills")
def test_killed_at_any_moment_the_next_run_ends_it(
    live_environment: dict[str, str], cli: Ddb, filled: Any, fresh: Settings, tmp_path: Path, trials: Count
) -> None:
    """The command itself, in a process of its own, killed for good."""
    trials(4)
    name, before = fresh.message_table, read_contents(filled, fresh.message_table)
    files = [written(tmp_path, rekeyed(name), "new.json"), written(tmp_path, table(name), "old.json")]
    chance = random.Random(7)
    for round_ in range(4):
        file = files[round_ % 2]
        words = ["ddb.schema-load", "--file", str(tmp_path / file.shown.rpartition("/")[2]), "--replace", "--yes"]
        command = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), *words]
        environ = {name: os.environ[name] for name in KEPT if name in os.environ}
        running = subprocess.Popen(
            command, env={**environ, **live_environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while running.poll() is None and schema.fetch_table(filled, copy_name(name)) is None:
            pass
        time.sleep(chance.random() * 0.15)
        running.send_signal(signal.SIGKILL)
        running.wait(PATIENCE_S)
        assert cli(*words).code == 0
        assert is_replaced(filled, file, before)
    assert not Entries(fresh).has_open


def test_a_half_replaced_table_is_said_and_not_read(cli: Ddb, filled: Any, fresh: Settings, tmp_path: Path) -> None:
    name = fresh.message_table
    for calls in range(60):
        with pytest.raises(Cut.End):
            schema.apply_tables(Cut(filled, calls), [written(tmp_path, rekeyed(name))], replace=True)  # type: ignore[arg-type]
        if schema.fetch_table(filled, name) is None:
            break
    done = cli("status", DDB_MESSAGE_TABLE=name)
    assert (
        f"dynamodb: table {name} is half replaced: its {COUNT} items are safe in {name}.replacing\n"
        "  hint: run `inv ddb.schema-load --replace` to finish that"
    ) in done.stdout
    seeded = cli("ddb.seed", DDB_MESSAGE_TABLE=name)
    assert (seeded.code, "not run ddb.seed" in re.sub(r" +", " ", seeded.stderr)) == (3, True)
    said = f"table {name} is half replaced: its {COUNT} items are safe in {name}.replacing"
    (tmp_path / "kept").write_text("an earlier export")
    for words in (
        ("ddb.scan",),
        ("ddb.export", str(tmp_path / "kept")),
        ("ddb.query", f'SELECT * FROM "{name}"'),
        ("ddb.drop", "--yes"),
    ):
        done = cli(*words, DDB_MESSAGE_TABLE=name)
        assert (words, done.code, done.stdout, said in done.stderr) == (words, 3, "", True)
    assert (tmp_path / "kept").read_text() == "an earlier export"
    assert cli("ddb.scan", f"{name}.replacing", "--limit", "1").code == 0
