"""A fault proxy: stands where a server of the embedded engine stands, passes everything on, and does what a plan says.

Run as a program it takes the place of the server's own process: it has its arguments, its lease and its ports, and the
real server is its child on other ports. So the real commands reach it as they reach the server, and nothing of this
project knows of it. The plan is a file that a test writes; what was done is noted beside it.

    http       faults of the AWS JSON protocol, by the name of the operation
    postgres   faults of Postgres' protocol 3.0, by the text of the statement, or CopyData
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close sends RST."""


@dataclass(frozen=True)
class Fault:
    """What to do to messages: to those that match, `times` of them after the first `skip`.

    kind is drop, reset, done-drop (performed, and no answer), half (of the answer), silence; over HTTP also throttle,
    500, done-500 (performed, and a 500), nothing ({}), list ([]), html, unprocessed, conflict; over Postgres fatal too.
    """

    kind: str
    match: str = ""
    skip: int = 0
    times: int = 1
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Plan:
    """The faults to do, as they stand in a folder, and the notes of those done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}

    @contextmanager
    def of(self, *faults: Fault) -> Iterator[Plan]:
        """Let these faults happen in here."""
        self._write(faults)
        yield self
        self._write(())

    def done(self) -> list[str]:
        """Return what was done since the plan was written: "500 Scan"."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "done").read_text().splitlines()
        return []

    def fault_for(self, name: str) -> str:
        """Return the kind of fault that a message is to meet, empty for none."""
        with self._lock:
            for fault in self._read():
                if not re.search(fault.match, name, re.IGNORECASE):
                    continue
                count = self._seen[fault.id] = self._seen.get(fault.id, 0) + 1
                if fault.skip < count <= fault.skip + fault.times:
                    with (self.folder / "done").open("a") as notes:
                        notes.write(f"{fault.kind} {name[:60]}\n".replace("\n", " ").rstrip() + "\n")
                    return fault.kind
        return ""

    def _read(self) -> list[Fault]:
        return [Fault(**one) for one in json.loads((self.folder / "plan.json").read_text())]

    def _write(self, faults: tuple[Fault, ...]) -> None:
        if faults:
            (self.folder / "done").unlink(missing_ok=True)
        beside = self.folder / "plan.new"
        beside.write_text(json.dumps([vars(fault) for fault in faults]))
        beside.replace(self.folder / "plan.json")


def serve(port: int, handle: Callable[[socket.socket], None]) -> None:
    """Handle each connection to a port in a thread, for ever."""
    server = socket.create_server(("127.0.0.1", port))

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, http.client.HTTPException):
            handle(connection)

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def end(connection: socket.socket, kind: str) -> None:
    """End a connection: by RST for a reset, after the other side has for a silence, else at once."""
    if kind == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        os.close(connection.detach())  # whatever files are made of it
        return
    if kind == "silence":
        while connection.recv(65536):
            continue
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


# HTTP


def http_fronting(plan: Plan, upstream: int) -> Callable[[socket.socket], None]:
    """Return what handles a connection of the AWS JSON protocol."""

    def handle(connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        while head := read_head(reader):
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = reader.read(int(headers.get("content-length", 0)))
            operation = headers.get("x-amz-target", "").rpartition(".")[2] or head[0]
            kind = plan.fault_for(operation)
            if kind in ("", "done-drop", "done-500", "half"):
                status, text = forward(upstream, head, body)
            if kind in ("drop", "reset", "silence", "done-drop"):
                return end(connection, kind)
            if kind == "half":
                connection.sendall(answer(status, text)[: -max(1, len(text) // 2)])
                return end(connection, kind)
            connection.sendall(answer(status, text) if not kind else answer(*made_up(kind, body)))
            if headers.get("connection") == "close":
                return None
        return None

    return handle


def read_head(reader: Any) -> list[str]:
    lines: list[str] = []
    while line := reader.readline().decode().rstrip("\r\n"):
        lines.append(line)
    return lines


def forward(port: int, head: list[str], body: bytes) -> tuple[int, bytes]:
    method, path, _ = head[0].split(" ")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = dict(line.split(": ", 1) for line in head[1:] if not line.lower().startswith(("connection", "content-l")))
    connection.request(method, path, body, headers)
    found = connection.getresponse()
    text = found.read()
    connection.close()
    return found.status, text


def answer(status: int, text: bytes) -> bytes:
    head = f"HTTP/1.1 {status} Some\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


def made_up(kind: str, body: bytes) -> tuple[int, bytes]:
    """Make up the answer of a server that is not well."""
    if kind in ("nothing", "list", "html"):
        return 200, {"nothing": b"{}", "list": b"[]", "html": b"<html><h1>It works!</h1></html>"}[kind]
    if kind == "unprocessed":
        asked = json.loads(body)["RequestItems"]
        name = "UnprocessedKeys" if "Keys" in str(asked)[:200] else "UnprocessedItems"
        return 200, json.dumps({name: asked, "Responses": {}}).encode()
    code, status = {
        "throttle": ("ProvisionedThroughputExceededException", 400),
        "conflict": ("TransactionCanceledException", 400),
    }.get(kind, ("InternalServerError", 500))
    reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}] if kind == "conflict" else []
    told = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "a fault", "CancellationReasons": reasons}
    return status, json.dumps(told).encode()


# Postgres


def postgres_fronting(plan: Plan, upstream: int) -> Callable[[socket.socket], None]:
    """Return what handles a connection of Postgres' protocol."""

    def handle(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", upstream)) as server:
            try:
                Session(plan, connection, server).go()
            finally:  # a close alone would wait for the files made of it, and leave a session with its locks
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)

    return handle


class Session:
    """One session: messages of both sides, passed on one by one."""

    def __init__(self, plan: Plan, client: socket.socket, server: socket.socket) -> None:
        self.plan, self.client, self.server = plan, client, server
        self.from_client, self.from_server = client.makefile("rb"), server.makefile("rb")
        self.held = ""

    def go(self) -> None:
        while self._start_up() == "encryption":  # SSLRequest and GSSENCRequest have an answer of one byte
            self.client.sendall(self.from_server.read(1))
        threading.Thread(target=self._pass_answers, daemon=True).start()
        while message := read_message(self.from_client):
            kind = self.plan.fault_for(name_of(message)) if not self.held else ""
            if kind in ("done-drop", "half"):
                self.held = kind
            elif kind == "fatal":
                fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
                self.client.sendall(b"E" + struct.pack("!I", len(fields) + 4) + fields)
            if kind in ("drop", "reset", "silence", "fatal"):
                return end(self.client, kind)
            self.server.sendall(message)
        return None

    def _start_up(self) -> str:
        head = self.from_client.read(8)
        if len(head) < 8:
            raise OSError("nobody speaks")
        size, code = struct.unpack("!II", head)
        self.server.sendall(head + self.from_client.read(size - 8))
        return "encryption" if code in (80877103, 80877104) else ""

    def _pass_answers(self) -> None:
        kept = b""
        with contextlib.suppress(OSError, ValueError):
            while message := read_message(self.from_server):
                if not self.held:
                    self.client.sendall(message)
                    continue
                kept += message
                if message[:1] in b"ZG":  # ready for the next query, or for the rows of a COPY
                    if self.held == "half":
                        self.client.sendall(kept[: len(kept) // 2])
                    break
        with contextlib.suppress(OSError):
            end(self.client, "drop")


def read_message(reader: Any) -> bytes:
    """Read a message: its kind, its length, its content."""
    head: bytes = reader.read(5)
    return head + reader.read(struct.unpack("!I", head[1:])[0] - 4) if len(head) == 5 else b""


def name_of(message: bytes) -> str:
    """Return the statement of a message, or its name."""
    kind = message[:1]
    if kind == b"Q":
        return message[5:-1].decode(errors="replace")
    if kind == b"P":
        return message[5:].split(b"\0", 2)[1].decode(errors="replace")
    return {b"d": "CopyData", b"c": "CopyDone"}.get(kind, "")


# The program


def main(folder: str, user: str, program: str, *arguments: str) -> int:
    """Be the server `program`: front the ports of its arguments, and run it on others."""
    plan, moved, rest = Plan(Path(folder)), {}, list(arguments)
    for index, word in enumerate(rest):
        found = re.fullmatch(r"(port=|127\.0\.0\.1:)(\d+)", word)
        if found:
            moved[int(found[2])] = free = find_port()
            rest[index] = f"{found[1]}{free}"
    child = subprocess.Popen(
        [program, *rest], user=int(user) if user != "-" else None, extra_groups=[] if user != "-" else None
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, frame: child.send_signal(signum))
    fronting = postgres_fronting if any(word.startswith("port=") for word in arguments) else http_fronting
    for port, free in moved.items():
        serve(port, fronting(plan, free))
    return child.wait()


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
