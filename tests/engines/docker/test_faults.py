"""A Docker engine that keeps silent, hangs up, or answers what no Docker engine answers. No engine is needed here."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.engines.docker.api import DockerApi
from tasks.localenv.engines.docker.containers import ComposeServices
from tasks.localenv.engines.docker.endpoint import DockerEndpoint, parse_endpoint
from tasks.localenv.engines.docker.preflight import preflight
from tasks.localenv.errors import LocalEnvError, PreflightFailed, ServiceFailed
from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import environment, inv

pytestmark = pytest.mark.reliability("faults")

Answer = Callable[[str], bytes | None]
"""Takes the path that is asked for and gives the answer; None is silence."""


def http(body: object, status: str = "200 OK") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Answer], DockerEndpoint]]:
    """Serve a Docker engine at a socket, with a function as the engine."""
    servers: list[tuple[socket.socket, threading.Thread]] = []
    over = threading.Event()

    def start(answer: Answer) -> DockerEndpoint:
        path = tmp_path_factory.mktemp("engine") / "s"
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()

        def handle(connection: socket.socket) -> None:
            with connection:
                head = connection.recv(65536)
                found = answer(head.split(b" ")[1].decode()) if head else b""
                if found is None:
                    over.wait(60)
                else:
                    connection.sendall(found)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        servers.append((server, thread))
        return parse_endpoint(f"unix://{path}", "DOCKER_HOST")

    yield start
    over.set()
    for server, thread in servers:
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        server.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environ={**environment(tmp_path / "state"), "LOCALENV_ENGINE": "docker"})


@pytest.fixture
def docker_program(tmp_path: Path) -> str:
    """The PATH with a docker program that knows its version, and no more."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$2" = version ] && echo 2.40.3 || exit 1\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


WRONG = {
    "a list": (http([]), "was answered 200: the answer is a list, not an object"),
    "nothing known": (http({}), "was answered 200: no Version"),
    "a number": (http({"Version": 1}), "was answered 200: Version is a number, not a string"),
    "HTML": (http(b"<html>It works!</html>"), "was answered 200: no JSON"),
    "empty": (http(b""), "was answered 200: nothing"),
    "bad UTF-8": (http(b'{"ApiVersion": "\xff"}'), "was answered 200: no JSON"),
    "refused": (http({"message": "no"}, "500 Oh"), ": no"),
    "refused in HTML": (http(b"<html>", "503 Oh"), ": 503"),
    "moved": (http(b"", "302 Found"), ": 302"),
    "hung up": (b"", "Remote end closed connection without response"),
    "half": (b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"Api', "an incomplete answer"),
    "garbage": (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2"),
}


@pytest.mark.parametrize(("answer", "reason"), WRONG.values(), ids=WRONG.keys())
def test_what_no_docker_engine_answers_is_told(
    serve: Callable[[Answer], DockerEndpoint], answer: bytes, reason: str
) -> None:
    endpoint = serve(lambda path: answer)
    with pytest.raises(LocalEnvError) as caught:
        DockerApi(endpoint).ping()
    assert str(endpoint) in caught.value.message
    assert reason in caught.value.message
    assert caught.value.hint


ROW = {"Id": "1", "Names": ["/a"], "Image": "i", "State": "running", "Status": "Up", "Created": 1, "Labels": {}}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ({}, "the answer is an object, not a list"),
        ([1], "[0] is a number, not an object"),
        ([{**ROW, "Names": "a"}], "[0].Names is a string, not a list"),
        ([{**ROW, "State": {}}], "[0].State is an object, not a string"),
        ([{**ROW, "Created": None}], "no [0].Created"),
        ([{**ROW, "Labels": {"a": 1}}], "[0].Labels.a is a number, not a string"),
        ([{**ROW, "Ports": ["x"]}], "[0].Ports[0] is a string, not an object"),
    ],
)
def test_a_list_of_containers_that_is_none_is_told(
    serve: Callable[[Answer], DockerEndpoint], rows: object, fault: str
) -> None:
    with pytest.raises(ServiceFailed) as caught:
        DockerApi(serve(lambda path: http(rows))).containers("shop")
    assert caught.value.message.endswith(f"was answered 200: {fault}")


def test_a_list_without_what_may_be_missing_is_taken(serve: Callable[[Answer], DockerEndpoint]) -> None:
    rows = [{**ROW, "Names": None, "Ports": None, "Labels": None}]
    assert [one.name for one in DockerApi(serve(lambda path: http(rows))).containers("shop")] == ["1"]


def test_a_silent_engine_is_waited_for_once(
    serve: Callable[[Answer], DockerEndpoint], settings: Settings, docker_program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def silence(path: str) -> None:
        asked.append(path)

    endpoint = serve(silence)
    monkeypatch.setenv("DOCKER_HOST", endpoint.url)
    monkeypatch.setenv("PATH", docker_program)
    reason = f"the Docker engine at {endpoint} (DOCKER_HOST) does not answer in time"
    states = ComposeServices(settings, ("postgres", "dynamodb")).look()
    assert [(state.status, state.detail) for state in states] == [("failed", reason)] * 2
    found = preflight(settings)
    assert (found.ok, found.reason, found.hint) == (False, reason, "restart it, or use --engine embedded")
    with pytest.raises(PreflightFailed):
        engines.choose(settings)
    assert len(asked) == 1


def test_an_engine_whose_line_is_full_does_not_answer_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(0)
        others = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for one in others:
            one.setblocking(False)
            one.connect_ex(str(tmp_path / "s"))
        with pytest.raises(PreflightFailed, match="does not answer in time"):
            DockerApi(parse_endpoint(f"unix://{tmp_path / 's'}", "DOCKER_HOST"), 0.3).ping()
        for one in others:
            one.close()


@pytest.mark.parametrize("engine", ["silent", "wrong"])
@pytest.mark.parametrize("kept", [False, True], ids=["to be chosen", "kept"])
@pytest.mark.parametrize("command", ["env.status", "status", "doctor", "env.list", "env.up --plan", "env.down"])
def test_no_command_hangs_or_breaks_over_such_an_engine(
    serve: Callable[[Answer], DockerEndpoint],
    docker_program: str,
    tmp_path: Path,
    command: str,
    kept: bool,
    engine: str,
) -> None:
    endpoint = serve((lambda path: None) if engine == "silent" else (lambda path: http(7)))
    environ = {**environment(tmp_path / "state"), "DOCKER_HOST": endpoint.url, "PATH": docker_program}
    if kept:
        environ["LOCALENV_ENGINE"] = "docker"
        from tasks.localenv.engines.state import Choice, keep_choice

        (tmp_path / "state").mkdir()
        keep_choice(tmp_path / "state", Choice("docker", "as it was"))
    else:
        environ["LOCALENV_ENGINE"] = "auto"
    done = inv(*command.split(), environ=environ)
    assert "Traceback" not in done.stderr
    assert done.code in (0, 1, 4, 6), done.stderr
    if kept and command not in ("env.list", "env.up --plan"):
        said = "does not answer in time" if engine == "silent" else "was answered 200"
        assert said in done.stdout + done.stderr
