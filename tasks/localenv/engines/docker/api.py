"""The Docker engine's HTTP API over its socket, read-only: 5 ms a call, where the docker program takes 77-145 ms.

The SDK takes 0.1 to 0.5 s to load; it does the rarer work (sdk.py). Changes go through Compose (compose.py).
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

from ...errors import LocalEnvError, PreflightFailed, ServiceFailed
from ...machine.answers import LARGEST_BYTES, Each, Shape, read_json, require
from ...machine.waiting import LOOK_S, hang_up, waiting
from .endpoint import OTHER_ENGINE, DockerEndpoint

CONTAINERS: Shape = [
    {
        "Id": str,
        "Names?": [str],
        "Image": str,
        "State": str,
        "Status": str,
        "Created": int,
        "Ports?": [dict],
        "Labels?": Each(str),
    }
]
NAMED: Shape = [{"Name": str, "Labels?": Each(str)}]
INSPECTED: Shape = {
    "State": {"StartedAt?": str},
    "Config": {"Env?": [str]},
    "NetworkSettings?": {"Networks?": Each({"NetworkID?": str})},
}
"""Source of the shapes: Docker Engine API; only the fields that are read."""
WORK_S = 10.0
"""How long a call may take while the engine works: it answers late while it creates containers."""
SILENT_S = 5.0
_silent: dict[DockerEndpoint, float] = {}
"""Engines that did not answer in time, and when: a command that calls several times need not wait each time."""
NOT_DOCKER = f"check what answers there, {OTHER_ENGINE}"
LABEL = "com.docker.compose."
STANDIN = "standin"
"""Label of a test image that has a published image's name."""


class EngineAway(PreflightFailed):
    """No engine answers, so no container runs."""


@dataclass(frozen=True)
class Container:
    """A container, as a list call describes it.

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
        """Return one of Compose's labels: project, service, config-hash, project.working_dir."""
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
        """Return its last exit code; Docker's list writes it as "Exited (137) …" or "Restarting (1) …"."""
        found = re.match(r"(?:Exited|Restarting) \((\d+)\)", self.status)
        return int(found[1]) if found else None

    @property
    def is_healthy(self) -> bool:
        return "(healthy)" in self.status

    @property
    def is_unhealthy(self) -> bool:
        return "(unhealthy)" in self.status

    @property
    def is_starting(self) -> bool:
        return "(health: starting)" in self.status

    @property
    def version(self) -> str:
        return f"{self.image} (stand-in)" if STANDIN in self.labels else self.image


class DockerApi:
    """The engine's API at one endpoint."""

    def __init__(self, endpoint: DockerEndpoint, timeout_s: float = LOOK_S) -> None:
        self.endpoint = endpoint
        self._timeout_s = timeout_s

    def ping(self) -> None:
        """Raise EngineAway when no engine answers, PreflightFailed when this user may not use it."""
        self.get("/version", {"Version": str})

    def containers(self, project: str) -> list[Container]:
        """List a Compose project's containers, running or not, oldest first, without one-off ones."""
        labels = [f"{LABEL}project={project}", f"{LABEL}oneoff=False"]
        found = self.list_containers({"label": labels})
        return sorted(found, key=lambda container: container.created)

    def list_containers(self, filters: dict[str, list[str]]) -> list[Container]:
        """List the containers that match the filters, running or not."""
        rows = self.get("/containers/json", CONTAINERS, all="1", filters=json.dumps(filters))
        return [read_container(row) for row in rows]

    def names(self, kind: str, project: str) -> list[str]:
        """List the names of a project's `volumes` or `networks`."""
        shape: Shape = {"Volumes?": NAMED} if kind == "volumes" else NAMED
        found = self.get(f"/{kind}", shape, filters=json.dumps({"label": [f"{LABEL}project={project}"]}))
        rows = (found.get("Volumes") or []) if kind == "volumes" else found
        return sorted(row["Name"] for row in rows)

    def volumes(self) -> dict[str, dict[str, str]]:
        """Return the labels of every volume, by its name."""
        found = self.get("/volumes", {"Volumes?": NAMED})
        return {row["Name"]: row.get("Labels") or {} for row in found.get("Volumes") or []}

    def started_at(self, container: Container) -> float:
        """Return the time of its last start, in seconds since the epoch; 0 if it never started or is gone."""
        return epoch_s((self._inspect(container).get("State") or {}).get("StartedAt") or "")

    def environment(self, container: Container) -> dict[str, str]:
        """Return the environment that it was created with; empty if it is gone."""
        pairs = (self._inspect(container).get("Config") or {}).get("Env") or []
        return dict(pair.partition("=")[::2] for pair in pairs)

    def networks_of(self, container: Container) -> set[str]:
        """Return the ids of a container's networks; empty if it is gone."""
        named = (self._inspect(container).get("NetworkSettings") or {}).get("Networks") or {}
        return {network["NetworkID"] for network in named.values() if network.get("NetworkID")}

    def networks(self) -> set[str]:
        """Return the ids of all networks."""
        return {row["Id"] for row in self.get("/networks", [{"Id": str}])}

    def has_image(self, name: str) -> bool:
        return self._ask(f"/images/{name}/json")[0] == 200

    def image_variables(self, name: str) -> dict[str, str]:
        """Return the environment that an image of this machine gives its containers."""
        found = self.get(f"/images/{name}/json", {"Config?": {"Env?": [str]}})
        pairs = (found.get("Config") or {}).get("Env") or []
        return dict(pair.partition("=")[::2] for pair in pairs)

    def get(self, path: str, shape: Shape, **query: str) -> Any:
        """Fetch JSON of a shape. Raises what `ping` raises, LocalEnvError when the engine refuses,
        and ServiceFailed when the answer is not a Docker engine's.
        """
        status, text = self._ask(path, **query)
        subject = f"{path} of {self._where} was answered {status}"
        if status != 200:
            raise LocalEnvError(f"{self._where}: {_refusal(text) or status}", hint="run `docker info`")
        return require(read_json(text, subject, hint=NOT_DOCKER), shape, subject, hint=NOT_DOCKER)

    @property
    def _where(self) -> str:
        return f"the Docker engine at {self.endpoint}"

    @contextmanager
    def stream(self, path: str, *, is_endless: bool, **query: str) -> Iterator[HTTPResponse]:
        """Open an answer for streaming. Raises as `get` does, also while it is read."""
        connection = _Connection(self.endpoint, self._timeout_s)
        try:
            connection.connect()
            if is_endless:
                connection.sock.settimeout(None)
            connection.request("GET", f"{path}?{urlencode(query)}")
            answer = connection.getresponse()
            if answer.status != 200:
                raise LocalEnvError(f"the Docker engine at {self.endpoint}: {answer.status}", hint="run `docker info`")
            yield answer
        except (OSError, HTTPException, ValueError) as error:
            raise away(self.endpoint, error) from error
        finally:
            connection.close()

    def _inspect(self, container: Container) -> dict[str, Any]:
        path = f"/containers/{container.id}/json"
        try:
            found: dict[str, Any] = self.get(path, INSPECTED)
        except ServiceFailed:
            raise
        except LocalEnvError as error:
            if isinstance(error, PreflightFailed):
                raise
            return {}
        return found

    def _ask(self, path: str, **query: str) -> tuple[int, bytes]:
        if time.monotonic() - _silent.get(self.endpoint, float("-inf")) < SILENT_S:
            raise away(self.endpoint, TimeoutError())
        connection = _Connection(self.endpoint, self._timeout_s)
        try:
            with waiting(self._where, self._timeout_s, cut=lambda: hang_up(connection.sock)) as wait:
                connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
                with connection.getresponse() as answer:
                    text = answer.read(LARGEST_BYTES + 1)
                    if answer.length or len(text) > LARGEST_BYTES:
                        raise HTTPException("an incomplete answer")
        except (OSError, HTTPException, ValueError) as error:
            if wait.is_over or isinstance(error, TimeoutError):
                _silent[self.endpoint] = time.monotonic()
                error = TimeoutError()
            raise away(self.endpoint, error) from error
        finally:
            connection.close()
        return answer.status, text


def helper_labels(project: str, service: str) -> dict[str, str]:
    """Return what Compose needs to see that a container is of the project: env.destroy removes one that is left."""
    labels = {"project": project, "service": service, "oneoff": "False", "config-hash": service}
    return {f"{LABEL}{label}": value for label, value in labels.items()}


def _refusal(text: bytes) -> str:
    """Return the engine's reason for a refusal; empty if it gives none."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return str(said.get("message", "")) if isinstance(said, dict) else ""


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
    """Return the error that says why the engine does not answer, and what to do."""
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
    if isinstance(error, TimeoutError | BlockingIOError):  # the latter when its backlog is full
        return PreflightFailed(
            f"the Docker engine at {where} does not answer in time", hint=f"restart it, {OTHER_ENGINE}"
        )
    return PreflightFailed(f"no Docker engine at {where}: {error or type(error).__name__}", hint=start)


def read_container(row: dict[str, Any]) -> Container:
    """Parse one row of GET /containers/json. Source: Docker Engine API, "List containers"."""
    return Container(
        id=row["Id"],
        name=(row.get("Names") or [row["Id"][:12]])[0].lstrip("/"),
        image=row["Image"],
        state=row["State"],
        status=row["Status"],
        created=row["Created"],
        ports=frozenset(port["PublicPort"] for port in row.get("Ports") or () if "PublicPort" in port),
        labels=row.get("Labels") or {},
    )


def epoch_s(time_text: str) -> float:
    """Parse the engine's time, such as 2026-11-21T10:56:19.123456789Z; 0 for a container that never started."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", time_text)
    return float(max(0, calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")))) if found else 0
