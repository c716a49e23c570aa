"""Capacity check: what table and indexes have, what they used in the last 14 days, and what was throttled."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ...aws.wire import pages
from .finding import Finding, Look

DAYS = 14
PERIOD_S = 300
FREE_UNITS = 25
"""DynamoDB pricing, free tier: this many provisioned read and write units of an account cost nothing."""

BREAK_EVEN = 0.29
"""DynamoDB pricing, us-east-1: a provisioned unit used less than this on average costs more than on demand.

A write unit is 0.00065 $ an hour, 3600 writes on demand are 0.00225 $; reads have the same ratio.
"""
PRICES = {"Read": 1, "Write": 5}
"""DynamoDB pricing: a write unit costs as much as five read units, both provisioned and on demand."""

ROOM = 1.2
"""The suggested units, as a multiple of the peak."""

TIGHT = 0.8
KINDS = ("Read", "Write")


@dataclass(frozen=True)
class Use:
    """Units per second of one kind (read or write): on average, in the busiest 5 minutes, and the throttled calls."""

    average: float
    peak: float
    throttled: int


@dataclass(frozen=True)
class Part:
    """The table or one of its indexes. `units` are the provisioned units by kind, empty if on demand."""

    name: str
    resource_id: str
    dimension: str
    units: dict[str, int]
    use: dict[str, Use]
    scaled: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        return f"{self._provided()}; used in {DAYS} days: {', '.join(self._used(kind) for kind in KINDS)}"

    def _provided(self) -> str:
        if not self.units:
            return "on demand"
        scaled = [f"{kind.lower()} scaled {low} to {high}" for kind, (low, high) in sorted(self.scaled.items())]
        return ", ".join([f"provisioned {self.units['Read']}/{self.units['Write']}", *scaled])

    def _used(self, kind: str) -> str:
        use = self.use[kind]
        return f"{kind.lower()} {use.average:.3g} on average, {use.peak:.3g} at most"


def capacity(look: Look) -> Iterator[Finding]:
    """Check the table and each index, then whether on demand or provisioned would be cheaper."""
    parts = fetch_parts(look)
    for part in parts:
        yield from judge(look, part)
    if parts[0].units:
        yield from _cheaper_on_demand(look, parts)
    else:
        yield cheaper_provisioned(look, parts)


def judge(look: Look, part: Part) -> Iterator[Finding]:
    """Compare a part's capacity with its use."""
    subject = f"capacity of {part.name}"
    throttled = {kind: part.use[kind].throttled for kind in KINDS if part.use[kind].throttled}
    tight = [kind for kind in part.units if kind not in part.scaled and part.use[kind].peak > TIGHT * part.units[kind]]
    if throttled:
        counts = " and ".join(f"{count:,} {kind.lower()}s" for kind, count in throttled.items())
        yield Finding("problem", subject, f"{counts} throttled; {part}", _more(look, part, next(iter(throttled))))
    elif tight:
        text = f"{' and '.join(tight).lower()} came close to the limit; {part}"
        yield Finding("advice", subject, text, _more(look, part, tight[0]))
    else:
        yield Finding("ok", subject, str(part))


def fetch_parts(look: Look) -> list[Part]:
    """Fetch provisioned, scaled and used units of the table and its indexes. Calls CloudWatch once per page."""
    table = look.table
    indexes = table.get("GlobalSecondaryIndexes") or []
    named = [("the table", f"table/{look.name}", "table", table)]
    named += [
        (index["IndexName"], f"table/{look.name}/index/{index['IndexName']}", "index", index) for index in indexes
    ]
    scaled = _scaled(look, [resource_id for _, resource_id, _, _ in named])
    used = _used(look, [index["IndexName"] for index in indexes])
    return [
        Part(name, resource_id, dimension, _units(part), used[number], scaled.get(resource_id, {}))
        for number, (name, resource_id, dimension, part) in enumerate(named)
    ]


def _units(part: dict[str, Any]) -> dict[str, int]:
    """Return the provisioned units; empty on demand, where DescribeTable shows zeros."""
    found = part.get("ProvisionedThroughput") or {}
    units = {kind: int(found.get(f"{kind}CapacityUnits", 0)) for kind in KINDS}
    return units if all(units.values()) else {}


def _scaled(look: Look, resource_ids: list[str]) -> dict[str, dict[str, tuple[int, int]]]:
    wanted = {"ServiceNamespace": "dynamodb", "ResourceIds": resource_ids}
    call, token = look.api("application-autoscaling"), ("NextToken", "NextToken")
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for target in pages(call, "DescribeScalableTargets", "ScalableTargets", token, **wanted):
        kind = "Read" if "Read" in target["ScalableDimension"] else "Write"
        found.setdefault(target["ResourceId"], {})[kind] = target["MinCapacity"], target["MaxCapacity"]
    return found


def _used(look: Look, indexes: list[str]) -> list[dict[str, Use]]:
    """Sum the metrics of the table, then of each index. A part that was never used has no values."""
    end = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    queries = [
        _query(look.name, number, index, metric) for number, index in enumerate(["", *indexes]) for metric in METRICS
    ]
    window = {"StartTime": end - timedelta(days=DAYS), "EndTime": end}
    token = ("NextToken", "NextToken")
    sums: dict[str, list[float]] = {}
    call = look.api("cloudwatch")
    for result in pages(call, "GetMetricData", "MetricDataResults", token, MetricDataQueries=queries, **window):
        sums.setdefault(result["Id"], []).extend(result["Values"])
    return [{kind: _use(sums, number, kind) for kind in KINDS} for number in range(len(indexes) + 1)]


METRICS = tuple(f"{name}" for kind in KINDS for name in (f"Consumed{kind}CapacityUnits", f"{kind}ThrottleEvents"))


def _query(table: str, number: int, index: str, metric: str) -> dict[str, Any]:
    dimensions = [{"Name": "TableName", "Value": table}]
    dimensions += [{"Name": "GlobalSecondaryIndexName", "Value": index}] if index else []
    named = {"Namespace": "AWS/DynamoDB", "MetricName": metric, "Dimensions": dimensions}
    return {"Id": f"m{number}_{metric}", "MetricStat": {"Metric": named, "Period": PERIOD_S, "Stat": "Sum"}}


def _use(sums: dict[str, list[float]], number: int, kind: str) -> Use:
    consumed = sums.get(f"m{number}_Consumed{kind}CapacityUnits", [])
    throttled = sums.get(f"m{number}_{kind}ThrottleEvents", [])
    return Use(sum(consumed) / (DAYS * 86400), max(consumed, default=0.0) / PERIOD_S, int(sum(throttled)))


def _more(look: Look, part: Part, kind: str) -> str:
    """Return how to give a part more capacity: on demand has its own limits, provisioned units can be scaled."""
    if not part.units:
        words = f"dynamodb describe-table --table-name {look.name} --query Table.OnDemandThroughput"
        return f"a limit of the table, or one key too hot: {look.command(words)}"
    dimension = f"dynamodb:{part.dimension}:{kind}CapacityUnits"
    units = part.units[kind]
    words = "application-autoscaling register-scalable-target --service-namespace dynamodb"
    target = f"--resource-id {part.resource_id} --scalable-dimension {dimension}"
    limits = f"--min-capacity {units} --max-capacity {units * 8}"
    return f"scale it: {look.command(f'{words} {target} {limits}')}, and a policy for it with put-scaling-policy"


def _cheaper_on_demand(look: Look, parts: list[Part]) -> Iterator[Finding]:
    totals = {kind: sum(part.units[kind] for part in parts if part.units) for kind in KINDS}
    shown = f"{totals['Read']}/{totals['Write']} units in all"
    used = {kind: sum(part.use[kind].average for part in parts) / totals[kind] for kind in KINDS}
    share = ", ".join(f"{kind.lower()} {used[kind]:.0%}" for kind in KINDS)
    if max(totals.values()) <= FREE_UNITS:
        text = f"provisioned, {shown}: within the free {FREE_UNITS}/{FREE_UNITS} of an account; used {share}"
        yield Finding("ok", "billing", text)
    elif max(used.values()) < BREAK_EVEN:
        fix = look.command(f"dynamodb update-table --table-name {look.name} --billing-mode PAY_PER_REQUEST")
        text = f"provisioned, {shown}, used {share}: under {BREAK_EVEN:.0%} on demand is cheaper"
        yield Finding("advice", "billing", text, fix)
    else:
        yield Finding("ok", "billing", f"provisioned, {shown}, used {share}")


def cheaper_provisioned(look: Look, parts: Sequence[Part]) -> Finding:
    """Compare use on demand with the price of units that cover its peaks, for the table and all indexes together."""
    offered = [{kind: max(math.ceil(part.use[kind].peak * ROOM), 1) for kind in KINDS} for part in parts]
    bought = sum(PRICES[kind] * units[kind] for units in offered for kind in KINDS)
    share = sum(PRICES[kind] * part.use[kind].average for part in parts for kind in KINDS) / bought
    if share <= BREAK_EVEN or all(part.use[kind].average < 1 for part in parts for kind in KINDS):
        return Finding("ok", "billing", "on demand, used unsteadily or little")
    shown = "/".join(str(sum(units[kind] for units in offered)) for kind in KINDS)
    text = f"on demand, used steadily: of the {shown} units that cover its peaks it would use {share:.0%}"
    words = f"dynamodb update-table --table-name {look.name} --billing-mode PROVISIONED {_throughput(parts, offered)}"
    return Finding("advice", "billing", f"{text}; over {BREAK_EVEN:.0%} provisioned is cheaper", look.command(words))


def _throughput(parts: Sequence[Part], offered: Sequence[dict[str, int]]) -> str:
    """Return the units as options of update-table, which must name every index when a table becomes provisioned."""
    table, *indexes = [{f"{kind}CapacityUnits": units[kind] for kind in KINDS} for units in offered]
    own = "--provisioned-throughput " + ",".join(f"{name}={units}" for name, units in table.items())
    updates = [
        {"Update": {"IndexName": part.name, "ProvisionedThroughput": units}}
        for part, units in zip(parts[1:], indexes, strict=True)
    ]
    return f"{own} --global-secondary-index-updates {shlex.quote(json.dumps(updates))}" if updates else own
