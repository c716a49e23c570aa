"""Checks a table file before any call. Each error names its place as path:line:column."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..aws.templates.document import Document, Steps
from ..aws.templates.functions import text_of
from ..errors import UsageError
from .tablemodel import (
    ALL_NON_KEY_ATTRIBUTES,
    KEY_ATTRIBUTES,
    SET_BY,
    SET_BY_FOR_INDEX,
    TABLE,
    Shape,
    is_a_name,
    shape_called,
    words_of,
)

RENAME = "give it another name"
REMOVE_ONE = "remove one of the two"
FEWER = "remove some, or the whole property"
BOTH = "write both or neither"
NEAR = 0.75
"""How alike a name must be to be suggested: a wrong suggestion is worse than none."""

INDEXES = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")


class AtAws(NamedTuple):
    """A property that AWS alone has: where it stands, its name, and the error where it would have to be set."""

    steps: Steps
    name: str
    error: UsageError


def check_properties(file: Document) -> list[AtAws]:
    """Check a table's properties, and return those that AWS alone has. Raises UsageError for the first error."""
    _Shapes(file).check((), TABLE)
    rules = _Rules(file)
    rules.check()
    return list(rules.at_aws())


class _Shapes:
    """Checks the type, names and limits of each value against a shape; converts what CloudFormation converts."""

    def __init__(self, file: Document) -> None:
        self.file = file

    def at(self, steps: Steps) -> Any:
        value = self.file.data
        for step in steps:
            value = value[step]
        return value

    def check(self, steps: Steps, name: str) -> None:
        shape = shape_called(name)
        kind = shape["type"]
        if kind == "structure":
            self.structure(steps, shape)
        elif kind == "list":
            self.list(steps, shape)
        elif kind in ("integer", "long"):
            self.number(steps, shape)
        elif kind == "boolean":
            self.kind(steps, bool, "true or false")
        elif kind == "map":
            self.kind(steps, dict, "an object")
        elif "enum" in shape:
            self.word(steps, shape["enum"])
        else:
            if name == "TagValueString":
                self.text(steps)
            self.string(steps, shape)

    def kind(self, steps: Steps, kind: type, called: str) -> Any:
        value = self.at(steps)
        if kind in (int, bool) and isinstance(value, str):
            value = self.plain(steps, value)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        what = "the file" if not steps else steps[-1] if isinstance(steps[-1], str) else f"each of {steps[-2]}"
        raise self.file.error(steps, f"{what} must be {called}", hint=f"write {called} here")

    def plain(self, steps: Steps, text: str) -> Any:
        """Convert a number or boolean written as a string, which CloudFormation accepts: "5", "true"."""
        value: Any = {"true": True, "false": False}.get(text, text)
        if re.fullmatch(r"-?\d{1,15}", text):
            value = int(text)
        self.at(steps[:-1])[steps[-1]] = value
        return value

    def text(self, steps: Steps) -> None:
        """Convert a scalar to a string as CloudFormation does."""
        text = text_of(self.at(steps))
        if text is None:
            raise self.file.error(steps, f"{steps[-1]} must be a string", hint="write a string here")
        self.at(steps[:-1])[steps[-1]] = text

    def structure(self, steps: Steps, shape: Shape) -> None:
        value: dict[str, Any] = self.kind(steps, dict, "an object")
        members, required = shape["members"], shape.get("required", ())
        for name in value:
            if name not in members:
                raise self.unknown((*steps, name), list(members))
        for name in required:
            if name not in value:
                raise self.file.error(steps, f"no {name}", hint=f"add {name!r} here")
        for name, member in members.items():
            if name in value:
                self.check((*steps, name), member["shape"])

    def unknown(self, steps: Steps, known: list[str]) -> Exception:
        name = str(steps[-1])
        if name == "StreamEnabled":
            hint = "remove it: StreamViewType alone turns the stream on"
            return self.file.error(steps, f"{name} is not a CloudFormation property", hint=hint)
        if name.startswith("Fn::"):
            return self.file.error(steps, f"{name} cannot be resolved here", hint="write out what it stands for")
        near = [] if is_a_name(name) else difflib.get_close_matches(name, known, n=1, cutoff=NEAR)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return self.file.error(steps, f"unknown property {name!r}", hint=hint)

    def list(self, steps: Steps, shape: Shape) -> None:
        count, least, most = len(self.kind(steps, list, "a list")), shape.get("min", 0), shape.get("max")
        if count < least or (most is not None and count > most):
            allowed = f"{least} to {most} entries" if most is not None else f"{least} or more entries"
            raise self.file.error(steps, f"{steps[-1]} must have {allowed}, not {count}", hint=FEWER)
        for number in range(count):
            self.check((*steps, number), shape["member"]["shape"])

    def number(self, steps: Steps, shape: Shape) -> None:
        value, least, most = self.kind(steps, int, "a whole number"), shape.get("min"), shape.get("max")
        if (least is not None and value < least) or (most is not None and value > most):
            allowed = f"{least} to {most}" if most is not None else f"{least} or more"
            raise self.file.error(steps, f"{steps[-1]} must be {allowed}", hint=f"write {allowed}")

    def string(self, steps: Steps, shape: Shape) -> None:
        value, least, most = self.kind(steps, str, "a string"), shape.get("min", 0), shape.get("max")
        name = steps[-1] if isinstance(steps[-1], str) else steps[-2]
        is_long = len(value) < least or (most is not None and len(value) > most)
        pattern = shape.get("pattern")
        if pattern and (is_long or not re.fullmatch(pattern, value)):
            wanted = f"{least} to {most} letters, digits and _.-"
            raise self.file.error(steps, f"{name} {value!r} is not {wanted}", hint=RENAME)
        if is_long:
            allowed = f"{least} to {most} characters"
            raise self.file.error(steps, f"{name} must have {allowed}, not {len(value)}", hint=f"write {allowed}")

    def word(self, steps: Steps, allowed: Sequence[str]) -> None:
        value = self.at(steps)
        if value not in allowed:
            near = difflib.get_close_matches(str(value).upper(), allowed, n=1, cutoff=NEAR)
            raise self.file.error(
                steps,
                f"{steps[-1]} is {value!r}, not one of {', '.join(allowed)}",
                hint=f"did you mean {near[0]!r}?" if near else "write one of these",
            )


class _Rules:
    """The rules between the values of a table that has passed `_Shapes`."""

    def __init__(self, file: Document) -> None:
        self.file = file
        self.table: dict[str, Any] = file.data
        self.provisioned = self.table.get("BillingMode", "PROVISIONED") == "PROVISIONED"
        self.defined: dict[str, int] = {}
        self.included = 0

    def check(self) -> None:
        self.definitions()
        used = self.key(("KeySchema",), self.table["KeySchema"])
        self.throughput((), self.table, needed=self.provisioned)
        used |= self.indexes()
        self.unused(used)
        self.time_to_live()
        self.recovery()
        self.encryption()
        self.tags()

    def definitions(self) -> None:
        """Note the defined attributes, each with the index of its entry."""
        for number, entry in enumerate(self.table["AttributeDefinitions"]):
            name = entry["AttributeName"]
            if name in self.defined:
                steps = ("AttributeDefinitions", number, "AttributeName")
                raise self.file.error(steps, f"attribute {name!r} is defined twice", hint=REMOVE_ONE)
            self.defined[name] = number

    def key(self, steps: Steps, schema: list[dict[str, str]], *, at_most: int = 1) -> set[str]:
        """Check a KeySchema, of `at_most` partition and as many sort attributes, and return its attributes."""
        allowed = ["HASH"]  # the partition key is first
        counts = Counter[str]()
        kinds = words_of("KeyType")
        for number, entry in enumerate(schema):
            kind, name = entry["KeyType"], entry["AttributeName"]
            if not allowed:
                raise self.file.error(steps, f"KeySchema must have at most {at_most} sort attributes", hint=FEWER)
            if kind not in allowed:
                message = f"KeyType is {kind!r}, not one of {', '.join(allowed)}"
                hint = "the partition attributes are first, at most four in a global index and one elsewhere"
                raise self.file.error((*steps, number, "KeyType"), message, hint=hint)
            counts[kind] += 1
            allowed = [each for each in kinds[kinds.index(kind) :] if counts[each] < at_most]
            if name not in self.defined:
                near = difflib.get_close_matches(name, self.defined, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "define it with its type there"
                message = f"attribute {name!r} is not in AttributeDefinitions"
                raise self.file.error((*steps, number, "AttributeName"), message, hint=hint)
        names = [entry["AttributeName"] for entry in schema]
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise self.file.error(steps, f"attribute {twice!r} is in the key twice", hint=REMOVE_ONE)
        return set(names)

    def throughput(self, steps: Steps, value: dict[str, Any], *, needed: bool) -> None:
        """Check that a table or an index has the throughput of its billing mode, and no other."""
        is_set = "ProvisionedThroughput" in value
        if needed and not is_set:
            raise self.file.error(steps, "no ProvisionedThroughput", hint="add it, or set BillingMode PAY_PER_REQUEST")
        if is_set and not needed:
            message = "ProvisionedThroughput does not go with on-demand capacity"
            raise self.file.error((*steps, "ProvisionedThroughput"), message, hint="remove it")
        limits = value.get("OnDemandThroughput")
        if limits is None:
            return
        inside = (*steps, "OnDemandThroughput")
        if needed:
            message = "OnDemandThroughput does not go with provisioned capacity"
            raise self.file.error(inside, message, hint="remove it")
        for name, most in limits.items():
            if most < 1 and most != -1:
                message, hint = f"{name} must be 1 or more, or -1 for no limit", "write -1 or remove it"
                raise self.file.error((*inside, name), message, hint=hint)

    def indexes(self) -> set[str]:
        """Check the indexes and return the attributes in their keys."""
        used: set[str] = set()
        seen: set[str] = set()
        for kind in INDEXES:
            is_global = kind == INDEXES[0]
            for number, index in enumerate(self.table.get(kind, ())):
                steps, name = (kind, number), index["IndexName"]
                if name in seen:
                    raise self.file.error((*steps, "IndexName"), f"index {name} is defined twice", hint=REMOVE_ONE)
                seen.add(name)
                key = (*steps, "KeySchema")
                used |= self.key(key, index["KeySchema"], at_most=KEY_ATTRIBUTES if is_global else 1)
                self.projection((*steps, "Projection"), index["Projection"])
                if is_global:
                    self.throughput(steps, index, needed=self.provisioned)
                else:
                    self.local_key(key, index["KeySchema"])
        return used

    def local_key(self, steps: Steps, schema: list[dict[str, str]]) -> None:
        """Check that the key of a local index has the table's partition key and a sort key, as the table's has."""
        own = self.table["KeySchema"]
        if schema[0]["AttributeName"] != own[0]["AttributeName"]:
            message = f"a local index has the table's partition key, {own[0]['AttributeName']!r}"
            hint = "use that, or write a global index"
            raise self.file.error((*steps, 0, "AttributeName"), message, hint=hint)
        for key, where, what in ((schema, steps, "a local index"), (own, ("KeySchema",), "a table with local indexes")):
            if len(key) < 2:
                raise self.file.error(where, f"{what} needs a sort key", hint="add an attribute of KeyType RANGE")

    def projection(self, steps: Steps, projection: dict[str, Any]) -> None:
        names = projection.get("NonKeyAttributes", [])
        if (projection["ProjectionType"] == "INCLUDE") != bool(names):
            raise self.file.error(steps, "NonKeyAttributes and ProjectionType INCLUDE require each other", hint=BOTH)
        self.included += len(names)
        if self.included > ALL_NON_KEY_ATTRIBUTES:
            message = f"the indexes have more than {ALL_NON_KEY_ATTRIBUTES} NonKeyAttributes together"
            raise self.file.error((*steps, "NonKeyAttributes"), message, hint="remove some, or project ALL")

    def unused(self, used: set[str]) -> None:
        for name, number in self.defined.items():
            if name not in used:
                raise self.file.error(
                    ("AttributeDefinitions", number, "AttributeName"),
                    f"attribute {name!r} is defined but in no key",
                    hint="remove it: DynamoDB takes only key attributes",
                )

    def time_to_live(self) -> None:
        found = self.table.get("TimeToLiveSpecification")
        if found and found["Enabled"] and "AttributeName" not in found:
            steps, hint = ("TimeToLiveSpecification",), "add the attribute that holds the expiry time"
            raise self.file.error(steps, "no AttributeName", hint=hint)

    def recovery(self) -> None:
        found = self.table.get("PointInTimeRecoverySpecification")
        if found and "RecoveryPeriodInDays" in found and not found["PointInTimeRecoveryEnabled"]:
            steps = ("PointInTimeRecoverySpecification", "RecoveryPeriodInDays")
            raise self.file.error(steps, "RecoveryPeriodInDays requires recovery", hint="enable it, or remove this")

    def encryption(self) -> None:
        found, steps = self.table.get("SSESpecification"), ("SSESpecification",)
        if not found:
            return
        if not found["SSEEnabled"] and len(found) > 1:
            message = "SSEType and KMSMasterKeyId require SSEEnabled true"
            raise self.file.error(steps, message, hint="enable it, or remove them")
        if "KMSMasterKeyId" in found and "SSEType" not in found:
            message, hint = "KMSMasterKeyId requires SSEType KMS", "add SSEType: KMS"
            raise self.file.error((*steps, "KMSMasterKeyId"), message, hint=hint)

    def tags(self) -> None:
        seen: set[str] = set()
        for number, tag in enumerate(self.table.get("Tags", ())):
            steps, key = ("Tags", number, "Key"), tag["Key"]
            if key.startswith("aws:"):
                raise self.file.error(steps, f"tag {key!r} has the prefix aws:, which AWS keeps", hint=RENAME)
            if key in seen:
                raise self.file.error(steps, f"tag {key!r} is defined twice", hint=REMOVE_ONE)
            seen.add(key)

    def at_aws(self) -> Iterator[AtAws]:
        """Yield what AWS alone has, of the table, its stream and its indexes."""
        parts: list[tuple[Steps, Any, dict[str, str]]] = [((), self.table, SET_BY)]
        parts.append((("StreamSpecification",), self.table.get("StreamSpecification", {}), SET_BY))
        indexes = enumerate(self.table.get(INDEXES[0], ()))
        parts += [((INDEXES[0], number), index, SET_BY_FOR_INDEX) for number, index in indexes]
        for steps, value, set_by in parts:
            for name in set(value) & set_by.keys():
                where = " for an index" if steps[:1] == (INDEXES[0],) else ""
                hint = f"remove it, and set it in AWS: `{set_by[name]}`"
                error = self.file.error((*steps, name), f"{name} is not supported{where}", hint=hint)
                yield AtAws((*steps, name), f"{name}{where}", error)
