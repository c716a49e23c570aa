"""Table files: an AWS::DynamoDB::Table's properties as CloudFormation has them, read, checked and compared.

Source of the shape: AWS CloudFormation Template Reference, AWS::DynamoDB::Table. Nothing connects here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..machine.reading import is_folder, path_of, unreadable
from ..settings import Settings
from ..settings.variables import VARIABLES
from .files.document import Document
from .files.functions import STAND_INS
from .files.jsonfile import read_json
from .files.template import Contents, Found, tables_in
from .files.yamlfile import read_yaml
from .tablecheck import check_properties

FOLDER = "ddb/tables"
MESSAGE_TABLE = next(variable.default for variable in VARIABLES if variable.name == "DDB_MESSAGE_TABLE")
"""The message table's name in the files, whatever it is called now."""
SUFFIXES = (".json", ".yaml", ".yml")
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
    """A secondary index. `throughput` is None where the index has none of its own: local, or on demand."""

    name: str
    key: Key
    projection: str
    throughput: Throughput | None
    is_local: bool = False


@dataclass(frozen=True)
class Limits:
    """The most request units a second of a table on demand; -1 is no limit."""

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

    The last four are None where a file says nothing of them, which leaves them as they are, or where the engine has no
    such thing. `encryption` is "default" (a key of AWS's own), "KMS", or "KMS" with the key that a file names.
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
    """Point-in-time recovery. `days` is None where it is off, where a file leaves it open, or the engine has none."""

    on: bool
    days: int | None = None

    def __str__(self) -> str:
        return "off" if not self.on else f"on, {self.days} days" if self.days else "on"


@dataclass(frozen=True)
class Extras:
    """What belongs to a table and needs calls of its own. None: a file says nothing of it, or the engine has none.

    `time_to_live` is the attribute, or "" for off; `tags` are pairs, sorted.
    """

    time_to_live: str | None = None
    recovery: Recovery | None = None
    tags: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True)
class TableFile:
    """A table as a file defines it: CloudFormation's properties, and what they mean."""

    shown: str
    properties: dict[str, Any]
    shape: TableShape
    extras: Extras

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of CreateTable: without time to live and recovery, which an existing table is given."""
        parameters = {"BillingMode": "PROVISIONED", **self.properties}
        for name in ("TimeToLiveSpecification", "PointInTimeRecoverySpecification"):
            parameters.pop(name, None)
        if "StreamSpecification" in parameters:
            parameters["StreamSpecification"] = {"StreamEnabled": True, **parameters["StreamSpecification"]}
        if "SSESpecification" in parameters:
            parameters["SSESpecification"] = encryption_parameters(parameters["SSESpecification"])
        return parameters


@dataclass(frozen=True)
class Reading:
    """The tables of some files, and a line for each thing that a reader would not expect: names given, things left."""

    tables: list[TableFile]
    notes: list[str]


def read_tables(settings: Settings, given: str = "") -> list[TableFile]:
    """Read the table files of a folder, or one file; by default those of ddb/tables.

    A table called as DDB_MESSAGE_TABLE's default gets the name that DDB_MESSAGE_TABLE has now.
    Raises UsageError with path:line:column for what CloudFormation or DynamoDB would refuse.
    """
    return read_all(settings, given).tables


def read_all(settings: Settings, given: str = "") -> Reading:
    """Read table files as `read_tables` does; templates without a table among them give a note and no table."""
    start = path_of(given) if given else settings.root / FOLDER
    paths = _table_files(start, given or FOLDER) if is_folder(start) else [start]
    if not paths:
        raise UsageError(
            f"{given or FOLDER}: no *{', *'.join(SUFFIXES)} in it",
            hint="put a table's CloudFormation properties there",
        )
    contents = [_contents(path, shown(path, settings.root), stand_ins(settings)) for path in paths]
    tables = [found for each in contents for found in each.tables]
    named = [_renamed(each, {MESSAGE_TABLE: settings.message_table}) for each in tables]
    taken = {_name_in(each) for each in named}
    nameless = [each for each in named if each.lacks_a_name]
    notes = [note for each in contents for note in each.notes]
    for each in nameless:
        name = _name_for(each, settings, alone=len(nameless) == 1 and settings.message_table not in taken)
        each.properties.data["TableName"] = name
        notes.append(f"no TableName in {each.properties.place()}: it is called {name} here")
    return Reading(_distinct([_checked(each.properties) for each in named], named), notes)


def stand_ins(settings: Settings) -> dict[str, str]:
    """Give the pseudo parameters that have a value: all of them locally, those that are known in production."""
    region = settings.region
    china, gov = region.startswith("cn-"), region.startswith("us-gov-")
    known = {
        "AWS::Region": region,
        "AWS::Partition": "aws-cn" if china else "aws-us-gov" if gov else "aws",
        "AWS::URLSuffix": "amazonaws.com.cn" if china else "amazonaws.com",
    }
    if settings.is_local:
        return {**STAND_INS, **known}
    return {**known, **({"AWS::AccountId": settings.prod_account} if settings.prod_account else {})}


def _name_for(found: Found, settings: Settings, *, alone: bool) -> str:
    """Name a table that CloudFormation would name: the only one is that of DDB_MESSAGE_TABLE, if no other file's is."""
    if not settings.is_local and not (alone and settings.message_table != MESSAGE_TABLE):
        raise found.properties.error(
            (),
            "no TableName, and CloudFormation's name of it is not known here",
            hint="add a TableName, or set DDB_MESSAGE_TABLE where it is the app's message table",
        )
    if alone:
        return settings.message_table
    if not found.logical_id:
        raise found.properties.error((), "no TableName", hint="add 'TableName' here")
    return found.logical_id


def _distinct(files: list[TableFile], found: list[Found]) -> list[TableFile]:
    """Raise UsageError where two tables have one name."""
    first: dict[str, Found] = {}
    for file, each in zip(files, found, strict=True):
        other = first.setdefault(file.name, each)
        if other is not each:
            raise each.properties.error(
                ("TableName",),
                f"table {file.name} is defined twice, first at {other.properties.place(('TableName',))}",
                hint="take one out, or give it another TableName",
            )
    return files


def _table_files(folder: Path, shown_as: str) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError as error:
        raise unreadable(shown_as, error) from error


def shown(path: Path, root: Path) -> str:
    """Give a path as messages show it: from the project's root where it is in there."""
    absolute = path.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(path)


def read_file(path: Path, shown_as: str, names: Mapping[str, str]) -> list[TableFile]:
    """Read the tables of a file, JSON or YAML, in any form that `template` knows. Each must have a TableName.

    `names` gives tables other names than the file does.
    """
    found = [_renamed(each, names) for each in _contents(path, shown_as, STAND_INS).tables]
    return [_checked(each.properties) for each in found]


def read_table(path: Path, shown_as: str, names: Mapping[str, str]) -> TableFile:
    """Read the one table of a file. Raises UsageError where there are more, or none."""
    found = read_file(path, shown_as, names)
    if len(found) != 1:
        raise UsageError(f"{shown_as}: {len(found)} tables, where one is expected", hint="give a file of one table")
    return found[0]


def _contents(path: Path, shown_as: str, known: Mapping[str, str]) -> Contents:
    read = read_json if path.suffix == ".json" else read_yaml
    return tables_in(read(path, shown_as), known)


def _name_in(found: Found) -> str:
    data = found.properties.data
    return str(data.get("TableName") or "") if isinstance(data, dict) else ""


def _renamed(found: Found, names: Mapping[str, str]) -> Found:
    name = _name_in(found)
    if name not in names:
        return found
    properties = found.properties
    return replace(found, properties=properties.with_data({**properties.data, "TableName": names[name]}))


def _checked(document: Document) -> TableFile:
    check_properties(document)
    properties = dict(document.data)
    return TableFile(document.shown, properties, shape_of(properties), extras_of(properties))


def shape_of(properties: Mapping[str, Any]) -> TableShape:
    """Give the shape of a table from its CloudFormation properties."""
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
    """Give what needs calls of its own, from a table's CloudFormation properties."""
    lives = properties.get("TimeToLiveSpecification")
    recovery = properties.get("PointInTimeRecoverySpecification")
    tags = properties.get("Tags")
    return Extras(
        time_to_live=None if lives is None else lives.get("AttributeName", "") if lives["Enabled"] else "",
        recovery=None
        if recovery is None
        else Recovery(recovery["PointInTimeRecoveryEnabled"], recovery.get("RecoveryPeriodInDays")),
        tags=None if tags is None else tuple(sorted((tag["Key"], tag["Value"]) for tag in tags)),
    )


def encryption_parameters(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Give CloudFormation's SSESpecification as the API has it."""
    rest = {name: value for name, value in specification.items() if name != "SSEEnabled"}
    return {"Enabled": specification["SSEEnabled"], **rest}


def describe_key(key: Key) -> str:
    """Write a key: pk (S), sk (S)."""
    return ", ".join(f"{name} ({kind})" for name, kind in key)


def describe_index(index: Index) -> str:
    """Write an index: key, projection and throughput."""
    units = f", throughput {index.throughput}" if index.throughput else ""
    return f"key {describe_key(index.key)}, projection {index.projection}{units}"


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
    )


def _throughput(units: Mapping[str, int]) -> Throughput:
    return Throughput(units["ReadCapacityUnits"], units["WriteCapacityUnits"])
