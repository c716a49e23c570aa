"""The forms that a table's definition comes in, each as the properties of CloudFormation's AWS::DynamoDB::Table.

A template or a resource of one, the properties alone, the parameters of the API's CreateTable, or a model of NoSQL
Workbench. Of CloudFormation's functions, those are worked out that need nothing but the template's own parameters.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from .document import Document, Steps
from .workbench import tables_of_model

TABLE = "AWS::DynamoDB::Table"
GLOBAL_TABLE = "AWS::DynamoDB::GlobalTable"
VARIABLE = re.compile(r"\$\{(!?)\s*([^}\s]*)\s*\}")
BESIDE = ("Type", "Properties", "DeletionPolicy", "UpdateReplacePolicy", "DependsOn", "Metadata")
"""What a resource may have, and has no say in what the table is."""


def tables_in(document: Document) -> list[Document]:
    """Give the properties of each table of a file. Raises UsageError where there is none, or one cannot be read."""
    data = document.data
    if not isinstance(data, dict):
        return [document]
    if "DataModel" in data:
        return tables_of_model(document)
    if "Resources" in data:
        return _tables_of_template(document)
    if "Type" in data and "Properties" in data:
        return [_table_of_resource(document, (), {})]
    return [_from_create_table(document)]


def _tables_of_template(document: Document) -> list[Document]:
    resources, parameters = document.data["Resources"], document.data.get("Parameters") or {}
    if not isinstance(resources, dict) or not isinstance(parameters, dict):
        raise document.error(("Resources",), "Resources and Parameters must be objects")
    kinds = {name: entry.get("Type") if isinstance(entry, dict) else None for name, entry in resources.items()}
    steps: list[Steps] = [("Resources", name) for name, kind in kinds.items() if kind in (TABLE, GLOBAL_TABLE)]
    if not steps:
        raise document.error(("Resources",), f"no {TABLE} in it")
    return [_table_of_resource(document, one, parameters) for one in steps]


def _table_of_resource(document: Document, steps: Steps, parameters: Mapping[str, Any]) -> Document:
    resource = document.data
    for step in steps:
        resource = resource[step]
    if resource["Type"] == GLOBAL_TABLE:
        hint = f"describe the table of this region as {TABLE}"
        raise document.error((*steps, "Type"), f"{GLOBAL_TABLE} is not handled by this tool", hint=hint)
    if resource["Type"] != TABLE:
        raise document.error((*steps, "Type"), f"Type is {resource['Type']!r}, not {TABLE}")
    for name in resource:
        if name not in BESIDE:
            raise document.error((*steps, name), f"{name} is not handled by this tool", hint="leave it out")
    inside = (*steps, "Properties")
    found = _Resolver(document, parameters).value(resource.get("Properties") or {}, inside)
    return document.part(found, {(): inside})


def _from_create_table(document: Document) -> Document:
    """Take the API's StreamEnabled and Enabled as well as what CloudFormation has for them."""
    found = copy.deepcopy(document.data)
    stream = found.get("StreamSpecification")
    if isinstance(stream, dict) and isinstance(stream.get("StreamEnabled"), bool) and not stream.pop("StreamEnabled"):
        del found["StreamSpecification"]
    encryption = found.get("SSESpecification")
    if isinstance(encryption, dict) and "Enabled" in encryption:
        encryption["SSEEnabled"] = encryption.pop("Enabled")
    return document.part(_Resolver(document, {}).value(found, ()), document.origins)


class _Resolver:
    """Works out the functions in a value, and names those that it cannot."""

    def __init__(self, document: Document, parameters: Mapping[str, Any]) -> None:
        self._document = document
        self._parameters = parameters

    def value(self, value: Any, steps: Steps) -> Any:
        if isinstance(value, list):
            return [self.value(entry, (*steps, number)) for number, entry in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._reference(str(argument), steps)
            if name == "Fn::Sub":
                return self._substituted(argument, steps)
            if name == "Condition" or name.startswith("Fn::"):
                raise self._document.error(
                    steps, f"{name} cannot be worked out here", hint="write the value itself, or a parameter's Ref"
                )
        return {name: self.value(entry, (*steps, name)) for name, entry in value.items()}

    def _reference(self, name: str, steps: Steps) -> Any:
        parameter = self._parameters.get(name)
        hint = "write the value itself, or a parameter with a Default"
        if not isinstance(parameter, dict):
            raise self._document.error(steps, f"{name} is no parameter, and has no value here", hint=hint)
        kind = str(parameter.get("Type", "String"))
        if "Default" not in parameter or kind.startswith("AWS::SSM"):
            raise self._document.error(steps, f"parameter {name} has no Default", hint=hint)
        default = parameter["Default"]
        if kind == "CommaDelimitedList":
            return [part.strip() for part in str(default).split(",")]
        return default

    def _substituted(self, argument: Any, steps: Steps) -> str:
        text, own = argument, {}
        if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], dict):
            text, own = argument[0], self.value(argument[1], steps)
        if not isinstance(text, str):
            raise self._document.error(steps, "Fn::Sub takes a text, or a text and an object")

        def filled(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            return str(own[name] if name in own else self._reference(name, steps))

        return VARIABLE.sub(filled, text)
