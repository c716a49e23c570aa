"""Tables on a running engine, and on AWS as moto plays it: created, waited for, compared, dropped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from moto import mock_aws

from tasks.localenv.aws import boto as aws
from tasks.localenv.dynamodb import schema
from tasks.localenv.dynamodb.client import TableMissing, connect
from tasks.localenv.dynamodb.tablefiles import TableFile, read_tables
from tasks.localenv.errors import LocalEnvError, ServiceFailed, TimedOut
from tasks.localenv.machine.parallel import side_by_side
from tasks.localenv.settings import Settings, read_settings
from tests.support.boto import forget_clients
from tests.support.environments import PATIENCE_S, permitted_at_aws
from tests.support.ports import find_free


@pytest.fixture
def files(fresh: Settings) -> list[TableFile]:
    return read_tables(fresh)


@pytest.fixture
def prod() -> Iterator[Settings]:
    """Settings of the prod target, with AWS played by moto in this process."""
    with mock_aws():
        forget_clients()
        yield permitted_at_aws(
            read_settings(
                target="prod",
                environ={
                    "PROD_CONNECTION_URL": "postgresql://u:p@db.example.com/cruddur",
                    "AWS_DEFAULT_REGION": "us-east-1",
                    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
                    "AWS_SECRET_ACCESS_KEY": "secret",
                },
            )
        )
    forget_clients()


def test_a_missing_table_is_created_as_its_file_says(fresh: Settings, files: list[TableFile]) -> None:
    client = connect(fresh)
    assert schema.check_tables(client, files) is None
    assert schema.apply_tables(client, files) == "1 table created; 1 ACTIVE and as ddb/tables says"
    found = schema.require_table(client, fresh.message_table)
    assert (found.shape, found.status, found.index_statuses, found.items) == (
        replace(files[0].shape, deletion_protection=False, table_class="STANDARD", encryption="default"),
        "ACTIVE",
        {"message-group-sk-index": "ACTIVE"},
        0,
    )


def test_a_second_load_changes_nothing(fresh: Settings, files: list[TableFile]) -> None:
    client = connect(fresh)
    schema.apply_tables(client, files)
    before = schema.require_table(client, fresh.message_table).description["TableId"]
    assert schema.apply_tables(client, files) == "0 tables created; 1 ACTIVE and as ddb/tables says"
    assert schema.check_tables(client, files) == "1 table ACTIVE and as ddb/tables says"
    assert schema.require_table(client, fresh.message_table).description["TableId"] == before


@pytest.mark.reliability("crowds")
def test_two_loads_at_once_make_one_table(fresh: Settings, files: list[TableFile]) -> None:
    found = side_by_side([lambda: schema.apply_tables(connect(fresh), files)] * 4, at_once=4)
    assert sorted(sentence[:16] for sentence in found)[-1] == "1 table created;"
    assert schema.check_tables(connect(fresh), files) == "1 table ACTIVE and as ddb/tables says"


def test_the_plan_tells_what_would_be_created(fresh: Settings, files: list[TableFile]) -> None:
    name = fresh.message_table
    assert schema.plan_tables(connect(fresh), files) == [
        f"+ table {name}: key pk (S), sk (S), throughput 5/5, stream NEW_IMAGE",
        f"+ index message-group-sk-index of {name}: key message_group_uuid (S), sk (S), projection ALL, throughput 5/5",
    ]


class Slow:
    """A client whose tables need some looks to become what they are, as on AWS."""

    def __init__(self, client: Any, looks: int, *, index: str = "ACTIVE") -> None:
        self._client, self._looks, self._index = client, looks, index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def describe_table(self, **parameters: Any) -> Any:
        found = self._client.describe_table(**parameters)
        if self._looks:
            self._looks -= 1
            found["Table"]["TableStatus"] = "CREATING" if self._index == "ACTIVE" else "ACTIVE"
            for index in found["Table"]["GlobalSecondaryIndexes"]:
                index["IndexStatus"] = self._index
        return found


@pytest.mark.parametrize("index", ["ACTIVE", "CREATING"])
def test_table_and_indexes_are_waited_for(fresh: Settings, files: list[TableFile], index: str) -> None:
    client = connect(fresh)
    schema.apply_tables(client, files)
    slow: Any = Slow(client, 3, index=index)
    assert schema.check_tables(slow, files) is None
    assert schema.wait_until_active(slow, fresh.message_table).is_active


def test_waiting_has_an_end(fresh: Settings, files: list[TableFile]) -> None:
    client = connect(fresh)
    schema.apply_tables(client, files)
    slow: Any = Slow(client, 10**6, index="CREATING")
    with pytest.raises(TimedOut) as caught:
        schema.apply_tables(slow, files, deadline_s=0)
    assert caught.value.message == (
        f"table {fresh.message_table} did not become ACTIVE within 0 s: table ACTIVE, message-group-sk-index CREATING"
    )


def test_a_dropped_table_is_gone(fresh: Settings, files: list[TableFile]) -> None:
    client = connect(fresh)
    schema.apply_tables(client, files)
    client.put_item(TableName=fresh.message_table, Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
    table = schema.require_table(client, fresh.message_table)
    assert schema.drop_table(client, table).startswith(f"dropped table {fresh.message_table}, 1 item, ")
    assert schema.fetch_table(client, fresh.message_table) is None
    with pytest.raises(TableMissing):
        schema.require_table(client, fresh.message_table)


def test_a_protected_table_is_not_dropped_and_the_way_out_is_told(fresh: Settings, files: list[TableFile]) -> None:
    client = connect(fresh)
    schema.apply_tables(client, files)
    client.update_table(TableName=fresh.message_table, DeletionProtectionEnabled=True)
    table = schema.require_table(client, fresh.message_table)
    with pytest.raises(LocalEnvError) as caught:
        schema.refuse_protected(table, "http://127.0.0.1:8000")
    name = fresh.message_table
    assert (caught.value.message, caught.value.hint) == (
        f"table {name} has deletion protection",
        f"turn it off with `aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled"
        " --endpoint-url http://127.0.0.1:8000`, then run the same command again",
    )


def test_a_table_is_described_for_people(fresh: Settings, files: list[TableFile]) -> None:
    client = connect(fresh)
    schema.apply_tables(client, files)
    assert schema.describe(schema.require_table(client, fresh.message_table)) == [
        ("table", fresh.message_table),
        ("status", "ACTIVE"),
        ("key", "pk (S), sk (S)"),
        ("index message-group-sk-index", "key message_group_uuid (S), sk (S), projection ALL, throughput 5/5"),
        ("throughput", "5/5"),
        ("stream", "NEW_IMAGE"),
        ("deletion protection", "off"),
        ("items", "0"),
        ("size", "0 bytes"),
    ]


def test_an_engine_that_is_down_is_said(live: Settings) -> None:
    from tasks.localenv.settings.addresses import Endpoint

    port = find_free()
    with pytest.raises(ServiceFailed) as caught:
        schema.fetch_names(connect(replace(live, dynamodb=Endpoint("127.0.0.1", port))))
    assert (f"nothing answers at http://127.0.0.1:{port}" in caught.value.message, caught.value.hint) == (
        True,
        "run `inv env.up`",
    )


def test_more_tables_than_fit_on_a_page_are_all_listed(prod: Settings) -> None:
    client = aws.client(prod, "dynamodb")
    names = [f"table-{number:03}" for number in range(130)]
    for name in names:
        client.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    found = schema.fetch_tables(connect(prod))
    assert [table.shape.name for table in found] == names
    assert {str(table.shape.throughput) for table in found} == {"None"}


def test_on_aws_the_same_file_makes_the_same_table(prod: Settings) -> None:
    files = read_tables(prod)
    client = connect(prod)
    assert schema.apply_tables(client, files) == "1 table created; 1 ACTIVE and as ddb/tables says"
    assert schema.check_tables(client, files) == "1 table ACTIVE and as ddb/tables says"


def test_a_client_is_shared_among_threads(fresh: Settings, files: list[TableFile]) -> None:
    client = connect(fresh)
    schema.apply_tables(client, files)
    barrier = threading.Barrier(8)

    def look() -> str:
        barrier.wait(PATIENCE_S)
        return schema.require_table(client, fresh.message_table).status

    assert side_by_side([look] * 8) == ["ACTIVE"] * 8
