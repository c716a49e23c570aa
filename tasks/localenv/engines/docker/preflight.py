"""Whether the docker engine can be used here. Each obstacle has its own message and hint."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from ...errors import LocalEnvError, PreflightFailed
from ...machine import shell
from ...settings import Settings
from .api import DockerApi, EngineAway
from .composemessages import OLDEST_COMPOSE, parse_version
from .endpoint import OTHER_ENGINE, DockerEndpoint, find_endpoint

PUBLISHED = "127.0.0.1"
INSTALL = f"install Docker with Compose 2.20 or later (https://docs.docker.com/engine/install/), {OTHER_ENGINE}"


@dataclass(frozen=True)
class Preflight:
    """Whether the engine can be used; `reason` says why or why not, `hint` what to do if not."""

    ok: bool
    reason: str
    hint: str = ""


@dataclass(frozen=True)
class DockerTools:
    """The tools found: the engine's endpoint, and the Compose command."""

    endpoint: DockerEndpoint
    compose: tuple[str, ...]
    version: str


_found: list[DockerTools] = []
"""Compose's version does not change during a run, and reading it costs up to 0.1 s."""


def preflight(settings: Settings) -> Preflight:
    """Return whether Docker can serve these settings. Changes nothing; a no takes a few milliseconds."""
    try:
        tools = require_docker(settings)
    except LocalEnvError as error:
        return Preflight(False, error.message, error.hint)
    return Preflight(True, f"Docker answers at {tools.endpoint}, with Compose {tools.version}")


def require_docker(settings: Settings) -> DockerTools:
    """Return the tools to serve these settings. Raises PreflightFailed with the first thing that is missing."""
    _require_addresses(settings)
    return find_docker()


def find_docker() -> DockerTools:
    """Return the engine and Compose. Raises EngineAway where none can run, PreflightFailed for other obstacles."""
    if not shutil.which("docker") and not shutil.which("docker-compose"):
        raise EngineAway("docker is not installed", hint=INSTALL)
    endpoint = find_endpoint()
    DockerApi(endpoint).ping()
    if _found and _found[0].endpoint == endpoint:
        return _found[0]
    _found[:] = [DockerTools(endpoint, *find_compose())]
    return _found[0]


def find_compose() -> tuple[tuple[str, ...], str]:
    """Return the Compose command and its version. Raises PreflightFailed when there is none, or an old one.

    Version 1 cannot be supported: given `up -d --wait`, it prints its help, starts nothing and exits with 0.
    """
    old = ""
    for command in (("docker", "compose"), ("docker-compose",)):
        if not shutil.which(command[0]):
            continue
        said = shell.run([*command, "version", "--short"], timeout_s=20).stdout.strip()
        version = parse_version(said)
        if version >= OLDEST_COMPOSE:
            return command, said.lstrip("v")
        old = f"{' '.join(command)} is version {said.lstrip('v')}" if version else old
    if old:
        wanted = ".".join(map(str, OLDEST_COMPOSE))
        raise PreflightFailed(f"{old}, wanted {wanted} or later", hint=INSTALL)
    raise PreflightFailed("docker is here, but its plugin Compose v2 is not", hint=INSTALL)


def _require_addresses(settings: Settings) -> None:
    """Raise PreflightFailed where docker-compose.yml cannot serve the settings."""
    for name, host in (
        ("CONNECTION_URL", settings.postgres.host),
        ("AWS_ENDPOINT_URL_DYNAMODB", settings.dynamodb.host if settings.dynamodb else PUBLISHED),
    ):
        if host != PUBLISHED:
            raise PreflightFailed(
                f"{name} wants {host}, and docker-compose.yml publishes on {PUBLISHED} alone",
                hint=f"set localhost in {name}, {OTHER_ENGINE}",
            )
    if not settings.postgres.password:
        raise PreflightFailed(
            "CONNECTION_URL has no password, and the Postgres image does not start without one",
            hint=f"put one into CONNECTION_URL, {OTHER_ENGINE}",
        )
