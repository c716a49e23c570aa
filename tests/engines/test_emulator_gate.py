"""The emulator's gate: which hosts and origins it serves, decided from a request, and kept by every port of it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tasks.localenv.engines.emulator import HOSTS
from tasks.localenv.engines.emulator_server.gate import Gate
from tasks.localenv.errors import UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.settings.addresses import Endpoint
from tasks.localenv.settings.variables import origins

pytestmark = pytest.mark.reliability("emulator door")

GATE = Gate(HOSTS, ("loopback",))
NAMED = Gate(HOSTS, ("https://app.example.com", "capacitor://localhost"))
SIGNED = (
    "authorization, content-type, x-amz-date, x-amz-target, x-amz-user-agent, amz-sdk-invocation-id, amz-sdk-request"
)
"""What the SDK for JavaScript asks for in a preflight."""


def request(method: str = "POST", *headers: tuple[str, str], host: str = "localhost:8000", path: str = "/") -> Any:
    given = [*([("host", host)] if host else []), *headers]
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given]
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": raw}


def status(scope: Any, gate: Gate = GATE) -> int:
    refusal = gate.refuse(scope)
    return refusal.status if refusal else 200


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1:8000", "127.8.9.10", "[::1]:8000", "[0:0::1]"),
        *("bucket.localhost:8000", "a.s3.localhost", "db", "dynamodb-local:8000", "host.docker.internal:9229"),
    ],
)
def test_this_machine_is_served_by_each_of_its_names(host: str) -> None:
    assert status(request(host=host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.test", "evil.test:8000", "localhost.evil.test", "evil-localhost", "notlocalhost", ".localhost"),
        *("127.0.0.1.evil.test", "127.0.0.1.nip.io:8000", "10.0.0.7", "0.0.0.0:8000", "[::]:8000", "[fe80::1]"),
        *("[127.0.0.1]", "::1", "[::1%25eth0]", "[::ffff:10.0.0.7]", "localhost@evil.test", "evil.test@localhost"),
        *(
            "localhost:",
            "localhost:80:80",
            "localhost:evil",
            "localhost,evil.test",
            "localhost evil.test",
            "localhost/",
        ),
        *(
            "",
            "evil.test#localhost",
            "localhost\\.evil.test",
            "db.evil.test",
            "xdynamodb-local",
            "2130706433",
            "0x7f.1",
        ),
        *("localhost\xa0", "l\xf6calhost", "docker.internal", "169.254.169.254"),
    ],
)
def test_every_other_host_is_refused(host: str) -> None:
    assert status(request(host=host)) == 421


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "localhost"), ("host", "evil.test")],
        [("host", "evil.test"), ("host", "localhost")],
        [("Host", "localhost"), ("host", "localhost")],
        [("x-forwarded-host", "localhost")],
        [("host", "evil.test"), ("x-forwarded-host", "localhost")],
        [("host", "evil.test"), ("forwarded", "host=localhost"), ("x-host", "localhost")],
    ],
)
def test_a_host_that_is_missing_doubled_or_said_elsewhere_is_refused(headers: list[tuple[str, str]]) -> None:
    assert status(request("POST", *headers, host="")) == 421


def test_a_forwarded_host_changes_nothing() -> None:
    assert status(request("POST", ("x-forwarded-host", "evil.test"))) == 200


@pytest.mark.parametrize("path", ["http://localhost:8000/", "http://evil.test/", "localhost:8000", "*", "evil"])
def test_a_target_that_is_no_path_is_refused(path: str) -> None:
    assert status(request(path=path)) == 400


@pytest.mark.parametrize(
    "origin",
    [
        *("http://localhost:3000", "https://localhost", "http://127.0.0.1:5173", "http://[::1]:3000"),
        *("http://app.localhost:3000", "https://127.9.9.9:1"),
    ],
)
def test_a_page_of_this_machine_is_served(origin: str) -> None:
    assert status(request("POST", ("origin", origin), ("sec-fetch-site", "cross-site"))) == 200


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.test", "https://evil.test:3000", "null", "", "*", "http://localhost.evil.test"),
        *("http://localhost@evil.test", "http://localhost:3000@evil.test", "http://localhost:3000/", "ftp://localhost"),
        *("http://localhost:3000, http://evil.test", "http://evil.test http://localhost", "localhost:3000", "file://"),
        *("capacitor://localhost", "chrome-extension://abcdef", "http://127.0.0.1.nip.io", "http://10.0.0.7:3000"),
        *("http://host.docker.internal", "http://db", "http://0.0.0.0:3000", "HTTP://LOCALHOST:3000", "http://"),
    ],
)
def test_a_page_of_elsewhere_is_refused_for_every_method(origin: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"):
        assert status(request(method, ("Origin", origin))) == 403


def test_two_origins_are_refused() -> None:
    assert status(request("POST", ("origin", "http://localhost"), ("origin", "http://localhost"))) == 403


@pytest.mark.parametrize(
    ("site", "wanted"), [("cross-site", 403), ("same-origin", 200), ("same-site", 200), ("none", 200)]
)
def test_a_request_without_origin_is_judged_by_its_site(site: str, wanted: int) -> None:
    for method in ("GET", "POST"):
        assert status(request(method, ("Sec-Fetch-Site", site))) == wanted
    assert status(request("GET", ("sec-fetch-site", site), ("sec-fetch-site", "cross-site"))) == 403


def test_a_program_sends_neither_and_is_served() -> None:
    assert status(request()) == 200


def test_named_origins_are_served_and_no_others_but_its_own() -> None:
    wanted = {
        "https://app.example.com": 200,
        "capacitor://localhost": 200,
        "http://localhost:8000": 200,  # a page of the emulator itself
        "http://localhost:3000": 403,
        "http://app.example.com": 403,
        "https://app.example.com:8443": 403,
        "https://app.example.com.evil.test": 403,
    }
    assert {origin: status(request("POST", ("origin", origin)), NAMED) for origin in wanted} == wanted


def test_a_web_socket_is_refused() -> None:
    assert status({**request("GET"), "type": "websocket"}) == 403


def test_a_preflight_grants_what_the_sdk_asks_for() -> None:
    asked = [("access-control-request-method", "POST"), ("access-control-request-headers", SIGNED.replace(" ", ""))]
    headers = dict(GATE.preflight(request("OPTIONS", ("origin", "http://localhost:3000"), *asked)) or [])
    assert headers[b"access-control-allow-origin"] == b"http://localhost:3000"
    assert headers[b"access-control-allow-headers"].decode() == SIGNED
    assert b"POST" in headers[b"access-control-allow-methods"]
    assert b"Origin" in headers[b"vary"]


@pytest.mark.parametrize("names", ["x-localenv-token", "x-amz-date, X-Localenv-Token", "x-a\r\nevil: 1", "é", ","])
def test_a_preflight_grants_no_header_of_ours_and_nothing_that_is_no_name(names: str) -> None:
    asked = [("access-control-request-method", "PUT"), ("access-control-request-headers", names)]
    headers = dict(GATE.preflight(request("OPTIONS", ("origin", "http://localhost"), *asked)) or [])
    assert headers[b"access-control-allow-headers"] in (b"", b"x-amz-date")


def test_a_request_without_origin_is_no_preflight() -> None:
    assert GATE.preflight(request("OPTIONS", ("access-control-request-method", "POST"))) is None
    assert GATE.preflight(request("POST", ("origin", "http://localhost"))) is None


def test_an_answer_names_the_origin_and_never_all() -> None:
    said = [(b"Access-Control-Allow-Origin", b"*"), (b"Vary", b"Accept"), (b"x-amz-crc32", b"1"), (b"etag", b"2")]
    assert dict(GATE.mark(request("POST", ("origin", "http://localhost:3000")), said)) == {
        b"access-control-allow-origin": b"http://localhost:3000",
        b"access-control-expose-headers": b"etag, x-amz-crc32",
        b"vary": b"Accept, Origin",
        b"x-amz-crc32": b"1",
        b"etag": b"2",
    }
    assert dict(GATE.mark(request(), said)) == {b"vary": b"Accept, Origin", b"x-amz-crc32": b"1", b"etag": b"2"}


def test_every_service_of_the_compose_file_may_be_called_by_its_name() -> None:
    text = (TOOL / "docker-compose.yml").read_text()
    services = re.findall(r"^  ([a-z-]+):$", text.partition("services:")[2].partition("\nvolumes:")[0], re.MULTILINE)
    assert services
    assert set(services) <= set(HOSTS)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("loopback", ("loopback",)),
        ("loopback, https://App.Example.com", ("loopback", "https://app.example.com")),
        (
            "http://a.test:80/ https://b.test:443,http://c.test:81",
            ("http://a.test", "https://b.test", "http://c.test:81"),
        ),
        ("http://[::1]:3000,capacitor://localhost", ("http://[::1]:3000", "capacitor://localhost")),
    ],
)
def test_origins_are_read_as_browsers_write_them(text: str, wanted: tuple[str, ...]) -> None:
    assert origins(text) == wanted


@pytest.mark.parametrize(
    "text", ["*", "null", "localhost:3000", "https://*.test", "http://a/b", "http://u@a", "http://a:x"]
)
def test_what_is_no_origin_is_a_usage_error_with_its_place(text: str) -> None:
    with pytest.raises(UsageError, match=r"^LOCALENV_CORS_ORIGINS in the environment: .* is not an origin"):
        read_settings(environ={"LOCALENV_DOTENV": "/dev/null", "LOCALENV_CORS_ORIGINS": text})


def exchange(endpoint: Endpoint, text: str) -> tuple[int, dict[str, str], str]:
    """Send raw bytes; return status, headers and body of the answer; status 0 for none."""
    with socket.create_connection((endpoint.host, endpoint.port), timeout=60) as connection:
        connection.sendall(text.encode("latin-1"))
        said = b""
        while chunk := connection.recv(65536):
            said += chunk
    head, _, body = said.decode("latin-1").partition("\r\n\r\n")
    lines = head.split("\r\n")
    found = re.match(r"HTTP/1\.1 (\d+)", lines[0])
    pairs = [line.partition(": ") for line in lines[1:]]
    return int(found[1]) if found else 0, {name.lower(): value for name, _, value in pairs}, body


def call(target: str, *headers: str, line: str = "POST / HTTP/1.1", host: str = "localhost", body: str = "{}") -> str:
    sent = [line, *([f"Host: {host}"] if host else []), f"X-Amz-Target: {target}", *headers]
    sent += ["Content-Type: application/x-amz-json-1.0", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*sent, "", body])


LISTED = {"dynamodb": "DynamoDB_20120810.ListTables", "cognito": "AWSCognitoIdentityProviderService.ListUserPools"}
BODIES = {"dynamodb": "{}", "cognito": '{"MaxResults":5}'}


@pytest.fixture(params=["dynamodb", "cognito"])
def ask(request: pytest.FixtureRequest, live: Settings) -> Callable[..., tuple[int, dict[str, str], str]]:
    """List what there is, over one of the ports of a running emulator."""
    service: str = request.param
    endpoint = live.dynamodb if service == "dynamodb" else live.cognito
    assert endpoint

    def send(*headers: str, **parts: str) -> tuple[int, dict[str, str], str]:
        return exchange(endpoint, call(LISTED[service], *headers, **{"body": BODIES[service], **parts}))

    return send


def test_each_port_of_the_emulator_keeps_the_gate(ask: Callable[..., tuple[int, dict[str, str], str]]) -> None:
    assert ask()[0] == 200
    assert ask("X-Forwarded-Host: evil.test")[0] == 200
    code, headers, _ = ask("Origin: http://localhost:3000")
    assert (code, headers["access-control-allow-origin"], headers["vary"]) == (200, "http://localhost:3000", "Origin")
    refused = {
        421: [ask(host="evil.test"), ask(host="evil.test:8000")],
        403: [ask("Origin: http://evil.test"), ask("Origin: null"), ask("Sec-Fetch-Site: cross-site")],
        400: [
            ask("Host: evil.test"),
            ask(host=""),
            ask(line="POST http://localhost/ HTTP/1.1"),
            ask(line="POST http://evil.test/ HTTP/1.1", host="localhost"),
            ask(line="POST localhost HTTP/1.1"),
        ],
    }
    assert {code: [answer[0] for answer in answers] for code, answers in refused.items()} == {
        code: [code] * len(answers) for code, answers in refused.items()
    }
    answers = [answer for of_one in refused.values() for answer in of_one]
    assert not any("access-control-allow-origin" in headers for _, headers, _ in answers)
    assert not any("TableNames" in body or "UserPools" in body or len(body) > 400 for _, _, body in answers)


def test_a_refusal_says_what_allows_it(ask: Callable[..., tuple[int, dict[str, str], str]]) -> None:
    said = json.loads(ask("Origin: http://evil.test")[2])
    assert said["message"] == "origin 'http://evil.test' is not allowed; LOCALENV_CORS_ORIGINS names those that are"


def test_nothing_is_changed_by_a_request_that_is_refused(fresh: Settings) -> None:
    from tests.support.boto import local_client

    assert fresh.dynamodb
    table = fresh.message_table
    attributes = [{"AttributeName": "pk", "AttributeType": "S"}]
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}]
    wanted = {
        "TableName": table,
        "AttributeDefinitions": attributes,
        "KeySchema": keys,
        "BillingMode": "PAY_PER_REQUEST",
    }
    create = json.dumps(wanted)
    ways: list[tuple[list[str], str]] = [
        (["Origin: http://evil.test"], "localhost"),
        (["Origin: null"], "localhost"),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], "localhost"),
        ([], "evil.test"),
    ]
    for headers, host in ways:
        text = call("DynamoDB_20120810.CreateTable", *headers, host=host, body=create)
        assert exchange(fresh.dynamodb, text)[0] in (403, 421)
    assert table not in local_client(fresh, "dynamodb").list_tables()["TableNames"]


def test_our_own_doors_are_closed_to_every_page(live: Settings) -> None:
    assert live.cognito
    token = (live.state_dir / "emulator" / "token").read_text()
    for path in (
        "/_localenv/cognito",
        "/_localenv/save",
        "/_ministack/reset",
        "//_ministack/reset",
        "/%5fministack/reset",
    ):
        for page in ("Origin: http://localhost:3000", "Sec-Fetch-Site: same-origin"):
            text = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{page}\r\nX-Localenv-Token: {token}\r\n"
            assert exchange(live.cognito, f"{text}Content-Length: 0\r\nConnection: close\r\n\r\n")[0] == 404


def test_a_running_emulator_upgrades_to_no_web_socket(live: Settings) -> None:
    assert live.dynamodb
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    text = f"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n{key}\r\n"
    assert exchange(live.dynamodb, text)[0] == 403
