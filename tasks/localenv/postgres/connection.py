"""Connections to Postgres, and psycopg's errors turned into ours."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import socket
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, NotLocal, PreflightFailed, ServiceFailed
from ..hints import DOCTOR, LOGS, RESTART, START, Command, either
from ..machine.waiting import at_most, hang_up, waiting, within
from ..settings.addresses import loopback_host
from . import libpq

if TYPE_CHECKING:
    import psycopg

    from ..settings.addresses import PostgresAddress

APPLICATION = "localenv"
"""application_name of our own sessions, by which others tell them apart."""
CONNECT_S = 5
LOCK_S = 10
"""How long our statements wait for a lock that another session holds."""
HINTS = {
    "25006": "pass --write to let it change data",
    "42501": "put the owner's user into the connection URL: this one lacks the permission",
    "55P03": either(
        Command("db.sessions", when="to see who holds the lock"), Command("db.sessions", "--kill", when="to end them")
    ),
}
"""What to do about SQLSTATEs for which Postgres gives no hint."""
DISK_FULL = "53100"
NO_TABLE = "42P01"
_resolved: dict[str, tuple[str, ...]] = {}
LOCAL_HINT = either(START, DOCTOR)
REMOTE_HINT = "check that its firewall or security group lets this address in"


class DatabaseMissing(LocalEnvError):
    """The server answers, but has no such database."""

    name = "database-missing"


class SqlRefused(LocalEnvError):
    """Postgres rejected a statement that does not come from a file."""

    name = "sql"


def connect(
    address: PostgresAddress, *, database: str | None = None, autocommit: bool = False
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection to the address's database, or to another one on the same server.

    It is read-only unless the address carries a permit. Raises ServiceFailed or TimedOut without an answer within 5 s,
    DatabaseMissing, LocalEnvError when the server rejects the user, NotLocal when the peer is not the server meant.
    """
    given = libpq.remove_variables()
    import psycopg

    where = f"postgres {address.host}:{address.port}/{address.database if database is None else database}"
    behind, is_here = resolve(address.host, where), _is_loopback(address.host)
    no_answer = LOCAL_HINT if is_here else REMOTE_HINT
    keywords = {
        "connect_timeout": math.ceil(at_most(CONNECT_S)),
        "application_name": APPLICATION,
        "prepare_threshold": None,  # a file may DEALLOCATE ALL, and a pooler in between may drop them
        **protection(address, given),
        **libpq.parameters(address, behind, database),
        "client_encoding": "UTF8",
    }

    def open_connection() -> psycopg.Connection[tuple[Any, ...]]:
        with waiting(where, CONNECT_S, port=address.port if is_here else 0) as wait:
            try:
                return connection_class().connect(autocommit=autocommit, **keywords)
            except psycopg.errors.ConnectionTimeout as error:
                raise wait.error(no_answer) from error

    try:
        if is_here:
            conn = open_connection()
        else:  # a limit for all of it: libpq's own is per address
            conn = within(CONNECT_S, where, open_connection, hint="check host, port and firewall")
    except psycopg.OperationalError as error:
        raise _connection_error(error, where, no_answer=no_answer) from error
    except psycopg.ProgrammingError as error:  # this libpq does not know an option of the URL
        raise LocalEnvError(f"{where}: {_reason(error)}", hint="correct the connection URL") from error
    _require_peer(conn, behind, address.port, where)
    if address.permit is None:
        _make_read_only(conn, autocommit=autocommit)
    return conn


def port_here(conn: psycopg.Connection[Any]) -> int:
    """Return the port of a connection to a server on this machine, else 0."""
    import psycopg

    try:
        return conn.info.port if conn.info.hostaddr.startswith("127.") or conn.info.hostaddr == "::1" else 0
    except psycopg.OperationalError:  # closed
        return 0


@cache
def connection_class() -> type[psycopg.Connection[tuple[Any, ...]]]:
    """Return the class of our connections, made once psycopg is needed."""
    import psycopg

    class WatchedConnection(psycopg.Connection[tuple[Any, ...]]):
        """A connection that reports its waits. Raises TimedOut where the caller allows only a limited wait."""

        def wait(self, gen: Any, *arguments: Any, **keywords: Any) -> Any:
            with waiting(self._server, port=port_here(self), cut=self._hang_up) as wait:
                try:
                    return super().wait(gen, *arguments, **keywords)
                except psycopg.OperationalError as error:
                    if wait.is_over:
                        raise wait.error(RESTART) from error
                    raise

        def commit(self) -> None:
            """Commit. Raises ServiceFailed when the connection breaks meanwhile: the outcome is unknown then."""
            try:
                super().commit()
            except psycopg.OperationalError as error:
                if not self.broken:
                    raise
                raise ServiceFailed(
                    f"{self._server}: the connection was lost during a commit, which may or may not have happened",
                    hint="run the same command again: it looks first and does what is missing",
                ) from error

        @property
        def _server(self) -> str:
            with contextlib.suppress(psycopg.OperationalError):  # a closed connection has no address
                return f"postgres {self.info.host}:{self.info.port}/{self.info.dbname}"
            return "postgres"

        def _hang_up(self) -> None:
            with (
                contextlib.suppress(psycopg.OperationalError, OSError),
                socket.socket(fileno=os.dup(self.fileno())) as same,
            ):
                hang_up(same)

    return WatchedConnection


def client_environment(address: PostgresAddress, database: str | None = None) -> dict[str, str]:
    """Return the environment for psql, pgcli or pg_dump: the user's own, but with libpq's variables set by us.

    The session is read-only unless the address carries a permit; like any session, it can lift that.
    """
    given = libpq.remove_variables()
    where = f"postgres {address}"
    parameters = {
        "connect_timeout": CONNECT_S,
        **protection(address, given),
        **libpq.parameters(address, resolve(address.host, where), database),
    }
    if address.permit is None:
        parameters["options"] = "-c default_transaction_read_only=on"
    return {**os.environ, **libpq.environment(parameters)}


def protection(address: PostgresAddress, given: Mapping[str, str]) -> dict[str, str]:
    """Return connection parameters from the user's PGSSL* and similar variables, which concern production only.

    Raises UsageError for one that libpq does not support.
    """
    return {} if address.is_local else libpq.security_parameters(given)


def resolve(host: str, where: str) -> tuple[str, ...]:
    """Return the addresses of a host, resolved once per run, so that the one shown is the one connected to.

    Raises ServiceFailed when there are none, TimedOut without an answer within 5 s.
    """
    with contextlib.suppress(ValueError):
        return (str(ipaddress.ip_address(host)),)
    if host not in _resolved:

        def look_up() -> tuple[str, ...]:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))

        try:
            _resolved[host] = within(CONNECT_S, where, look_up, hint="check the host and the network")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ServiceFailed(f"{where}: {reason}", hint="correct the host in the connection URL") from error
    return _resolved[host]


def _require_peer(conn: psycopg.Connection[Any], addresses: tuple[str, ...], port: int, where: str) -> None:
    """Raise NotLocal, with the connection closed, when its peer is not the server asked for."""
    with socket.socket(fileno=os.dup(conn.fileno())) as same:
        peer = same.getpeername()
    if not isinstance(peer, tuple) or peer[1] != port or peer[0].partition("%")[0] not in addresses:
        conn.close()
        raise NotLocal(f"{where}: connected to {peer!r} instead", hint="find out what redirects libpq")


def _make_read_only(conn: psycopg.Connection[Any], *, autocommit: bool) -> None:
    """Make the server reject changes: only the guard opens a store for writing."""
    if autocommit:
        conn.execute("SET default_transaction_read_only = on")
    else:
        conn.read_only = True


@contextlib.contextmanager
def server_errors(what: str) -> Iterator[None]:
    """Turn psycopg's errors into ours; `what`, a file or a command, is the subject of the message."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise server_error(error, what) from error


def server_error(error: psycopg.Error, what: str) -> LocalEnvError:
    """Return one of psycopg's errors as ours, with the server's message, its detail as evidence, and its hint."""
    diagnostic = error.diag
    if error.sqlstate is None or error.sqlstate.startswith(("57P", "08")):
        return ServiceFailed(f"{what}: {_reason(error)}", hint=either("run the same command again", LOGS))
    text = diagnostic.message_primary or _reason(error)
    if error.sqlstate == DISK_FULL:
        return disk_full(f"{what}: {text}")
    hint = diagnostic.message_hint or HINTS.get(error.sqlstate, "")
    if error.sqlstate == NO_TABLE and what.endswith(".sql"):  # one of the app's own queries
        hint = Command("db.setup", when="to create the tables that sql/ defines")
    return SqlRefused(f"{what}: {text}", hint=hint, evidence=diagnostic.message_detail or "")


def disk_full(message: str) -> PreflightFailed:
    """Return the error for a server whose disk is full; `message` is the server's."""
    return PreflightFailed(message, hint="free some space on the server's disk, then run the same command again")


def _connection_error(error: psycopg.OperationalError, where: str, *, no_answer: str) -> LocalEnvError:
    """Return why a connection failed. libpq gives no SQLSTATE here, only the text of each attempt.

    `no_answer` is the hint for a server that does not answer.
    """
    text = _reason(error)
    if "database" in text and "does not exist" in text:
        return DatabaseMissing(f"{where}: {text}", hint=Command("db.setup"))
    if "password" in text or "authentication" in text or "role" in text:
        return LocalEnvError(f"{where}: {text}", hint="correct user and password in the connection URL")
    if "starting up" in text or "recovery" in text or "shutting down" in text or "not yet accepting" in text:
        return ServiceFailed(f"{where}: {text}", hint=either("wait a moment, then run the same command again", LOGS))
    if "translate host name" in text or "resolve host" in text or "Name or service not known" in text:
        return ServiceFailed(f"{where}: {text}", hint="correct the host in the connection URL")
    return ServiceFailed(f"{where}: {text}", hint=no_answer)


def _reason(error: Exception) -> str:
    """Reduce libpq's text to the reason: the first line of the last attempt, without what `where` already says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    attempts = [line for line in lines if " failed: " in line or line.startswith("- host")] or lines[:1]
    if not attempts:
        return type(error).__name__
    text = attempts[-1].rsplit(" failed: ", 1)[-1]
    return text.removeprefix("FATAL:").removeprefix("ERROR:").strip()


def _is_loopback(host: str) -> bool:
    try:
        loopback_host(host)
    except NotLocal:
        return False
    return True
