"""Network check: VPC endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ...aws.wire import pages
from .finding import Finding, Look
from .policy import statements


def vpc_endpoint(look: Look) -> Iterator[Finding]:
    """Check VPC endpoints: they cost nothing; without one, calls from a VPC need a NAT gateway or public addresses."""
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
    """Return whether a policy is an endpoint's default one, which no policy means too."""
    return not document or any(
        statement.allows and statement.has_action("*") and statement.has_resource("*") and not statement.has_condition
        for statement in statements(json.loads(document))
    )
