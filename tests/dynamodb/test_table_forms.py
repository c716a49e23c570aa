"""The forms that a table's definition comes in: JSON and YAML, templates, the API's parameters, Workbench models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.dynamodb.tablefiles import TableFile, read_file, read_tables
from tasks.localenv.dynamodb.tableshape import Index, Recovery, TableShape, Throughput
from tasks.localenv.errors import UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import read_settings

THINGS = {
    "TableName": "things",
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
SHAPE = TableShape("things", (("id", "S"),), (), None, "")


def read(tmp_path: Path, name: str, text: str | dict[str, Any]) -> list[TableFile]:
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text, indent=2))
    return read_file(path, name, {})


def error_of(tmp_path: Path, name: str, text: str | dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, name, text)
    return caught.value.message


YAML = """\
TableName: things   # a remark
AttributeDefinitions:
  - AttributeName: id
    AttributeType: S
KeySchema: [{AttributeName: id, KeyType: HASH}]
BillingMode: PAY_PER_REQUEST
"""

TEMPLATE = """\
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Stage: {Type: String, Default: test}
  Units: {Type: Number, Default: "3"}
  Secret: {Type: String}
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !GetAtt Anything.Name}
  Things:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    Properties:
      TableName: !Sub "things-${Stage}"
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      ProvisionedThroughput: {ReadCapacityUnits: !Ref Units, WriteCapacityUnits: 2}
  Others:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName:
        Fn::Sub: ["${Stage}-${Kind}", {Kind: others}]
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      BillingMode: PAY_PER_REQUEST
"""


@pytest.mark.parametrize("name", ["t.yaml", "t.yml"])
def test_yaml_says_the_same_as_json(tmp_path: Path, name: str) -> None:
    assert [file.shape for file in read(tmp_path, name, YAML)] == [SHAPE]
    assert [file.shape for file in read(tmp_path, "t.json", THINGS)] == [SHAPE]


def test_a_resource_alone_is_a_table(tmp_path: Path) -> None:
    resource = {"Type": "AWS::DynamoDB::Table", "Properties": THINGS}
    assert [file.shape for file in read(tmp_path, "t.json", resource)] == [SHAPE]


def test_every_table_of_a_template_is_read_and_its_parameters_are_worked_out(tmp_path: Path) -> None:
    files = read(tmp_path, "t.yaml", TEMPLATE)
    key = (("id", "S"),)
    assert [file.shape for file in files] == [
        TableShape("things-test", key, (), Throughput(3, 2), ""),
        TableShape("test-others", key, (), None, ""),
    ]


def test_the_parameters_of_create_table_are_read(tmp_path: Path) -> None:
    called = {
        **THINGS,
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        "SSESpecification": {"Enabled": True},
    }
    (file,) = read(tmp_path, "t.json", called)
    assert (file.shape.stream, file.shape.encryption) == ("NEW_IMAGE", "KMS")
    (file,) = read(tmp_path, "t.json", {**THINGS, "StreamSpecification": {"StreamEnabled": False}})
    assert file.shape.stream == ""


def test_numbers_and_truth_may_be_texts_as_cloudformation_has_it(tmp_path: Path) -> None:
    (file,) = read(
        tmp_path,
        "t.json",
        {
            **THINGS,
            "DeletionProtectionEnabled": "true",
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": "7"},
        },
    )
    assert (file.shape.deletion_protection, file.extras.recovery) == (True, Recovery(on=True, days=7))


MODEL: dict[str, Any] = {
    "ModelName": "Chat",
    "ModelMetadata": {"AWSService": "Amazon DynamoDB", "Version": "3.0"},
    "DataModel": [
        {
            "TableName": "chats",
            "KeyAttributes": {
                "PartitionKey": {"AttributeName": "pk", "AttributeType": "S"},
                "SortKey": {"AttributeName": "sk", "AttributeType": "N"},
            },
            "NonKeyAttributes": [{"AttributeName": "text", "AttributeType": "S"}],
            "TableFacets": [],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "by-group",
                    "KeyAttributes": {
                        "PartitionKey": {"AttributeName": "group", "AttributeType": "S"},
                        "SortKey": {"AttributeName": "sk", "AttributeType": "N"},
                    },
                    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["text"]},
                }
            ],
            "TableData": [{"pk": {"S": "a"}, "sk": {"N": "1"}}],
            "DataAccess": {"MySql": {}},
            "BillingMode": "PROVISIONED",
            "ProvisionedCapacitySettings": {
                "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 4},
                "AutoScalingRead": {"ScalableTargetRequest": {"MinCapacity": 1, "MaxCapacity": 10}},
            },
        },
        {
            "TableName": "logs",
            "KeyAttributes": {"PartitionKey": {"AttributeName": "id", "AttributeType": "S"}},
            "BillingMode": "PAY_PER_REQUEST",
        },
    ],
}


def test_the_tables_of_a_workbench_model_are_read(tmp_path: Path) -> None:
    index = Index("by-group", (("group", "S"), ("sk", "N")), "INCLUDE text", Throughput(5, 4))
    assert [file.shape for file in read(tmp_path, "model.json", MODEL)] == [
        TableShape("chats", (("pk", "S"), ("sk", "N")), (index,), Throughput(5, 4), ""),
        TableShape("logs", (("id", "S"),), (), None, ""),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"AttributeName": "group",', '"AttributeName": "",', "m.json:31:29: no AttributeName"),
        ('Units": 4', 'Units": 0', "m.json:65:33: WriteCapacityUnits must be 1 or more"),
        ('"AttributeType": "N"', '"AttributeType": "X"', "m.json:17:28: AttributeType is 'X', not one of S, N, B"),
        ('"by-group"', '"x"', "m.json:29:24: IndexName 'x' is not 3 to 255 letters, digits and _.-"),
    ],
)
def test_what_is_wrong_in_a_model_is_said_at_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert error_of(tmp_path, "m.json", json.dumps(MODEL, indent=2).replace(old, new)) == message


WRONG = [
    (YAML.replace("TableName: things", "TableName: x y"), "t.yaml:1:12: TableName 'x y' is not 3 to 255 letters,"),
    (YAML.replace("AttributeType: S", "AttributeType: Q"), "t.yaml:4:20: AttributeType is 'Q', not one of S, N, B"),
    (YAML + "Colour: red\n", "t.yaml:7:9: unknown property 'Colour'"),
    (YAML + "Colour: !!int red\n", "t.yaml:7:9: 'red' cannot be read as int"),
    (YAML + f"Colour: {'1' * 5000}\n", "t.yaml:7:9: '11111111111111111111' cannot be read as int"),
    (YAML + "TableName: twice\n", "t.yaml:7:1: TableName is defined twice"),
    (YAML.replace("KeySchema: [", "KeySchema: ]"), "t.yaml:5:12: not YAML: "),
    (YAML.replace("things", "&name things") + "Tags: [{Key: a, Value: *name}]\n", "t.yaml:7:24: *name is an alias"),
    (YAML.replace("things", "!ImportValue x"), "t.yaml:1:12: Fn::ImportValue cannot be resolved here"),
    ("", "t.yaml:1:1: the file must be an object"),
    ("- a\n", "t.yaml:1:1: the file must be an object"),
    (YAML + "---\nmore: 1\n", "t.yaml:7:1: not YAML: but found another document"),
    (TEMPLATE.replace("!Ref Units", "!Ref Secret"), "t.yaml:17:50: parameter Secret has no Default"),
    (TEMPLATE.replace("!Ref Units", "!Ref Queue"), "t.yaml:17:50: Queue is not a parameter and has no value here"),
    (TEMPLATE.replace('${Stage}"', '${AWS::Stage}"'), "t.yaml:14:18: AWS::Stage is not a parameter"),
    (TEMPLATE.replace("DeletionPolicy: Retain", "Condition: Wanted"), "t.yaml:12:16: no condition 'Wanted' in Cond"),
    (TEMPLATE.replace("Table\n", "GlobalTable\n"), "t.yaml:11:11: AWS::DynamoDB::GlobalTable is not supported"),
    ("name: app\nversion: 1\n", "t.yaml:1:1: neither a table nor a template"),
    ("Type: AWS::SQS::Queue\nProperties: {}\n", "t.yaml:1:7: Type is 'AWS::SQS::Queue', not AWS::DynamoDB::Table"),
    (TEMPLATE.replace("KeyType: HASH", "KeyType: RANGE", 1), "t.yaml:16:48: KeyType is 'RANGE', not one of HASH"),
    (YAML + "WarmThroughput: 5\n", "t.yaml:7:17: WarmThroughput must be an object"),
    (
        YAML + "StreamSpecification: {StreamEnabled: maybe}\n",
        "t.yaml:7:38: StreamEnabled is not a CloudFormation property",
    ),
    (YAML + "TimeToLiveSpecification: {Enabled: true}\n", "t.yaml:7:26: no AttributeName"),
    (YAML + "Tags: [{Key: aws:x, Value: y}]\n", "t.yaml:7:14: tag 'aws:x' has the prefix aws:"),
    (YAML + "TableClass: CHEAP\n", "t.yaml:7:13: TableClass is 'CHEAP', not one of STANDARD,"),
    (YAML + "OnDemandThroughput: {MaxReadRequestUnits: 0}\n", "t.yaml:7:43: MaxReadRequestUnits must be 1 or more"),
    (YAML + "SSESpecification: {SSEEnabled: no, SSEType: KMS}\n", "t.yaml:7:19: SSEType and KMSMasterKeyId require"),
    (YAML + "PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: 1}\n", "t.yaml:7:64: PointInTimeRecovery"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_said_at_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert error_of(tmp_path, "t.yaml", text)[: len(message)] == message


def test_a_folder_may_hold_files_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TEMPLATE)
    (tmp_path / "b.json").write_text(json.dumps(MODEL))
    (tmp_path / "c.yml").write_text(YAML)
    (tmp_path / "README.md").write_text("no table")
    files = read_tables(read_settings(environ={}), str(tmp_path))
    assert [file.name for file in files] == ["things-test", "test-others", "chats", "logs", "things"]


def test_the_shipped_file_is_what_cloudformation_takes() -> None:
    from cfnlint.api import lint_all  # type: ignore[import-untyped]

    properties = json.loads((TOOL / "ddb/tables/cruddur-messages.json").read_text())
    resource = {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    template = {"Resources": {"Messages": {**resource, "Properties": properties}}}
    found = [str(match) for match in lint_all(json.dumps(template)) if match.rule.id[0] in "EW"]
    assert found == []
