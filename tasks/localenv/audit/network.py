"""Checks of the way to the table and of the trail of who went there: VPC endpoint, CloudTrail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..wire import Api, pages
from .finding import Finding, Look
from .policy import statements

TABLE_TYPE = "AWS::DynamoDB::Table"


def vpc_endpoint(look: Look) -> Iterator[Finding]:
    """Gateway endpoints cost nothing; without one, calls from a VPC need a NAT gateway or public addresses."""
    service = f"com.amazonaws.{look.settings.region}.dynamodb"
    wanted = {"Filters": [{"Name": "service-name", "Values": [service]}]}
    found = list(pages(look.api("ec2"), "DescribeVpcEndpoints", "VpcEndpoints", ("NextToken", "NextToken"), **wanted))
    if not found:
        words = f"ec2 create-vpc-endpoint --service-name {service} --vpc-id VPC --route-table-ids TABLE"
        text = "none for DynamoDB: what runs in a VPC goes over the internet or a NAT gateway"
        yield Finding("advice", "VPC endpoint", text, look.command(words))
    for endpoint in found:
        yield _endpoint(look, endpoint)


def _endpoint(look: Look, endpoint: dict[str, Any]) -> Finding:
    name = endpoint["VpcEndpointId"]
    where = f"{name} in {endpoint['VpcId']}, {endpoint.get('VpcEndpointType', 'Gateway')}"
    state = str(endpoint.get("State", ""))
    if state.lower() != "available":
        fix = look.command(f"ec2 describe-vpc-endpoints --vpc-endpoint-ids {name}")
        return Finding("problem", "VPC endpoint", f"{where}, is {state}", fix)
    if _is_open(endpoint.get("PolicyDocument") or ""):
        words = f"ec2 modify-vpc-endpoint --vpc-endpoint-id {name} --policy-document file://policy.json"
        text = f"{where}; its policy lets everybody in there reach every table of every account"
        return Finding("advice", "VPC endpoint", text, look.command(words))
    return Finding("ok", "VPC endpoint", f"{where}, with a policy of its own")


def _is_open(document: str) -> bool:
    """Tell whether a policy is the one that an endpoint gets by itself. No policy is that one too."""
    return not document or any(
        statement.allows and statement.has_action("*") and statement.has_resource("*") and not statement.has_condition
        for statement in statements(json.loads(document))
    )


def cloudtrail(look: Look) -> Iterator[Finding]:
    call = look.api("cloudtrail")
    trails = call("DescribeTrails", includeShadowTrails=True)["trailList"]
    several = [trail for trail in trails if trail.get("IsMultiRegionTrail")]
    logging = [trail for trail in several if call("GetTrailStatus", Name=trail["TrailARN"]).get("IsLogging")]
    if not logging:
        text = f"{several[0]['Name']} is stopped" if several else "no trail of all regions"
        words = (
            f"cloudtrail start-logging --name {several[0]['TrailARN']}"
            if several
            else "cloudtrail create-trail --name NAME --s3-bucket-name BUCKET --is-multi-region-trail"
        )
        yield Finding("problem", "CloudTrail", f"{text}: who changed the table is not on record", look.command(words))
        return
    yield Finding("ok", "CloudTrail", f"{', '.join(trail['Name'] for trail in logging)} logs all regions")
    yield _data_events(look, call, logging)


def _data_events(look: Look, call: Api, trails: list[dict[str, Any]]) -> Finding:
    """Reads and writes of items are logged only where a trail asks for them, and cost by the event."""
    arn = look.arn
    for trail in trails:
        if logs_items(call("GetEventSelectors", TrailName=trail["TrailARN"]), arn):
            return Finding("ok", "data events", f"{trail['Name']} logs who reads and writes items")
    chosen = json.dumps([{"DataResources": [{"Type": TABLE_TYPE, "Values": [arn]}]}])
    words = f"cloudtrail put-event-selectors --trail-name {trails[0]['TrailARN']} --event-selectors '{chosen}'"
    text = "not logged: who reads and writes items is not on record (optional, and paid by the event)"
    return Finding("advice", "data events", text, f"{look.command(words)}, beside the selectors that it has")


def logs_items(selectors: dict[str, Any], arn: str) -> bool:
    """Tell whether a trail logs the data events of a table, from GetEventSelectors' answer.

    Source: CloudTrail API reference, DataResource (a value is an ARN or the start of one) and AdvancedFieldSelector.
    """
    for selector in selectors.get("EventSelectors") or ():
        for resource in selector.get("DataResources") or ():
            if resource["Type"] == TABLE_TYPE and any(arn.startswith(value) for value in resource.get("Values", ())):
                return True
    return any(_advanced(chosen, arn) for chosen in selectors.get("AdvancedEventSelectors") or ())


def _advanced(selector: dict[str, Any], arn: str) -> bool:
    fields = {field["Field"]: field for field in selector.get("FieldSelectors") or ()}
    if TABLE_TYPE not in fields.get("resources.type", {}).get("Equals", ()):
        return False
    wanted = fields.get("resources.ARN", {})
    exact, starts = wanted.get("Equals", ()), wanted.get("StartsWith", ())
    return not (exact or starts) or arn in exact or any(arn.startswith(start) for start in starts)
