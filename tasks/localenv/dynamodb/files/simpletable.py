"""Converts SAM's AWS::Serverless::SimpleTable to the AWS::DynamoDB::Table that it stands for.

Source: AWS SAM Developer Guide, "AWS::Serverless::SimpleTable" and "Globals section": the key is one attribute, `id` of
type String where none is named; without ProvisionedThroughput the table is on demand; Tags are a map.
"""

from __future__ import annotations

import difflib
from typing import Any

from ...aws.templates.document import Document, Steps
from ...aws.templates.functions import text_of

SIMPLE_TABLE = "AWS::Serverless::SimpleTable"
TYPES = {"String": "S", "Number": "N", "Binary": "B"}
UNCHANGED = ("TableName", "SSESpecification", "PointInTimeRecoverySpecification", "ProvisionedThroughput")
KNOWN = ("PrimaryKey", "Tags", *UNCHANGED)


def table_of(simple: Document) -> Document:
    """Return the table properties for a SimpleTable's resolved properties. Raises UsageError."""
    properties = _object(simple, (), simple.data, KNOWN)
    origins: dict[Steps, Steps] = {(): ()}
    found: dict[str, Any] = {name: properties[name] for name in UNCHANGED if name in properties}
    if "ProvisionedThroughput" not in found:
        found["BillingMode"] = "PAY_PER_REQUEST"
    name, kind = "id", "S"
    if "PrimaryKey" in properties:
        name, kind = _primary_key(simple, properties["PrimaryKey"])
        for there in (("KeySchema",), ("AttributeDefinitions",)):
            origins.update({there: ("PrimaryKey",), (*there, 0, "AttributeName"): ("PrimaryKey", "Name")})
    found["AttributeDefinitions"] = [{"AttributeName": name, "AttributeType": kind}]
    found["KeySchema"] = [{"AttributeName": name, "KeyType": "HASH"}]
    if "Tags" in properties:
        tags = _object(simple, ("Tags",), properties["Tags"])
        found["Tags"] = [{"Key": key, "Value": text_of(value)} for key, value in tags.items()]
        for number, key in enumerate(tags):
            origins["Tags", number] = ("Tags", key)
    return simple.part(found, origins)


def _primary_key(simple: Document, value: Any) -> tuple[Any, str]:
    key = _object(simple, ("PrimaryKey",), value, ("Name", "Type"))
    for name in ("Name", "Type"):
        if name not in key:
            raise simple.error(("PrimaryKey",), f"no {name}", hint=f"add {name!r} here: PrimaryKey needs Name and Type")
    if key["Type"] not in TYPES:
        message = f"Type is {key['Type']!r}, not one of {', '.join(TYPES)}"
        raise simple.error(("PrimaryKey", "Type"), message, hint=_nearest(str(key["Type"]), tuple(TYPES)))
    return key["Name"], TYPES[key["Type"]]


def _object(simple: Document, steps: Steps, value: Any, known: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        what = steps[-1] if steps else "Properties"
        raise simple.error(steps, f"{what} must be an object", hint=f"write names and values below {what}")
    for name in value:
        if known and name not in known:
            raise simple.error((*steps, name), f"unknown property {name!r}", hint=_nearest(name, known))
    return value


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
