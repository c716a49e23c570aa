"""The environment variables that the app needs for the local environment, in the format of each reader."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import replace

from ..aws.boto import LOCAL_KEY
from ..cognito.seed import find_client
from ..cognito.tokens import issuer, jwks_url
from ..cognito.users import look_for_pool, noted_pools
from ..engines.docker.api import DockerApi
from ..engines.docker.endpoint import find_endpoint
from ..errors import LocalEnvError, UsageError
from ..settings import Settings
from ..settings.addresses import Endpoint
from ..settings.variables import PORT_VARIABLES

FORMATS = ("shell", "dotenv", "json", "github", "docker")
CONTAINER_HOST = "host.docker.internal"
"""Docker Desktop's name, inside a container, for this machine's loopback address."""


def variables(settings: Settings, *, legacy: bool = False) -> dict[str, str]:
    """Return the variables that the app needs, without unknown ones (a pool that does not exist yet).

    `legacy` adds AWS_ENDPOINT_URL, which SDKs before July 2023 need instead of service-specific variables, and which
    newer ones apply to every service. Asks the emulator for its app client, and leaves that out if it is down.
    """
    pool, client = _pool(settings) if settings.cognito_is_emulated else (settings.user_pool_id, "")
    dynamodb = settings.dynamodb.url if settings.dynamodb else ""
    # A real pool needs the user's own keys, or the profile that stands in for them; the local engines take any.
    keys = (LOCAL_KEY, LOCAL_KEY) if settings.cognito else (settings.access_key, settings.secret_key)
    found = {
        "CONNECTION_URL": settings.postgres.url(masked=False),
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
        "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": settings.cognito.url if settings.cognito else "",
        "AWS_ENDPOINT_URL": dynamodb if legacy else "",
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "AWS_SESSION_TOKEN": "" if settings.cognito else settings.session_token,
        "AWS_COGNITO_USER_POOL_ID": pool,
        "AWS_COGNITO_USER_POOL_CLIENT_ID": client or settings.user_pool_client_id,
        "AWS_COGNITO_ISSUER": issuer(settings, pool) if pool else "",
        "AWS_COGNITO_JWKS_URL": jwks_url(settings, pool) if pool else "",
        "DDB_MESSAGE_TABLE": settings.message_table,
    }
    absent = {PORT_VARIABLES[service] for service, _ in settings.left_out}
    return {name: value for name, value in found.items() if value and name not in absent}


def for_container(settings: Settings) -> tuple[Settings, str]:
    """Return the settings for a container, and the command to start it with.

    The services listen on this machine's loopback address. Docker Desktop forwards a host name to it; elsewhere a
    container reaches it only on the host's network.
    """
    if not _is_docker_desktop():
        return settings, "docker run --network host"
    cognito = settings.cognito and Endpoint(CONTAINER_HOST, settings.cognito.port)
    dynamodb = settings.dynamodb and Endpoint(CONTAINER_HOST, settings.dynamodb.port)
    postgres = replace(settings.postgres, host=CONTAINER_HOST)
    return replace(settings, postgres=postgres, dynamodb=dynamodb, cognito=cognito), "docker run"


def as_shell(values: Mapping[str, str]) -> str:
    """Return export commands for `eval` in any Bourne-like shell.

    Always quotes: zsh expands a leading =, which shlex.quote leaves unquoted.
    """
    quoted = {name: value.replace("'", "'\\''") for name, value in values.items()}
    return "".join(f"export {name}='{value}'\n" for name, value in quoted.items())


def as_dotenv(values: Mapping[str, str]) -> str:
    """Return a .env file that python-dotenv and Compose read alike. Raises UsageError for values that they cannot."""
    return "".join(f"{name}={_dotenv_quoted(name, value)}\n" for name, value in values.items())


def as_env_file(values: Mapping[str, str]) -> str:
    """Return a file for `docker run --env-file`, which has no quoting. Raises UsageError for line breaks."""
    for name, value in values.items():
        if "\n" in value or "\r" in value:
            raise UsageError(
                f"{name} has a line break, which a file for `docker run --env-file` cannot hold",
                hint="use --format dotenv with Compose, or set the variable by hand",
            )
    return "".join(f"{name}={value}\n" for name, value in values.items())


def as_github(values: Mapping[str, str]) -> str:
    """Return lines for the file that GITHUB_ENV names. Source: GitHub docs, "Workflow commands", multiline strings."""
    end = f"end-{secrets.token_hex(8)}"
    return "".join(f"{name}<<{end}\n{value}\n{end}\n" for name, value in values.items())


def append_to(path: str, text: str) -> None:
    """Append to the file that GITHUB_ENV names. Raises UsageError if it is empty."""
    if not path:
        raise UsageError(
            "GITHUB_ENV is not set: this is not a GitHub Actions step",
            hint="use --format shell or dotenv elsewhere",
        )
    try:
        # A new file is readable only by its owner.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"GITHUB_ENV: {path} cannot be written: {error.strerror or error}") from error


def _dotenv_quoted(name: str, value: str) -> str:
    """Quote a value for both readers (tested with python-dotenv 1.2 and Compose 2.40).

    In single quotes both support \\' and keep $, but Compose has no \\\\. In double quotes both support \\\\, but
    Compose expands $. python-dotenv expands ${…} everywhere.
    """
    unsupported = "${" if "${" in value else "both $ and a backslash" if "$" in value and "\\" in value else ""
    if unsupported:
        raise UsageError(
            f"{name} has {unsupported}, which no .env file can hold for every reader", hint="use --format shell or json"
        )
    if "\\" not in value:
        return "'" + value.replace("'", "\\'") + "'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'


def _pool(settings: Settings) -> tuple[str, str]:
    """Return the ids of the emulated pool and its app client, if known."""
    try:
        pool = look_for_pool(settings)
        if pool:
            return pool.id, find_client(pool)
    except LocalEnvError:
        pass  # not running: use the pool noted by the last seed
    return next(iter(noted_pools(settings)), ""), ""


def _is_docker_desktop() -> bool:
    try:
        version = DockerApi(find_endpoint()).get("/version", {"Platform?": {"Name?": str}})
        return str((version.get("Platform") or {}).get("Name") or "").startswith("Docker Desktop")
    except LocalEnvError:
        return sys.platform == "darwin"
