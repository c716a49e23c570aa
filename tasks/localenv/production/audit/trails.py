"""CloudTrail check: whether changes of the table, and reads and writes of its items, are logged.

Source: CloudTrail API reference, EventSelector, DataResource, AdvancedFieldSelector, PutEventSelectors, StartLogging.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .finding import Finding, Look

TABLE_TYPE = "AWS::DynamoDB::Table"
CHANGE = {"eventCategory": "Management", "readOnly": "false", "eventSource": "dynamodb.amazonaws.com"}
"""A change of a table, as the fields that selectors match."""

ALL_CHANGES: dict[str, Any] = {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}
"""The default selector of a trail."""

HISTORY = "who changed the table is on record for 90 days alone, in CloudTrail's Event history"


@dataclass(frozen=True)
class Trail:
    """A trail that covers the table's region. `selectors` is GetEventSelectors' answer; empty where it is stopped."""

    name: str
    arn: str
    home: str
    is_everywhere: bool
    is_logging: bool
    selectors: dict[str, Any]

    @property
    def records_changes(self) -> bool:
        return self.is_logging and logs(self.selectors, CHANGE)


def cloudtrail(look: Look) -> Iterator[Finding]:
    """Check changes, then item access, whose events are logged only if a trail selects them, and cost per event."""
    trails = fetch_trails(look)
    yield _changes(look, trails)
    running = [trail for trail in trails if trail.is_logging]
    if running:
        yield _items(look, running)


def fetch_trails(look: Look) -> list[Trail]:
    """Fetch multi-region trails, then those of the table's region, each from its home region."""
    found = look.api("cloudtrail")("DescribeTrails", includeShadowTrails=True)["trailList"]
    return sorted((_fetch(look, trail) for trail in found), key=lambda trail: not trail.is_everywhere)


def _fetch(look: Look, described: dict[str, Any]) -> Trail:
    arn, home = described["TrailARN"], described.get("HomeRegion") or look.settings.region
    call = look.api("cloudtrail", home)
    is_logging = bool(call("GetTrailStatus", Name=arn).get("IsLogging"))
    selectors = call("GetEventSelectors", TrailName=arn) if is_logging else {}
    return Trail(described["Name"], arn, home, bool(described.get("IsMultiRegionTrail")), is_logging, selectors)


def _changes(look: Look, trails: Sequence[Trail]) -> Finding:
    recording = [trail for trail in trails if trail.records_changes]
    everywhere = [trail for trail in recording if trail.is_everywhere]
    if everywhere:
        return Finding("ok", "CloudTrail", f"{_names(everywhere)} logs all regions")
    reason, fix = _remedy(look, trails)
    if not recording:
        return Finding("problem", "CloudTrail", f"{reason}: {HISTORY}", fix)
    text = f"{reason}: who changed the table is on record by {_names(recording)}, what is done elsewhere is not"
    return Finding("advice", "CloudTrail", text, fix)


def _remedy(look: Look, trails: Sequence[Trail]) -> tuple[str, str]:
    """Return why no trail logs all regions, and the shortest way to change that."""
    if not trails:
        made = look.command("cloudtrail create-trail --name NAME --s3-bucket-name BUCKET --is-multi-region-trail")
        return "no trail", f"{made}, then {look.command('cloudtrail start-logging --name NAME')}"
    nearest = min(trails, key=lambda trail: (not trail.is_everywhere, not trail.records_changes, trail.is_logging))
    if nearest.records_changes:
        words = f"cloudtrail update-trail --name {nearest.arn} --is-multi-region-trail"
        return "no trail of all regions", _command(look, nearest, words)
    if not nearest.is_logging:
        return f"{nearest.name} is stopped", _command(look, nearest, f"cloudtrail start-logging --name {nearest.arn}")
    chosen = {"Field": "eventCategory", "Equals": ["Management"]}
    return f"{nearest.name} logs no changes of tables", _add_selector(look, nearest, ALL_CHANGES, [chosen])


def _items(look: Look, trails: Sequence[Trail]) -> Finding:
    reading, writing = (
        [trail for trail in trails if logs(trail.selectors, item_event(look.arn, is_read=is_read))]
        for is_read in (True, False)
    )
    if reading and writing:
        names = _names([trail for trail in trails if trail in reading or trail in writing])
        return Finding("ok", "data events", f"{names} logs who reads and writes items")
    if reading or writing:
        seen, unseen = ("reads", "writes") if reading else ("writes", "reads")
        text = f"{_names(reading or writing)} logs who {seen} items; who {unseen} them is not on record"
    else:
        text = "not logged: who reads and writes items is not on record"
    chosen = [
        {"Field": "eventCategory", "Equals": ["Data"]},
        {"Field": "resources.type", "Equals": [TABLE_TYPE]},
        {"Field": "resources.ARN", "Equals": [look.arn]},
    ]
    resources = [{"Type": TABLE_TYPE, "Values": [look.arn]}]
    basic = {"ReadWriteType": "All", "IncludeManagementEvents": False, "DataResources": resources}
    fix = _add_selector(look, (reading or writing or trails)[0], basic, chosen)
    return Finding("advice", "data events", f"{text} (optional, and charged per event)", fix)


def item_event(arn: str, *, is_read: bool) -> dict[str, str]:
    """Return a read or a write of an item, as the fields that selectors match."""
    named = {"resources.type": TABLE_TYPE, "resources.ARN": arn, "eventSource": CHANGE["eventSource"]}
    return {"eventCategory": "Data", "readOnly": "true" if is_read else "false", **named}


def logs(selectors: dict[str, Any], event: dict[str, str]) -> bool:
    """Return whether a trail logs such an event, from GetEventSelectors' answer.

    A selector with other fields, such as event names, logs only some events; that does not count.
    """
    basic, advanced = selectors.get("EventSelectors") or [], selectors.get("AdvancedEventSelectors") or []
    if not advanced:
        return any(_basic_selects(selector, event) for selector in basic or [ALL_CHANGES])
    return any(
        all(field["Field"] in event and _passes(field, event[field["Field"]]) for field in selector["FieldSelectors"])
        for selector in advanced
    )


def _basic_selects(selector: dict[str, Any], event: dict[str, str]) -> bool:
    only = "ReadOnly" if event["readOnly"] == "true" else "WriteOnly"
    if selector.get("ReadWriteType", "All") not in ("All", only):
        return False
    if event["eventCategory"] == CHANGE["eventCategory"]:
        return bool(selector.get("IncludeManagementEvents", True))
    return any(
        resource["Type"] == event["resources.type"] and _covers(value, event["resources.ARN"])
        for resource in selector.get("DataResources") or ()
        for value in resource.get("Values") or ()
    )


def _covers(value: str, arn: str) -> bool:
    """Return whether a basic selector's value covers a table: its ARN, or a prefix of all tables' ARNs."""
    return value == arn or (":table/" not in value and arn.startswith(value))


def _passes(field: dict[str, Any], value: str) -> bool:
    """Return whether a value passes an advanced selector's field: not excluded, and among the named ones if any."""
    starts, ends = tuple(field.get("StartsWith") or ()), tuple(field.get("EndsWith") or ())
    not_starts, not_ends = tuple(field.get("NotStartsWith") or ()), tuple(field.get("NotEndsWith") or ())
    equal, unequal = field.get("Equals") or (), field.get("NotEquals") or ()
    if value in unequal or value.startswith(not_starts) or value.endswith(not_ends):
        return False
    return not (equal or starts or ends) or value in equal or value.startswith(starts) or value.endswith(ends)


def _add_selector(look: Look, trail: Trail, basic: dict[str, Any], fields: list[dict[str, Any]]) -> str:
    """Return the command that adds a selector to a trail, with its present ones, because put replaces them all."""
    advanced = trail.selectors.get("AdvancedEventSelectors")
    option = "--advanced-event-selectors" if advanced else "--event-selectors"
    kept = advanced or trail.selectors.get("EventSelectors") or [ALL_CHANGES]
    chosen = shlex.quote(json.dumps([*kept, {"FieldSelectors": fields} if advanced else basic]))
    return _command(look, trail, f"cloudtrail put-event-selectors --trail-name {trail.arn} {option} {chosen}")


def _command(look: Look, trail: Trail, words: str) -> str:
    """Return a command for a trail: it works only in its home region, and in the account that owns it."""
    command, owner = look.command(words, trail.home), trail.arn.split(":")[4]
    return command if look.account in (owner, "unknown") else f"as account {owner}: {command}"


def _names(trails: Sequence[Trail]) -> str:
    return ", ".join(trail.name for trail in trails)
