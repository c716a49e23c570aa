"""Table files: an AWS::DynamoDB::Table's properties as CloudFormation has them, read, checked and compared.

Source of the shape: AWS CloudFormation Template Reference, AWS::DynamoDB::Table. Nothing connects here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..settings import VARIABLES, Settings
from .jsonfile import JsonFile, read_json
from .tablecheck import check_properties

Key = tuple[tuple[str, str], ...]
"""The attributes of a key with their types, partition key first: (("pk", "S"), ("sk", "S"))."""


@dataclass(frozen=True)
class Throughput:
    """Provisioned units a second."""

    read: int
    write: int

    def __str__(self) -> str:
        return f"{self.read}/{self.write}"


@dataclass(frozen=True)
class Index:
    """A secondary index. `throughput` is None where the index has none of its own: local, or on demand."""

    name: str
    key: Key
    projection: str
    throughput: Throughput | None


@dataclass(frozen=True)
class TableShape:
    """What two tables must share to be the same: everything here. `throughput` is None for on demand."""

    name: str
    key: Key
    indexes: tuple[Index, ...]
    throughput: Throughput | None
    stream: str
    deletion_protection: bool


@dataclass(frozen=True)
class TableFile:
    """A table as a file defines it: its shape, and the parameters of CreateTable that make it."""

    shown: str
    shape: TableShape
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        return self.shape.name


def read_tables(settings: Settings, given: str = "") -> list[TableFile]:
    """Read the table files of a folder, or one file; by default those of ddb/tables.

    A table called as DDB_MESSAGE_TABLE's default gets the name that DDB_MESSAGE_TABLE has now.
    Raises UsageError with path:line:column for what CloudFormation or DynamoDB would refuse.
    """
    start = Path(given).expanduser() if given else settings.root / "ddb" / "tables"
    paths = sorted(start.glob("*.json")) if start.is_dir() else [start]
    if not paths:
        raise UsageError(
            f"{given or 'ddb/tables'}: no *.json in it", hint="put a table's CloudFormation properties there"
        )
    default = next(variable.default for variable in VARIABLES if variable.name == "DDB_MESSAGE_TABLE")
    files = [read_table(path, shown(path, settings.root), {default: settings.message_table}) for path in paths]
    for number, file in enumerate(files):
        if any(file.name == other.name for other in files[:number]):
            raise UsageError(f"{file.shown}: table {file.name} is defined twice")
    return files


def shown(path: Path, root: Path) -> str:
    """Give a path as messages show it: from the project's root where it is in there."""
    absolute = path.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(path)


def read_table(path: Path, shown_as: str, names: Mapping[str, str]) -> TableFile:
    """Read one table file; `names` gives tables other names than the file does."""
    file = read_json(path, shown_as)
    check_properties(file)
    parameters = _parameters(file, names)
    return TableFile(shown_as, shape_of(parameters), parameters)


def shape_of(table: Mapping[str, Any]) -> TableShape:
    """Give the shape of a table, from the parameters of CreateTable or from DescribeTable's answer."""
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    mode = table.get("BillingModeSummary", {}).get("BillingMode") or table.get("BillingMode") or "PROVISIONED"
    on_demand = mode == "PAY_PER_REQUEST"
    stream = table.get("StreamSpecification") or {}
    indexes = [
        _index(index, types, on_demand=on_demand or kind == "LocalSecondaryIndexes")
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
        for index in table.get(kind) or ()
    ]
    return TableShape(
        name=table["TableName"],
        key=_key(table["KeySchema"], types),
        indexes=tuple(sorted(indexes, key=lambda index: index.name)),
        throughput=None if on_demand else _throughput(table["ProvisionedThroughput"]),
        stream=stream.get("StreamViewType", "") if stream.get("StreamEnabled") else "",
        deletion_protection=bool(table.get("DeletionProtectionEnabled")),
    )


def differences(wanted: TableShape, found: TableShape) -> list[str]:
    """Say in what `found` is not as `wanted`: one line each, wanted first."""
    told = [
        ("key", describe_key(wanted.key), describe_key(found.key)),
        ("throughput", str(wanted.throughput or "on demand"), str(found.throughput or "on demand")),
        ("stream", wanted.stream or "none", found.stream or "none"),
        ("deletion protection", _on(wanted.deletion_protection), _on(found.deletion_protection)),
    ]
    wanted_indexes = {index.name: index for index in wanted.indexes}
    found_indexes = {index.name: index for index in found.indexes}
    for name in sorted({*wanted_indexes, *found_indexes}):
        here, there = wanted_indexes.get(name), found_indexes.get(name)
        told.append((f"index {name}:", _shown(here), _shown(there)))
    return [f"table {wanted.name}: wanted {what} {one}, found {other}" for what, one, other in told if one != other]


def describe_key(key: Key) -> str:
    """Write a key: pk (S), sk (S)."""
    return ", ".join(f"{name} ({kind})" for name, kind in key)


def describe_index(index: Index) -> str:
    """Write an index: key, projection and throughput."""
    units = f", throughput {index.throughput}" if index.throughput else ""
    return f"key {describe_key(index.key)}, projection {index.projection}{units}"


def _shown(index: Index | None) -> str:
    return describe_index(index) if index else "none"


def _parameters(file: JsonFile, names: Mapping[str, str]) -> dict[str, Any]:
    parameters = dict(file.data)
    parameters["TableName"] = names.get(parameters["TableName"], parameters["TableName"])
    parameters.setdefault("BillingMode", "PROVISIONED")
    if "StreamSpecification" in parameters:
        parameters["StreamSpecification"] = {"StreamEnabled": True, **parameters["StreamSpecification"]}
    return parameters


def _key(schema: list[dict[str, str]], types: Mapping[str, str]) -> Key:
    ordered = sorted(schema, key=lambda entry: entry["KeyType"] != "HASH")
    return tuple((entry["AttributeName"], types[entry["AttributeName"]]) for entry in ordered)


def _index(index: Mapping[str, Any], types: Mapping[str, str], *, on_demand: bool) -> Index:
    projection = index["Projection"]["ProjectionType"]
    included = sorted(index["Projection"].get("NonKeyAttributes") or ())
    return Index(
        name=index["IndexName"],
        key=_key(index["KeySchema"], types),
        projection=f"{projection} {', '.join(included)}" if included else projection,
        throughput=None if on_demand else _throughput(index["ProvisionedThroughput"]),
    )


def _throughput(units: Mapping[str, int]) -> Throughput:
    return Throughput(units["ReadCapacityUnits"], units["WriteCapacityUnits"])


def _on(value: bool) -> str:
    return "on" if value else "off"
