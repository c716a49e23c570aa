"""What Docker and Compose say, and what becomes of it: texts of Docker 20.10 and 28, Compose 2.26 and 2.40."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv.engines.docker.api import Container, away, epoch_s, read_container
from tasks.localenv.engines.docker.composemessages import (
    Conflict,
    Ending,
    MissingImage,
    NetworkGone,
    PortTaken,
    clean,
    ended,
    explain,
    explain_state_error,
    is_pull,
    parse_version,
    progress,
)
from tasks.localenv.engines.docker.endpoint import DockerEndpoint, find_endpoint, parse_endpoint
from tasks.localenv.engines.docker.preflight import find_compose, preflight
from tasks.localenv.errors import LocalEnvError, PreflightFailed, ServiceFailed, TimedOut, UsageError
from tasks.localenv.settings import Settings, read_settings

DAEMON = "Error response from daemon: "
SETUP = "failed to set up container networking: "
CONNECTIVITY = "driver failed programming external connectivity on endpoint shop-db-1 (0a1b): "


@pytest.mark.parametrize(
    "text",
    [
        f"{CONNECTIVITY}Error starting userland proxy: listen tcp4 127.0.0.1:15432: bind: address already in use",
        f"{SETUP}{CONNECTIVITY}failed to bind host port for 127.0.0.1:15432:172.19.0.2:5432/tcp: "
        "address already in use",
        f"{CONNECTIVITY}Bind for 127.0.0.1:15432 failed: port is already allocated",
        "ports are not available: exposing port TCP 127.0.0.1:15432 -> 127.0.0.1:0: listen tcp4 127.0.0.1:15432: bind: "
        "address already in use",
    ],
)
def test_a_taken_port_is_read_from_every_wording(text: str) -> None:
    for error in (explain([DAEMON + text]), explain_state_error("shop-db-1", text)):
        assert isinstance(error, PortTaken)
        assert (error.port, error.message) == (15432, f"port 15432 is taken: {text}")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('Get "https://registry.example/v2/": dial tcp: lookup registry.example on 10.0.0.2:53: no such host', ""),
        ('Get "https://registry.example/v2/": net/http: TLS handshake timeout', ""),
        ("no such image: redis:7-alpine: No such image: redis:7-alpine", "redis:7-alpine"),
        ("No such image: amazon/dynamodb-local:3.3.0", "amazon/dynamodb-local:3.3.0"),
        ("manifest for postgres:99 not found: manifest unknown: manifest unknown", "postgres:99"),
        (
            "pull access denied for nobody/nothing, repository does not exist or may require 'docker login'",
            "nobody/nothing",
        ),
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.", ""),
        ('failed to resolve reference "docker.io/library/postgres:99": not found', ""),
    ],
)
def test_an_image_that_cannot_be_had_is_told_from_other_troubles(line: str, name: str) -> None:
    error = explain([" db Pulling ", DAEMON + line])
    which = f"image {name}" if name else "an image"
    assert isinstance(error, MissingImage)
    assert error.message == f"{which} is not on this machine and cannot be pulled: {line}"
    assert f"`docker {'pull ' + name if name else 'compose pull'}`" in error.hint
    assert ("docker login" in error.hint) == ("denied" in line or "toomany" in line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "yaml: line 4: did not find expected node content",
            "docker-compose.yml:4: did not find expected node content",
        ),
        (
            "validating /home/me/shop/docker-compose.yml: services.a Additional property portz is not allowed",
            "docker-compose.yml: services.a Additional property portz is not allowed",
        ),
        (
            "validating /home/me/shop/docker-compose.yml: services.a additional properties 'portz' not allowed",
            "docker-compose.yml: services.a additional properties 'portz' not allowed",
        ),
        ("Invalid hostPort: abc", "docker-compose.yml: Invalid hostPort: abc"),
        (
            'service "a" depends on undefined service "zz": invalid compose project',
            'docker-compose.yml: service "a" depends on undefined service "zz": invalid compose project',
        ),
        (
            "error while interpolating services.a.image: required variable NEEDED is missing a value: set NEEDED",
            "docker-compose.yml: error while interpolating services.a.image: required variable NEEDED is missing a "
            "value: set NEEDED",
        ),
        ("empty compose file", "docker-compose.yml: empty compose file"),
        ("no configuration file provided: not found", "docker-compose.yml: there is no such file"),
        (
            "open /home/me/shop/docker-compose.yml: no such file or directory",
            "docker-compose.yml: there is no such file",
        ),
        ("failed to read /home/me/.env: line 2: key cannot contain a space", ".env:2: key cannot contain a space"),
        ('external volume "vol1" not found', 'docker-compose.yml: external volume "vol1" not found'),
    ],
)
def test_a_wrong_file_is_a_usage_error_with_its_place(line: str, message: str) -> None:
    error = explain([line])
    assert (type(error), error.message) == (UsageError, message)


@pytest.mark.parametrize(
    ("line", "kind", "start"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///d/docker.sock: Get ..",
            PreflightFailed,
            "this user may not use Docker: ",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            PreflightFailed,
            "the Docker engine went away: ",
        ),
        (
            "write /var/lib/docker/x: no space left on device",
            PreflightFailed,
            "no space left for Docker: ",
        ),
        (
            "failed to create network shop_default: could not find an available, non-overlapping IPv4 address pool "
            "among the defaults to assign to the network",
            PreflightFailed,
            "Docker has no network left: ",
        ),
        (
            'Conflict. The container name "/shop-db-1" is already in use by container "0a1b".',
            Conflict,
            "another run of Compose works on this project: ",
        ),
        (
            "network shop_default is ambiguous (2 matches found on name)",
            Conflict,
            "another run of Compose works on this project: ",
        ),
        (
            f"network {'6656b3cd' * 8} not found",
            NetworkGone,
            "the network of a container was removed: ",
        ),
        (
            f"failed to set up container networking: network {'6656b3cd' * 8} not found",
            NetworkGone,
            "the network of a container was removed: ",
        ),
        ("network shop_default not found", Conflict, "another run of Compose works on this project: "),
        ("cannot start a paused container, try unpause instead", ServiceFailed, "cannot start a paused container"),
        ("container bad-sick-1 is unhealthy", ServiceFailed, "docker compose up: "),
    ],
)
def test_other_troubles_keep_the_line_that_says_them(line: str, kind: type[LocalEnvError], start: str) -> None:
    error = explain([" Container shop-db-1  Starting", DAEMON + line])
    assert type(error) is kind
    assert error.message.startswith(start)
    assert error.message.endswith(line)
    assert error.hint


def test_warnings_and_silence_are_no_cause() -> None:
    warning = 'time="2026-11-21T10:00:00Z" level=warning msg="The \\"X\\" variable is not set."'
    assert explain(["what went wrong", warning]).message == "docker compose up: what went wrong"
    assert explain([warning]).message == "docker compose up: it said nothing"


def test_a_program_that_cannot_start_is_cut_out_of_the_engines_words() -> None:
    text = (
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
        'exec: "/nope": stat /nope: no such file or directory: unknown'
    )
    assert explain_state_error("shop-db-1", text).message == (
        'container shop-db-1 cannot start its program: exec: "/nope": stat /nope: no such file or directory'
    )


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (Ending(exit_code=3), "container shop-db-1 exited with code 3"),
        (Ending(exit_code=137), "container shop-db-1 exited with code 137: ended by SIGKILL"),
        (Ending(exit_code=137, oom_killed=True), "container shop-db-1 exited with code 137: it was out of memory"),
        (Ending(exit_code=1, restarts=4), "container shop-db-1 exited with code 1: it was restarted 4 times"),
    ],
)
def test_an_ended_container_says_how(ending: Ending, message: str) -> None:
    error = ended("shop-db-1", replace(ending, log="\n".join(f"\x1b[2Kline {number}" for number in range(30))))
    assert (error.message, error.evidence.splitlines()) == (message, [f"line {number}" for number in range(10, 30)])


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.26.1-4\n", (2, 26, 1)),
        ("v2.27.0", (2, 27, 0)),
        ("2.40.3-desktop.1", (2, 40, 3)),
        ("5.0", (5, 0, 0)),
        ("docker: 'compose' is not a docker command.", ()),
        ("", ()),
    ],
)
def test_versions_of_compose(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (" Container shop-db-1  Started", "container shop-db-1 started"),
        (" Container shop-db-1  Recreated", "container shop-db-1 recreated"),
        (" Container shop-db-1  Created", ""),
        (" Container shop-db-1  Starting", ""),
        (' Volume "shop_db"  Created', "volume shop_db created"),
        (" Network shop_default  Created", ""),
        (" db Pulling ", "db: pulling the image"),
        (" Image postgres:17-alpine Pulled ", "postgres:17-alpine: pulled the image"),
        (' time=".." level=warning msg="The \\"X\\" variable is not set."', 'compose: The "X" variable is not set.'),
        (' level=warning msg="docker-compose.yml: `version` is obsolete"', ""),
    ],
)
def test_progress_is_one_short_line_a_result(line: str, said: str) -> None:
    assert progress(line) == said


def test_downloads_are_seen() -> None:
    lines = [" db Pulling ", " 0a1b Pulling fs layer ", " 0a1b Downloading [=>  ]  1MB/9MB", " Container x  Started"]
    assert [is_pull(line) for line in lines] == [True, True, True, False]


def test_terminal_sequences_are_removed() -> None:
    assert clean("\x1b[2K\x1b[32mready\x1b[0m \n") == "ready"


@pytest.mark.parametrize(
    ("state", "status", "alive", "code", "healthy"),
    [
        ("running", "Up 3 seconds (healthy)", True, None, True),
        ("running", "Up 3 seconds (health: starting)", True, None, False),
        ("paused", "Up 3 seconds (Paused)", True, None, False),
        ("restarting", "Restarting (1) 2 seconds ago", True, 1, False),
        ("exited", "Exited (137) 2 minutes ago", False, 137, False),
        ("created", "Created", False, None, False),
    ],
)
def test_a_containers_row_is_read(state: str, status: str, alive: bool, code: int | None, healthy: bool) -> None:
    container = read_container(
        {
            "Id": "0a1b",
            "Names": ["/shop-db-1"],
            "Image": "postgres:17-alpine",
            "State": state,
            "Status": status,
            "Created": 5,
            "Ports": [{"PrivatePort": 5432, "Type": "tcp"}, {"PrivatePort": 5432, "PublicPort": 15432, "Type": "tcp"}],
            "Labels": {"com.docker.compose.service": "db", "standin": "postgres"},
        }
    )
    assert container == Container("0a1b", "shop-db-1", "postgres:17-alpine", state, status, 5, frozenset({15432}))
    assert (container.service, container.version) == ("db", "postgres:17-alpine (stand-in)")
    assert (container.is_alive, container.exit_code, container.is_healthy) == (alive, code, healthy)


def test_the_engines_times_are_read() -> None:
    times = ("1970-01-01T00:01:00.123456789Z", "0001-01-01T00:00:00Z", "")
    assert [epoch_s(time) for time in times] == [60, 0, 0]


SOCKET = "unix:///run/user/1000/docker.sock"


def context(folder: Path, name: str, host: str) -> None:
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


def test_the_endpoint_is_that_of_docker_host_else_of_the_context_else_the_default(tmp_path: Path) -> None:
    def found(**environ: str) -> tuple[str, str]:
        endpoint = find_endpoint({"DOCKER_CONFIG": str(tmp_path), **environ})
        return endpoint.url, endpoint.source

    assert found() == ("unix:///var/run/docker.sock", "the default")
    context(tmp_path, "rootless", SOCKET)
    (tmp_path / "config.json").write_text('{"currentContext": "rootless"}')
    assert found() == (SOCKET, "the Docker context 'rootless'")
    assert found(DOCKER_CONTEXT="default") == ("unix:///var/run/docker.sock", "the default")
    assert found(DOCKER_HOST="tcp://localhost:2375") == ("tcp://localhost:2375", "DOCKER_HOST")
    assert found(DOCKER_HOST=SOCKET, DOCKER_CONTEXT="nosuch") == (SOCKET, "DOCKER_HOST")
    with pytest.raises(PreflightFailed, match="there is no Docker context 'nosuch'"):
        found(DOCKER_CONTEXT="nosuch")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(PreflightFailed, match=r"config\.json cannot be read: "):
        found()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssh://me@server", "DOCKER_HOST points at ssh://me@server: containers there open their ports on that machine"),
        (
            "tcp://docker:2375",
            "DOCKER_HOST points at tcp://docker:2375: containers there open their ports on that machine",
        ),
        ("garbage", "DOCKER_HOST is 'garbage', which is not an address such as unix:///var/run/docker.sock"),
        ("/var/run/docker.sock", "DOCKER_HOST is '/var/run/docker.sock', which is not an address such as unix:///"),
        ("tcp://localhost:port", "DOCKER_HOST is not an address: "),
    ],
)
def test_an_engine_elsewhere_or_nowhere_is_refused(text: str, message: str) -> None:
    with pytest.raises(PreflightFailed) as caught:
        parse_endpoint(text, "DOCKER_HOST")
    assert caught.value.message.startswith(message)
    assert caught.value.hint.endswith("use --engine embedded")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(2, "x"), "the Docker engine is not running: there is no socket /d.sock (the default)"),
        (ConnectionRefusedError(111, "x"), "the Docker engine is not running: nobody answers at /d.sock (the default)"),
        (
            PermissionError(13, "x"),
            "this user may not use the Docker engine at /d.sock (the default): permission denied",
        ),
        (TimeoutError(), "the Docker engine at /d.sock (the default) does not answer in time"),
        (OSError("odd"), "no Docker engine at /d.sock (the default): odd"),
    ],
)
def test_an_engine_that_does_not_answer_says_why(error: Exception, message: str) -> None:
    said = away(DockerEndpoint("unix:///d.sock", "the default", socket="/d.sock"), error)
    assert (said.message, said.hint != "", isinstance(said, TimedOut)) == (message, True, False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(root=tmp_path, environ={"LOCALENV_SERVICES": "postgres,dynamodb,cognito"})


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_without_docker_nothing_else_is_asked(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = preflight(settings)
    assert (found.ok, found.reason) == (False, "docker is not installed")
    assert found.hint.endswith("use --engine embedded")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "postgresql://postgres:password@[::1]:5432/shop",
            "CONNECTION_URL wants ::1, and docker-compose.yml publishes on 127.0.0.1 alone",
        ),
        (
            "postgresql://postgres@localhost:5432/shop",
            "CONNECTION_URL has no password, and the Postgres image does not start without one",
        ),
    ],
)
def test_settings_that_containers_cannot_serve_are_named(tmp_path: Path, url: str, reason: str) -> None:
    found = preflight(read_settings(root=tmp_path, environ={"CONNECTION_URL": url}))
    assert (found.ok, found.reason) == (False, reason)


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ({"docker": "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1"}, "its plugin Compose v2 is not"),
        (
            {"docker": "exit 1", "docker-compose": "echo 1.29.2"},
            "docker-compose is version 1.29.2, wanted 2.20 or later",
        ),
        ({"docker": "echo v2.6.0"}, "docker compose is version 2.6.0, wanted 2.20 or later"),
    ],
    ids=["none", "version 1", "old"],
)
def test_compose_that_is_missing_or_old_is_refused(
    programs: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in programs.items():
        program(tmp_path / "bin", name, script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(PreflightFailed) as caught:
        find_compose()
    assert caught.value.message.endswith(message)


def test_compose_by_itself_serves_where_dockers_plugin_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "docker", "exit 1")
    program(tmp_path / "bin", "docker-compose", "echo 2.40.3")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_compose() == (("docker-compose",), "2.40.3")
