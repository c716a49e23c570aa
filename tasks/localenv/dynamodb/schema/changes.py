"""Decides how to change a table to match its file. Connects to nothing.

Source of the rules: Amazon DynamoDB API Reference, UpdateTable: a call creates or deletes one index, a change of the
capacity mode sets the capacity of every index, and a stream keeps its view type. Keys and local indexes never change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..tablefiles import TableFile
from ..tableshape import (
    NO_LIMITS,
    Extras,
    Index,
    Recovery,
    TableShape,
    describe_index,
    describe_key,
    encryption_parameters,
)

Mark = Literal["+", "~", "-", "±"]


@dataclass(frozen=True)
class Change:
    """One change to a table. `text` says what and why, `update` holds parameters of UpdateTable.

    `extra` names a field of Extras to set instead. `needs_replacement`: the table must be replaced.
    """

    mark: Mark
    text: str
    update: Mapping[str, Any] = field(default_factory=dict)
    extra: str = ""
    needs_replacement: bool = False

    def __str__(self) -> str:
        return f"{self.mark} {self.text}"


@dataclass(frozen=True)
class Plan:
    """All changes, in order, and what the engine does not support."""

    changes: tuple[Change, ...] = ()
    unsupported: tuple[str, ...] = ()

    @property
    def needs_replacement(self) -> bool:
        return any(change.needs_replacement for change in self.changes)


def plan_changes(file: TableFile, found: TableShape, extras: Extras) -> Plan:
    """Compare a table with its file. What the file does not mention stays as it is.

    Of a change in two steps (an index, a view type) only the first is planned: the second follows when the table is
    fetched again.
    """
    unsupported = tuple(_unsupported(file, found, extras))
    fixed = tuple(_replacing_changes(file.shape, found))
    return Plan(fixed or tuple(_changes(file, found, extras)), unsupported)


def immutable_shape(shape: TableShape) -> tuple[Any, ...]:
    """Return what cannot change while a table exists: its key and its local indexes."""
    return shape.key, tuple(index for index in shape.indexes if index.is_local)


def encryption_differs(wanted: str | None, found: str | None) -> bool:
    """Compare encryptions. Keys are compared only if the file names one by id or ARN: an alias may point to any key."""
    if wanted is None or found is None:
        return False
    kind, _, key = wanted.partition(" ")
    found_kind, _, found_key = found.partition(" ")
    if kind != found_kind or not key or "alias/" in key:
        return kind != found_kind
    return found_key.rpartition("/")[2] != key.rpartition("/")[2]


def _unsupported(file: TableFile, found: TableShape, extras: Extras) -> Iterator[str]:
    """Name what the file asks for and the engine lacks. Disabled features are ignored."""
    shape, wanted = file.shape, file.extras
    if shape.table_class not in (None, "STANDARD") and found.table_class is None:
        yield "table class"
    if shape.encryption not in (None, "default") and found.encryption is None:
        yield "encryption by KMS"
    if wanted.time_to_live and extras.time_to_live is None:
        yield "time to live"
    if wanted.recovery and wanted.recovery.on:
        if extras.recovery is None:
            yield "point-in-time recovery"
        elif wanted.recovery.days and extras.recovery.on and not extras.recovery.days:
            yield "recovery period"
    if wanted.tags and extras.tags is None:
        yield "tags"


def _replacing_changes(wanted: TableShape, found: TableShape) -> Iterator[Change]:
    name = wanted.name
    if wanted.key != found.key:
        text = f"table {name}: key {describe_key(wanted.key)} (was {describe_key(found.key)})"
        yield Change("±", text, needs_replacement=True)
    for index, (here, there) in _paired(wanted, found).items():
        if here != there and any(one and one.is_local for one in (here, there)):
            text = f"local index {index} of {name}: {_shown(here)} (was {_shown(there)})"
            yield Change("±", text, needs_replacement=True)


def _changes(file: TableFile, found: TableShape, extras: Extras) -> Iterator[Change]:
    wanted = file.shape
    pairs = _paired(wanted, found)
    yield from _index_deletes(wanted.name, pairs)
    changes_mode = (wanted.throughput is None) != (found.throughput is None)
    if changes_mode:  # before indexes are created: a new one must have the capacity mode of its table
        yield _mode_change(wanted, pairs)
    yield from _index_creates(file, found, pairs)
    if not changes_mode:
        yield from _throughput_changes(wanted, found, pairs)
    yield from _setting_changes(file, found)
    yield from _stream_change(wanted, found)
    yield from _extra_changes(file, extras)
    yield from _protection_change(wanted, found)


def _paired(wanted: TableShape, found: TableShape) -> dict[str, tuple[Index | None, Index | None]]:
    here = {index.name: index for index in wanted.indexes}
    there = {index.name: index for index in found.indexes}
    return {name: (here.get(name), there.get(name)) for name in sorted({*here, *there})}


def _stays(pair: tuple[Index | None, Index | None]) -> bool:
    here, there = pair
    if here is None or there is None:
        return False
    return replace(here, throughput=None) == replace(there, throughput=None)


def _index_deletes(table: str, pairs: Mapping[str, tuple[Index | None, Index | None]]) -> Iterator[Change]:
    for name, (here, there) in pairs.items():
        if there is None or _stays((here, there)):
            continue
        update = {"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": name}}]}
        if here is None:
            yield Change("-", f"index {name} of {table}: {describe_index(there)}", update)
        else:
            text = f"{describe_index(here)} (was {describe_index(there)})"
            yield Change("±", f"index {name} of {table}: {text}; absent until it is rebuilt", update)


def _mode_change(wanted: TableShape, pairs: Mapping[str, tuple[Index | None, Index | None]]) -> Change:
    if wanted.throughput is None:
        return Change("~", f"table {wanted.name}: on demand (was provisioned)", {"BillingMode": "PAY_PER_REQUEST"})
    update: dict[str, Any] = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": wanted.throughput.parameters}
    units = [
        _units_update(here) for here, there in pairs.values() if here and _stays((here, there)) and here.throughput
    ]
    if units:
        update["GlobalSecondaryIndexUpdates"] = units
    return Change("~", f"table {wanted.name}: throughput {wanted.throughput} (was on demand)", update)


def _throughput_changes(
    wanted: TableShape, found: TableShape, pairs: Mapping[str, tuple[Index | None, Index | None]]
) -> Iterator[Change]:
    if wanted.throughput and wanted.throughput != found.throughput:
        text = f"table {wanted.name}: throughput {wanted.throughput} (was {found.throughput})"
        yield Change("~", text, {"ProvisionedThroughput": wanted.throughput.parameters})
    for name, (here, there) in pairs.items():
        if here and there and _stays((here, there)) and here.throughput and here.throughput != there.throughput:
            text = f"index {name} of {wanted.name}: throughput {here.throughput} (was {there.throughput})"
            yield Change("~", text, {"GlobalSecondaryIndexUpdates": [_units_update(here)]})


def _units_update(index: Index) -> dict[str, Any]:
    units = index.throughput.parameters if index.throughput else {}
    return {"Update": {"IndexName": index.name, "ProvisionedThroughput": units}}


def _index_creates(
    file: TableFile, found: TableShape, pairs: Mapping[str, tuple[Index | None, Index | None]]
) -> Iterator[Change]:
    """Plan the missing indexes. Each call must define exactly the key attributes of the table and indexes it leaves."""
    types = dict(pair for shape in (found, file.shape) for pair in shape.key)
    for pair in pairs.values():
        if pair[0] and _stays(pair):
            types.update(pair[0].key)
    specified = {index["IndexName"]: index for index in file.properties.get("GlobalSecondaryIndexes") or ()}
    for name, (here, there) in pairs.items():
        if here and there is None:
            types.update(here.key)
            defined = [{"AttributeName": one, "AttributeType": kind} for one, kind in types.items()]
            update = {"AttributeDefinitions": defined, "GlobalSecondaryIndexUpdates": [{"Create": specified[name]}]}
            yield Change("+", f"index {name} of {file.name}: {describe_index(here)}", update)


def _setting_changes(file: TableFile, found: TableShape) -> Iterator[Change]:
    wanted, name = file.shape, file.name
    if wanted.table_class and found.table_class and wanted.table_class != found.table_class:
        text = f"table {name}: class {wanted.table_class} (was {found.table_class})"
        yield Change("~", text, {"TableClass": wanted.table_class})
    if encryption_differs(wanted.encryption, found.encryption):
        update = {"SSESpecification": encryption_parameters(file.properties["SSESpecification"])}
        yield Change("~", f"table {name}: encryption {wanted.encryption} (was {found.encryption})", update)
    if wanted.limits and wanted.limits != (found.limits or NO_LIMITS):
        text = f"table {name}: limits {wanted.limits} (was {found.limits or NO_LIMITS})"
        yield Change("~", text, {"OnDemandThroughput": wanted.limits.parameters})


def _stream_change(wanted: TableShape, found: TableShape) -> Iterator[Change]:
    if wanted.stream == found.stream:
        return
    text = f"table {wanted.name}: stream {wanted.stream or 'none'} (was {found.stream or 'none'})"
    if found.stream:
        if wanted.stream:
            text += "; turned off and on, with a new ARN"
        yield Change("~", text, {"StreamSpecification": {"StreamEnabled": False}})
    else:
        specification = {"StreamEnabled": True, "StreamViewType": wanted.stream}
        yield Change("~", text, {"StreamSpecification": specification})


def _extra_changes(file: TableFile, found: Extras) -> Iterator[Change]:
    wanted, table = file.extras, f"table {file.name}"
    ttl, was = wanted.time_to_live, found.time_to_live
    if ttl is not None and was is not None and ttl != was:
        yield Change("~", f"{table}: time to live {ttl or 'off'} (was {was or 'off'})", extra="time_to_live")
    if wanted.recovery and found.recovery and _recovery_differs(wanted.recovery, found.recovery):
        text = f"{table}: point-in-time recovery {wanted.recovery} (was {found.recovery})"
        yield Change("~", text, extra="recovery")
    if wanted.tags is not None and found.tags is not None and wanted.tags != found.tags:
        text = f"{table}: tags {describe_tags(wanted.tags)} (was {describe_tags(found.tags)})"
        yield Change("~", text, extra="tags")


def _recovery_differs(wanted: Recovery, found: Recovery) -> bool:
    days_differ = bool(wanted.days and found.days and wanted.days != found.days)
    return wanted.on != found.on or days_differ


def describe_tags(tags: tuple[tuple[str, str], ...]) -> str:
    """Return tags as text: team=chat, stage=test."""
    return ", ".join(f"{key}={value}" for key, value in tags) or "none"


def _protection_change(wanted: TableShape, found: TableShape) -> Iterator[Change]:
    if wanted.deletion_protection is not None and wanted.deletion_protection != found.deletion_protection:
        word, was = ("on", "off") if wanted.deletion_protection else ("off", "on")
        text = f"table {wanted.name}: deletion protection {word} (was {was})"
        yield Change("~", text, {"DeletionProtectionEnabled": wanted.deletion_protection})


def _shown(index: Index | None) -> str:
    return describe_index(index) if index else "none"
