"""The forms that a table's definition comes in, each as the properties of CloudFormation's AWS::DynamoDB::Table.

A template or a resource of one (SAM's too), a serverless.yml, the properties alone, the parameters of the API's
CreateTable, or a model of NoSQL Workbench.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .document import Document, Steps
from .functions import STAND_INS, Resolver
from .interpolation import Variables
from .serverless import is_serverless, template_in
from .simpletable import SIMPLE_TABLE, table_of
from .workbench import tables_of_model

TABLE = "AWS::DynamoDB::Table"
GLOBAL_TABLE = "AWS::DynamoDB::GlobalTable"
BESIDE = ("Type", "Properties", "DeletionPolicy", "UpdateReplacePolicy", "DependsOn", "Metadata", "Condition")
"""What a resource may have beside what the table is."""
BESIDE_IN_SAM = (*BESIDE, "Connectors", "IgnoreGlobals")
OF_A_TEMPLATE = ("AWSTemplateFormatVersion", "Transform", "Resources")
OF_A_TABLE = ("TableName", "KeySchema", "AttributeDefinitions", "BillingMode", "ProvisionedThroughput")


@dataclass(frozen=True)
class Found:
    """A table in a file: its properties. `logical_id` is its name in a template, "" outside of one.

    A resource may have no TableName: CloudFormation names it then.
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
    """The tables of a file, and a line for each thing in it that is passed over."""

    tables: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def tables_in(document: Document, stand_ins: Mapping[str, str] = STAND_INS) -> Contents:
    """Return the tables of a file. Raises UsageError where it is neither a table nor a template, or cannot be read.

    `stand_ins` are the pseudo parameters that have a value.
    """
    data, variables = document.data, Variables(document, stand_ins)
    if not isinstance(data, dict):
        return Contents([Found(document)])
    if "DataModel" in data:
        return Contents([Found(table) for table in tables_of_model(document)])
    if is_serverless(data):
        template = template_in(document, variables)
        return _Template(template, stand_ins, variables.within(template)).contents()
    if any(name in data for name in OF_A_TEMPLATE):
        return _Template(document, stand_ins, variables).contents()
    if "Type" in data and "Properties" in data:
        return Contents([_Template(document, stand_ins, variables).table(data, (), "")])
    if not any(name in data for name in OF_A_TABLE):
        hint = f"write a template with an {TABLE}, or the table's properties; keep other files elsewhere"
        raise document.error((), "neither a table nor a template", hint=hint)
    properties = _from_create_table(document)
    return Contents([Found(Resolver(properties, stand_ins, variables).properties(properties.data, ()))])


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
            if name.startswith("Fn::") and _has_a_table(entry):
                hint = "write each table as a resource of its own"
                raise self._document.error(steps, f"{name} cannot be worked out here", hint=hint)
            resource, where = self._resource(entry, steps)
            if resource.get("Type") not in (TABLE, GLOBAL_TABLE, SIMPLE_TABLE):
                continue
            if self._is_made(resource, where):
                found.tables.append(self.table(resource, where, name))
            else:
                place, condition = self._document.place(steps), resource["Condition"]
                found.notes.append(f"{place}: {name} is passed over: its condition {condition} is false here")
        if not found.tables and not found.notes:
            found.notes.append(f"{self._document.shown}: no table in it, passed over")
        return found

    def table(self, resource: dict[str, Any], steps: Steps, name: str) -> Found:
        """Return the table that a resource is."""
        kind = resource["Type"]
        if kind == GLOBAL_TABLE:
            hint = f"describe the table of this region as {TABLE}"
            raise self._document.error((*steps, "Type"), f"{GLOBAL_TABLE} is not handled by this tool", hint=hint)
        if kind not in (TABLE, SIMPLE_TABLE):
            hint = f"only {TABLE} and {SIMPLE_TABLE} are read"
            raise self._document.error((*steps, "Type"), f"Type is {kind!r}, not {TABLE}", hint=hint)
        for beside in resource:
            if beside not in (BESIDE if kind == TABLE else BESIDE_IN_SAM):
                raise self._document.error(
                    (*steps, beside), f"{beside} is not handled by this tool", hint="leave it out"
                )
        found = self._resolver.properties(resource.get("Properties"), (*steps, "Properties"))
        if kind == SIMPLE_TABLE:
            found = table_of(self._with_globals(found, resource))
        return Found(found, name, is_resource=True)

    def _resource(self, entry: Any, steps: Steps) -> tuple[dict[str, Any], Steps]:
        """Return a resource, which a variable may stand for, and where it stands."""
        if isinstance(entry, str):
            filled = self._variables.filled(entry, steps)
            entry, steps = filled.value, filled.steps
        return (entry if isinstance(entry, dict) else {}), steps

    def _is_made(self, resource: dict[str, Any], steps: Steps) -> bool:
        if "Condition" not in resource:
            return True
        return self._resolver.holds(resource["Condition"], (*steps, "Condition"))

    def _with_globals(self, simple: Document, resource: dict[str, Any]) -> Document:
        """Add what Globals says of every SimpleTable: its encryption, the one thing that may be there."""
        common, ignored = self._document.data.get("Globals"), resource.get("IgnoreGlobals")
        ours = common.get("SimpleTable") if isinstance(common, dict) else None
        if (
            not isinstance(ours, dict)
            or ignored == "*"
            or (isinstance(ignored, list) and "SSESpecification" in ignored)
        ):
            return simple
        inherited = self._resolver.properties(ours, ("Globals", "SimpleTable"))
        encryption = inherited.data.get("SSESpecification") if isinstance(inherited.data, dict) else None
        own = simple.data.get("SSESpecification", {}) if isinstance(simple.data, dict) else None
        if not isinstance(encryption, dict) or not isinstance(own, dict):
            return simple
        return simple.with_data({**simple.data, "SSESpecification": {**encryption, **own}})


def _has_a_table(value: Any) -> bool:
    """Return whether a table is defined anywhere in a value."""
    if isinstance(value, dict):
        return value.get("Type") in (TABLE, GLOBAL_TABLE, SIMPLE_TABLE) or any(map(_has_a_table, value.values()))
    return isinstance(value, list) and any(map(_has_a_table, value))


def _from_create_table(document: Document) -> Document:
    """Take the API's StreamEnabled and Enabled as well as what CloudFormation has for them."""
    found = copy.deepcopy(document.data)
    stream = found.get("StreamSpecification")
    if isinstance(stream, dict) and isinstance(stream.get("StreamEnabled"), bool) and not stream.pop("StreamEnabled"):
        del found["StreamSpecification"]
    encryption = found.get("SSESpecification")
    if isinstance(encryption, dict) and "Enabled" in encryption:
        encryption["SSEEnabled"] = encryption.pop("Enabled")
    return document.with_data(found)
