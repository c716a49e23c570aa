"""The Docker engine's address: DOCKER_HOST, else the chosen context, else Docker's default. Connects nowhere.

The SDK knows only DOCKER_HOST; Docker Desktop, colima and rootless Docker are found by their context.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...errors import PreflightFailed

STANDARD_SOCKET = "unix:///var/run/docker.sock"
OTHER_ENGINE = "or use --engine embedded"


@dataclass(frozen=True)
class DockerEndpoint:
    """A Docker engine on this machine: a Unix socket, or plain TCP on loopback. `source` says what names it."""

    url: str
    source: str
    socket: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.socket or f"{self.host}:{self.port}"


def find_endpoint(environ: Mapping[str, str] | None = None) -> DockerEndpoint:
    """Return the endpoint that the docker program would use.

    DOCKER_HOST wins over DOCKER_CONTEXT, and that over `docker context use` (tried with Docker 28).
    Raises PreflightFailed where the endpoint cannot be read, or is not on this machine.
    """
    environ = os.environ if environ is None else environ
    if environ.get("DOCKER_HOST"):
        return parse_endpoint(environ["DOCKER_HOST"], "DOCKER_HOST")
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "~")).expanduser() / ".docker")
    name = environ.get("DOCKER_CONTEXT") or _read_json(folder / "config.json").get("currentContext") or "default"
    if name == "default":
        return parse_endpoint(STANDARD_SOCKET, "the default")
    return parse_endpoint(_context_host(folder, name), f"the Docker context {name!r}")


def parse_endpoint(text: str, source: str) -> DockerEndpoint:
    """Parse unix:///path or tcp://host:port. Raises PreflightFailed for anything else."""
    try:
        parts = urlsplit(text)
        port = parts.port or 2375
    except ValueError as error:
        raise PreflightFailed(f"{source} is not an address: {error}", hint=f"correct it, {OTHER_ENGINE}") from error
    if parts.scheme == "unix" and parts.path:
        return DockerEndpoint(text, source, socket=parts.path)
    if parts.scheme in ("tcp", "http") and parts.hostname and _is_loopback(parts.hostname):
        return DockerEndpoint(f"tcp://{parts.hostname}:{port}", source, host=parts.hostname, port=port)
    if parts.scheme in ("tcp", "http", "https", "ssh") and parts.hostname:
        raise PreflightFailed(
            f"{source} points at {text}: containers there open their ports on that machine, not on this one",
            hint=f"choose an engine on this machine with `docker context use default`, {OTHER_ENGINE}"
            if source != "DOCKER_HOST"
            else f"unset DOCKER_HOST, {OTHER_ENGINE}",
        )
    raise PreflightFailed(
        f"{source} is {text!r}, which is not an address such as {STANDARD_SOCKET}",
        hint=f"correct it or unset it, {OTHER_ENGINE}",
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context_host(folder: Path, name: str) -> str:
    """Read a context's engine from Docker's file, whose folder is the SHA-256 of the context's name."""
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    host = _read_json(meta).get("Endpoints", {}).get("docker", {}).get("Host", "")
    if not host:
        raise PreflightFailed(
            f"there is no Docker context {name!r}",
            hint=f"choose one of `docker context ls` with `docker context use`, {OTHER_ENGINE}",
        )
    return str(host)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PreflightFailed(
            f"{path} cannot be read: {reason}", hint=f"correct the file or its permissions, {OTHER_ENGINE}"
        ) from error
    return found if isinstance(found, dict) else {}
