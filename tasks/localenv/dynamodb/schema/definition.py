"""An existing table as a table file defines it: the properties of CloudFormation's AWS::DynamoDB::Table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..client import TableMissing
from .extras import fetch_extras

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ..tableshape import Extras


Known = Mapping[str, Any]
"""The members of a description that a definition keeps, or that make no difference; a member may have its own."""

_KEY: Known = dict.fromkeys(("AttributeName", "KeyType"))
_UNITS: Known = {
    **dict.fromkeys(("ReadCapacityUnits", "WriteCapacityUnits", "NumberOfDecreasesToday")),
    **dict.fromkeys(("LastIncreaseDateTime", "LastDecreaseDateTime")),
}
_INDEX: Known = {
    **dict.fromkeys(("IndexName", "IndexStatus", "Backfilling", "IndexSizeBytes", "ItemCount", "IndexArn")),
    "ProvisionedThroughput": _UNITS,
    "KeySchema": _KEY,
    "Projection": dict.fromkeys(("ProjectionType", "NonKeyAttributes")),
}
_TABLE: Known = {
    **dict.fromkeys(("TableName", "BillingModeSummary", "DeletionProtectionEnabled")),
    "ProvisionedThroughput": _UNITS,
    **dict.fromkeys(("TableStatus", "CreationDateTime", "TableSizeBytes", "ItemCount", "TableArn", "TableId")),
    **dict.fromkeys(("LatestStreamArn", "LatestStreamLabel", "RestoreSummary", "ArchivalSummary")),
    "AttributeDefinitions": dict.fromkeys(("AttributeName", "AttributeType")),
    "KeySchema": _KEY,
    "GlobalSecondaryIndexes": _INDEX,
    "LocalSecondaryIndexes": _INDEX,
    "OnDemandThroughput": dict.fromkeys(("MaxReadRequestUnits", "MaxWriteRequestUnits")),
    "StreamSpecification": dict.fromkeys(("StreamEnabled", "StreamViewType")),
    "TableClassSummary": dict.fromkeys(("TableClass", "LastUpdateDateTime")),
    "SSEDescription": dict.fromkeys(("Status", "SSEType", "KMSMasterKeyArn", "InaccessibleEncryptionDateTime")),
}


@dataclass(frozen=True)
class Definition:
    """A table as CloudFormation properties, which `tablefiles` reads back from JSON, and what those do not keep."""

    properties: dict[str, Any]
    left_out: tuple[str, ...]


def fetch_definition(client: DynamoDBClient, name: str) -> Definition:
    """Fetch the definition of a table. Raises TableMissing.

    What the engine does not support is not in it; what is off is written as off.
    """
    found: Any = client.describe_table(TableName=name).get("Table")
    if not found:
        raise TableMissing(name)
    properties = {**properties_of(found), **_extra_properties(fetch_extras(client, found))}
    return Definition(properties, tuple(_left_out(found)))


def properties_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return DescribeTable's answer as CloudFormation properties, without those that the engine does not support."""
    mode = (description.get("BillingModeSummary") or {}).get("BillingMode") or "PROVISIONED"
    provisioned = mode == "PROVISIONED"
    found: dict[str, Any] = {
        "TableName": description["TableName"],
        "AttributeDefinitions": _pick(description["AttributeDefinitions"], "AttributeName", "AttributeType"),
        "KeySchema": _key(description["KeySchema"]),
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
        found["StreamSpecification"] = {name: stream[name] for name in ("StreamViewType",) if name in stream}
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


def _left_out(description: Mapping[str, Any]) -> Iterator[str]:
    """Name what a table has and its properties do not keep: GlobalSecondaryIndexes[0].WarmThroughput."""
    yield from _unknown(description, _TABLE, "")
    encryption = description.get("SSEDescription") or {}
    if _encryption(encryption)["SSEEnabled"] and encryption.get("SSEType", "KMS") != "KMS":
        yield f"SSEDescription.SSEType {encryption['SSEType']}"


def _unknown(found: Any, known: Known, place: str) -> Iterator[str]:
    if isinstance(found, list):
        for number, entry in enumerate(found):
            yield from _unknown(entry, known, f"{place}[{number}]")
    elif isinstance(found, dict):
        for name, value in found.items():
            inside = f"{place}.{name}" if place else name
            if name not in known and _is_set(value):
                yield inside
            elif known.get(name):
                yield from _unknown(value, known[name], inside)


def _is_set(value: Any) -> bool:
    """Return whether a member says anything: a warm throughput of 0 and 0, whose Status is ACTIVE, does not."""
    if isinstance(value, dict):
        return any(_is_set(each) for name, each in value.items() if name != "Status")
    return bool(value)


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
        "KeySchema": _key(index["KeySchema"]),
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


def _key(schema: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return a key with its partition's attributes first: ministack keeps any order, AWS takes no other."""
    return sorted(_pick(schema, "AttributeName", "KeyType"), key=lambda entry: entry["KeyType"] != "HASH")


def _pick(entries: list[dict[str, str]], *names: str) -> list[dict[str, str]]:
    return [{name: entry[name] for name in names} for entry in entries]


def _units(throughput: Mapping[str, Any]) -> dict[str, int]:
    return {name: throughput[name] for name in ("ReadCapacityUnits", "WriteCapacityUnits")}
