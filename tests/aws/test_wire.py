"""The AWS JSON protocol: straight to a local engine, and through boto3 to AWS, with the same errors."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from tasks.localenv.aws.boto import client
from tasks.localenv.aws.wire import AwsApi, AwsError, LocalApi, api, require_permit
from tasks.localenv.cognito.users import Pool
from tasks.localenv.errors import ServiceFailed, UsageError
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.settings.addresses import Endpoint
from tests.support.boto import boto3_api
from tests.support.environments import permitted_at_aws
from tests.support.ports import find_free
from tests.support.seeded import own

Answer = Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes]]


@contextmanager
def engine(answer: Answer) -> Iterator[tuple[LocalApi, list[tuple[str, int]]]]:
    """An API on a server that gives these answers; notes the operation and the client's port of each request."""
    seen: list[tuple[str, int]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            seen.append((self.headers["X-Amz-Target"], self.client_address[1]))
            status, body = answer(self, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield LocalApi(Endpoint("127.0.0.1", server.server_address[1]), "eu-west-1", "dynamodb"), seen
        server.shutdown()
        thread.join()


def echo(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
    wanted = {name: handler.headers[name] for name in ("Content-Type", "Authorization")}
    return 200, json.dumps({"sent": json.loads(body), **wanted}).encode()


def test_a_call_names_operation_region_and_service_and_carries_its_parameters() -> None:
    with engine(echo) as (call, seen):
        answer = call("GetItem", Key={"pk": {"S": "é"}})
    assert answer["sent"] == {"Key": {"pk": {"S": "é"}}}
    assert answer["Content-Type"] == "application/x-amz-json-1.0"
    assert "/eu-west-1/dynamodb/aws4_request" in answer["Authorization"]
    assert [operation for operation, _ in seen] == ["DynamoDB_20120810.GetItem"]


def test_a_connection_is_kept_for_the_next_call() -> None:
    with engine(echo) as (call, seen):
        call("GetA")
        call("GetB")
    assert len({port for _, port in seen}) == 1


def test_connections_are_closed_with_what_made_them_also_as_a_part_of_a_cycle() -> None:
    with engine(echo) as (call, _):
        call("GetA")
        (kept,) = call._idle
        cycle: list[Any] = [call]
        cycle.append(cycle)
        del call, cycle
        gc.collect()
        assert kept.sock is None


def test_a_connection_that_the_engine_closed_meanwhile_is_opened_again() -> None:
    def hang_up(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        handler.close_connection = True
        return 200, b"{}"

    with engine(hang_up) as (call, seen):
        assert [call("ListTagsOfResource"), call("ListTagsOfResource")] == [{}, {}]
    assert len({port for _, port in seen}) == 2


def test_a_refusal_carries_the_services_code_and_words() -> None:
    body = {"__type": "com.amazonaws#ResourceNotFoundException", "message": "no such table"}
    with engine(lambda handler, sent: (400, json.dumps(body).encode())) as (call, _), pytest.raises(AwsError) as raised:
        call("DescribeTable", TableName="x")
    assert raised.value.aws_code == "ResourceNotFoundException"
    assert raised.value.message == "dynamodb DescribeTable: ResourceNotFoundException: no such table"


def test_an_answer_of_another_program_is_shown() -> None:
    with (
        engine(lambda handler, sent: (404, b"<html>proxy</html>")) as (call, _),
        pytest.raises(ServiceFailed) as raised,
    ):
        call("ListTables")
    assert raised.value.message.endswith("ListTables was answered 404: no JSON")
    assert raised.value.evidence == "<html>proxy</html>"


def test_nobody_there_is_a_service_that_failed() -> None:
    port = find_free()
    with pytest.raises(ServiceFailed) as raised:
        LocalApi(Endpoint("127.0.0.1", port), "us-east-1", "dynamodb")("ListTables")
    assert raised.value.message.startswith(f"dynamodb: nothing answers at http://127.0.0.1:{port} (")
    assert raised.value.hint == "run `inv env.up`"


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("PutItem", {}),
        ("BatchWriteItem", {}),
        ("TransactWriteItems", {}),
        ("ExecuteStatement", {"Statement": "DELETE FROM t WHERE pk='a'"}),
        ("ExecuteStatement", {"Statement": "-- SELECT\nUPDATE t SET a=1 WHERE pk='a'"}),
        ("AdminCreateUser", {}),
        ("ModifySecurityGroupRules", {}),
        ("SomethingNew", {}),
    ],
)
def test_an_operation_that_may_change_something_wants_the_guards_permit(
    live: Settings, operation: str, parameters: dict[str, str]
) -> None:
    local = replace(live, permit=None)
    at_aws = permitted_at_aws(live)
    for call in (
        api(local, "dynamodb"),
        api(at_aws, "dynamodb"),
        AwsApi(replace(live, dynamodb=None, access_key="AKIDEXAMPLE", secret_key="secret"), "dynamodb"),
    ):
        with pytest.raises(TypeError, match=f"{operation} may change (local|prod) data, and the guard was not asked"):
            call(operation, **parameters)


@pytest.mark.parametrize("statement", ["select * from t", "  -- a\n/* b */ SELECT * FROM t"])
def test_what_only_reads_wants_no_permit(live: Settings, statement: str) -> None:
    for operation in ("GetItem", "BatchGetItem", "TransactGetItems", "AdminGetUser", "DescribeTable", "Scan", "Query"):
        require_permit(None, "prod", operation, {})
    require_permit(None, "local", "ExecuteStatement", {"Statement": statement})


@pytest.fixture
def aws() -> Iterator[Settings]:
    """Settings for AWS itself, which is played in-process."""
    with mock_aws():
        settings = replace(read_settings(environ={}), target="prod", dynamodb=None, cognito=None)
        yield permitted_at_aws(replace(settings, access_key="AKIDEXAMPLE", secret_key="secret"))


def test_aws_itself_is_called_by_the_same_names(aws: Settings) -> None:
    call = api(aws, "dynamodb")
    key = {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "pk", "AttributeType": "S"}
    call(
        "CreateTable",
        TableName="real",
        KeySchema=list(key[:1]),
        AttributeDefinitions=list(key[1:]),
        BillingMode="PAY_PER_REQUEST",
    )
    call("PutItem", TableName="real", Item={"pk": {"S": "a"}})
    assert call("Scan", TableName="real")["Items"] == [{"pk": {"S": "a"}}]


def test_boto3_and_the_direct_way_give_the_same_users(live: Settings, tmp_path: Path) -> None:
    settings = own(live, tmp_path)
    call, direct = boto3_api(permitted_at_aws(settings), "cognito-idp"), api(settings, "cognito-idp")
    pool = Pool(call("CreateUserPool", PoolName=settings.project_id)["UserPool"]["Id"], call)
    for number in range(61):
        handle = [{"Name": "preferred_username", "Value": f"h{number}"}]
        call("AdminCreateUser", UserPoolId=pool.id, Username=f"u{number}", UserAttributes=handle)
    users = list(pool.users())
    assert sorted(user.handle or "" for user in users) == sorted(f"h{number}" for number in range(61))
    assert list(Pool(pool.id, direct).users()) == users


def test_aws_refuses_with_the_same_error(aws: Settings) -> None:
    with pytest.raises(AwsError) as raised:
        api(aws, "dynamodb")("DescribeTable", TableName="nothing-here")
    assert raised.value.aws_code == "ResourceNotFoundException"
    assert raised.value.message.startswith("dynamodb DescribeTable: ResourceNotFoundException: ")


def test_a_configured_endpoint_does_not_catch_what_is_meant_for_aws(
    aws: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:8000")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL is set in the environment"):
        api(aws, "dynamodb")


def test_a_real_user_pool_beside_local_stores_is_reached_whatever_the_app_is_configured_with(
    aws: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:8000")
    settings = replace(aws, target="local", region="eu-west-1")
    assert client(settings, "cognito-idp").meta.endpoint_url == "https://cognito-idp.eu-west-1.amazonaws.com"
