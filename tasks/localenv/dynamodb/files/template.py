"""Reads a table's definition in any form, as the properties of CloudFormation's AWS::DynamoDB::Table.

The forms: a template or one of its resources (SAM's too), a serverless.yml, the bare properties, the parameters of
CreateTable, or a NoSQL Workbench model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...aws.templates.document import Document, Steps
from ...aws.templates.functions import STAND_INS, Resolver
from ...aws.templates.interpolation import Variables
from ...aws.templates.serverless import is_serverless, template_in
from ...errors import UsageError
from ...hints import Command
from .simpletable import SIMPLE_TABLE, table_of
from .workbench import tables_of_model

TABLE = "AWS::DynamoDB::Table"
GLOBAL_TABLE = "AWS::DynamoDB::GlobalTable"
RESOURCE_ATTRIBUTES = (
    "Type",
    "Properties",
    "DeletionPolicy",
    "UpdateReplacePolicy",
    "DependsOn",
    "Metadata",
    "Condition",
)
"""The allowed attributes of a resource."""
SAM_ATTRIBUTES = (*RESOURCE_ATTRIBUTES, "Connectors", "IgnoreGlobals")
TEMPLATE_SECTIONS = ("AWSTemplateFormatVersion", "Transform", "Resources")
TABLE_PROPERTIES = ("TableName", "KeySchema", "AttributeDefinitions", "BillingMode", "ProvisionedThroughput")
ANSWERS = ("Table", "TableDescription")
"""What DescribeTable, and CreateTable and UpdateTable, call the table in their answers."""
ANSWERED = ("TableStatus", "TableArn", "TableId", "CreationDateTime", "TableSizeBytes", "BillingModeSummary")
"""What a table has in such an answer and in no definition."""


@dataclass(frozen=True)
class Found:
    """The properties of a table in a file. `logical_id` is its name in a template, "" outside of one.

    A resource may lack a TableName: CloudFormation then generates one.
    """

    properties: Document
    logical_id: str = ""
    is_resource: bool = False

    @property
    def lacks_a_name(self) -> bool:
        data = self.properties.data
        return self.is_resource and isinstance(data, dict) and "TableName" not in data


@dataclass
class Contents:
    """The tables of a file, and a note for each entry that is skipped."""

    tables: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def tables_in(document: Document, stand_ins: Mapping[str, str] = STAND_INS) -> Contents:
    """Return the tables of a file. Raises UsageError if it is neither a table nor a template, or cannot be read.

    `stand_ins` are the values of the pseudo parameters.
    """
    data, variables = document.data, Variables(document, stand_ins)
    if not isinstance(data, dict):
        return Contents([Found(document)])
    if "DataModel" in data:
        return Contents([Found(table) for table in tables_of_model(document)])
    _refuse_answer(document)
    if is_serverless(data):
        template = template_in(document, variables)
        return _Template(template, stand_ins, variables.within(template)).contents()
    if any(name in data for name in TEMPLATE_SECTIONS):
        return _Template(document, stand_ins, variables).contents()
    if "Type" in data and "Properties" in data:
        return Contents([_Template(document, stand_ins, variables).table(data, (), "")])
    if not any(name in data for name in TABLE_PROPERTIES):
        raise _nothing_known(document)
    properties = _from_create_table(document)
    return Contents([Found(Resolver(properties, stand_ins, variables).properties(properties.data, ()))])


def _refuse_answer(document: Document) -> None:
    """Raise UsageError for the answer of an API call: it is no definition, though it has most of one."""
    steps: Steps = next(((name,) for name in ANSWERS if isinstance(document.data.get(name), dict)), ())
    table = document.data[steps[0]] if steps else document.data
    if not any(name in table for name in ANSWERED):
        return
    name = table.get("TableName")
    command = Command(
        "ddb.describe", name if isinstance(name, str) else "TABLE", "--as-file", when="for its definition"
    )
    message = "this describes an existing table (as `aws dynamodb describe-table` prints it), and defines none"
    raise document.error(steps, message, hint=command)


def _nothing_known(document: Document) -> UsageError:
    """Return the error for a file that is neither a table nor a template, by what it may be."""
    loose = next((name for name, entry in document.data.items() if _is_resource(entry) or _is_loop(name, entry)), None)
    if loose is not None:
        message = f"{loose} is in no template"
        return document.error((loose,), message, hint="write `Resources:` above it, and indent what is below")
    hint = f"write a template with an {TABLE}, or the table's properties; keep other files elsewhere"
    return document.error((), "neither a table nor a template", hint=hint)


def _is_resource(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("Type") in (TABLE, GLOBAL_TABLE, SIMPLE_TABLE)


def _is_loop(name: str, entry: Any) -> bool:
    return name.startswith("Fn::") and _has_table(entry)


class _Template:
    """A template, or a single resource."""

    def __init__(self, document: Document, stand_ins: Mapping[str, str], variables: Variables) -> None:
        self._document = document
        self._resolver = Resolver(document, stand_ins, variables)
        self._variables = variables

    def contents(self) -> Contents:
        found = Contents()
        resources = self._document.data.get("Resources") or {}
        if not isinstance(resources, dict):
            raise self._document.error(("Resources",), "Resources must be an object", hint="write names and resources")
        for name, entry in resources.items():
            steps: Steps = ("Resources", name)
            if name.startswith("Fn::") and _has_table(entry):
                hint = "write each table as a resource of its own"
                raise self._document.error(steps, f"{name} cannot be resolved here", hint=hint)
            resource, where = self._resource(entry, steps)
            if resource.get("Type") not in (TABLE, GLOBAL_TABLE, SIMPLE_TABLE):
                continue
            if self._is_created(resource, where):
                found.tables.append(self.table(resource, where, name))
            else:
                place, condition = self._document.place(steps), resource["Condition"]
                found.notes.append(f"{place}: {name} is skipped: its condition {condition} is false here")
        if not found.tables and not found.notes:
            found.notes.append(f"{self._document.shown}: no table in it, skipped")
        return found

    def table(self, resource: dict[str, Any], steps: Steps, name: str) -> Found:
        """Return the table of a resource."""
        kind = resource["Type"]
        if kind == GLOBAL_TABLE:
            hint = f"describe the table of this region as {TABLE}"
            raise self._document.error((*steps, "Type"), f"{GLOBAL_TABLE} is not supported", hint=hint)
        if kind not in (TABLE, SIMPLE_TABLE):
            hint = f"only {TABLE} and {SIMPLE_TABLE} are read"
            raise self._document.error((*steps, "Type"), f"Type is {kind!r}, not {TABLE}", hint=hint)
        for attribute in resource:
            if attribute not in (RESOURCE_ATTRIBUTES if kind == TABLE else SAM_ATTRIBUTES):
                raise self._document.error((*steps, attribute), f"{attribute} is not supported", hint="remove it")
        found = self._resolver.properties(resource.get("Properties"), (*steps, "Properties"))
        if kind == SIMPLE_TABLE:
            found = table_of(self._with_globals(found, resource))
        return Found(found, name, is_resource=True)

    def _resource(self, entry: Any, steps: Steps) -> tuple[dict[str, Any], Steps]:
        """Return a resource, resolved if it is a variable, and its steps."""
        if isinstance(entry, str):
            resolved = self._variables.resolve(entry, steps)
            entry, steps = resolved.value, resolved.steps
        return (entry if isinstance(entry, dict) else {}), steps

    def _is_created(self, resource: dict[str, Any], steps: Steps) -> bool:
        if "Condition" not in resource:
            return True
        return self._resolver.holds(resource["Condition"], (*steps, "Condition"))

    def _with_globals(self, simple: Document, resource: dict[str, Any]) -> Document:
        """Add the encryption that Globals sets for every SimpleTable, the only property allowed there."""
        common, ignored = self._document.data.get("Globals"), resource.get("IgnoreGlobals")
        defaults = common.get("SimpleTable") if isinstance(common, dict) else None
        if (
            not isinstance(defaults, dict)
            or ignored == "*"
            or (isinstance(ignored, list) and "SSESpecification" in ignored)
        ):
            return simple
        inherited = self._resolver.properties(defaults, ("Globals", "SimpleTable"))
        encryption = inherited.data.get("SSESpecification") if isinstance(inherited.data, dict) else None
        own = simple.data.get("SSESpecification", {}) if isinstance(simple.data, dict) else None
        if not isinstance(encryption, dict) or not isinstance(own, dict):
            return simple
        return simple.with_data({**simple.data, "SSESpecification": {**encryption, **own}})


def _has_table(value: Any) -> bool:
    """Return whether a table is defined anywhere in a value."""
    if isinstance(value, dict):
        return value.get("Type") in (TABLE, GLOBAL_TABLE, SIMPLE_TABLE) or any(map(_has_table, value.values()))
    return isinstance(value, list) and any(map(_has_table, value))


def _from_create_table(document: Document) -> Document:
    """Accept the API's StreamEnabled and Enabled as well as CloudFormation's forms of them."""
    found = copy.deepcopy(document.data)
    stream = found.get("StreamSpecification")
    if isinstance(stream, dict) and isinstance(stream.get("StreamEnabled"), bool) and not stream.pop("StreamEnabled"):
        del found["StreamSpecification"]
    encryption = found.get("SSESpecification")
    if isinstance(encryption, dict) and "Enabled" in encryption:
        encryption["SSEEnabled"] = encryption.pop("Enabled")
    return document.with_data(found)
