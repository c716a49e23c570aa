"""Addresses of stores: Postgres URLs and HTTP endpoints as parsed, checked values. Nothing connects here."""

from __future__ import annotations

import difflib
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from ..errors import NotLocal, UsageError

if TYPE_CHECKING:
    from .guard import Permit

COMPOSE_HOSTS = ("db", "dynamodb-local")
"""Service names of docker-compose.yml: the stores' host names in the app's own container.

From outside the containers the stores answer on the published port of the loopback address.
"""

OPTIONS = frozenset(
    {
        "sslmode",
        "sslnegotiation",
        "sslcompression",
        "sslcert",
        "sslkey",
        "sslcertmode",
        "sslrootcert",
        "sslcrl",
        "sslcrldir",
        "sslsni",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "channel_binding",
        "require_auth",
        "gssencmode",
        "krbsrvname",
        "gsslib",
        "gssdelegation",
        "connect_timeout",
        "application_name",
        "client_encoding",
        "target_session_attrs",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    }
)
"""The options allowed in a connection URL: they say how to connect, never where, as whom or with which settings.

PostgreSQL docs, "Connection URIs": an option overrides the URL's other parts, so `?host=` means another server.
"""
ELSEWHERE = {
    "host": "before the port: postgresql://user@HOST:5432/database",
    "hostaddr": "as the host: postgresql://user@ADDRESS:5432/database",
    "port": "behind the host: postgresql://user@host:PORT/database",
    "dbname": "behind the port: postgresql://user@host:5432/DATABASE",
    "user": "before the host: postgresql://USER@host:5432/database",
    "password": "behind the user: postgresql://user:PASSWORD@host:5432/database",
    "service": "out: postgresql://user:password@host:5432/database",
    "servicefile": "out: postgresql://user:password@host:5432/database",
    "passfile": "out, with the password behind the user: postgresql://user:PASSWORD@host:5432/database",
    "options": "as a setting of the role: ALTER ROLE name SET search_path = …",
}
"""How to write what is not allowed as an option."""
ESCAPES = "write / ? # and @ within a user or password as %2F %3F %23 and %40"


@dataclass(frozen=True)
class PostgresAddress:
    """A Postgres database: the parts of a connection URL, and the permit to change it, if any.

    `options` are libpq's, only those in OPTIONS. `is_local`: it is the local target's. Every connection takes all its
    parameters from here.
    """

    host: str
    port: int
    user: str
    password: str
    database: str
    options: tuple[tuple[str, str], ...] = ()
    is_local: bool = field(default=False, compare=False)
    permit: Permit | None = field(default=None, compare=False, repr=False)

    def url(self, *, masked: bool = True) -> str:
        """Return the address as a URL, with the password as *** if `masked`."""
        from urllib.parse import quote

        secret = f":{'***' if masked else quote(self.password, safe='')}" if self.password else ""
        query = f"?{urlencode(self.options)}" if self.options else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = quote(self.user, safe="")
        return f"postgresql://{user}{secret}@{host}:{self.port}/{quote(self.database, safe='')}{query}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True)
class Endpoint:
    """An HTTP endpoint of an AWS API on this machine."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self}"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_postgres_url(text: str) -> PostgresAddress:
    """Parse postgresql://user:password@host:port/database?option=value.

    Raises UsageError with what is missing or not allowed. No message repeats a part of the text: if a password is not
    escaped, any part may be a piece of it.
    """
    parts, port = _split(text, "a Postgres URL")
    if parts.scheme not in ("postgresql", "postgres"):
        raise UsageError(f"not a Postgres URL: the scheme is {parts.scheme or 'missing'!r}, wanted 'postgresql'")
    path, rest = parts.path.strip("/"), parts.query + parts.fragment
    if "@" in path + rest or parts.fragment:
        raise UsageError("not a Postgres URL: a / ? or # comes before its @", hint=ESCAPES)
    missing = [
        name for name, value in (("user", parts.username), ("host", parts.hostname), ("database", path)) if not value
    ]
    if missing:
        raise UsageError(f"Postgres URL without {' and '.join(missing)}", hint=ESCAPES)
    user, password, database = (unquote(part or "") for part in (parts.username, parts.password, path))
    host = parts.hostname or ""
    if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host) or re.search(r"[\x00-\x1f\x7f]", user + password + database):
        raise UsageError("not a Postgres URL: a part of it has invalid characters", hint=ESCAPES)
    return PostgresAddress(host, port or 5432, user, password, database, _options(parts.query))


def _split(text: str, what: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(text)
        return parts, parts.port
    except ValueError:  # its text repeats a part of the URL, which may be a piece of a password
        raise UsageError(f"not {what}: its host or port is invalid", hint=ESCAPES) from None


def _options(query: str) -> tuple[tuple[str, str], ...]:
    options = tuple(parse_qsl(query, keep_blank_values=True))
    names = [name for name, _ in options]
    for name in names:
        if name in ELSEWHERE:
            raise UsageError(f"option {name} is not allowed in a Postgres URL", hint=f"write it {ELSEWHERE[name]}")
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else "leave it out: libpq has no such option for a client"
            raise UsageError(f"option {name!r} is not one of a Postgres URL", hint=hint)
        if names.count(name) > 1:
            raise UsageError(f"option {name} appears twice in the Postgres URL", hint="remove one of them")
    return options


def parse_endpoint(text: str) -> Endpoint:
    """Parse http://host:port. Raises UsageError for anything else; local engines speak plain HTTP."""
    parts, port = _split(text, "an endpoint")
    if (
        parts.scheme != "http"
        or not parts.hostname
        or not port
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise UsageError("not a local endpoint: wanted http://host:port")
    if "@" in parts.netloc:
        raise UsageError("a local endpoint has no user or password", hint="write it as http://host:port")
    return Endpoint(parts.hostname, port)


def parse_checkip_url(text: str) -> str:
    """Accept the URL of a service that answers with the caller's public address. Raises UsageError.

    Whoever forges that answer can open the production database to himself: plain HTTP is for this machine only.
    """
    parts, _ = _split(text, "a URL")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("not a URL such as https://checkip.amazonaws.com")
    if parts.scheme == "http":
        try:
            loopback_host(parts.hostname)
        except NotLocal as error:
            raise UsageError(
                f"http://{parts.hostname} is not encrypted: what it answers could be forged", hint="use https://"
            ) from error
    return text


def loopback_host(host: str) -> str:
    """Return the loopback address of a host that the local target may use.

    Raises NotLocal for every host that is neither loopback nor a service of docker-compose.yml.
    """
    if host == "localhost" or host in COMPOSE_HOSTS:
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise NotLocal(f"host {host!r} is not this machine")
