"""IAM policies as values: which actions a document allows on a resource. Calls nothing.

Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements"; service authorization reference of
DynamoDB. Permission boundaries, organisation policies and conditions are not evaluated: the result is the most that a
policy may allow. So a denial counts only if it surely applies, without a condition or a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

OF_INDEX = ("Query", "Scan", "PartiQLSelect")
"""Actions authorized on an index if they use one, else on the table."""

OF_STREAM = ("GetRecords",)
OF_BACKUP = ("RestoreTableFromBackup", "DeleteBackup")
READS = ("GetItem", "BatchGetItem", *OF_INDEX, *OF_STREAM)
COPIES = (
    *("ExportTableToPointInTime", "RestoreTableToPointInTime", "CreateBackup", "EnableKinesisStreamingDestination"),
    *OF_BACKUP,
)
"""Actions that copy the items elsewhere, or manage such copies; the table is unchanged."""

WRITES = (
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete"),
    *("UpdateTable", "DeleteTable", "UpdateTimeToLive", "UpdateContinuousBackups"),
    *("PutResourcePolicy", "DeleteResourcePolicy"),
)
ACTIONS = frozenset((*READS, *COPIES, *WRITES))
OF_TABLE = ACTIONS.difference(OF_STREAM, OF_BACKUP)
OUTSIDE = "iam:CreateUser"
"""An action that only administrators have."""


@dataclass(frozen=True)
class Statement:
    """A statement of a policy, with all elements that may be one or several as tuples."""

    allows: bool
    actions: tuple[str, ...]
    all_but_actions: tuple[str, ...]
    resources: tuple[str, ...]
    all_but_resources: tuple[str, ...]
    principals: tuple[str, ...]
    has_condition: bool

    def has_action(self, action: str) -> bool:
        """Return whether the statement applies to an action; "*" means all actions."""
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
        """A table that does not exist, in the same account."""
        return replace(self, arn=f"{self.arn.rpartition('/')[0]}/any.other-table")

    def resources(self, action: str) -> tuple[str, ...]:
        """Return the resources of an action: access to one of them is enough."""
        if action in OF_INDEX:
            return self.arn, *(f"{self.arn}/index/{name}" for name in self.indexes)
        if action in OF_STREAM:
            return (f"{self.arn}/stream/{self.stream}",) if self.stream else ()
        return (f"{self.arn}/backup/any.backup",) if action in OF_BACKUP else (self.arn,)


@dataclass(frozen=True)
class Grant:
    """What a policy allows on a table: actions without prefix, and those that it allows on any table (`everywhere`)."""

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
    """Yield the statements of a policy document; a single one may come without a list."""
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
    """Return what a document allows on a table; None if nothing.

    Denials in it or in the documents `beside` it are subtracted.
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
    """Match with IAM's wildcards * and ?; a variable such as ${aws:username} matches anything."""
    return _regex(pattern, ignore_case).fullmatch(value) is not None


@lru_cache(maxsize=16_384)
def _regex(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """Compile a pattern, cached: AWS's policies name hundreds of actions, more than the cache of re holds."""
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
