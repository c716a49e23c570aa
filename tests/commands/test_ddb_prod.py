"""The ddb commands with --target prod: AWS played by moto in this process, and a real Postgres as the database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke import Config, Exit
from moto import mock_aws

from tasks import ns
from tasks._executor import GraphExecutor
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings
from tests.support.boto import forget_clients
from tests.support.environments import Finished

TABLE = "cruddur-messages"
Prod = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def prod(live: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Prod]:
    """Run a command for production; give its exit code and the lines of its report."""
    monkeypatch.setenv("LOCALENV_STATE_DIR", str(live.state_dir))
    monkeypatch.setenv("PROD_CONNECTION_URL", live.postgres.url(masked=False))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")

    def run(command: str, **arguments: Any) -> tuple[int, list[str]]:
        try:
            GraphExecutor(ns, Config()).execute((command, {"target": "prod", **arguments}))
            code = 0
        except Exit as ended:
            code = ended.code
        report = capfd.readouterr().err
        assert "hush-hush" not in report
        evened = (re.sub(r" +", " ", re.sub(r"\d+\.\d\ds", "0s", line)).strip() for line in report.splitlines())
        return code, [line for line in evened if "env.up" not in line]

    with mock_aws():
        forget_clients()
        yield run
    forget_clients()


@pytest.fixture
def users(cli: Callable[..., Finished]) -> None:
    """Have the people of the seeds in the database."""
    assert cli("db.setup").code == 0


def tables() -> list[str]:
    import boto3

    return boto3.client("dynamodb", region_name="us-east-1").list_tables()["TableNames"]


def count() -> int:
    import boto3

    return boto3.client("dynamodb", region_name="us-east-1").scan(TableName=TABLE)["Count"]


def test_a_table_is_created_only_with_its_name_as_confirm(prod: Prod, live: Settings) -> None:
    code, report = prod("ddb.schema-load")
    shown = [
        f"ddb.schema-load | + table {TABLE}: key pk (S), sk (S), throughput 5/5, stream NEW_IMAGE",
        f"ddb.schema-load | + index message-group-sk-index of {TABLE}: "
        "key message_group_uuid (S), sk (S), projection ALL, throughput 5/5",
        "ddb.schema-load | target prod: account 123456789012 (arn:aws:sts::123456789012:user/moto), region us-east-1",
        f"ddb.schema-load | hosts: dynamodb.us-east-1.amazonaws.com, postgres {live.postgres}",
    ]
    assert (code, report, tables()) == (
        3,
        [
            *shown,
            f"FAIL ddb.schema-load {TABLE} is production data, and nobody is here to confirm",
            f"hint run the same command with --confirm {TABLE}",
        ],
        [],
    )
    code, report = prod("ddb.schema-load", confirm=TABLE)
    assert (code, report, tables()) == (
        0,
        [*shown, "ok ddb.schema-load 0s 1 table created; 1 ACTIVE and as ddb/tables says"],
        [TABLE],
    )
    assert prod("ddb.schema-load") == (0, ["skip ddb.schema-load 1 table ACTIVE and as ddb/tables says"])


def test_a_seed_of_prod_makes_no_table_by_the_way(prod: Prod) -> None:
    code, report = prod("ddb.seed", confirm=TABLE)
    assert (code, tables()) == (3, [])
    assert report[-3:] == [
        "FAIL ddb.schema-load ddb.schema-load would write to production",
        f"hint run `inv ddb.schema-load --target prod --confirm {TABLE}` first",
        "not run ddb.seed",
    ]


@pytest.mark.parametrize("confirm", ["", "yes", "cruddur"])
def test_a_seed_of_prod_is_refused_without_the_tables_name(users: None, prod: Prod, confirm: str) -> None:
    prod("ddb.schema-load", confirm=TABLE)
    assert (prod("ddb.seed", confirm=confirm)[0], count()) == (3, 0)


def test_a_seed_of_prod_with_the_tables_name_writes(users: None, prod: Prod) -> None:
    prod("ddb.schema-load", confirm=TABLE)
    code, report = prod("ddb.seed", confirm=TABLE)
    assert (code, report[-1], count()) == (
        0,
        "ok ddb.seed 0s 120 messages written, the last one now, 4 group rows written",
        124,
    )
    code, report = prod("ddb.seed")
    assert (code, report[-1].rpartition(",")[0]) == (0, "skip ddb.seed 120 messages and 4 group rows unchanged")


def test_yes_is_not_enough_to_drop_a_table_of_prod(prod: Prod) -> None:
    prod("ddb.schema-load", confirm=TABLE)
    assert (prod("ddb.drop", yes=True)[0], tables()) == (3, [TABLE])
    code, report = prod("ddb.drop", confirm=TABLE)
    assert (code, report[0], tables()) == (0, f"ddb.drop | will drop table {TABLE}, 0 items, 0 bytes", [])


def test_an_endpoint_override_stops_prod_before_any_call(prod: Prod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:8000")
    assert prod("ddb.list-tables") == (
        2,
        [
            "FAIL ddb.list-tables AWS_ENDPOINT_URL is set in the environment: "
            "a call meant for AWS would go to http://localhost:8000",
            "hint unset AWS_ENDPOINT_URL",
        ],
    )


def test_a_plan_for_prod_asks_nothing_and_changes_nothing(prod: Prod) -> None:
    assert (prod("ddb.schema-load", plan=True)[0], tables()) == (0, [])


def test_an_import_into_prod_is_refused_without_the_tables_name(prod: Prod, tmp_path: Path) -> None:
    prod("ddb.schema-load", confirm=TABLE)
    (tmp_path / "a.jsonl").write_text('{"pk": "a", "sk": "1", "b": {"x": [1]}}\n')
    file = str(tmp_path / "a.jsonl")
    assert (prod("ddb.import", file=file)[0], count()) == (3, 0)
    code, report = prod("ddb.import", file=file, confirm=TABLE)
    assert (code, report[-1], count()) == (
        0,
        f"ok ddb.import 0s 1 item for {TABLE}: 1 new, 0 replaced, 0 unchanged",
        1,
    )
    assert prod("ddb.import", file=file, confirm=TABLE)[1][-1] == (
        f"ok ddb.import 0s 1 item for {TABLE}: 0 new, 0 replaced, 1 unchanged"
    )


def test_binary_survives_the_way_through_aws(prod: Prod, tmp_path: Path) -> None:
    prod("ddb.schema-load", confirm=TABLE)
    line = '{"Item":{"b":{"B":"AP8="},"pk":{"S":"a"},"s":{"BS":["/w==","AA=="]},"sk":{"S":"1"}}}\n'
    (tmp_path / "a.jsonl").write_text(line)
    assert prod("ddb.import", file=str(tmp_path / "a.jsonl"), confirm=TABLE)[0] == 0
    assert prod("ddb.export", file=str(tmp_path / "b.jsonl"))[0] == 0
    assert (tmp_path / "b.jsonl").read_text() == line


def test_a_statement_that_writes_to_prod_wants_the_tables_name(prod: Prod) -> None:
    prod("ddb.schema-load", confirm=TABLE)
    insert = f"INSERT INTO \"{TABLE}\" VALUE {{'pk': 'a', 'sk': '1'}}"
    assert (prod("ddb.query", sql=insert, write=True)[0], count()) == (3, 0)
    assert prod("ddb.query", sql=insert, write=True)[1][-2:] == [
        f"FAIL ddb.query {TABLE} is production data, and nobody is here to confirm",
        f"hint run the same command with --confirm {TABLE}",
    ]


def one_key(folder: Path, key: str = "pk") -> str:
    """Write a table file like the shipped one with a key of one attribute and no index; give its path."""
    properties = json.loads((TOOL / "ddb/tables/cruddur-messages.json").read_text())
    del properties["GlobalSecondaryIndexes"]
    properties["KeySchema"] = [{"AttributeName": key, "KeyType": "HASH"}]
    properties["AttributeDefinitions"] = [{"AttributeName": key, "AttributeType": "S"}]
    (folder / "t.json").write_text(json.dumps(properties))
    return str(folder / "t.json")


def test_an_index_of_prod_is_removed_only_with_the_tables_name(prod: Prod, live: Settings, tmp_path: Path) -> None:
    prod("ddb.schema-load", confirm=TABLE)
    properties = json.loads((TOOL / "ddb/tables/cruddur-messages.json").read_text())
    del properties["GlobalSecondaryIndexes"]
    properties["AttributeDefinitions"].pop()
    (tmp_path / "t.json").write_text(json.dumps(properties))
    change = (
        f"- index message-group-sk-index of {TABLE}: key message_group_uuid (S), sk (S), projection ALL, throughput 5/5"
    )
    code, report = prod("ddb.schema-load", file=str(tmp_path / "t.json"))
    assert (code, report[0], report[-2]) == (
        3,
        f"ddb.schema-load | {change}",
        f"FAIL ddb.schema-load {TABLE} is production data, and nobody is here to confirm",
    )
    code, report = prod("ddb.schema-load", file=str(tmp_path / "t.json"), confirm=TABLE)
    assert (code, report[-1].partition(";")[0]) == (0, "ok ddb.schema-load 0s 0 tables created, 1 change made")


def test_a_table_of_prod_is_replaced_only_with_its_name(prod: Prod, tmp_path: Path) -> None:
    import boto3

    prod("ddb.schema-load", confirm=TABLE)
    client = boto3.client("dynamodb", region_name="us-east-1")
    for number in range(3):
        client.put_item(TableName=TABLE, Item={"pk": {"S": str(number)}, "sk": {"S": "s"}})
    file = one_key(tmp_path)
    code, report = prod("ddb.schema-load", file=file, confirm=TABLE)
    assert (code, report[-1]) == (
        3,
        f"hint run `inv ddb.schema-load --file {file} --target prod --replace`: it recreates the table and keeps"
        " the items",
    )
    assert (prod("ddb.schema-load", file=file, replace=True, yes=True)[0], tables()) == (3, [TABLE])
    assert (prod("ddb.schema-load", file=file, replace=True, confirm=TABLE)[0], tables()) == (3, [TABLE])
    code, report = prod("ddb.schema-load", file=file, replace=True, yes=True, confirm=TABLE)
    assert (code, report[-1].partition(";")[0], tables(), count()) == (
        0,
        "ok ddb.schema-load 0s 0 tables created, 1 table replaced, 3 items before and after, 1 change made",
        [TABLE],
        3,
    )


def test_items_of_prod_with_one_new_key_stop_a_replacement(prod: Prod, tmp_path: Path) -> None:
    import boto3

    prod("ddb.schema-load", confirm=TABLE)
    client = boto3.client("dynamodb", region_name="us-east-1")
    for number in range(3):
        client.put_item(TableName=TABLE, Item={"pk": {"S": "one"}, "sk": {"S": str(number)}})
    code, report = prod("ddb.schema-load", file=one_key(tmp_path), replace=True, yes=True, confirm=TABLE)
    told = f"FAIL ddb.schema-load 2 items of table {TABLE} do not fit the new one: nothing was changed"
    assert (code, told in report) == (1, True)
    assert (tables(), count()) == ([TABLE], 3)


@pytest.mark.usefixtures("users")
def test_a_message_is_sent_only_with_the_tables_name_as_confirm(prod: Prod) -> None:
    assert prod("ddb.schema-load", confirm=TABLE)[0] == 0
    message = {"as_": "andrewbrown", "to": "bayko", "text": "Hello!"}
    code, report = prod("ddb.send-message", **message)
    assert (code, count(), report[-1]) == (3, 0, f"hint run the same command with --confirm {TABLE}")
    code, report = prod("ddb.send-message", **message, confirm=TABLE)
    assert (code, count(), "sent in new group" in report[-1]) == (0, 3, True)
    assert prod("ddb.get-conversation", as_="bayko", with_="andrewbrown")[0] == 0


@pytest.mark.usefixtures("users")
def test_items_of_prod_are_repaired_only_with_the_tables_name(prod: Prod) -> None:
    import boto3

    assert prod("ddb.schema-load", confirm=TABLE)[0] == 0
    client = boto3.client("dynamodb", region_name="us-east-1")
    for number in range(3):
        client.put_item(TableName=TABLE, Item={"pk": {"S": f"X#{number}"}, "sk": {"S": "1"}, "b": {"B": b"\x00"}})
    assert (prod("check", repair="strays", plan=True)[0], count()) == (0, 3)
    code, report = prod("check", repair="strays")
    assert (code, count(), report[-1]) == (3, 3, f"hint run the same command with --confirm {TABLE}")
    code, report = prod("check", repair="strays", confirm=TABLE)
    assert (code, count(), report[-1]) == (0, 0, "ok check 0s 3 changes made for strays")
