"""The emulator's own part: which requests change what."""

from __future__ import annotations

import pytest

from tasks.localenv.engines.emulator_server import changed_state


def request(method: str, target: str = "") -> dict[str, object]:
    headers = [(b"host", b"localhost"), (b"X-Amz-Target", target.encode())] if target else []
    return {"type": "http", "method": method, "path": "/", "headers": headers}


@pytest.mark.parametrize(
    ("target", "state"),
    [
        ("DynamoDB_20120810.PutItem", "dynamodb"),
        ("DynamoDB_20120810.BatchWriteItem", "dynamodb"),
        ("DynamoDB_20120810.ExecuteStatement", "dynamodb"),
        ("DynamoDB_20120810.CreateTable", "dynamodb"),
        ("DynamoDB_20120810.Query", ""),
        ("DynamoDB_20120810.BatchGetItem", ""),
        ("DynamoDB_20120810.TransactGetItems", ""),
        ("DynamoDB_20120810.DescribeTable", ""),
        ("DynamoDBStreams_20120810.GetRecords", ""),
        ("AWSCognitoIdentityProviderService.AdminCreateUser", "cognito"),
        ("AWSCognitoIdentityProviderService.InitiateAuth", "cognito"),
        ("AWSCognitoIdentityProviderService.ListUsers", ""),
        ("AWSCognitoIdentityProviderService.AdminGetUser", "cognito"),  # once too often does no harm
        ("SomethingElse_20200101.Put", ""),
    ],
)
def test_a_call_by_target_changes_its_service_unless_it_reads(target: str, state: str) -> None:
    assert changed_state(request("POST", target)) == state


@pytest.mark.parametrize(("method", "state"), [("PUT", "s3"), ("DELETE", "s3"), ("GET", ""), ("HEAD", "")])
def test_a_call_without_target_is_for_s3(method: str, state: str) -> None:
    assert changed_state(request(method)) == state
