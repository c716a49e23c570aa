"""Connections to Postgres, and psycopg's errors as ours."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping
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
"""application_name of our own sessions, so that db.sessions can tell them apart."""
CONNECT_S = 5
LOCK_S = 10
"""How long a statement of ours waits for another session's lock."""
HINTS = {
    "25006": "pass --write to let it change data",
    "42501": "use a connection URL with the owner's user: this one may not do it",
    "55P03": either(
        Command("db.sessions", when="to see who holds the lock"), Command("db.sessions", "--kill", when="to end them")
    ),
}
"""What to do about a SQLSTATE that Postgres gives no hint for."""
DISK_FULL = "53100"
NO_TABLE = "42P01"
_resolved: dict[str, tuple[str, ...]] = {}
LOCAL_HINT = either(START, DOCTOR)
REMOTE_HINT = "check that its firewall or security group lets this address in"


class DatabaseMissing(LocalEnvError):
    """The server is there, the database is not."""

    name = "database-missing"


class SqlRefused(LocalEnvError):
    """Postgres refused a statement that does not come from a file."""

    name = "sql"


def connect(
    address: PostgresAddress, *, database: str | None = None, autocommit: bool = False
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection to the address's database, or to another one on the same server.

    It is read-only unless the address carries a permit. Raises ServiceFailed or TimedOut when nobody answers within
    5 s, DatabaseMissing, LocalEnvError when the server refuses the user, NotLocal when it is another one than meant.
    """
    given = libpq.seclude()
    import psycopg

    where = f"postgres {address.host}:{address.port}/{address.database if database is None else database}"
    behind = resolve(address.host, where)
    keywords = {
        "connect_timeout": math.ceil(at_most(CONNECT_S)),
        "application_name": APPLICATION,
        "prepare_threshold": None,  # a file may DEALLOCATE ALL, and a pooler in between may lose them
        **protection(address, given),
        **libpq.parameters(address, behind, database),
        "client_encoding": "UTF8",
    }

    def open_it() -> psycopg.Connection[tuple[Any, ...]]:
        with waiting(where, CONNECT_S, port=address.port if _is_loopback(address.host) else 0) as wait:
            try:
                return connection_class().connect(autocommit=autocommit, **keywords)
            except psycopg.errors.ConnectionTimeout as error:
                raise wait.error(LOCAL_HINT if _is_loopback(address.host) else REMOTE_HINT) from error

    try:
        conn = open_it() if _is_loopback(address.host) else _within(CONNECT_S, open_it, where)
    except psycopg.OperationalError as error:
        raise _refusal(error, where, nobody=LOCAL_HINT if _is_loopback(address.host) else REMOTE_HINT) from error
    except psycopg.ProgrammingError as error:  # an option of the URL that this libpq does not take
        raise LocalEnvError(f"{where}: {_reason(error)}", hint="correct the connection URL") from error
    _require_peer(conn, behind, address.port, where)
    if address.permit is None:
        _close_to_writes(conn, autocommit=autocommit)
    return conn


def port_here(conn: psycopg.Connection[Any]) -> int:
    """Return the port of a connection to a server on this machine, 0 for any other."""
    import psycopg

    try:
        return conn.info.port if conn.info.hostaddr.startswith("127.") or conn.info.hostaddr == "::1" else 0
    except psycopg.OperationalError:  # it is closed
        return 0


@cache
def connection_class() -> type[psycopg.Connection[tuple[Any, ...]]]:
    """Make the class of this project's connections, when psycopg is needed."""
    import psycopg

    class WatchedConnection(psycopg.Connection[tuple[Any, ...]]):
        """A connection that says what it waits for. Raises TimedOut inside a look."""

        def wait(self, gen: Any, *arguments: Any, **keywords: Any) -> Any:
            with waiting(self._server, port=port_here(self), cut=self._hang_up) as wait:
                try:
                    return super().wait(gen, *arguments, **keywords)
                except psycopg.OperationalError as error:
                    if wait.is_over:
                        raise wait.error(RESTART) from error
                    raise

        def commit(self) -> None:
            """Commit. Raises ServiceFailed where the connection is lost over it, as nobody knows what became of it."""
            try:
                super().commit()
            except psycopg.OperationalError as error:
                if not self.broken:
                    raise
                raise ServiceFailed(
                    f"{self._server}: the connection was lost over a commit; whether it was done is not known",
                    hint="run the same command again: it looks first and does what is missing",
                ) from error

        @property
        def _server(self) -> str:
            with contextlib.suppress(psycopg.OperationalError):  # what is closed knows no address any more
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
    """Return the environment for psql, pgcli or pg_dump: the user's own, with all of libpq's variables set by us.

    The session is read-only unless the address carries a permit; it can lift that, as any session can.
    """
    given = libpq.seclude()
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
    """Return the connection parameters of the user's PGSSL* variables and their like, which are about production.

    Raises UsageError for one that libpq does not know.
    """
    return {} if address.is_local else libpq.security_parameters(given)


def resolve(host: str, where: str) -> tuple[str, ...]:
    """Return the addresses behind a host, looked up once a run: what is shown is what is connected to.

    Raises ServiceFailed when there are none, TimedOut when nobody tells within 5 s.
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
    """Close a connection whose other end is not what was asked for, and raise NotLocal."""
    with socket.socket(fileno=os.dup(conn.fileno())) as other:
        peer = other.getpeername()
    if not isinstance(peer, tuple) or peer[1] != port or peer[0].partition("%")[0] not in addresses:
        conn.close()
        raise NotLocal(f"{where}: connected to {peer!r} instead", hint="look what changes where libpq connects to")


def _close_to_writes(conn: psycopg.Connection[Any], *, autocommit: bool) -> None:
    """Have the server refuse to change anything: only the guard opens a store for writing."""
    if autocommit:
        conn.execute("SET default_transaction_read_only = on")
    else:
        conn.read_only = True


@contextlib.contextmanager
def server_errors(what: str) -> Iterator[None]:
    """Turn psycopg's errors into ours; `what` is the subject of the message: a file, a command."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise server_error(error, what) from error


def server_error(error: psycopg.Error, what: str) -> LocalEnvError:
    """Make one of our errors of psycopg's: the server's words, its detail as evidence, its hint as hint."""
    diagnostic = error.diag
    if error.sqlstate is None or error.sqlstate.startswith(("57P", "08")):
        return ServiceFailed(f"{what}: {_reason(error)}", hint=either("run the same command again", LOGS))
    text = diagnostic.message_primary or _reason(error)
    if error.sqlstate == DISK_FULL:
        return disk_full(f"{what}: {text}")
    hint = diagnostic.message_hint or HINTS.get(error.sqlstate, "")
    if error.sqlstate == NO_TABLE and what.endswith(".sql"):  # one of the app's own queries
        hint = Command("db.setup", when="to make the tables that sql/ says")
    return SqlRefused(f"{what}: {text}", hint=hint, evidence=diagnostic.message_detail or "")


def disk_full(message: str) -> PreflightFailed:
    """Make the error for a server that has no room left; `message` is in its words."""
    return PreflightFailed(message, hint="free some space on the server's disk, then run the same command again")


def _refusal(error: psycopg.OperationalError, where: str, *, nobody: str) -> LocalEnvError:
    """Sort out why a connection failed; libpq gives no SQLSTATE here, only the text of each attempt.

    `nobody` is the hint for a server that does not answer.
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
    return ServiceFailed(f"{where}: {text}", hint=nobody)


def _reason(error: Exception) -> str:
    """Cut libpq's text down to its reason: the first line of the last attempt, without what `where` says already."""
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


def _within(
    seconds: float, open_it: Callable[[], psycopg.Connection[tuple[Any, ...]]], where: str
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection within a time for all of it: libpq's own limit is per address."""
    return within(seconds, where, open_it, hint="check host, port and firewall")
