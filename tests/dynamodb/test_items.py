"""Bulk writes against an engine that behaves as AWS does under load: it hands items back, or refuses a whole batch."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tasks.localenv.dynamodb import itemwriter
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.errors import LocalEnvError, TimedOut
from tasks.localenv.machine.progress import displaying
from tasks.localenv.settings import Settings
from tasks.localenv.settings.addresses import Endpoint

Answer = tuple[int, dict[str, Any]]
THROTTLED: Answer = (400, {"__type": "x#ProvisionedThroughputExceededException", "message": "slow down"})


@dataclass
class Engine:
    """A DynamoDB that only knows BatchWriteItem: `answer` says what it makes of the requests of a batch."""

    answer: Callable[[list[Any]], Answer]
    batches: list[list[Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, operation: str, body: dict[str, Any]) -> Answer:
        ((_, batch),) = body["RequestItems"].items()
        with self.lock:
            self.batches.append(batch)
            return self.answer(batch)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, dict[str, Any]], Answer]], Endpoint]]:
    """Serve DynamoDB's protocol on a free port, with a function as the engine."""
    servers: list[ThreadingHTTPServer] = []

    def start(take: Callable[[str, dict[str, Any]], Answer]) -> Endpoint:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = take(self.headers["X-Amz-Target"].partition(".")[2], body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return Endpoint("127.0.0.1", server.server_port)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"pk": {"S": f"item {number:05}"}, "sk": {"S": "x"}} for number in range(count)]


def unprocessed(batch: list[Any]) -> Answer:
    return 200, {"UnprocessedItems": {"things": batch} if batch else {}}


@pytest.fixture
def write(
    serve: Callable[[Callable[[str, dict[str, Any]], Answer]], Endpoint], live: Settings
) -> Callable[..., tuple[int, list[float]]]:
    """Write items to an engine of this file; give how many were written, and the pauses made in between."""

    def run(engine: Engine, count: int, **options: Any) -> tuple[int, list[float]]:
        client = connect(replace(live, dynamodb=serve(engine.take)))
        pauses: list[float] = []
        written = itemwriter.write(client, "things", itemwriter.puts(numbered(count)), sleep=pauses.append, **options)
        return written, pauses

    return run


Write = Callable[..., tuple[int, list[float]]]


def test_batches_hold_25_requests_at_most(write: Write) -> None:
    engine = Engine(lambda batch: unprocessed([]))
    assert write(engine, 60) == (60, [])
    assert sorted(len(batch) for batch in engine.batches) == [10, 25, 25]
    assert sorted(request["PutRequest"]["Item"]["pk"]["S"] for batch in engine.batches for request in batch) == [
        item["pk"]["S"] for item in numbered(60)
    ]


def test_nothing_to_write_calls_nothing(write: Write) -> None:
    engine = Engine(lambda batch: unprocessed([]))
    assert (write(engine, 0), engine.batches) == ((0, []), [])


def test_what_was_not_taken_is_sent_again_alone(write: Write) -> None:
    engine = Engine(lambda batch: unprocessed(batch[10:]))
    written, pauses = write(engine, 25)
    assert (written, [len(batch) for batch in engine.batches], len(pauses)) == (25, [25, 15, 5], 2)


def test_pauses_grow_while_nothing_is_taken_and_are_never_longer_than_allowed(write: Write) -> None:
    refusals = iter(range(12))
    engine = Engine(lambda batch: unprocessed([] if next(refusals, None) is None else batch))
    written, pauses = write(engine, 1)
    bounds = [min(itemwriter.FIRST_PAUSE_S * 2**attempt, itemwriter.LONGEST_PAUSE_S) for attempt in range(12)]
    assert (written, len(pauses)) == (1, 12)
    assert [pause for pause, bound in zip(pauses, bounds, strict=True) if not 0 <= pause <= bound] == []


def test_a_table_without_capacity_ends_in_an_error_and_not_in_a_hang(write: Write) -> None:
    engine = Engine(unprocessed)
    with pytest.raises(TimedOut) as caught:
        write(engine, 30, stalled_s=0)
    assert (caught.value.message, caught.value.hint) == (
        "table things accepted no more items for 0 s: its write capacity is used up",
        "run the same command again, or give the table more write capacity",
    )


def test_after_a_failure_no_further_batch_is_sent(write: Write) -> None:
    engine = Engine(lambda batch: (400, {"__type": "x#ValidationException", "message": "no"}))
    with pytest.raises(LocalEnvError, match="ValidationException: no"):
        write(engine, 25 * 100)
    assert len(engine.batches) <= itemwriter.BATCHES_AT_ONCE


def test_a_source_that_fails_ends_the_writing_with_its_error(fresh: Settings) -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield from numbered(60)
        raise LocalEnvError("the source is broken")

    client = connect(fresh)
    apply_tables(client, read_tables(fresh))
    with pytest.raises(LocalEnvError, match="the source is broken"):
        itemwriter.write(client, fresh.message_table, itemwriter.puts(source()))


def test_progress_counts_up_to_all_of_it(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(batch: list[Any]) -> Answer:
        time.sleep(0.3)
        return unprocessed([])

    monkeypatch.setattr("tasks.localenv.machine.progress.SHOW_AFTER_S", 0)
    seen: list[tuple[int, int | None]] = []
    with displaying(lambda one: seen.append((one.done, one.total))):
        write(Engine(slow), 110, total=110)
    assert (seen[-1], sorted(seen) == seen, len(set(seen)) > 2) == ((110, 110), True, True)


def test_everything_arrives_in_a_real_table_behind_a_busy_door(
    serve: Callable[[Callable[[str, dict[str, Any]], Answer]], Endpoint], fresh: Settings
) -> None:
    """The engine is real; in between, a third of each batch is handed back and every fifth batch refused."""
    assert fresh.dynamodb is not None
    host, port, dice = fresh.dynamodb.host, fresh.dynamodb.port, random.Random(7)

    def take(operation: str, body: dict[str, Any]) -> Answer:
        rest: list[Any] = []
        if operation == "BatchWriteItem":
            if dice.random() < 0.2:
                return THROTTLED
            batch = body["RequestItems"][fresh.message_table]
            accepted = [request for request in batch if dice.random() < 0.66] or batch[:1]
            rest = [request for request in batch if request not in accepted]
            body = {"RequestItems": {fresh.message_table: accepted}}
        connection = HTTPConnection(host, port)
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0"}
        connection.request("POST", "/", json.dumps(body), headers)
        answer = connection.getresponse()
        text = json.loads(answer.read())
        connection.close()
        return answer.status, {**text, "UnprocessedItems": {fresh.message_table: rest} if rest else {}}

    client = connect(replace(fresh, dynamodb=serve(take)))
    apply_tables(client, read_tables(fresh))
    itemwriter.write(client, fresh.message_table, itemwriter.puts(numbered(333)), sleep=lambda pause_s: None)
    assert sorted(item["pk"]["S"] for item in scan(client, fresh.message_table)) == [
        item["pk"]["S"] for item in numbered(333)
    ]
    keys = ({"pk": item["pk"], "sk": item["sk"]} for item in numbered(333))
    assert itemwriter.write(client, fresh.message_table, itemwriter.deletes(keys), sleep=lambda pause_s: None) == 333
    assert list(scan(client, fresh.message_table)) == []
