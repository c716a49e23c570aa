"""Checks of other table settings: time to live, stream, tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...aws.wire import pages
from .finding import Finding, Look


def time_to_live(look: Look) -> Iterator[Finding]:
    answer = look.api("dynamodb")("DescribeTimeToLive", TableName=look.name)["TimeToLiveDescription"]
    if answer.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        yield Finding("ok", "time to live", f"on, by the attribute {answer['AttributeName']}")
    else:
        yield Finding("ok", "time to live", "off: items stay until they are deleted")


def stream(look: Look) -> Iterator[Finding]:
    """Check the stream and the Lambda functions that read it. Other readers cannot be listed."""
    specification = look.table.get("StreamSpecification") or {}
    if not specification.get("StreamEnabled"):
        yield Finding("ok", "stream", "none")
        return
    view, source = specification.get("StreamViewType"), look.table["LatestStreamArn"]
    token = ("NextMarker", "Marker")
    readers = list(
        pages(look.api("lambda"), "ListEventSourceMappings", "EventSourceMappings", token, EventSourceArn=source)
    )
    if not readers:
        words = "lambda create-event-source-mapping --function-name NAME --starting-position LATEST"
        fix = look.command(f"{words} --event-source-arn {source}")
        yield Finding("advice", "stream", f"{view}, and no Lambda function reads it", fix)
    for reader in readers:
        yield _reader(look, str(view), reader)


def _reader(look: Look, view: str, reader: dict[str, Any]) -> Finding:
    subject = f"stream to {reader['FunctionArn'].split(':')[6]}"
    update = f"lambda update-event-source-mapping --uuid {reader['UUID']}"
    state = str(reader.get("State", ""))
    if state not in ("Enabled", "Enabling", "Creating", "Updating"):
        return Finding("problem", subject, f"{view}, and the function is {state}", look.command(f"{update} --enabled"))
    if not reader.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"):
        config = '\'{"OnFailure": {"Destination": "ARN-OF-A-QUEUE"}}\''
        text = f"{view}, {state}, and a record that fails permanently is lost silently"
        return Finding("advice", subject, text, look.command(f"{update} --destination-config {config}"))
    return Finding("ok", subject, f"{view}, {state}, failures go to a queue")


def tags(look: Look) -> Iterator[Finding]:
    arn = look.arn
    token = ("NextToken", "NextToken")
    found = list(pages(look.api("dynamodb"), "ListTagsOfResource", "Tags", token, ResourceArn=arn))
    if found:
        shown = ", ".join(f"{tag['Key']}={tag['Value']}" for tag in found)
        yield Finding("ok", "tags", shown)
        return
    fix = look.command(f"dynamodb tag-resource --resource-arn {arn} --tags Key=app,Value=NAME")
    yield Finding("advice", "tags", "none: costs and owners cannot be told apart", fix)
