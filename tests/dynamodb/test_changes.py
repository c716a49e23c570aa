"""What must happen to a table so that it is as its file says: planned, and done, on an engine and on moto's AWS."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from tasks.localenv.dynamodb import schema
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema.changes import encryption_differs, plan_changes
from tasks.localenv.dynamodb.schema.definition import fetch_definition, properties_of
from tasks.localenv.dynamodb.tablefiles import TableFile, read_table
from tasks.localenv.dynamodb.tableshape import Extras, extras_of, shape_of
from tasks.localenv.errors import ConfirmationNeeded
from tasks.localenv.settings import Settings, read_settings
from tests.support.boto import forget_clients
from tests.support.environments import permitted_at_aws

UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
MORE = {"ReadCapacityUnits": 9, "WriteCapacityUnits": 6}
Properties = dict[str, Any]


def index(name: str, key: str, projection: str = "ALL", units: Any = UNITS, sort: str = "") -> Properties:
    """An index whose key has these attributes, each a letter or, alone, a name."""
    parts = [(one, "HASH") for one in (key if sort else [key])] + [(one, "RANGE") for one in sort]
    found: Properties = {
        "IndexName": name,
        "KeySchema": [{"AttributeName": one, "KeyType": kind} for one, kind in parts],
        "Projection": {"ProjectionType": projection},
    }
    return {**found, "ProvisionedThroughput": units} if units else found


def table(name: str = "things", *indexes: Properties, **changes: Any) -> Properties:
    """A small table with these indexes, its attributes defined as the keys need them."""
    names = sorted({"id", *(entry["AttributeName"] for one in indexes for entry in one["KeySchema"])})
    found: Properties = {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": one, "AttributeType": "S"} for one in names],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "ProvisionedThroughput": UNITS,
        **({"GlobalSecondaryIndexes": list(indexes)} if indexes else {}),
        **changes,
    }
    if found.get("BillingMode") == "PAY_PER_REQUEST":
        del found["ProvisionedThroughput"]
    return found


def file_of(properties: Properties) -> TableFile:
    return TableFile("ddb/tables/t.json", properties, shape_of(properties), extras_of(properties))


def plan(wanted: Properties, found: Properties) -> list[str]:
    return [str(change) for change in plan_changes(file_of(wanted), shape_of(found), extras_of(found)).changes]


def read(tmp_path: Path, properties: Properties) -> list[TableFile]:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(properties))
    return [read_table(path, "ddb/tables/t.json", {})]


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


KEY = "key {} (S), projection {}, throughput {}"
PLANS: list[tuple[str, Properties, Properties, list[str]]] = [
    ("nothing", table(), table(), []),
    (
        "indexes: deletes before creates",
        table("things", index("by-b", "b"), index("by-c", "c", "KEYS_ONLY")),
        table("things", index("by-a", "a"), index("by-c", "c")),
        [
            f"- index by-a of things: {KEY.format('a', 'ALL', '5/5')}",
            f"± index by-c of things: {KEY.format('c', 'KEYS_ONLY', '5/5')} (was {KEY.format('c', 'ALL', '5/5')});"
            " absent until it is rebuilt",
            f"+ index by-b of things: {KEY.format('b', 'ALL', '5/5')}",
        ],
    ),
    (
        "which attributes are the partition's",
        table("things", index("by-abc", "ab", sort="c")),
        table("things", index("by-abc", "a", sort="bc")),
        [
            "± index by-abc of things: key a (S) + b (S), c (S), projection ALL, throughput 5/5"
            " (was key a (S), b (S) + c (S), projection ALL, throughput 5/5); absent until it is rebuilt",
        ],
    ),
    (
        "throughput of table and index",
        table("things", index("by-a", "a", units=MORE), ProvisionedThroughput=MORE),
        table("things", index("by-a", "a")),
        ["~ table things: throughput 9/6 (was 5/5)", "~ index by-a of things: throughput 9/6 (was 5/5)"],
    ),
    (
        "capacity mode comes before a new index",
        table("things", index("by-a", "a")),
        table(BillingMode="PAY_PER_REQUEST"),
        ["~ table things: throughput 5/5 (was on demand)", f"+ index by-a of things: {KEY.format('a', 'ALL', '5/5')}"],
    ),
    (
        "everything else in its order, protection last",
        table(
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=True,
            Tags=[{"Key": "team", "Value": "chat"}],
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7},
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"},
            StreamSpecification={"StreamViewType": "NEW_IMAGE"},
            OnDemandThroughput={"MaxReadRequestUnits": 10},
            SSESpecification={"SSEEnabled": True},
            TableClass="STANDARD_INFREQUENT_ACCESS",
        ),
        table(
            DeletionProtectionEnabled=False,
            Tags=[],
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
            TimeToLiveSpecification={"Enabled": False},
            StreamSpecification={"StreamViewType": "KEYS_ONLY"},
            SSESpecification={"SSEEnabled": False},
            TableClass="STANDARD",
        ),
        [
            "~ table things: on demand (was provisioned)",
            "~ table things: class STANDARD_INFREQUENT_ACCESS (was STANDARD)",
            "~ table things: encryption KMS (was default)",
            "~ table things: limits 10/-1 (was none)",
            "~ table things: stream NEW_IMAGE (was KEYS_ONLY); turned off and on, with a new ARN",
            "~ table things: time to live until (was off)",
            "~ table things: point-in-time recovery on, 7 days (was off)",
            "~ table things: tags team=chat (was none)",
            "~ table things: deletion protection on (was off)",
        ],
    ),
    (
        "a key is fixed, and then nothing else counts",
        table("things", index("by-a", "a"), ProvisionedThroughput=MORE),
        table(AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}]),
        ["± table things: key id (S) (was id (N))"],
    ),
    (
        "a local index is fixed",
        table("things"),
        table(
            LocalSecondaryIndexes=[index("by-id", "id", units=None)],
        ),
        ["± local index by-id of things: none (was key id (S), projection ALL)"],
    ),
    (
        "what the file says nothing of stays",
        table(),
        table(
            DeletionProtectionEnabled=True,
            Tags=[{"Key": "team", "Value": "chat"}],
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"},
            TableClass="STANDARD_INFREQUENT_ACCESS",
            SSESpecification={"SSEEnabled": True},
        ),
        [],
    ),
]


@pytest.mark.parametrize(("wanted", "found", "lines"), [case[1:] for case in PLANS], ids=[case[0] for case in PLANS])
def test_a_plan_tells_every_change_in_its_order(wanted: Properties, found: Properties, lines: list[str]) -> None:
    assert plan(wanted, found) == lines


def test_a_new_index_defines_the_attributes_that_will_be_in_a_key_and_no_others() -> None:
    wanted = table("things", index("by-b", "b"), index("by-c", "c"))
    (first, second) = plan_changes(file_of(wanted), shape_of(table("things")), Extras()).changes
    names = [[entry["AttributeName"] for entry in one.update["AttributeDefinitions"]] for one in (first, second)]
    updates = [one.update["GlobalSecondaryIndexUpdates"] for one in (first, second)]
    assert (names, updates) == (
        [["id", "b"], ["id", "b", "c"]],
        [[{"Create": index("by-b", "b")}], [{"Create": index("by-c", "c")}]],
    )


def test_what_the_engine_does_not_have_is_lacking_and_no_change() -> None:
    wanted = table(
        TableClass="STANDARD_INFREQUENT_ACCESS",
        SSESpecification={"SSEEnabled": True},
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"},
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        Tags=[{"Key": "team", "Value": "chat"}],
    )
    found = plan_changes(file_of(wanted), shape_of(table()), Extras())
    assert (found.changes, found.unsupported) == (
        (),
        ("table class", "encryption by KMS", "time to live", "point-in-time recovery", "tags"),
    )


@pytest.mark.parametrize(
    ("wanted", "found", "differs"),
    [
        (None, "KMS arn:aws:kms:us-east-1:1:key/a", False),
        ("KMS", None, False),
        ("KMS", "default", True),
        ("KMS", "KMS arn:aws:kms:us-east-1:1:key/a", False),
        ("KMS a", "KMS arn:aws:kms:us-east-1:1:key/a", False),
        ("KMS arn:aws:kms:us-east-1:1:key/b", "KMS arn:aws:kms:us-east-1:1:key/a", True),
        ("KMS alias/mine", "KMS arn:aws:kms:us-east-1:1:key/a", False),
    ],
)
def test_keys_are_compared_by_their_id(wanted: str | None, found: str | None, differs: bool) -> None:
    assert encryption_differs(wanted, found) is differs


def before(name: str) -> Properties:
    return table(
        name,
        index("by-a", "a"),
        index("by-c", "c"),
        StreamSpecification={"StreamViewType": "KEYS_ONLY"},
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "old"},
        Tags=[{"Key": "gone", "Value": "x"}, {"Key": "stage", "Value": "old"}],
    )


def after(name: str) -> Properties:
    return table(
        name,
        index("by-b", "b", units=MORE),
        index("by-c", "c", "KEYS_ONLY"),
        index("by-d", "d"),
        BillingMode="PROVISIONED",
        ProvisionedThroughput=MORE,
        StreamSpecification={"StreamViewType": "NEW_IMAGE"},
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"},
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        Tags=[{"Key": "stage", "Value": "new"}, {"Key": "team", "Value": "chat"}],
        TableClass="STANDARD_INFREQUENT_ACCESS",
        DeletionProtectionEnabled=True,
    )


def in_order(properties: Properties) -> Properties:
    """Even out the order of lists, which engines choose."""
    found = copy.deepcopy(properties)
    found["AttributeDefinitions"].sort(key=lambda entry: entry["AttributeName"])
    found.get("GlobalSecondaryIndexes", []).sort(key=lambda entry: entry["IndexName"])
    return found


def test_every_change_is_made_one_after_the_other(fresh: Settings, tmp_path: Path) -> None:
    client, name = connect(fresh), fresh.message_table
    schema.apply_tables(client, read(tmp_path, before(name)))
    client.put_item(TableName=name, Item={"id": {"S": "x"}, "b": {"S": "y"}})
    said: list[str] = []
    done = schema.apply_tables(client, read(tmp_path, after(name)), say=said.append)
    assert (done, [line[: line.index(":")] for line in said]) == (
        "0 tables created, 14 changes made; 1 ACTIVE and as ddb/tables says",
        [
            f"- index by-a of {name}",
            f"± index by-c of {name}",
            f"+ index by-b of {name}",
            f"+ index by-c of {name}",
            f"+ index by-d of {name}",
            *[f"~ table {name}"] * 9,
        ],
    )
    wanted = {**after(name), "SSESpecification": {"SSEEnabled": False}}
    assert in_order(fetch_definition(client, name).properties) == in_order(wanted)
    found = client.query(
        TableName=name,
        IndexName="by-b",
        KeyConditionExpression="b = :b",
        ExpressionAttributeValues={":b": {"S": "y"}},
    )
    assert found["Items"] == [{"id": {"S": "x"}, "b": {"S": "y"}}]
    assert schema.check_tables(client, read(tmp_path, after(name))) == "1 table ACTIVE and as ddb/tables says"


def test_on_aws_the_same_changes_are_made(prod: Settings, tmp_path: Path) -> None:
    """As far as moto has them: a class stays, a stream is turned on once, a tag keeps its value."""
    client = connect(prod)
    start = {**before("things"), "Tags": [{"Key": "gone", "Value": "x"}]}
    del start["StreamSpecification"]
    schema.apply_tables(client, read(tmp_path, start))
    wanted = {
        **after("things"),
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 35},
        "SSESpecification": {"SSEEnabled": False},
        "TableClass": "STANDARD",
    }
    schema.apply_tables(client, read(tmp_path, wanted))
    assert in_order(fetch_definition(client, "things").properties) == in_order(wanted)


def test_capacity_modes_change_both_ways(fresh: Settings, tmp_path: Path) -> None:
    client, name = connect(fresh), fresh.message_table
    provisioned = table(name, index("by-a", "a"))
    on_demand = table(name, index("by-a", "a", units=None), BillingMode="PAY_PER_REQUEST")
    for wanted in (provisioned, on_demand, provisioned):
        schema.apply_tables(client, read(tmp_path, wanted))
        found = properties_of(schema.require_table(client, name).description)
        assert {key: found.get(key) for key in wanted if key != "BillingMode"} == {
            key: value for key, value in wanted.items() if key != "BillingMode"
        }


class Cut:
    """A client that ends after so many calls, as a killed command does."""

    class End(Exception):
        pass

    def __init__(self, client: Any, calls: int) -> None:
        self._client, self._left = client, calls

    def __getattr__(self, name: str) -> Any:
        def call(**parameters: Any) -> Any:
            if not self._left:
                raise self.End
            self._left -= 1
            return getattr(self._client, name)(**parameters)

        return call


@pytest.mark.reliability("kills")
def test_cut_short_after_any_call_the_next_run_goes_on(fresh: Settings, tmp_path: Path) -> None:
    client, name = connect(fresh), fresh.message_table
    calls = 0
    schema.apply_tables(client, read(tmp_path, before(name)))
    while True:
        cut: Any = Cut(client, calls % 40)
        try:
            schema.apply_tables(cut, read(tmp_path, after(name)))
            break
        except Cut.End:
            calls += 3
    wanted = {**after(name), "SSESpecification": {"SSEEnabled": False}}
    assert in_order(fetch_definition(client, name).properties) == in_order(wanted)


def test_a_key_is_not_changed_in_place(fresh: Settings, tmp_path: Path) -> None:
    client, name = connect(fresh), fresh.message_table
    schema.apply_tables(client, read(tmp_path, table(name)))
    other = table(name, KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}])
    other["AttributeDefinitions"] = [{"AttributeName": "a", "AttributeType": "S"}]
    with pytest.raises(ConfirmationNeeded) as caught:
        schema.apply_tables(client, read(tmp_path, other))
    assert (caught.value.message, caught.value.hint, caught.value.code) == (
        f"table {name}: key a (S) (was id (S)): DynamoDB cannot change that in place",
        "run `inv ddb.schema-load --replace`: it recreates the table and keeps the items",
        3,
    )
    assert schema.plan_tables(client, read(tmp_path, other)) == [
        f"± table {name}: key a (S) (was id (S)): only with --replace, its 0 items copied through {name}.replacing"
    ]
