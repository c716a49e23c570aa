"""An existing table as a table file defines it: the properties of CloudFormation's AWS::DynamoDB::Table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..client import TableMissing
from .extras import fetch_extras

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ..tableshape import Extras


def definition_of(client: DynamoDBClient, name: str) -> dict[str, Any]:
    """Return a table as CloudFormation properties, which `tables.read_table` reads back from JSON.

    What the engine does not support is left out; what is off is written as off. Raises TableMissing.
    """
    found: Any = client.describe_table(TableName=name).get("Table")
    if not found:
        raise TableMissing(name)
    return {**properties_of(found), **_extra_properties(fetch_extras(client, found))}


def properties_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return DescribeTable's answer as CloudFormation properties, without those that the engine does not support."""
    mode = (description.get("BillingModeSummary") or {}).get("BillingMode") or "PROVISIONED"
    provisioned = mode == "PROVISIONED"
    found: dict[str, Any] = {
        "TableName": description["TableName"],
        "AttributeDefinitions": _pick(description["AttributeDefinitions"], "AttributeName", "AttributeType"),
        "KeySchema": _pick(description["KeySchema"], "AttributeName", "KeyType"),
        "BillingMode": mode,
    }
    if provisioned:
        found["ProvisionedThroughput"] = _units(description["ProvisionedThroughput"])
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        # DynamoDB Local drops the key types of an index as soon as its deletion starts.
        indexes = [index for index in description.get(kind) or () if index.get("IndexStatus") != "DELETING"]
        if indexes:
            with_units = provisioned and kind == "GlobalSecondaryIndexes"
            found[kind] = [_index(index, with_units=with_units) for index in indexes]
    stream = description.get("StreamSpecification") or {}
    if stream.get("StreamEnabled"):
        found["StreamSpecification"] = {"StreamViewType": stream["StreamViewType"]}
    found["DeletionProtectionEnabled"] = bool(description.get("DeletionProtectionEnabled"))
    if description.get("OnDemandThroughput") and not provisioned:
        found["OnDemandThroughput"] = dict(description["OnDemandThroughput"])
    if not is_dynamodb_local(description):
        summary = description.get("TableClassSummary") or {}
        found["TableClass"] = summary.get("TableClass") or "STANDARD"
        found["SSESpecification"] = _encryption(description.get("SSEDescription") or {})
    return found


def is_dynamodb_local(description: Mapping[str, Any]) -> bool:
    """Return whether the table is in Amazon's DynamoDB Local, whose ARNs have a special region."""
    return ":ddblocal:" in description.get("TableArn", "")


def _extra_properties(extras: Extras) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if extras.time_to_live is not None:
        named = {"AttributeName": extras.time_to_live} if extras.time_to_live else {}
        found["TimeToLiveSpecification"] = {"Enabled": bool(extras.time_to_live), **named}
    if extras.recovery is not None:
        days = {"RecoveryPeriodInDays": extras.recovery.days} if extras.recovery.days else {}
        found["PointInTimeRecoverySpecification"] = {"PointInTimeRecoveryEnabled": extras.recovery.on, **days}
    if extras.tags is not None:
        found["Tags"] = [{"Key": key, "Value": value} for key, value in extras.tags]
    return found


def _index(index: Mapping[str, Any], *, with_units: bool) -> dict[str, Any]:
    projection = index["Projection"]
    found: dict[str, Any] = {
        "IndexName": index["IndexName"],
        "KeySchema": _pick(index["KeySchema"], "AttributeName", "KeyType"),
        "Projection": {"ProjectionType": projection["ProjectionType"]},
    }
    if projection.get("NonKeyAttributes"):
        found["Projection"]["NonKeyAttributes"] = sorted(projection["NonKeyAttributes"])
    if with_units:
        found["ProvisionedThroughput"] = _units(index["ProvisionedThroughput"])
    return found


def _encryption(description: Mapping[str, Any]) -> dict[str, Any]:
    if description.get("Status") not in ("ENABLED", "ENABLING", "UPDATING"):
        return {"SSEEnabled": False}
    key = description.get("KMSMasterKeyArn", "")
    if key.endswith("alias/aws/dynamodb"):  # the default for KMS; AWS refuses it by name
        key = ""
    return {"SSEEnabled": True, "SSEType": "KMS", **({"KMSMasterKeyId": key} if key else {})}


def _pick(entries: list[dict[str, str]], *names: str) -> list[dict[str, str]]:
    return [{name: entry[name] for name in names} for entry in entries]


def _units(throughput: Mapping[str, Any]) -> dict[str, int]:
    return {name: throughput[name] for name in ("ReadCapacityUnits", "WriteCapacityUnits")}
