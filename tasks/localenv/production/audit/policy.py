"""Policies of IAM as values: which actions a document allows on a resource. Nothing is asked here.

Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements"; service authorization reference of
DynamoDB. Permission boundaries, the policies of an organisation and conditions are not evaluated: what is told is what
a policy may allow at most. So a denial counts only where it surely holds, without a condition and without a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

OF_INDEX = ("Query", "Scan", "PartiQLSelect")
"""Actions that ask about an index where they go through one, else about the table."""

OF_STREAM = ("GetRecords",)
OF_BACKUP = ("RestoreTableFromBackup", "DeleteBackup")
READS = ("GetItem", "BatchGetItem", *OF_INDEX, *OF_STREAM)
COPIES = (
    *("ExportTableToPointInTime", "RestoreTableToPointInTime", "CreateBackup", "EnableKinesisStreamingDestination"),
    *OF_BACKUP,
)
"""Actions that take the items elsewhere, or deal with where they were taken; the table stays as it is."""

WRITES = (
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete"),
    *("UpdateTable", "DeleteTable", "UpdateTimeToLive", "UpdateContinuousBackups"),
    *("PutResourcePolicy", "DeleteResourcePolicy"),
)
ACTIONS = frozenset((*READS, *COPIES, *WRITES))
OF_TABLE = ACTIONS.difference(OF_STREAM, OF_BACKUP)
OUTSIDE = "iam:CreateUser"
"""An action that only those have who may do everything."""


@dataclass(frozen=True)
class Statement:
    """A statement of a policy, with everything that may be one or several as a tuple."""

    allows: bool
    actions: tuple[str, ...]
    all_but_actions: tuple[str, ...]
    resources: tuple[str, ...]
    all_but_resources: tuple[str, ...]
    principals: tuple[str, ...]
    has_condition: bool

    def has_action(self, action: str) -> bool:
        """Tell whether it is about an action; "*" asks for all of them."""
        if self.all_but_actions:
            return not any(matches(one, action, ignore_case=True) for one in self.all_but_actions)
        return any(matches(one, action, ignore_case=True) for one in self.actions)

    def has_resource(self, arn: str) -> bool:
        if self.all_but_resources:
            return not any(matches(one, arn) for one in self.all_but_resources)
        return any(matches(one, arn) for one in self.resources)


@dataclass(frozen=True)
class Table:
    """A table as policies name it, with its indexes. `stream` is the label of its stream, empty without one."""

    arn: str
    indexes: tuple[str, ...] = ()
    stream: str = ""

    @property
    def another(self) -> Table:
        """A table that nobody has, in the same account."""
        return replace(self, arn=f"{self.arn.rpartition('/')[0]}/any.other-table")

    def resources(self, action: str) -> tuple[str, ...]:
        """Give what an action may ask about: one of them allowed is access."""
        if action in OF_INDEX:
            return self.arn, *(f"{self.arn}/index/{name}" for name in self.indexes)
        if action in OF_STREAM:
            return (f"{self.arn}/stream/{self.stream}",) if self.stream else ()
        return (f"{self.arn}/backup/any.backup",) if action in OF_BACKUP else (self.arn,)


@dataclass(frozen=True)
class Grant:
    """What a policy allows with a table: actions without their prefix, and those of them that it allows with any."""

    actions: frozenset[str]
    everywhere: frozenset[str]
    is_everything: bool
    has_condition: bool

    @property
    def is_any_action(self) -> bool:
        return self.actions >= OF_TABLE

    @property
    def writes_everywhere(self) -> bool:
        return not self.everywhere.isdisjoint(WRITES)

    def __str__(self) -> str:
        here = self.actions if self.is_any_action else self.actions - self.everywhere
        told = [_named(here)] if here and not self.everywhere >= OF_TABLE else []
        told += [f"{_named(self.everywhere)} on every table"] if self.everywhere else []
        return ", and ".join(told) + (" under conditions" if self.has_condition else "")


def statements(document: dict[str, Any]) -> Iterator[Statement]:
    """Give the statements of a policy document; one alone may stand without a list."""
    found = document.get("Statement") or []
    for entry in [found] if isinstance(found, dict) else found:
        principal = entry.get("Principal") or {}
        named = principal.values() if isinstance(principal, dict) else [principal]
        allows = entry.get("Effect") == "Allow"
        yield Statement(
            allows=allows,
            actions=_several(entry.get("Action")),
            all_but_actions=_several(entry.get("NotAction")),
            resources=tuple(one for one in _several(entry.get("Resource")) if allows or "${" not in one),
            all_but_resources=_several(entry.get("NotResource")),
            principals=tuple(one for value in named for one in _several(value)),
            has_condition=bool(entry.get("Condition")),
        )


def grant_of(document: dict[str, Any], table: Table, beside: Iterable[dict[str, Any]] = ()) -> Grant | None:
    """Say what a document allows with a table; None where that is nothing.

    What it or one of those `beside` it denies is taken off.
    """
    allowing = [one for one in statements(document) if one.allows]
    every = (one for each in (document, *beside) for one in statements(each))
    denying = [one for one in every if not one.allows and not one.has_condition]
    about = [one for one in allowing if _allowed([one], denying, table)]
    actions = _allowed(about, denying, table)
    if not actions:
        return None
    return Grant(
        actions=actions,
        everywhere=actions & _allowed(about, denying, table.another),
        is_everything=_has_outside(about) and not _has_outside(denying),
        has_condition=all(one.has_condition for one in about),
    )


def _has_outside(found: Iterable[Statement]) -> bool:
    return any(one.has_action(OUTSIDE) and one.has_resource("*") for one in found)


def matches(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Compare with IAM's wildcards * and ?; a variable such as ${aws:username} may stand for anything."""
    return _regex(pattern, ignore_case).fullmatch(value) is not None


@lru_cache(maxsize=16_384)
def _regex(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """Policies of AWS name hundreds of actions, and each is compared often: more than re itself remembers."""
    parts = re.split(r"(\$\{[^}]*\}|\*|\?)", pattern)
    regex = "".join(
        "." if part == "?" else ".*" if part == "*" or part.startswith("${") else re.escape(part) for part in parts
    )
    return re.compile(regex, re.IGNORECASE if ignore_case else 0)


def _allowed(allowing: Sequence[Statement], denying: Sequence[Statement], table: Table) -> frozenset[str]:
    return frozenset(
        action
        for action in ACTIONS
        for resource in table.resources(action)
        if _has(allowing, action, resource) and not _has(denying, action, resource)
    )


def _has(found: Sequence[Statement], action: str, resource: str) -> bool:
    return any(one.has_resource(resource) and one.has_action(f"dynamodb:{action}") for one in found)


def _named(actions: frozenset[str]) -> str:
    return "dynamodb:*" if actions >= OF_TABLE else ", ".join(sorted(actions))


def _several(value: Any) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)
