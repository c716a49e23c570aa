"""Table files: what they mean, what is wrong with them and where, and how two tables differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.aws.templates.jsonfile import read_json
from tasks.localenv.dynamodb import schema
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.tablefiles import read_table, read_tables
from tasks.localenv.dynamodb.tableshape import Index, TableShape, Throughput
from tasks.localenv.errors import UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings, read_settings

MESSAGES = TableShape(
    name="cruddur-messages",
    key=(("pk", "S"), ("sk", "S")),
    indexes=(Index("message-group-sk-index", (("message_group_uuid", "S"), ("sk", "S")), "ALL", Throughput(5, 5)),),
    throughput=Throughput(5, 5),
    stream="NEW_IMAGE",
)
UNITS = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}


def properties() -> dict[str, Any]:
    """The smallest table."""
    return {
        "TableName": "things",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "ProvisionedThroughput": dict(UNITS),
    }


def index(**changes: Any) -> dict[str, Any]:
    return {
        "IndexName": "by-id",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": dict(UNITS),
        **changes,
    }


def error_of(path: Path, text: str) -> UsageError:
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_table(path, path.name, {})
    return caught.value


def test_the_shipped_file_is_the_apps_table() -> None:
    (file,) = read_tables(read_settings(environ={}))
    assert (file.shown, file.shape) == ("ddb/tables/cruddur-messages.json", MESSAGES)


def test_the_shipped_file_is_cloudformations_and_not_the_apis() -> None:
    table = json.loads((TOOL / "ddb/tables/cruddur-messages.json").read_text())
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}


def test_what_is_sent_to_the_api_turns_the_stream_on() -> None:
    (file,) = read_tables(read_settings(environ={}))
    assert file.parameters["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}


def test_ddb_message_table_renames_the_message_table_and_no_other(tmp_path: Path) -> None:
    other = tmp_path / "a.json"
    other.write_text(json.dumps(properties()))
    (tmp_path / "b.json").write_text((TOOL / "ddb/tables/cruddur-messages.json").read_text())
    settings = read_settings(environ={"DDB_MESSAGE_TABLE": "my-own"})
    files = read_tables(settings, str(tmp_path))
    assert [(file.name, file.parameters["TableName"]) for file in files] == [("things", "things"), ("my-own", "my-own")]


def test_one_file_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "things.json"
    path.write_text(json.dumps(properties()))
    (file,) = read_tables(read_settings(environ={}), str(path))
    assert file.shape == TableShape("things", (("id", "S"),), (), Throughput(1, 1), "")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \*\.json, \*\.yaml, \*\.yml in it"):
        read_tables(read_settings(environ={}), str(tmp_path))


def test_two_files_with_one_table_are_an_error(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(properties()))
    with pytest.raises(UsageError, match="table things is defined twice"):
        read_tables(read_settings(environ={}), str(tmp_path))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nosuch\.json: no such file or directory"):
        read_tables(read_settings(environ={}), str(tmp_path / "nosuch.json"))


def test_what_is_no_json_is_shown_with_its_place(tmp_path: Path) -> None:
    error = error_of(tmp_path / "t.json", '{\n  "TableName": "x",\n  oops\n}')
    assert error.message == "t.json:3:3: not JSON: expecting property name enclosed in double quotes"


def test_a_number_longer_than_python_reads_is_said(tmp_path: Path) -> None:
    assert error_of(tmp_path / "t.json", "1" * 5000).message == "t.json: a number has thousands of digits"


def test_what_is_no_utf8_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(b'{"TableName": "\xe4"}')
    with pytest.raises(UsageError, match=r"t\.json: not UTF-8: invalid continuation byte at byte 15"):
        read_table(path, path.name, {})


def test_a_byte_order_mark_and_crlf_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(properties(), indent=2).replace("\n", "\r\n").encode())
    assert read_table(path, path.name, {}).name == "things"


def test_every_value_knows_its_place(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"a": [1,\n  {"b\\"c": "x, }]", "d": [] , "e": {}}],\n "f": true}')
    file = read_json(path, "t.json")
    steps: list[tuple[Any, ...]] = [(), ("a",), ("a", 1), ("a", 1, 'b"c'), ("a", 1, "e"), ("f",), ("f", "missing")]
    assert [file.place(step) for step in steps] == [
        "t.json:1:1",
        "t.json:1:7",
        "t.json:2:3",
        "t.json:2:12",
        "t.json:2:36",
        "t.json:3:7",
        "t.json:3:7",
    ]


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda table: table.pop(name)


def with_(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda table: table.update(changes)


WRONG: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (without("TableName"), "t.json:1:1: no TableName"),
    (without("KeySchema"), "t.json:1:1: no KeySchema"),
    (without("ProvisionedThroughput"), "t.json:1:1: no ProvisionedThroughput"),
    (with_(TableName="x y"), "t.json:2:16: TableName 'x y' is not 3 to 255 letters, digits and _.-"),
    (with_(TableName=7), "t.json:2:16: TableName must be a string"),
    (with_(KeySchema=[]), "t.json:9:16: KeySchema must have 1 to 2 entries, not 0"),
    (with_(KeySchema={}), "t.json:9:16: KeySchema must be a list"),
    (with_(Colour="red"), "t.json:19:13: unknown property 'Colour'"),
    (
        with_(BillingMode="PROVISONED"),
        "t.json:19:18: BillingMode is 'PROVISONED', not one of PROVISIONED, PAY_PER_REQUEST",
    ),
    (with_(BillingMode="PAY_PER_REQUEST"), "t.json:15:28: ProvisionedThroughput does not go with on-demand capacity"),
    (with_(DeletionProtectionEnabled="yes"), "t.json:19:32: DeletionProtectionEnabled must be true or false"),
    (
        with_(StreamSpecification={"StreamViewType": "new_image"}),
        "t.json:20:23: StreamViewType is 'new_image', not one of NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES, KEYS_ONLY",
    ),
    (
        with_(ProvisionedThroughput={"ReadCapacityUnits": 0, "WriteCapacityUnits": 1}),
        "t.json:16:26: ReadCapacityUnits must be 1 or more",
    ),
    (
        with_(ProvisionedThroughput={"ReadCapacityUnits": "five", "WriteCapacityUnits": 1}),
        "t.json:16:26: ReadCapacityUnits must be a whole number",
    ),
    (
        with_(KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}]),
        "t.json:11:24: attribute 'Id' is not in AttributeDefinitions",
    ),
    (
        with_(KeySchema=[{"AttributeName": "id", "KeyType": "RANGE"}]),
        "t.json:12:18: KeyType is 'RANGE', not one of HASH",
    ),
    (
        with_(AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "String"}]),
        "t.json:6:24: AttributeType is 'String', not one of S, N, B",
    ),
    (
        with_(KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}] * 2),
        "t.json:16:18: KeyType is 'HASH', not one of RANGE",
    ),
    (
        with_(GlobalSecondaryIndexes=[index(), index()]),
        "t.json:37:20: index by-id is defined twice",
    ),
    (
        with_(GlobalSecondaryIndexes=[index(Projection={"ProjectionType": "INCLUDE"})]),
        "t.json:28:21: NonKeyAttributes and ProjectionType INCLUDE require each other",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_file_is_an_error_at_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    table = properties()
    change(table)
    assert error_of(tmp_path / "t.json", json.dumps(table, indent=2)).message == message


@pytest.mark.parametrize(
    ("kind", "kinds", "message"),
    [
        ("GlobalSecondaryIndexes", "HHHHRRRR", ""),
        ("GlobalSecondaryIndexes", "HH", ""),
        ("GlobalSecondaryIndexes", "HRRRR", ""),
        ("GlobalSecondaryIndexes", "R", "KeyType is 'RANGE', not one of HASH"),
        ("GlobalSecondaryIndexes", "HRH", "KeyType is 'HASH', not one of RANGE"),
        ("GlobalSecondaryIndexes", "HHHHH", "KeyType is 'HASH', not one of RANGE"),
        ("GlobalSecondaryIndexes", "HRRRRR", "KeySchema must have at most 4 sort attributes"),
        ("GlobalSecondaryIndexes", "HHHHRRRRR", "KeySchema must have 1 to 8 entries, not 9"),
        ("LocalSecondaryIndexes", "HH", "KeyType is 'HASH', not one of RANGE"),
        ("LocalSecondaryIndexes", "HRR", "KeySchema must have 1 to 2 entries, not 3"),
    ],
)
def test_a_global_index_may_have_four_attributes_in_each_part_of_its_key(
    tmp_path: Path, kind: str, kinds: str, message: str
) -> None:
    table = properties()
    names = [f"a{number}" for number in range(len(kinds))]
    key = [
        {"AttributeName": name, "KeyType": "HASH" if letter == "H" else "RANGE"}
        for name, letter in zip(names, kinds, strict=True)
    ]
    table["AttributeDefinitions"] += [{"AttributeName": name, "AttributeType": "S"} for name in names]
    table[kind] = [index(KeySchema=key)]
    if kind == "LocalSecondaryIndexes":
        del table[kind][0]["ProvisionedThroughput"]
    path = tmp_path / "t.json"
    if message:
        assert error_of(path, json.dumps(table)).message.partition(": ")[2] == message
        return
    path.write_text(json.dumps(table))
    (found,) = read_table(path, path.name, {}).shape.indexes
    assert (found.key, found.partition_size) == (tuple((name, "S") for name in names), kinds.count("H"))


ON_DEMAND: dict[str, Any] = {"BillingMode": "PAY_PER_REQUEST"}
INCLUDE = {"ProjectionType": "INCLUDE"}


def on_demand_index(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in index(**changes).items() if name != "ProvisionedThroughput"}


def local(number: int, *names: str) -> dict[str, Any]:
    kinds = ("HASH", "RANGE")
    key = [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, kinds, strict=False)]
    return on_demand_index(IndexName=f"by-{number}", KeySchema=key)


def test_six_local_indexes_are_too_many(tmp_path: Path) -> None:
    table = {**properties(), "LocalSecondaryIndexes": [local(number, "id", "id") for number in range(6)]}
    error = error_of(tmp_path / "t.json", json.dumps(table))
    assert error.message.partition(": ")[2] == "LocalSecondaryIndexes must have 1 to 5 entries, not 6"


@pytest.mark.parametrize(
    ("own", "names", "message"),
    [
        ("id at", "id", "a local index needs a sort key"),
        ("id", "id at", "a table with local indexes needs a sort key"),
        ("id at", "at id", "a local index has the table's partition key, 'id'"),
        ("id at", "id at", ""),
    ],
)
def test_a_local_index_has_the_partition_key_of_its_table_and_a_sort_key(
    tmp_path: Path, own: str, names: str, message: str
) -> None:
    table = {**properties(), "LocalSecondaryIndexes": [local(1, *names.split())]}
    table["AttributeDefinitions"] = [{"AttributeName": name, "AttributeType": "S"} for name in ("id", "at")]
    table["KeySchema"] = local(1, *own.split())["KeySchema"]
    path = tmp_path / "t.json"
    if message:
        assert error_of(path, json.dumps(table)).message.partition(": ")[2] == message
    else:
        path.write_text(json.dumps(table))
        assert read_table(path, path.name, {}).shape.indexes[0].is_local


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TimeToLiveSpecification": {"Enabled": True, "AttributeName": ""}},
         "AttributeName must have 1 to 255 characters, not 0"),
        ({"TimeToLiveSpecification": {"Enabled": False, "AttributeName": ""}},
         "AttributeName must have 1 to 255 characters, not 0"),
        ({"SSESpecification": {"SSEEnabled": True, "KMSMasterKeyId": "alias/x"}},
         "KMSMasterKeyId requires SSEType KMS"),
        ({"SSESpecification": {"SSEEnabled": True, "SSEType": "AES256"}}, "SSEType is 'AES256', not one of KMS"),
        ({"Tags": [{"Key": "a", "Value": "x" * 257}]}, "Value must have 0 to 256 characters, not 257"),
        ({"Tags": [{"Key": f"k{number}", "Value": ""} for number in range(51)]},
         "Tags must have 0 to 50 entries, not 51"),
        ({"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 36}},
         "RecoveryPeriodInDays must be 1 to 35"),
        ({"GlobalSecondaryIndexes": [index(Projection={**INCLUDE, "NonKeyAttributes": "abc"})]},
         "NonKeyAttributes must be a list"),
        ({"GlobalSecondaryIndexes": [index(Projection={**INCLUDE, "NonKeyAttributes": ["a", 1]})]},
         "each of NonKeyAttributes must be a string"),
        ({"GlobalSecondaryIndexes": [index(Projection={**INCLUDE, "NonKeyAttributes": ["a"] * 21})]},
         "NonKeyAttributes must have 1 to 20 entries, not 21"),
        ({"GlobalSecondaryIndexes": [
            index(IndexName=f"i-{number}", Projection={**INCLUDE, "NonKeyAttributes": list("abcdefghijklmnopqrst")})
            for number in range(6)]},
         "the indexes have more than 100 NonKeyAttributes together"),
        ({"GlobalSecondaryIndexes": [index(OnDemandThroughput={"MaxReadRequestUnits": 5})]},
         "OnDemandThroughput does not go with provisioned capacity"),
        ({"GlobalSecondaryIndexes": [index(WarmThroughput={"ReadUnitsPerSecond": "many"})]},
         "ReadUnitsPerSecond must be a whole number"),
        ({"GlobalSecondaryIndexes": [index(ContributorInsightsSpecification={"Enabled": True, "Mode": "ALL"})]},
         "Mode is 'ALL', not one of ACCESSED_AND_THROTTLED_KEYS, THROTTLED_KEYS"),
        ({"KinesisStreamSpecification": {"StreamArn": "short"}}, "StreamArn must have 37 to 1024 characters, not 5"),
        ({"ResourcePolicy": {}}, "no PolicyDocument"),
        ({"Fn::ForEach::Index": ["I", ["a"], {}]}, "Fn::ForEach::Index cannot be resolved here"),
    ],
)  # fmt: skip
def test_what_aws_refuses_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    error = error_of(tmp_path / "t.json", json.dumps({**properties(), **changes}))
    assert error.message.partition(": ")[2] == message
    assert error.hint


KINESIS = "arn:aws:kinesis:us-east-1:123456789012:stream/changes"
AT_AWS: list[tuple[dict[str, Any], str, str]] = [
    ({"WarmThroughput": {"ReadUnitsPerSecond": 5}}, "WarmThroughput", "update-table"),
    ({"ContributorInsightsSpecification": {"Enabled": True}}, "ContributorInsightsSpecification", "update-contributor"),
    ({"KinesisStreamSpecification": {"StreamArn": KINESIS}}, "KinesisStreamSpecification", "enable-kinesis"),
    ({"ResourcePolicy": {"PolicyDocument": {"Version": "2012-10-17"}}}, "ResourcePolicy", "put-resource-policy"),
    (
        {"StreamSpecification": {"StreamViewType": "KEYS_ONLY", "ResourcePolicy": {"PolicyDocument": {}}}},
        "ResourcePolicy",
        "put-resource-policy",
    ),
    (
        {"GlobalSecondaryIndexes": [on_demand_index(OnDemandThroughput={"MaxReadRequestUnits": 5})], **ON_DEMAND},
        "OnDemandThroughput for an index",
        "update-table",
    ),
    (
        {"GlobalSecondaryIndexes": [index(WarmThroughput={"ReadUnitsPerSecond": 5})]},
        "WarmThroughput for an index",
        "update-table",
    ),
]
"""Properties that AWS alone has, what they are called, and the command that sets them there."""


@pytest.mark.parametrize(("changes", "name", "command"), AT_AWS)
def test_what_aws_alone_has_is_left_out_here_and_said_and_refused_for_production(
    fresh: Settings, tmp_path: Path, changes: dict[str, Any], name: str, command: str
) -> None:
    path = tmp_path / "t.json"
    table = {**properties(), **changes, "TableName": fresh.message_table}
    if "BillingMode" in changes:
        del table["ProvisionedThroughput"]
    path.write_text(json.dumps(table))
    (file,) = read_tables(fresh, str(path))
    client = connect(fresh)
    assert f"table {file.name}: {name}: not on this engine" in schema.plan_tables(client, [file])
    done = schema.apply_tables(client, [file])
    assert done.startswith("1 table created") and done.endswith(f"not on this engine: {name}")
    assert schema.check_tables(client, [file]) is not None
    with pytest.raises(UsageError) as caught:
        read_tables(replace(fresh, target="prod"), str(path))
    assert caught.value.message.endswith(
        f"{name.partition(' ')[0]} is not supported{name.partition(' ')[2] and ' for an index'}"
    )
    assert f"`aws dynamodb {command}" in caught.value.hint


def test_a_name_that_aws_has_elsewhere_is_no_misspelt_other_one(tmp_path: Path) -> None:
    table = {**properties(), "LocalSecondaryIndexes": [index()]}
    error = error_of(tmp_path / "t.json", json.dumps(table))
    assert error.message.partition(": ")[2] == "unknown property 'ProvisionedThroughput'"
    assert error.hint == "known here: IndexName, KeySchema, Projection"


@pytest.mark.parametrize("wrapped", ["Table", "TableDescription", ""])
def test_what_describes_a_table_is_named_with_the_command_for_its_definition(tmp_path: Path, wrapped: str) -> None:
    answer = {**properties(), "TableStatus": "ACTIVE", "TableArn": "arn:x", "ItemCount": 0}
    error = error_of(tmp_path / "t.json", json.dumps({wrapped: answer} if wrapped else answer))
    assert "describes an existing table" in error.message
    assert error.hint == "run `inv ddb.describe things --as-file` for its definition"


def test_resources_without_a_template_around_them_are_named(tmp_path: Path) -> None:
    for name, entry in (("Things", {"Type": "AWS::DynamoDB::Table"}), ("Fn::ForEach::T", ["N", ["a"], {"${N}": {}}])):
        if isinstance(entry, list):
            entry[2]["${N}"] = {"Type": "AWS::DynamoDB::Table"}  # type: ignore[index]
        error = error_of(tmp_path / "t.json", json.dumps({name: entry}))
        assert (error.message, error.hint[:18]) == (
            f"t.json:1:{len(name) + 6}: {name} is in no template",
            "write `Resources:`",
        )


def test_a_program_is_told_what_prints_its_template(tmp_path: Path) -> None:
    error = error_of(tmp_path / "serverless.ts", "export default {}")
    assert (error.message, "npx serverless print" in error.hint) == (
        "serverless.ts: a program that makes a template, and not one",
        True,
    )


def test_a_stray_attribute_is_an_error(tmp_path: Path) -> None:
    table = properties()
    table["AttributeDefinitions"].append({"AttributeName": "text", "AttributeType": "S"})
    error = error_of(tmp_path / "t.json", json.dumps(table, indent=2))
    assert (error.message, error.hint) == (
        "t.json:9:24: attribute 'text' is defined but in no key",
        "remove it: DynamoDB takes only key attributes",
    )


def test_an_attribute_defined_twice_is_an_error(tmp_path: Path) -> None:
    table = properties()
    table["AttributeDefinitions"] *= 2
    assert error_of(tmp_path / "t.json", json.dumps(table)).message.endswith("attribute 'id' is defined twice")


def test_a_near_miss_is_suggested(tmp_path: Path) -> None:
    table = properties()
    table["KeyScheme"] = table.pop("KeySchema")
    assert error_of(tmp_path / "t.json", json.dumps(table)).hint == "did you mean 'KeySchema'?"


def test_what_is_no_object_is_an_error(tmp_path: Path) -> None:
    assert error_of(tmp_path / "t.json", "[]").message == "t.json:1:1: the file must be an object"
