"""What a service may do wrong over HTTP: silence, lost connections, answers that are none, throttling, faults."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tasks.localenv.aws.wire import AwsError, LocalApi
from tasks.localenv.errors import LocalEnvError, ServiceFailed, TimedOut
from tasks.localenv.machine import retrying, waiting
from tasks.localenv.machine.answers import OPERATIONS
from tasks.localenv.settings import read_settings
from tasks.localenv.settings.addresses import Endpoint
from tests.support.environments import permitted

pytestmark = pytest.mark.reliability("faults")

PERMIT = permitted(read_settings(environ={"LOCALENV_DOTENV": "/dev/null"})).permit

Serve = Callable[[socket.socket, int], None]
"""Answers one connection; its number is the second argument."""


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def refusal(code: str, status: str = "400 Bad Request") -> bytes:
    return http(json.dumps({"__type": f"com.amazonaws#{code}", "message": "as it is"}).encode(), status)


def read_request(connection: socket.socket) -> bytes:
    """Read one request whole."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65536)
    head, _, body = text.partition(b"\r\n\r\n")
    wanted = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < wanted:
        body += connection.recv(65536)
    return body


@contextmanager
def peer(serve: Serve, patience_s: float = 0.5) -> Iterator[tuple[LocalApi, list[int]]]:
    """An API on a server that handles each connection with `serve`, and the numbers of its connections."""
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            for number in itertools.count():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                seen.append(number)
                threading.Thread(target=handle, args=(connection, number), daemon=True).start()

        def handle(connection: socket.socket, number: int) -> None:
            with connection, suppress(OSError):
                serve(connection, number)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        yield LocalApi(Endpoint("127.0.0.1", port), "us-east-1", "dynamodb", permit=PERMIT, patience_s=patience_s), seen
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def sending(*answers: bytes) -> Serve:
    """Give the answers in turn, a connection each, and the last one for ever."""

    def serve(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(answers[min(number, len(answers) - 1)])

    return serve


def failure(call: LocalApi, operation: str = "Scan", **parameters: object) -> LocalEnvError:
    with pytest.raises(LocalEnvError) as caught:
        call(operation, **parameters)
    return caught.value


NO_ANSWERS = {
    "a list": (b"[]", "the answer is a list, not an object"),
    "a string": (b'"Items"', "the answer is a string, not an object"),
    "null": (b"null", "the answer is null, not an object"),
    "nothing": (b"", "nothing"),
    "HTML": (b"<html><body>It works!</body></html>", "no JSON"),
    "half a JSON": (b'{"Items": [{"pk": ', "no JSON"),
    "bad UTF-8": (b'{"Items": [], "x": "\xff\xfe"}', "no JSON"),
    "too deep": (b"[" * 200_000, "no JSON"),
    "no Items": (b"{}", "no Items"),
    "Items null": (b'{"Items": null}', "no Items"),
    "Items an object": (b'{"Items": {}}', "Items is an object, not a list"),
    "an item a string": (b'{"Items": ["x"]}', "Items[0] is a string, not an item"),
    "a bare value": (b'{"Items": [{"pk": {"S": "a"}}, {"pk": "a"}]}', "Items[1] has no attribute value at 'pk'"),
    "an empty value": (b'{"Items": [{"pk": {}}]}', "Items[0] has no attribute value at 'pk'"),
    "a key a string": (b'{"Items": [], "LastEvaluatedKey": "x"}', "LastEvaluatedKey is a string, not an item"),
}


@pytest.mark.parametrize(("body", "fault"), NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_what_is_no_answer_is_told_with_what_was_asked_and_what_came(body: bytes, fault: str) -> None:
    with peer(sending(http(body))) as (call, seen):
        error = failure(call)
    assert isinstance(error, ServiceFailed)
    assert error.message.startswith("dynamodb at 127.0.0.1:")
    assert ": Scan was answered 200" in error.message
    assert error.message.endswith(f": {fault}")
    assert error.hint == "run `inv env.restart`, then the same command again"
    assert len(error.evidence) <= 401
    assert len(seen) == 1, "an answer of another kind does not become right by asking again"


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"7", b'{"Table": {}, "TableNames": [1], "UserPool": [], "Users": [1]}']
)
def test_no_operation_lets_a_wrong_answer_through_as_a_traceback(operation: str, body: bytes) -> None:
    with peer(sending(http(body))) as (call, _):
        try:
            call(operation, Statement="SELECT", ClientRequestToken="t")
        except ServiceFailed:
            return
    required = OPERATIONS[operation]
    assert isinstance(required, dict) and all(name.endswith("?") for name in required)


def test_a_table_whose_description_does_not_fit_together_is_refused() -> None:
    whole = {
        "TableName": "t",
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    }
    for change, fault in (
        ({}, ""),
        ({"AttributeDefinitions": []}, "no AttributeDefinitions entry for 'pk'"),
        ({"BillingModeSummary": None}, "no ProvisionedThroughput"),
        ({"KeySchema": "pk"}, "KeySchema is a string, not a list"),
        ({"GlobalSecondaryIndexes": [{"IndexName": "i"}]}, "no GlobalSecondaryIndexes[0].KeySchema"),
    ):
        with peer(sending(http(json.dumps({"Table": {**whole, **change}}).encode()))) as (call, _):
            if fault:
                assert failure(call, "DescribeTable").message.endswith(f"has a fault: {fault}")
            else:
                call("DescribeTable")


LOST = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "half a body": http(b'{"Items": [', length=500),
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
}


@pytest.mark.parametrize("answer", LOST.values(), ids=LOST.keys())
def test_a_reading_call_whose_connection_is_lost_is_sent_again(answer: bytes) -> None:
    with peer(sending(answer, answer, http(b'{"Items": []}'))) as (call, seen):
        assert call("Scan") == {"Items": []}
    assert len(seen) == 3
    with peer(sending(answer)) as (call, seen):
        error = failure(call)
    assert isinstance(error, ServiceFailed)
    assert "the connection was lost over Scan (" in error.message
    assert error.message.endswith(", 3 times")
    assert "run the same command again" in error.hint


def test_a_reset_is_a_lost_connection() -> None:
    def reset(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with peer(reset) as (call, seen):
        assert "the connection was lost over Scan" in failure(call).message
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("operation", "parameters", "hint"),
    [
        ("CreateUserPool", {}, "run the same command again: it looks first and does what is missing"),
        ("UpdateTable", {}, "run the same command again: it looks first and does what is missing"),
        (
            "ExecuteStatement",
            {"Statement": "UPDATE x"},
            "check whether it was done before you run the command again",
        ),
        ("TransactWriteItems", {}, "check whether it was done before you run the command again"),
        (
            "PutItem",
            {"ConditionExpression": "attribute_not_exists(pk)"},
            "check whether it was done before you run the command again",
        ),
    ],
)
@pytest.mark.parametrize("answer", [b"", refusal("InternalServerError", "500 Oh")], ids=["lost", "500"])
def test_what_must_not_be_done_twice_is_sent_once_and_nobody_says_that_it_was_not_done(
    operation: str, parameters: dict[str, str], hint: str, answer: bytes
) -> None:
    with peer(sending(answer, http(b"{}"))) as (call, seen):
        error = failure(call, operation, **parameters)
    assert len(seen) == 1
    assert error.message.endswith("; whether it was done is not known")
    assert error.hint == hint


@pytest.mark.parametrize("code", retrying.THROTTLED)
def test_a_throttled_call_was_not_performed_so_any_is_sent_again(code: str) -> None:
    answer = refusal(code) if code != "429" else http(b"slow down", "429 Too Many Requests")
    with peer(sending(answer, answer, http(b'{"TableDescription": {}}'))) as (call, seen):
        call("UpdateTable")
    assert len(seen) == 3
    with peer(sending(answer)) as (call, seen):
        error = failure(call, "UpdateTable")
    assert isinstance(error, AwsError)
    assert error.aws_code == code
    assert error.message.endswith(f", {len(seen)} times")
    assert error.hint.startswith("wait a minute and run the same command again")


@pytest.mark.parametrize("code", retrying.BROKEN)
def test_a_server_that_broke_over_what_may_be_repeated_is_asked_again(code: str) -> None:
    answer = http(b"<html>", f"{code} Oh") if code.isdigit() else refusal(code, "500 Oh")
    with peer(sending(answer, http(b'{"UnprocessedItems": {}}'))) as (call, seen):
        call("BatchWriteItem")
    assert len(seen) == 2
    with peer(sending(answer)) as (call, seen):
        error = failure(call)
    assert isinstance(error, ServiceFailed)
    assert code in error.message
    assert error.message.endswith(f", {len(seen)} times")


def test_a_transaction_that_is_throttled_is_left_to_its_caller() -> None:
    with peer(sending(refusal("ThrottlingException"))) as (call, seen):
        failure(call, "TransactWriteItems", ClientRequestToken="t")
    assert len(seen) == 1


def test_a_transaction_with_a_token_is_sent_again_where_nobody_knows_whether_it_was_performed() -> None:
    with peer(sending(b"", refusal("InternalServerError", "500 Oh"), http(b"{}"))) as (call, seen):
        assert call("TransactWriteItems", ClientRequestToken="t") == {}
    assert len(seen) == 3


@pytest.mark.parametrize("status", ["302 Found", "404 Not Found", "201 Created"])
def test_another_status_than_those_of_aws_is_not_taken_for_an_answer(status: str) -> None:
    with peer(sending(http(b"{}", status, "Location: http://elsewhere/"))) as (call, _):
        error = failure(call)
    assert f"Scan was answered {status[:3]}: no AWS error" in error.message


def test_an_answer_without_an_end_is_not_taken_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.localenv.aws.wire.LARGEST_BYTES", 2 * 1024**2)

    def endless(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    with peer(endless) as (call, _):
        assert "an answer of more than 2 MB" in failure(call).message


def silent(connection: socket.socket, number: int) -> None:
    read_request(connection)
    connection.recv(1)


def dripping(connection: socket.socket, number: int) -> None:
    """Send a byte now and then: no single wait is long, and there is no end of them."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        connection.settimeout(0.05)
        try:
            connection.recv(1)
        except TimeoutError:
            continue


@pytest.mark.parametrize("serve", [silent, dripping])
def test_a_look_at_a_peer_that_does_not_answer_ends_after_its_time(serve: Serve) -> None:
    with peer(serve) as (call, seen), waiting.looking(0.3):
        error = failure(call)
    assert isinstance(error, TimedOut)
    assert error.message.startswith("dynamodb at http://127.0.0.1:")
    assert " (Scan): no answer within " in error.message
    assert len(seen) == 1


@pytest.mark.parametrize("serve", [silent, dripping])
def test_a_call_that_is_not_answered_is_told_and_ends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.localenv.aws.wire.CALL_S", 0.6)
    monkeypatch.setattr(waiting, "SAY_AFTER_S", 0.1)
    said: list[str] = []
    with peer(serve) as (call, _), waiting.speaking(said.append):
        error = failure(call)
    assert isinstance(error, TimedOut)
    assert len(said) == 1
    assert said[0].startswith("waiting for dynamodb at http://127.0.0.1:")
    assert " (Scan), until " in said[0]


def test_a_peer_that_takes_no_connection_ends_in_time_too() -> None:
    """A backlog that is full is what an address behind a firewall looks like: no answer to the first packet."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting_in_line = [socket.socket() for _ in range(4)]
        for one in waiting_in_line:
            one.setblocking(False)
            one.connect_ex(address)
        call = LocalApi(Endpoint(*address), "us-east-1", "dynamodb", permit=PERMIT)
        with waiting.looking(0.3):
            error = failure(call)
        for one in waiting_in_line:
            one.close()
    assert isinstance(error, TimedOut)


def test_what_goes_on_being_tried_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SAY_AFTER_S", 0.1)
    said: list[str] = []
    with peer(sending(refusal("ThrottlingException")), patience_s=0.6) as (call, _), waiting.speaking(said.append):
        failure(call)
    assert [line.partition(", until")[0] for line in said] == [
        "waiting for dynamodb Scan (ThrottlingException), retrying"
    ]


def test_a_wait_without_a_deadline_says_how_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SAY_AFTER_S", 0.0)
    told = threading.Event()
    said: list[str] = []
    with waiting.speaking(lambda line: (said.append(line), told.set())), waiting.waiting("the tide"):  # type: ignore[arg-type,func-returns-value]
        assert told.wait(10)
    assert said == ["waiting for the tide, Ctrl-C ends that"]


def test_the_voice_of_a_step_is_heard_in_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.localenv.machine.parallel import side_by_side

    monkeypatch.setattr(waiting, "SAY_AFTER_S", 0.0)
    said: list[str] = []
    told = threading.Semaphore(0)

    def say(line: str) -> None:
        said.append(line)
        told.release()

    def job(name: str) -> Callable[[], None]:
        def wait() -> None:
            with waiting.waiting(name):
                assert told.acquire(timeout=10)

        return wait

    with waiting.speaking(say):
        side_by_side([job("one"), job("two")])
    assert sorted(said) == [f"waiting for {name}, Ctrl-C ends that" for name in ("one", "two")]


def test_a_job_that_cannot_be_cut_short_is_left_to_itself() -> None:
    never = threading.Event()
    with pytest.raises(TimedOut) as caught:
        waiting.within(0.1, "sts GetCallerIdentity", lambda: never.wait(30), hint="check the network")
    never.set()
    assert (caught.value.message, caught.value.hint) == (
        "sts GetCallerIdentity: no answer within 0 s",
        "check the network",
    )
