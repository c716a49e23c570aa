"""The gate in a real browser: a page of this machine reads, a page of elsewhere neither reads nor changes anything."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.aws.wire import Api, api
from tasks.localenv.settings import Settings
from tasks.localenv.settings.addresses import Endpoint
from tests.support.browser import serve, visit

pytestmark = [pytest.mark.browser, pytest.mark.reliability("emulator door")]

EVIL = "--host-resolver-rules=MAP evil.test 127.0.0.1"
"""What a name of the attacker's own that points here does: DNS rebinding, once it was rebound."""

HEADERS = {
    "content-type": "application/x-amz-json-1.0",
    "authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "x-amz-date": "20260101T000000Z",
    "x-amz-user-agent": "aws-sdk-js/3.0.0",
    "amz-sdk-invocation-id": "1",
    "amz-sdk-request": "attempt=1; max=3",
}
"""What the SDK for JavaScript sends from a browser."""

PAGE = """<!doctype html><title>app</title><pre id=said></pre><script>
const HEADERS = %s
async function attempt(name, url, options) {
  try {
    const answer = await fetch(url, options)
    return [name, answer.type, answer.status, await answer.text(), answer.headers.get("x-amzn-requestid") ? "id" : ""]
  } catch (error) {
    return [name, "refused", 0, "", ""]
  }
}
function call(name, url, target, body, more) {
  const headers = {...HEADERS, "x-amz-target": target}
  return attempt(name, url, {method: "POST", headers, body: JSON.stringify(body), ...more})
}
(async () => {
  const said = []
  %s
  document.getElementById("said").textContent = "SAID" + JSON.stringify(said) + "END"
})()
</script>"""


@pytest.fixture
def call(fresh: Settings) -> Api:
    """The API of the emulator, which has a table for the page."""
    found = api(fresh, "dynamodb")
    found(
        "CreateTable",
        TableName=fresh.message_table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return found


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, list[Any]]]:
    """Run lines of JavaScript in a page of this origin; return what each attempt came to."""

    def in_page(host: str, *lines: str, options: tuple[str, ...] = (EVIL,)) -> dict[str, list[Any]]:
        page = PAGE % (json.dumps(HEADERS), "\n  ".join(lines))
        with serve(page) as port:
            document = visit(f"http://{host}:{port}/", tmp_path / f"profile-{host}", *options)
        found = re.search(r"SAID(.*)END</pre>", document)
        assert found, document
        return {name: rest for name, *rest in json.loads(html.unescape(found[1]))}

    return in_page


def said(name: str, endpoint: Endpoint, target: str, body: Any, more: str = "{}", host: str = "localhost") -> str:
    url = f"http://{host}:{endpoint.port}/"
    return f"said.push(await call({name!r}, {url!r}, {target!r}, {json.dumps(body)}, {more}))"


def tables(call: Api) -> list[str]:
    found: list[str] = call("ListTables")["TableNames"]
    return found


def test_a_page_of_this_machine_lists_and_writes(
    fresh: Settings, call: Api, run: Callable[..., dict[str, list[Any]]]
) -> None:
    assert fresh.dynamodb and fresh.cognito
    item = {"TableName": fresh.message_table, "Item": {"pk": {"S": "from a page"}}}
    pools = "AWSCognitoIdentityProviderService.ListUserPools"
    found = run(
        "localhost",
        said("tables", fresh.dynamodb, "DynamoDB_20120810.ListTables", {}),
        said("put", fresh.dynamodb, "DynamoDB_20120810.PutItem", item),
        said("by address", fresh.dynamodb, "DynamoDB_20120810.ListTables", {}, host="127.0.0.1"),
        said("pools", fresh.cognito, pools, {"MaxResults": 5}),
    )
    assert [(name, kind, status) for name, (kind, status, _, _) in found.items()] == [
        ("tables", "cors", 200),
        ("put", "cors", 200),
        ("by address", "cors", 200),
        ("pools", "cors", 200),
    ]
    assert fresh.message_table in json.loads(found["tables"][2])["TableNames"]
    assert found["tables"][3] == "id"  # the SDK reads it
    assert call("Scan", TableName=fresh.message_table)["Items"] == [item["Item"]]


@pytest.mark.parametrize("host", ["evil.test"])
def test_a_page_of_elsewhere_neither_reads_nor_deletes(
    fresh: Settings, call: Api, run: Callable[..., dict[str, list[Any]]], host: str
) -> None:
    assert fresh.dynamodb and fresh.cognito
    drop = {"TableName": fresh.message_table}
    plain = "{mode: 'no-cors', headers: {'content-type': 'text/plain'}}"
    lines = []
    for to in ("localhost", "127.0.0.1", "evil.test"):
        lines += [
            said(f"list at {to}", fresh.dynamodb, "DynamoDB_20120810.ListTables", {}, host=to),
            said(f"drop at {to}", fresh.dynamodb, "DynamoDB_20120810.DeleteTable", drop, host=to),
            said(f"drop unseen at {to}", fresh.dynamodb, "DynamoDB_20120810.DeleteTable", drop, plain, host=to),
            said(f"pools at {to}", fresh.cognito, "AWSCognitoIdentityProviderService.ListUserPools", {}, host=to),
        ]
    found = run(host, *lines)
    assert len(found) == 12
    assert {text for _, _, text, _ in found.values()} == {""}
    assert {status for _, status, _, _ in found.values()} == {0}
    assert fresh.message_table in tables(call)


def test_a_page_under_a_name_that_points_here_is_refused_as_the_same_origin(fresh: Settings, tmp_path: Path) -> None:
    for endpoint in (fresh.dynamodb, fresh.cognito):
        assert endpoint
        document = visit(f"http://evil.test:{endpoint.port}/", tmp_path / f"profile-{endpoint.port}", EVIL)
        assert f"host 'evil.test:{endpoint.port}' is not this machine" in html.unescape(document)


FORM = """<!doctype html><form id=form method=post enctype=multipart/form-data action="%s">
<input name=key value=from-a-form><input name=success_action_status value=201>
<input name=file value=content></form><script>form.submit()</script>"""
"""What S3 takes for an upload. A browser sends a form anywhere, and asks nobody first."""


def exchange(endpoint: Endpoint, method: str, path: str, body: bytes = b"") -> int:
    connection = HTTPConnection(endpoint.host, endpoint.port)
    connection.request(method, path, body, {"Content-Type": "text/javascript"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_form_of_elsewhere_uploads_nothing(fresh: Settings, tmp_path: Path) -> None:
    assert fresh.dynamodb
    bucket = f"/{fresh.message_table}"
    assert exchange(fresh.dynamodb, "PUT", bucket) == 200
    with serve(FORM % f"http://localhost:{fresh.dynamodb.port}{bucket}") as port:
        document = visit(f"http://evil.test:{port}/", tmp_path / "profile", EVIL)
        assert f"origin 'http://evil.test:{port}' is not allowed" in document
        assert exchange(fresh.dynamodb, "GET", f"{bucket}/from-a-form") == 404
        visit(f"http://localhost:{port}/", tmp_path / "profile")
        assert exchange(fresh.dynamodb, "GET", f"{bucket}/from-a-form") == 200  # so it would have come to something


SCRIPT = """<!doctype html><pre id=said>nothing</pre><script src="%s"></script>"""


def test_a_script_of_the_store_is_loaded_by_no_page_of_elsewhere(fresh: Settings, tmp_path: Path) -> None:
    assert fresh.dynamodb
    path = f"/{fresh.message_table}"
    assert exchange(fresh.dynamodb, "PUT", path) == 200
    assert (
        exchange(fresh.dynamodb, "PUT", f"{path}/x.js", b"document.getElementById('said').textContent = 'read'") == 200
    )
    with serve(SCRIPT % f"http://localhost:{fresh.dynamodb.port}{path}/x.js") as port:
        assert ">read</pre>" in visit(f"http://localhost:{port}/", tmp_path / "profile")
        assert ">nothing</pre>" in visit(f"http://evil.test:{port}/", tmp_path / "profile", EVIL)
