"""Reads and checks table files: the CloudFormation properties of an AWS::DynamoDB::Table.

Source of the shape: AWS CloudFormation Template Reference, AWS::DynamoDB::Table. Connects to nothing.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..aws.templates.document import Document
from ..aws.templates.functions import STAND_INS
from ..aws.templates.jsonfile import read_json
from ..aws.templates.yamlfile import read_yaml
from ..errors import UsageError
from ..machine.reading import is_folder, path_of, unreadable
from ..settings import Settings
from ..settings.variables import VARIABLES
from .files.template import Contents, Found, tables_in
from .tablecheck import AtAws, check_properties
from .tableshape import Extras, TableShape, encryption_parameters, extras_of, shape_of

FOLDER = "ddb/tables"
MESSAGE_TABLE = next(variable.default for variable in VARIABLES if variable.name == "DDB_MESSAGE_TABLE")
"""The message table's name in the files, whatever DDB_MESSAGE_TABLE is now."""
SUFFIXES = (".json", ".yaml", ".yml")
_NODE = "`npx serverless print > serverless.yml`, or `npx cdk synth > template.yaml`"
PRINTED_BY = {**dict.fromkeys((".ts", ".js", ".mjs", ".cjs"), _NODE), ".py": "`cdk synth > template.yaml`"}
"""The commands that print the template of a program, by its suffix."""


@dataclass(frozen=True)
class TableFile:
    """A table as a file defines it: its CloudFormation properties, and what they mean.

    `at_aws` are properties that AWS alone has, which no local engine is told of.
    """

    shown: str
    properties: dict[str, Any]
    shape: TableShape
    extras: Extras
    at_aws: tuple[AtAws, ...] = ()

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of CreateTable: without time to live and recovery, which are set later."""
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
    """The tables of some files, and a note for each name given and each entry skipped."""

    tables: list[TableFile]
    notes: list[str]


def read_tables(settings: Settings, given: str = "") -> list[TableFile]:
    """Read the table files of a folder, or one file; by default those of ddb/tables.

    A table with DDB_MESSAGE_TABLE's default name gets the current value of DDB_MESSAGE_TABLE.
    Raises UsageError with path:line:column for what CloudFormation or DynamoDB would refuse.
    """
    return read_all(settings, given).tables


def read_all(settings: Settings, given: str = "") -> Reading:
    """Read table files as `read_tables` does, with notes; a template without a table yields a note."""
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
    names = {_name_in(each) for each in named}
    nameless = [each for each in named if each.lacks_a_name]
    notes = [note for each in contents for note in each.notes]
    for each in nameless:
        name = _name_for(each, settings, alone=len(nameless) == 1 and settings.message_table not in names)
        each.properties.data["TableName"] = name
        notes.append(f"no TableName in {each.properties.place()}: using {name}")
    files = _distinct([_checked(each.properties) for each in named], named)
    for unset in (each for file in files for each in file.at_aws if not settings.is_local):
        raise unset.error  # ignored there, it would be a lie
    return Reading(files, notes)


def stand_ins(settings: Settings) -> dict[str, str]:
    """Return the values of the pseudo parameters: all of them locally, the known ones in production."""
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
    """Return a name for a table without TableName: DDB_MESSAGE_TABLE if it is `alone`, else its logical id."""
    if not settings.is_local and not (alone and settings.message_table != MESSAGE_TABLE):
        raise found.properties.error(
            (),
            "no TableName, and the name that CloudFormation gave it is unknown",
            hint="add a TableName, or set DDB_MESSAGE_TABLE if it is the app's message table",
        )
    if alone:
        return settings.message_table
    if not found.logical_id:
        raise found.properties.error((), "no TableName", hint="add 'TableName' here")
    return found.logical_id


def _distinct(files: list[TableFile], found: list[Found]) -> list[TableFile]:
    """Return the tables. Raises UsageError if two have the same name."""
    first: dict[str, Found] = {}
    for file, each in zip(files, found, strict=True):
        other = first.setdefault(file.name, each)
        if other is not each:
            raise each.properties.error(
                ("TableName",),
                f"table {file.name} is defined twice, first at {other.properties.place(('TableName',))}",
                hint="remove one, or give it another TableName",
            )
    return files


def _table_files(folder: Path, shown_as: str) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError as error:
        raise unreadable(shown_as, error) from error


def shown(path: Path, root: Path) -> str:
    """Return a path as messages show it: relative to the project's root if it is in there."""
    absolute = path.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(path)


def read_file(path: Path, shown_as: str, names: Mapping[str, str]) -> list[TableFile]:
    """Read the tables of a file, JSON or YAML, in any form that `template` knows. Each must have a TableName.

    `names` maps names in the file to other ones.
    """
    found = [_renamed(each, names) for each in _contents(path, shown_as, STAND_INS).tables]
    return [_checked(each.properties) for each in found]


def read_table(path: Path, shown_as: str, names: Mapping[str, str]) -> TableFile:
    """Read the only table of a file. Raises UsageError if there are more, or none."""
    found = read_file(path, shown_as, names)
    if len(found) != 1:
        raise UsageError(f"{shown_as}: {len(found)} tables, wanted one", hint="name a file with one table")
    return found[0]


def _contents(path: Path, shown_as: str, known: Mapping[str, str]) -> Contents:
    """Read a file. Raises UsageError for a program, such as serverless.ts: it is not run."""
    if path.suffix in PRINTED_BY:
        message = f"{shown_as}: a program that makes a template, and not one"
        raise UsageError(message, hint=f"print it, and name that file: {PRINTED_BY[path.suffix]}")
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
    at_aws = check_properties(document)
    properties = copy.deepcopy(document.data)
    for steps in (each.steps for each in at_aws):
        functools.reduce(operator.getitem, steps[:-1], properties).pop(steps[-1])
    return TableFile(document.shown, properties, shape_of(properties), extras_of(properties), tuple(at_aws))
