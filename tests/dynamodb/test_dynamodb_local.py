"""Table changes on DynamoDB Local, which knows no tags, recovery and classes, and takes its time for an index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.dynamodb import itemwriter, schema
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema.contents import read_contents
from tasks.localenv.settings import Settings, read_settings
from tests.conftest import JAR
from tests.dynamodb.test_changes import after, before, read, table
from tests.dynamodb.test_replace import rekeyed, some_items
from tests.engines.test_emulator_gate import call, exchange
from tests.support.environments import environment, permitted, reachable

pytestmark = pytest.mark.jar
LACKING = "not on this engine: point-in-time recovery, table class, tags"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    settings = permitted(read_settings(environ=environment(reachable(tmp_path_factory.mktemp("local")) / "state")))
    settings = replace(settings, dynamodb_local_jar=Path(JAR))
    engines.up(settings, print)
    yield connect(settings)
    engines.destroy(settings, print)


def test_every_change_is_made_and_what_is_lacking_is_told(client: Any, tmp_path: Path) -> None:
    schema.apply_tables(client, read(tmp_path, before("changing")))
    done = schema.apply_tables(client, read(tmp_path, after("changing")))
    assert done == f"0 tables created, 11 changes made; 1 ACTIVE and as ddb/tables says; {LACKING}"
    files = read(tmp_path, after("changing"))
    assert schema.check_tables(client, files) == f"1 table ACTIVE and as ddb/tables says; {LACKING}"
    assert schema.plan_tables(client, files) == [
        "table changing: table class: not on this engine",
        "table changing: point-in-time recovery: not on this engine",
        "table changing: tags: not on this engine",
    ]


def test_a_replaced_table_keeps_its_items(client: Any, tmp_path: Path) -> None:
    schema.apply_tables(client, read(tmp_path, table("moving")))
    itemwriter.write(client, "moving", itemwriter.puts(some_items()))
    held = read_contents(client, "moving")
    done = schema.apply_tables(client, read(tmp_path, rekeyed("moving")), replace=True)
    assert (done.partition(";")[0], read_contents(client, "moving")) == (
        f"0 tables created, 1 table replaced, {held.count} items before and after, 1 change made",
        held,
    )


@pytest.fixture
def allowing(tmp_path: Path) -> Iterator[Settings]:
    """The settings of a running DynamoDB Local that two origins may ask."""
    environ = {
        **environment(reachable(tmp_path) / "state"),
        "LOCALENV_CORS_ORIGINS": "loopback,https://app.example.com",
    }
    settings = permitted(read_settings(environ=environ))
    settings = replace(settings, dynamodb_local_jar=Path(JAR))
    engines.up(settings, print)
    yield settings
    engines.destroy(settings, print)


def test_it_answers_the_preflights_of_allowed_origins_and_of_no_other(allowing: Settings) -> None:
    """So a page of elsewhere can do nothing: without a preflight it can send neither key nor target, which it needs."""
    assert allowing.dynamodb
    asked = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-amz-target"]
    granted = {}
    for origin in (
        "http://localhost:3000",
        "https://app.example.com",
        "http://localhost:3001",
        "https://evil.test",
        "null",
    ):
        lines = ["OPTIONS / HTTP/1.1", "Host: localhost", f"Origin: {origin}", *asked, "Connection: close", "", ""]
        granted[origin] = exchange(allowing.dynamodb, "\r\n".join(lines))[1].get("access-control-allow-origin")
    assert granted == {
        "http://localhost:3000": "http://localhost:3000",
        "https://app.example.com": "https://app.example.com",
        "http://localhost:3001": None,
        "https://evil.test": None,
        "null": None,
    }
    for path in ("/", "/?X-Amz-Target=DynamoDB_20120810.ListTables&X-Amz-Credential=a%2Fb%2Fc%2Fdynamodb"):
        plain = [f"POST {path} HTTP/1.1", "Host: localhost", "Origin: https://evil.test", "Content-Type: text/plain"]
        plain += ["Content-Length: 2", "Connection: close", "", "{}"]
        code, headers, body = exchange(allowing.dynamodb, "\r\n".join(plain))
        assert (code, headers.get("access-control-allow-origin")) == (400, None)
        assert "TableNames" not in body


def test_it_serves_every_host_which_is_why_the_docs_warn(allowing: Settings) -> None:
    """When this fails, Amazon has closed it: take the warning out of docs/environments.md."""
    assert allowing.dynamodb
    key = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
    headers = (f"Authorization: {key}", "X-Amz-Date: 20260101T000000Z")
    code, _, body = exchange(allowing.dynamodb, call("DynamoDB_20120810.ListTables", *headers, host="evil.test"))
    assert (code, body) == (200, '{"TableNames":[]}')
