"""A look at the Docker engine in a few milliseconds: its HTTP API over the socket, reading only.

The SDK costs 0.1 to 0.5 s to load; it does the rarer work (docker_sdk.py). Changes go through Compose (compose.py).
"""

from __future__ import annotations

import calendar
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode

from ..errors import LocalEnvError, PreflightFailed
from .docker_endpoint import OTHER_ENGINE, DockerEndpoint

TIMEOUT_S = 10.0
LABEL = "com.docker.compose."
STANDIN = "standin"
"""Label of an image made for tests that bears a published image's name."""


class EngineAway(PreflightFailed):
    """No engine answers, so nothing of it runs."""


@dataclass(frozen=True)
class Container:
    """What one list call tells of a container.

    `state` is created, running, paused, restarting, removing, exited or dead; `status` is the same for a human, with
    exit code and health ("Exited (137) 2 minutes ago"). `ports` are those published on this machine.
    """

    id: str
    name: str
    image: str
    state: str
    status: str
    created: int
    ports: frozenset[int] = frozenset()
    labels: dict[str, str] = field(default_factory=dict, compare=False)

    def label(self, name: str) -> str:
        """Give one of Compose's labels: project, service, config-hash, project.working_dir."""
        return self.labels.get(LABEL + name, "")

    @property
    def service(self) -> str:
        return self.label("service")

    @property
    def is_running(self) -> bool:
        return self.state == "running"

    @property
    def is_alive(self) -> bool:
        return self.state in ("running", "paused", "restarting")

    @property
    def exit_code(self) -> int | None:
        """Give the code of its last end; Docker's list writes it as "Exited (137) …" or "Restarting (1) …"."""
        found = re.match(r"(?:Exited|Restarting) \((\d+)\)", self.status)
        return int(found[1]) if found else None

    @property
    def is_healthy(self) -> bool:
        return "(healthy)" in self.status

    @property
    def version(self) -> str:
        return f"{self.image} (stand-in)" if STANDIN in self.labels else self.image


class DockerApi:
    """The engine's API at one endpoint."""

    def __init__(self, endpoint: DockerEndpoint, timeout_s: float = TIMEOUT_S) -> None:
        self.endpoint = endpoint
        self._timeout_s = timeout_s

    def ping(self) -> None:
        """Raise EngineAway when no engine answers, PreflightFailed when this user may not ask it."""
        self.get("/version")

    def containers(self, project: str) -> list[Container]:
        """List a Compose project's containers, running or not, oldest first; one-off ones are left out."""
        labels = [f"{LABEL}project={project}", f"{LABEL}oneoff=False"]
        rows = self.get("/containers/json", all="1", filters=json.dumps({"label": labels}))
        return sorted((read_container(row) for row in rows), key=lambda container: container.created)

    def names(self, kind: str, project: str) -> list[str]:
        """List the names of a project's `volumes` or `networks`."""
        rows = self.get(f"/{kind}", filters=json.dumps({"label": [f"{LABEL}project={project}"]}))
        rows = rows["Volumes"] or [] if kind == "volumes" else rows
        return sorted(row["Name"] for row in rows)

    def started_at(self, container: Container) -> float:
        """Give the time of its last start, in seconds since the epoch; 0 when there was none, or it is gone by now."""
        return epoch_s(self._inspect(container).get("State", {}).get("StartedAt", ""))

    def environment(self, container: Container) -> dict[str, str]:
        """Give the variables that it was made with; none when it is gone by now."""
        pairs = self._inspect(container).get("Config", {}).get("Env") or []
        return dict(pair.partition("=")[::2] for pair in pairs)

    def has_image(self, name: str) -> bool:
        return self._ask(f"/images/{name}/json")[0] == 200

    def get(self, path: str, **query: str) -> Any:
        """Ask for JSON. Raises what `ping` raises, and LocalEnvError when the engine refuses."""
        status, body = self._ask(path, **query)
        if status != 200 or (isinstance(body, dict) and set(body) == {"message"}):
            said = body.get("message", "") if isinstance(body, dict) else ""
            raise LocalEnvError(f"the Docker engine at {self.endpoint}: {said or status}", hint="run `docker info`")
        return body

    @contextmanager
    def stream(self, path: str, **query: str) -> Iterator[HTTPResponse]:
        """Open an answer that has no end of its own. Raises as `get` does, also while it is read."""
        connection = _Connection(self.endpoint, self._timeout_s)
        try:
            connection.connect()
            connection.sock.settimeout(None)
            connection.request("GET", f"{path}?{urlencode(query)}")
            answer = connection.getresponse()
            if answer.status != 200:
                raise LocalEnvError(f"the Docker engine at {self.endpoint}: {answer.status}", hint="run `docker info`")
            yield answer
        except (OSError, HTTPException) as error:
            raise away(self.endpoint, error) from error
        finally:
            connection.close()

    def _inspect(self, container: Container) -> dict[str, Any]:
        status, body = self._ask(f"/containers/{container.id}/json")
        return body if status == 200 else {}

    def _ask(self, path: str, **query: str) -> tuple[int, Any]:
        connection = _Connection(self.endpoint, self._timeout_s)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise away(self.endpoint, error) from error
        finally:
            connection.close()
        try:
            return answer.status, json.loads(body)
        except ValueError:
            return answer.status, {"message": body.decode(errors="replace").strip()}


class _Connection(HTTPConnection):
    """HTTP over a Unix socket, or over TCP."""

    def __init__(self, endpoint: DockerEndpoint, timeout_s: float) -> None:
        super().__init__(endpoint.host or "docker", endpoint.port or None, timeout=timeout_s)
        self._path = endpoint.socket

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def away(endpoint: DockerEndpoint, error: Exception) -> PreflightFailed:
    """Say why the engine does not answer, and what to do about it."""
    where = f"{endpoint} ({endpoint.source})"
    if isinstance(error, PermissionError):
        return PreflightFailed(
            f"this user may not use the Docker engine at {where}: permission denied",
            hint=f"run `sudo usermod -aG docker $USER` and log in again, {OTHER_ENGINE}",
        )
    start = f"start Docker (`sudo systemctl start docker`, or Docker Desktop), {OTHER_ENGINE}"
    if isinstance(error, FileNotFoundError):
        return EngineAway(f"the Docker engine is not running: there is no socket {where}", hint=start)
    if isinstance(error, ConnectionRefusedError):
        return EngineAway(f"the Docker engine is not running: nobody answers at {where}", hint=start)
    if isinstance(error, TimeoutError):
        return PreflightFailed(
            f"the Docker engine at {where} does not answer in time", hint=f"restart it, {OTHER_ENGINE}"
        )
    return PreflightFailed(f"no Docker engine at {where}: {error or type(error).__name__}", hint=start)


def read_container(row: dict[str, Any]) -> Container:
    """Read one row of GET /containers/json. Source: Docker Engine API, "List containers"."""
    return Container(
        id=row["Id"],
        name=(row["Names"] or [row["Id"][:12]])[0].lstrip("/"),
        image=row["Image"],
        state=row["State"],
        status=row["Status"],
        created=row["Created"],
        ports=frozenset(port["PublicPort"] for port in row.get("Ports") or () if "PublicPort" in port),
        labels=row.get("Labels") or {},
    )


def epoch_s(time_text: str) -> float:
    """Read the engine's time, such as 2026-11-21T10:56:19.123456789Z; 0 for a container that was never started."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", time_text)
    return float(max(0, calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")))) if found else 0
