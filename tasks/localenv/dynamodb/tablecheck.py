"""Checks a table file before any call. Each error names its place as path:line:column."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..aws.templates.document import Document, Steps
from ..aws.templates.functions import text_of

REQUIRED = ("TableName", "AttributeDefinitions", "KeySchema")
OPTIONAL = (
    "BillingMode",
    "ProvisionedThroughput",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "StreamSpecification",
    "DeletionProtectionEnabled",
    "OnDemandThroughput",
    "PointInTimeRecoverySpecification",
    "SSESpecification",
    "TableClass",
    "Tags",
    "TimeToLiveSpecification",
)
UNSUPPORTED = (
    "ContributorInsightsSpecification",
    "ImportSourceSpecification",
    "KinesisStreamSpecification",
    "ResourcePolicy",
    "WarmThroughput",
)
"""Properties of CloudFormation that are refused, never ignored."""

RENAME = "give it another name"
REMOVE_ONE = "remove one of the two"
FEWER = "remove some, or the whole property"
BOTH = "write both or neither"

TYPES = ("S", "N", "B")
BILLING = ("PROVISIONED", "PAY_PER_REQUEST")
PROJECTIONS = ("ALL", "KEYS_ONLY", "INCLUDE")
STREAMS = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")
CLASSES = ("STANDARD", "STANDARD_INFREQUENT_ACCESS")
KEY_TYPES = ("HASH", "RANGE")
KEY_ATTRIBUTES = 4
"""The most attributes of each part of a global index's key. Source: Amazon DynamoDB, "Multi-attribute keys"."""
INDEXES = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")


def check_properties(file: Document) -> None:
    """Check a table's properties. Raises UsageError for the first error."""
    check = _Check(file)
    table = check.object((), REQUIRED, (*OPTIONAL, *UNSUPPORTED))
    for name in table:
        if name in UNSUPPORTED:
            raise file.error((name,), f"{name} is not supported", hint="remove it, and set it yourself")
    check.name(("TableName",))
    defined = check.definitions()
    used = check.key(("KeySchema",), defined)
    provisioned = check.word(("BillingMode",), BILLING, default="PROVISIONED") == "PROVISIONED"
    check.throughput((), table, needed=provisioned)
    for kind in INDEXES:
        used |= check.indexes(kind, defined, provisioned=provisioned and kind == "GlobalSecondaryIndexes")
    check.unused(defined, used)
    if "StreamSpecification" in table:
        check.stream()
    check.kind(("DeletionProtectionEnabled",), bool, "true or false", optional=True)
    check.word(("TableClass",), CLASSES, default="STANDARD")
    check.features(provisioned=provisioned)


class _Check:
    """The checks of one file; each takes the steps to the value to check."""

    def __init__(self, file: Document) -> None:
        self.file = file

    def at(self, steps: Steps) -> Any:
        value = self.file.data
        for step in steps:
            value = value[step] if isinstance(step, int) else value.get(step)
        return value

    def kind(self, steps: Steps, kind: type, called: str, *, optional: bool = False) -> Any:
        value = self.at(steps)
        if kind in (int, bool) and isinstance(value, str):
            value = self.plain(steps, value)
        if (value is None and optional) or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
            return value
        raise self.file.error(
            steps, f"{steps[-1] if steps else 'the file'} must be {called}", hint=f"write {called} here"
        )

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

    def object(self, steps: Steps, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
        value: dict[str, Any] = self.kind(steps, dict, "an object")
        known = [*required, *optional]
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
                raise self.file.error((*steps, name), f"unknown property {name!r}", hint=hint)
        for name in required:
            if name not in value:
                raise self.file.error(steps, f"no {name}", hint=f"add {name!r} here")
        return value

    def list(self, steps: Steps, *, at_most: int = 20) -> range:
        value = self.kind(steps, list, "a list")
        if not 1 <= len(value) <= at_most:
            raise self.file.error(steps, f"{steps[-1]} must have 1 to {at_most} entries, not {len(value)}", hint=FEWER)
        return range(len(value))

    def word(self, steps: Steps, allowed: tuple[str, ...], *, default: str = "") -> str:
        value = self.at(steps)
        if value is None and default:
            return default
        if value not in allowed:
            near = difflib.get_close_matches(str(value).upper(), allowed, n=1)
            raise self.file.error(
                steps,
                f"{steps[-1]} is {value!r}, not one of {', '.join(allowed)}",
                hint=f"did you mean {near[0]!r}?" if near else "write one of these",
            )
        return str(value)

    def name(self, steps: Steps) -> str:
        value: str = self.kind(steps, str, "a string")
        if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", value):
            raise self.file.error(steps, f"{steps[-1]} {value!r} is not 3 to 255 letters, digits and _.-", hint=RENAME)
        return value

    def definitions(self) -> dict[str, int]:
        """Return the defined attributes, each with the index of its entry."""
        found: dict[str, int] = {}
        for number in self.list(("AttributeDefinitions",), at_most=100):
            entry = ("AttributeDefinitions", number)
            self.object(entry, ("AttributeName", "AttributeType"))
            name = self.kind((*entry, "AttributeName"), str, "a string")
            self.word((*entry, "AttributeType"), TYPES)
            if name in found:
                raise self.file.error(
                    (*entry, "AttributeName"), f"attribute {name!r} is defined twice", hint=REMOVE_ONE
                )
            found[name] = number
        return found

    def key(self, steps: Steps, defined: dict[str, int], *, at_most: int = 1) -> set[str]:
        """Check a KeySchema, of `at_most` partition and as many sort attributes, and return its attributes."""
        names: list[str] = []
        allowed = ["HASH"]  # the partition key is first
        counts = Counter[str]()
        for number in self.list(steps, at_most=2 * at_most):
            entry = (*steps, number)
            self.object(entry, ("AttributeName", "KeyType"))
            if not allowed:
                raise self.file.error(steps, f"KeySchema must have at most {at_most} sort attributes", hint=FEWER)
            kind = self.word((*entry, "KeyType"), tuple(allowed))
            counts[kind] += 1
            allowed = [each for each in KEY_TYPES[KEY_TYPES.index(kind) :] if counts[each] < at_most]
            name = self.kind((*entry, "AttributeName"), str, "a string")
            if name not in defined:
                near = difflib.get_close_matches(name, defined, n=1)
                raise self.file.error(
                    (*entry, "AttributeName"),
                    f"attribute {name!r} is not in AttributeDefinitions",
                    hint=f"did you mean {near[0]!r}?" if near else "define it with its type there",
                )
            names.append(name)
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise self.file.error(steps, f"attribute {twice!r} is in the key twice", hint=REMOVE_ONE)
        return set(names)

    def throughput(self, steps: Steps, value: dict[str, Any], *, needed: bool) -> None:
        is_set = "ProvisionedThroughput" in value
        if needed and not is_set:
            raise self.file.error(steps, "no ProvisionedThroughput", hint="add it, or set BillingMode PAY_PER_REQUEST")
        if is_set and not needed:
            raise self.file.error(
                (*steps, "ProvisionedThroughput"),
                "ProvisionedThroughput does not go with on-demand capacity",
                hint="remove it",
            )
        if is_set:
            units = (*steps, "ProvisionedThroughput")
            for name in self.object(units, ("ReadCapacityUnits", "WriteCapacityUnits")):
                if self.kind((*units, name), int, "a whole number") < 1:
                    raise self.file.error((*units, name), f"{name} must be 1 or more", hint="write 1 or more")

    def indexes(self, kind: str, defined: dict[str, int], *, provisioned: bool) -> set[str]:
        """Check the indexes of a kind and return the attributes in their keys."""
        used: set[str] = set()
        seen: set[str] = set()
        if kind not in self.file.data:
            return used
        at_most = KEY_ATTRIBUTES if kind == "GlobalSecondaryIndexes" else 1
        for number in self.list((kind,)):
            steps = (kind, number)
            index = self.object(steps, ("IndexName", "KeySchema", "Projection"), ("ProvisionedThroughput",))
            name = self.name((*steps, "IndexName"))
            if name in seen:
                raise self.file.error((*steps, "IndexName"), f"index {name} is defined twice", hint=REMOVE_ONE)
            seen.add(name)
            used |= self.key((*steps, "KeySchema"), defined, at_most=at_most)
            self.projection((*steps, "Projection"))
            self.throughput(steps, index, needed=provisioned)
        return used

    def projection(self, steps: Steps) -> None:
        projection = self.object(steps, ("ProjectionType",), ("NonKeyAttributes",))
        includes = self.word((*steps, "ProjectionType"), PROJECTIONS) == "INCLUDE"
        if includes != bool(projection.get("NonKeyAttributes")):
            raise self.file.error(steps, "NonKeyAttributes and ProjectionType INCLUDE require each other", hint=BOTH)

    def unused(self, defined: dict[str, int], used: set[str]) -> None:
        for name, number in defined.items():
            if name not in used:
                raise self.file.error(
                    ("AttributeDefinitions", number, "AttributeName"),
                    f"attribute {name!r} is defined but in no key",
                    hint="remove it: DynamoDB takes only key attributes",
                )

    def stream(self) -> None:
        steps = ("StreamSpecification",)
        if "StreamEnabled" in self.kind(steps, dict, "an object"):
            raise self.file.error(
                (*steps, "StreamEnabled"),
                "StreamEnabled is not a CloudFormation property",
                hint="remove it: StreamViewType alone turns the stream on",
            )
        self.object(steps, ("StreamViewType",))
        self.word((*steps, "StreamViewType"), STREAMS)

    def features(self, *, provisioned: bool) -> None:
        """Check the table's optional features."""
        if "OnDemandThroughput" in self.file.data:
            self.limits(provisioned=provisioned)
        if "TimeToLiveSpecification" in self.file.data:
            self.time_to_live()
        if "PointInTimeRecoverySpecification" in self.file.data:
            self.recovery()
        if "SSESpecification" in self.file.data:
            self.encryption()
        if "Tags" in self.file.data:
            self.tags()

    def limits(self, *, provisioned: bool) -> None:
        steps = ("OnDemandThroughput",)
        if provisioned:
            raise self.file.error(steps, "OnDemandThroughput does not go with provisioned capacity", hint="remove it")
        for name in self.object(steps, (), ("MaxReadRequestUnits", "MaxWriteRequestUnits")):
            value = self.kind((*steps, name), int, "a whole number")
            if value < 1 and value != -1:
                raise self.file.error(
                    (*steps, name), f"{name} must be 1 or more, or -1 for no limit", hint="write -1 or remove it"
                )

    def time_to_live(self) -> None:
        steps = ("TimeToLiveSpecification",)
        found = self.object(steps, ("Enabled",), ("AttributeName",))
        if self.kind((*steps, "Enabled"), bool, "true or false") and "AttributeName" not in found:
            raise self.file.error(steps, "no AttributeName", hint="add the attribute that holds the expiry time")
        self.kind((*steps, "AttributeName"), str, "a string", optional=True)

    def recovery(self) -> None:
        steps = ("PointInTimeRecoverySpecification",)
        self.object(steps, ("PointInTimeRecoveryEnabled",), ("RecoveryPeriodInDays",))
        on = self.kind((*steps, "PointInTimeRecoveryEnabled"), bool, "true or false")
        days = self.kind((*steps, "RecoveryPeriodInDays"), int, "a whole number", optional=True)
        if days is not None and not (on and 1 <= days <= 35):
            raise self.file.error(
                (*steps, "RecoveryPeriodInDays"),
                "RecoveryPeriodInDays must be 1 to 35, with recovery enabled",
                hint="write 1 to 35, or remove it",
            )

    def encryption(self) -> None:
        steps = ("SSESpecification",)
        found = self.object(steps, ("SSEEnabled",), ("SSEType", "KMSMasterKeyId"))
        on = self.kind((*steps, "SSEEnabled"), bool, "true or false")
        self.word((*steps, "SSEType"), ("KMS",), default="KMS")
        self.kind((*steps, "KMSMasterKeyId"), str, "a string", optional=True)
        if not on and len(found) > 1:
            raise self.file.error(
                steps, "SSEType and KMSMasterKeyId require SSEEnabled true", hint="enable it, or remove them"
            )

    def tags(self) -> None:
        seen: set[str] = set()
        for number in range(len(self.kind(("Tags",), list, "a list"))):
            steps = ("Tags", number)
            self.object(steps, ("Key", "Value"))
            key = self.kind((*steps, "Key"), str, "a string")
            self.text((*steps, "Value"))
            if not 1 <= len(key) <= 128 or key.startswith("aws:"):
                raise self.file.error(
                    (*steps, "Key"), f"tag {key!r} is not 1 to 128 characters without the prefix aws:", hint=RENAME
                )
            if key in seen:
                raise self.file.error((*steps, "Key"), f"tag {key!r} is defined twice", hint=REMOVE_ONE)
            seen.add(key)
