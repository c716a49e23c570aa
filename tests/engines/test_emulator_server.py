"""The emulator's own part: which requests change what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.localenv.aws.emulatordoor import Door
from tasks.localenv.engines.emulator_server.inside import changed_state
from tasks.localenv.engines.emulator_server.server import is_permitted
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.settings import Settings


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


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/oauth2/token"), ("GET", "/oauth2/authorize"), ("GET", "/logout")]
)
def test_a_page_for_signing_in_changes_cognito(method: str, path: str) -> None:
    assert changed_state({**request(method), "path": path}) == "cognito"


@pytest.mark.parametrize(
    ("method", "tokens", "permitted"),
    [
        ("GET", [b"word"], True),
        ("PUT", [b"word"], True),
        ("GET", [b"wor"], False),
        ("GET", [b""], False),
        ("GET", [], False),
        ("GET", [b"word", b"word"], False),
        ("OPTIONS", [b"word"], False),  # what a web page would have to ask first
        ("DELETE", [b"word"], False),
    ],
)
def test_the_door_opens_to_who_knows_the_token(method: str, tokens: list[bytes], permitted: bool) -> None:
    scope = {"type": "http", "method": method, "headers": [(b"X-Localenv-Token", token) for token in tokens]}
    assert is_permitted(scope, "word") is permitted
    assert not is_permitted(scope, "")


def test_the_door_of_a_running_emulator_takes_all_or_nothing(live: Settings, tmp_path: Path) -> None:
    assert live.cognito
    file = live.state_dir / "emulator" / "token"
    assert file.stat().st_mode & 0o777 == 0o600
    door = Door(live.cognito, file, live.permit)
    state = door.fetch()
    for nonsense in (b"", b"[]", b"{}", json.dumps({**json.loads(state), "payload": {"user_pools": 3}}).encode()):
        with pytest.raises(LocalEnvError, match="the AWS emulator refused it"):
            door.replace(nonsense)
    broken = json.loads(state)
    broken["payload"]["user_pools"]["data"]["0\0us-east-1\0'us-east-1_x'"] = 3
    with pytest.raises(LocalEnvError, match="the AWS emulator refused it"):
        door.replace(json.dumps(broken).encode())
    assert door.fetch() == state
    (tmp_path / "token").write_text("guessed")
    with pytest.raises(LocalEnvError, match="is not this checkout's"):
        Door(live.cognito, tmp_path / "token").fetch()
