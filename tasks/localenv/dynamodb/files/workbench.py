"""Converts the tables of a NoSQL Workbench model to CloudFormation properties.

Reads keys, indexes and capacity; ignores facets, sample data and autoscaling limits.
"""

from __future__ import annotations

from typing import Any

from ...aws.templates.document import Document, Steps

PARTS = (("PartitionKey", "HASH"), ("SortKey", "RANGE"))


def tables_of_model(document: Document) -> list[Document]:
    """Return the properties of each table of a model. Raises UsageError if it is not one."""
    models = document.data["DataModel"]
    if not isinstance(models, list) or not models:
        raise document.error(("DataModel",), "DataModel must be a list of tables", hint="write a list of tables here")
    return [_Model(document, number).converted() for number in range(len(models))]


class _Model:
    """Converts one table of a model, and records where each part came from."""

    def __init__(self, document: Document, number: int) -> None:
        self._document = document
        self._steps: Steps = ("DataModel", number)
        self._origins: dict[Steps, Steps] = {(): self._steps}
        self._types: dict[str, tuple[Any, Steps]] = {}

    def converted(self) -> Document:
        model = self._require(self._steps, "TableName", "KeyAttributes")
        found: dict[str, Any] = {"TableName": model["TableName"], "KeySchema": self._key(self._steps, ("KeySchema",))}
        settings = model.get("ProvisionedCapacitySettings") or {}
        units = settings.get("ProvisionedThroughput") if isinstance(settings, dict) else None
        found["BillingMode"] = model.get("BillingMode") or ("PROVISIONED" if units else "PAY_PER_REQUEST")
        provisioned = found["BillingMode"] == "PROVISIONED"
        if provisioned and units:
            found["ProvisionedThroughput"] = units
            inside: Steps = ("ProvisionedCapacitySettings", "ProvisionedThroughput")
            self._origins[("ProvisionedThroughput",)] = (*self._steps, *inside)
        indexes = model.get("GlobalSecondaryIndexes") or []
        if indexes:
            found["GlobalSecondaryIndexes"] = [
                self._index(number, units if provisioned else None) for number in range(len(indexes))
            ]
        found["AttributeDefinitions"] = self._definitions()
        return self._document.part(found, self._origins)

    def _index(self, number: int, units: Any) -> dict[str, Any]:
        steps = (*self._steps, "GlobalSecondaryIndexes", number)
        index = self._require(steps, "IndexName", "KeyAttributes", "Projection")
        projection = index["Projection"]
        if isinstance(projection, dict) and not projection.get("NonKeyAttributes"):
            projection = {name: value for name, value in projection.items() if name != "NonKeyAttributes"}
        found = {
            "IndexName": index["IndexName"],
            "KeySchema": self._key(steps, ("GlobalSecondaryIndexes", number, "KeySchema")),
            "Projection": projection,
        }
        return {**found, "ProvisionedThroughput": units} if units else found

    def _key(self, steps: Steps, here: Steps) -> list[dict[str, Any]]:
        inside = (*steps, "KeyAttributes")
        attributes = self._require(inside, "PartitionKey")
        found: list[dict[str, Any]] = []
        for part, kind in PARTS:
            if attributes.get(part):
                there = (*inside, part)
                entry = self._require(there, "AttributeName", "AttributeType")
                self._note_type(entry, there)
                self._origins.update({(*here, len(found)): there})
                found.append({"AttributeName": entry["AttributeName"], "KeyType": kind})
        return found

    def _note_type(self, entry: dict[str, Any], steps: Steps) -> None:
        name, kind = entry["AttributeName"], entry["AttributeType"]
        known, _ = self._types.setdefault(str(name), (kind, steps))
        if known != kind:
            raise self._document.error(
                (*steps, "AttributeType"),
                f"attribute {name!r} is {known} elsewhere, {kind} here",
                hint="use the same type in both places",
            )

    def _definitions(self) -> list[dict[str, Any]]:
        for number, (_, steps) in enumerate(self._types.values()):
            self._origins["AttributeDefinitions", number] = steps
        return [{"AttributeName": name, "AttributeType": kind} for name, (kind, _) in self._types.items()]

    def _require(self, steps: Steps, *names: str) -> dict[str, Any]:
        value = self._document.data
        for step in steps:
            value = value[step]
        if not isinstance(value, dict):
            raise self._document.error(steps, f"{steps[-1]} must be an object", hint="write an object here")
        for name in names:
            if not value.get(name):
                raise self._document.error(steps, f"no {name}", hint=f"add {name!r} here")
        return value
