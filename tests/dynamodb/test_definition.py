"""An existing table as a table file: written, read back, and made again from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.localenv.dynamodb import schema
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema.definition import fetch_definition, properties_of
from tasks.localenv.dynamodb.tablefiles import TableFile, read_table
from tasks.localenv.dynamodb.tableshape import TableShape, Throughput, shape_of
from tasks.localenv.settings import Settings

UNITS = {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}


def everything(name: str) -> dict[str, Any]:
    """A table with all that a table file may say."""
    names = ("pk", "sk", "other", "kind")
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": UNITS,
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-kind",
                "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a", "b"]},
                "ProvisionedThroughput": UNITS,
            }
        ],
        "LocalSecondaryIndexes": [
            {
                "IndexName": "by-other",
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "other", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        "StreamSpecification": {"StreamViewType": "OLD_IMAGE"},
        "DeletionProtectionEnabled": False,
        "TableClass": "STANDARD_INFREQUENT_ACCESS",
        "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS"},
        "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "expires"},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "Tags": [{"Key": "team", "Value": "chat"}],
    }


def written(tmp_path: Path, properties: dict[str, Any]) -> TableFile:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(properties))
    return read_table(path, path.name, {})


def test_a_definition_gives_back_what_a_file_said(fresh: Settings, tmp_path: Path) -> None:
    client, properties = connect(fresh), everything(fresh.message_table)
    schema.apply_tables(client, [written(tmp_path, properties)])
    assert fetch_definition(client, fresh.message_table).properties == properties


def test_a_table_made_from_its_definition_has_the_same_one(fresh: Settings, tmp_path: Path) -> None:
    client = connect(fresh)
    schema.apply_tables(client, [written(tmp_path, everything(fresh.message_table))])
    before = fetch_definition(client, fresh.message_table).properties
    schema.drop_table(client, schema.require_table(client, fresh.message_table))
    schema.apply_tables(client, [written(tmp_path, before)])
    assert fetch_definition(client, fresh.message_table).properties == before


def test_a_table_on_demand_has_no_throughput_of_its_own() -> None:
    description = {
        "TableName": "things",
        "TableArn": "arn:aws:dynamodb:ddblocal:000000000000:table/things",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0, "NumberOfDecreasesToday": 0},
    }
    assert shape_of(properties_of(description)) == TableShape(
        "things", (("id", "S"),), (), None, "", deletion_protection=False
    )


def test_a_stream_that_was_turned_off_is_none() -> None:
    description = {
        "TableName": "things",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        "StreamSpecification": {"StreamEnabled": False},
    }
    assert shape_of(properties_of(description)) == TableShape(
        "things",
        (("id", "S"),),
        (),
        Throughput(1, 1),
        "",
        deletion_protection=False,
        table_class="STANDARD",
        encryption="default",
    )
