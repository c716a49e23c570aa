"""The shape of a table as a value, made from DescribeTable's answer or from the properties in a file.

Source: Amazon DynamoDB API Reference, TableDescription; AWS CloudFormation Template Reference, AWS::DynamoDB::Table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..machine.words import counted

Key = tuple[tuple[str, str], ...]
"""The attributes of a key with their types, partition key first: (("pk", "S"), ("sk", "S"))."""


@dataclass(frozen=True)
class Throughput:
    """Provisioned units a second."""

    read: int
    write: int

    def __str__(self) -> str:
        return f"{self.read}/{self.write}"

    @property
    def parameters(self) -> dict[str, int]:
        return {"ReadCapacityUnits": self.read, "WriteCapacityUnits": self.write}


@dataclass(frozen=True)
class Index:
    """A secondary index. `throughput` is None if the index is local or on demand.

    The first `partition_size` attributes of its key are the partition's: up to 4 in a global index, as of the sort key.
    """

    name: str
    key: Key
    projection: str
    throughput: Throughput | None
    is_local: bool = False
    partition_size: int = 1


@dataclass(frozen=True)
class Limits:
    """The maximum request units a second of an on-demand table; -1 is no limit."""

    read: int
    write: int

    def __str__(self) -> str:
        return "none" if self == NO_LIMITS else f"{self.read}/{self.write}"

    @property
    def parameters(self) -> dict[str, int]:
        return {"MaxReadRequestUnits": self.read, "MaxWriteRequestUnits": self.write}


NO_LIMITS = Limits(-1, -1)


@dataclass(frozen=True)
class TableShape:
    """What DescribeTable shows of a table. `throughput` is None for on demand.

    The last four are None if the file does not mention them, which leaves them as they are, or if the engine does not
    support them. `encryption` is "default" (a key that AWS owns), "KMS", or "KMS" with the key that the file names.
    """

    name: str
    key: Key
    indexes: tuple[Index, ...]
    throughput: Throughput | None
    stream: str
    deletion_protection: bool | None = None
    table_class: str | None = None
    encryption: str | None = None
    limits: Limits | None = None


@dataclass(frozen=True)
class Recovery:
    """Point-in-time recovery. `days` is None if it is off, not in the file, or not supported by the engine."""

    on: bool
    days: int | None = None

    def __str__(self) -> str:
        return "off" if not self.on else f"on, {counted(self.days, 'day')}" if self.days else "on"


@dataclass(frozen=True)
class Extras:
    """Settings that need calls of their own. None: not in the file, or not supported by the engine.

    `time_to_live` is the attribute, or "" for off; `tags` are sorted pairs.
    """

    time_to_live: str | None = None
    recovery: Recovery | None = None
    tags: tuple[tuple[str, str], ...] | None = None


def shape_of(properties: Mapping[str, Any]) -> TableShape:
    """Return the shape of a table from its CloudFormation properties."""
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in properties["AttributeDefinitions"]}
    on_demand = properties.get("BillingMode") == "PAY_PER_REQUEST"
    indexes = [
        _index(index, types, on_demand=on_demand, is_local=kind == "LocalSecondaryIndexes")
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
        for index in properties.get(kind) or ()
    ]
    limits = properties.get("OnDemandThroughput")
    return TableShape(
        name=properties["TableName"],
        key=_key(properties["KeySchema"], types),
        indexes=tuple(sorted(indexes, key=lambda index: index.name)),
        throughput=None if on_demand else _throughput(properties["ProvisionedThroughput"]),
        stream=(properties.get("StreamSpecification") or {}).get("StreamViewType", ""),
        deletion_protection=properties.get("DeletionProtectionEnabled"),
        table_class=properties.get("TableClass"),
        encryption=_encryption(properties.get("SSESpecification")),
        limits=None
        if limits is None
        else Limits(limits.get("MaxReadRequestUnits", -1), limits.get("MaxWriteRequestUnits", -1)),
    )


def extras_of(properties: Mapping[str, Any]) -> Extras:
    """Return the extras in a table's CloudFormation properties."""
    ttl = properties.get("TimeToLiveSpecification")
    recovery = properties.get("PointInTimeRecoverySpecification")
    tags = properties.get("Tags")
    return Extras(
        time_to_live=None if ttl is None else ttl.get("AttributeName", "") if ttl["Enabled"] else "",
        recovery=None
        if recovery is None
        else Recovery(recovery["PointInTimeRecoveryEnabled"], recovery.get("RecoveryPeriodInDays")),
        tags=None if tags is None else tuple(sorted((tag["Key"], tag["Value"]) for tag in tags)),
    )


def encryption_parameters(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Return CloudFormation's SSESpecification as the API takes it."""
    rest = {name: value for name, value in specification.items() if name != "SSEEnabled"}
    return {"Enabled": specification["SSEEnabled"], **rest}


def describe_key(key: Key) -> str:
    """Return a key as text: pk (S), sk (S)."""
    return ", ".join(f"{name} ({kind})" for name, kind in key)


def describe_index(index: Index) -> str:
    """Return an index as text: key, projection and throughput. A plus joins the attributes of a part of the key."""
    units = f", throughput {index.throughput}" if index.throughput else ""
    parts = (index.key[: index.partition_size], index.key[index.partition_size :])
    key = ", ".join(" + ".join(f"{name} ({kind})" for name, kind in part) for part in parts if part)
    return f"key {key}, projection {index.projection}{units}"


def _encryption(specification: Mapping[str, Any] | None) -> str | None:
    if specification is None:
        return None
    return f"KMS {specification.get('KMSMasterKeyId', '')}".rstrip() if specification["SSEEnabled"] else "default"


def _key(schema: list[dict[str, str]], types: Mapping[str, str]) -> Key:
    ordered = sorted(schema, key=lambda entry: entry["KeyType"] != "HASH")
    return tuple((entry["AttributeName"], types[entry["AttributeName"]]) for entry in ordered)


def _index(index: Mapping[str, Any], types: Mapping[str, str], *, on_demand: bool, is_local: bool) -> Index:
    projection = index["Projection"]["ProjectionType"]
    included = sorted(index["Projection"].get("NonKeyAttributes") or ())
    return Index(
        name=index["IndexName"],
        key=_key(index["KeySchema"], types),
        projection=f"{projection} {', '.join(included)}" if included else projection,
        throughput=None if on_demand or is_local else _throughput(index["ProvisionedThroughput"]),
        is_local=is_local,
        partition_size=sum(entry["KeyType"] == "HASH" for entry in index["KeySchema"]),
    )


def _throughput(units: Mapping[str, int]) -> Throughput:
    return Throughput(units["ReadCapacityUnits"], units["WriteCapacityUnits"])
