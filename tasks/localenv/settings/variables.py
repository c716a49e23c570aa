"""Every environment variable that this project reads: its name, its default and its check, in one table."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import LocalEnvError, UsageError
from .addresses import parse_checkip_url, parse_endpoint, parse_postgres_url

TARGETS = ("local", "prod")
ENGINES = ("auto", "docker", "embedded")
SERVICES = ("postgres", "dynamodb", "cognito")
LOOPBACK = "loopback"
"""As an allowed origin: every origin on this machine, at any port."""


@dataclass(frozen=True)
class Variable:
    """An environment variable that this project reads.

    `formerly` is a fallback name, read if the first one is absent: the app reads AWS_ENDPOINT_URL and means DynamoDB
    alone, while every AWS SDK applies it to every service.
    """

    name: str
    default: str = ""
    parse: Callable[[str], Any] = str
    secret: bool = False
    formerly: str = ""


def checked(where: str, text: str, parse: Callable[[str], Any]) -> Any:
    """Parse a value; an error names its place, `where`."""
    try:
        return parse(text)
    except LocalEnvError as error:
        error.message = f"{where}: {error.message}"
        raise


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a check that accepts only these exact words."""

    def parse(text: str) -> str:
        if text not in allowed:
            near = difflib.get_close_matches(text.lower(), allowed, n=1)
            raise UsageError(
                f"{text!r} is not one of {', '.join(allowed)}", hint=f"did you mean {near[0]!r}?" if near else ""
            )
        return text

    return parse


def pattern(regex: str, what: str) -> Callable[[str], str]:
    """Return a check that accepts what the regular expression fully matches."""

    def parse(text: str) -> str:
        if not re.fullmatch(regex, text):
            raise UsageError(f"{text!r} is not {what}")
        return text

    return parse


def services(text: str) -> tuple[str, ...]:
    """Read the names of services, with commas between them."""
    return tuple(dict.fromkeys(map(choice(*SERVICES), filter(None, re.split(r"[\s,]+", text)))))


def existing_file(text: str) -> Path:
    """Accept the path of a file that exists."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise UsageError(f"no file at {text}")
    return path


def seconds(text: str) -> float:
    """Accept a whole number of seconds, of five digits at most."""
    return float(pattern(r"\d{1,5}", "a whole number of seconds")(text))


def number(text: str) -> int:
    """Accept a whole number of six digits at most."""
    return int(pattern(r"[0-9]{1,6}", "a whole number")(text))


def origins(text: str) -> tuple[str, ...]:
    """Accept web origins in browsers' notation, separated by commas or spaces; `loopback` means all on this machine."""
    return tuple(dict.fromkeys(one for word in re.split(r"[\s,]+", text.lower()) if word for one in [_origin(word)]))


def _origin(text: str) -> str:
    if text == LOOPBACK:
        return text
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise UsageError(f"{text!r} is not an origin: {error}") from error
    allowed = re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host)
    if not allowed or not parts.scheme or "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(
            f"{text!r} is not an origin such as http://localhost:3000",
            hint=f"write scheme, host and port alone; the word {LOOPBACK} allows every origin on this machine",
        )
    name = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{name}" + (f":{port}" if port and port != usual else "")


VARIABLES = (
    Variable("LOCALENV_ENGINE", "auto", choice(*ENGINES)),
    Variable("LOCALENV_SERVICES", "", services),
    Variable("LOCALENV_STATE_DIR", ".local"),
    Variable("LOCALENV_CORS_ORIGINS", LOOPBACK, origins),
    Variable("LOCALENV_HOOK_WAIT_S", "60", seconds),
    Variable("LOCALENV_HOOK_TIMEOUT_S", "600", seconds),
    Variable("LOCALENV_UNDO_KEEP", "3", number),
    Variable("LOCALENV_UNDO_MB", "2000", number),
    Variable(
        "CONNECTION_URL", "postgresql://postgres:password@localhost:5432/cruddur", parse_postgres_url, secret=True
    ),
    Variable("PROD_CONNECTION_URL", "", parse_postgres_url, secret=True),
    Variable("PROD_READ_CONNECTION_URL", "", parse_postgres_url, secret=True),
    Variable("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:8000", parse_endpoint, formerly="AWS_ENDPOINT_URL"),
    Variable("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "http://localhost:9229", parse_endpoint),
    Variable("AWS_DEFAULT_REGION", "us-east-1", pattern(r"[a-z]{2}(-[a-z]+)+-\d", "an AWS region such as us-east-1")),
    Variable("PROD_AWS_ACCOUNT_ID", "", pattern(r"\d{12}", "an AWS account id: 12 digits")),
    Variable("AWS_ACCESS_KEY_ID"),
    Variable("AWS_SECRET_ACCESS_KEY", secret=True),
    Variable("AWS_SESSION_TOKEN", secret=True),
    Variable(
        "AWS_COGNITO_USER_POOL_ID", "", pattern(r"[\w-]+_[0-9a-zA-Z]+", "a user pool id such as us-east-1_AbCdEfGhI")
    ),
    Variable("AWS_COGNITO_USER_POOL_CLIENT_ID"),
    Variable("DDB_MESSAGE_TABLE", "cruddur-messages", pattern(r"[A-Za-z0-9_.-]{3,255}", "a DynamoDB table name")),
    Variable("DYNAMODB_LOCAL_JAR", "", existing_file),
    Variable("DB_SG_ID", "", pattern(r"sg-[0-9a-f]{8,17}", "the id of a security group such as sg-0a1b2c3d4e5f67890")),
    Variable(
        "DB_SG_RULE_ID", "", pattern(r"sgr-[0-9a-f]{8,17}", "the id of a group's rule such as sgr-0a1b2c3d4e5f67890")
    ),
    Variable("GITPOD_IP"),  # often what `curl` printed: no task but rds.* is to fail over it
    Variable("LOCALENV_CHECKIP_URL", "https://checkip.amazonaws.com", parse_checkip_url),
)

PORT_VARIABLES = {
    "postgres": "CONNECTION_URL",
    "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB",
    "cognito": "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
}
"""The setting that holds the port of each service."""

STANDARD_PORTS = {"postgres": 5432, "dynamodb": 8000, "cognito": 9229}
"""The ports of the defaults above, which an app may have in its code."""

LIBPQ_VARIABLES = (
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
)
"""The variables that tell libpq and its programs where, as whom and with which settings to connect (PostgreSQL docs,
"Environment Variables"). They are ignored here: postgres/libpq.py."""
