"""Where a store answers: Postgres URLs and HTTP endpoints as parsed, checked values. Nothing connects here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from .errors import NotLocal, UsageError

COMPOSE_HOSTS = ("db", "dynamodb-local")
"""Service names of docker-compose.yml: what the app's own container calls the stores.

From outside the containers they answer on the published port of the loopback address.
"""


@dataclass(frozen=True)
class PostgresAddress:
    """A Postgres database: what a connection URL says, in parts."""

    host: str
    port: int
    user: str
    password: str
    database: str
    options: tuple[tuple[str, str], ...] = ()

    def keywords(self, database: str | None = None) -> dict[str, str | int]:
        """Give psycopg's connection keywords, for this database or another one on the same server."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.database if database is None else database,
            **dict(self.options),
        }

    def url(self, *, masked: bool = True) -> str:
        """Write the address as a URL, with the password as *** unless told otherwise."""
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
    """An HTTP endpoint of an AWS API that runs on this machine."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self}"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_postgres_url(text: str) -> PostgresAddress:
    """Parse postgresql://user:password@host:port/database?option=value.

    Raises UsageError with what is missing; libpq would fall back to a local socket or to the user's name.
    """
    try:
        parts = urlsplit(text)
        port = parts.port or 5432
    except ValueError as error:
        raise UsageError(f"not a Postgres URL: {error}") from error
    if parts.scheme not in ("postgresql", "postgres"):
        raise UsageError(f"not a Postgres URL: the scheme is {parts.scheme or 'missing'!r}, wanted 'postgresql'")
    missing = [
        name
        for name, value in (("user", parts.username), ("host", parts.hostname), ("database", parts.path.strip("/")))
        if not value
    ]
    if missing:
        raise UsageError(f"Postgres URL without {' and '.join(missing)}")
    return PostgresAddress(
        host=parts.hostname or "",
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")),
        options=tuple(parse_qsl(parts.query)),
    )


def parse_endpoint(text: str) -> Endpoint:
    """Parse http://host:port. Raises UsageError for anything else; local engines speak plain HTTP."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"not an endpoint: {error}") from error
    if parts.scheme != "http" or not parts.hostname or not port or parts.path.strip("/"):
        raise UsageError("not a local endpoint: wanted http://host:port")
    return Endpoint(parts.hostname, port)


def parse_checkip_url(text: str) -> str:
    """Accept the URL of a service that answers with the caller's public address. Raises UsageError.

    Who can forge that answer opens the production database to himself: plain HTTP is for this machine only.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{text!r} is not a URL such as https://checkip.amazonaws.com")
    if parts.scheme == "http":
        try:
            loopback_host(parts.hostname)
        except NotLocal as error:
            raise UsageError(
                f"{text} is not encrypted: what it answers could be forged", hint="use https://"
            ) from error
    return text


def loopback_host(host: str) -> str:
    """Give the loopback address behind a host that the local target may use.

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
