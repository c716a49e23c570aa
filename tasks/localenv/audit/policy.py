"""Policies of IAM as values: which actions a document allows on a resource. Nothing is asked here.

Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements". Permission boundaries, the policies of
an organisation and conditions are not evaluated: what is told is what a policy may allow at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

READS = ("GetItem", "BatchGetItem", "Query", "Scan", "PartiQLSelect", "ExportTableToPointInTime")
WRITES = (
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete"),
    *("UpdateTable", "DeleteTable", "UpdateContinuousBackups", "PutResourcePolicy"),
)
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
class Grant:
    """What a policy allows with a table: actions without their prefix, and how wide it is drawn."""

    actions: frozenset[str]
    is_everything: bool
    is_any_action: bool
    is_any_table: bool
    has_condition: bool

    @property
    def writes(self) -> bool:
        return not self.actions.isdisjoint(WRITES)

    def __str__(self) -> str:
        what = "dynamodb:*" if self.is_any_action else ", ".join(sorted(self.actions))
        where = " on every table" if self.is_any_table else ""
        return what + where + (" under conditions" if self.has_condition else "")


def statements(document: dict[str, Any]) -> Iterator[Statement]:
    """Give the statements of a policy document; one alone may stand without a list."""
    found = document.get("Statement") or []
    for entry in [found] if isinstance(found, dict) else found:
        principal = entry.get("Principal") or {}
        named = principal.values() if isinstance(principal, dict) else [principal]
        yield Statement(
            allows=entry.get("Effect") == "Allow",
            actions=_several(entry.get("Action")),
            all_but_actions=_several(entry.get("NotAction")),
            resources=_several(entry.get("Resource")),
            all_but_resources=_several(entry.get("NotResource")),
            principals=tuple(one for value in named for one in _several(value)),
            has_condition=bool(entry.get("Condition")),
        )


def grant_of(documents: Iterable[dict[str, Any]], arn: str) -> Grant | None:
    """Say what these documents together allow with a table; None where that is nothing.

    What one of them denies without a condition is taken off what the others allow.
    """
    every = [statement for document in documents for statement in statements(document)]
    denied = [one for one in every if not one.allows and not one.has_condition and one.has_resource(arn)]
    about = [one for one in every if one.allows and _touches(one, arn)]
    actions = {
        action
        for action in (*READS, *WRITES)
        if any(one.has_action(f"dynamodb:{action}") for one in about)
        and not any(one.has_action(f"dynamodb:{action}") for one in denied)
    }
    if not actions:
        return None
    return Grant(
        actions=frozenset(actions),
        is_everything=any(one.has_action(OUTSIDE) and one.has_resource("*") for one in about),
        is_any_action=actions >= {*READS, *WRITES},
        is_any_table=any(one.has_resource(_another(arn)) for one in about),
        has_condition=all(one.has_condition for one in about),
    )


def matches(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Compare with IAM's wildcards * and ?; a variable such as ${aws:username} may stand for anything."""
    parts = re.split(r"(\$\{[^}]*\}|\*|\?)", pattern)
    regex = "".join(
        "." if part == "?" else ".*" if part == "*" or part.startswith("${") else re.escape(part) for part in parts
    )
    return re.fullmatch(regex, value, re.IGNORECASE if ignore_case else 0) is not None


def _touches(statement: Statement, arn: str) -> bool:
    return statement.has_resource(arn) and any(
        statement.has_action(f"dynamodb:{action}") for action in (*READS, *WRITES)
    )


def _another(arn: str) -> str:
    """Name a table that nobody has, in the same account."""
    return f"{arn.rpartition('/')[0]}/any.other-table"


def _several(value: Any) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)
