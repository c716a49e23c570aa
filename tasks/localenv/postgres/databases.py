"""Databases as a whole: create, drop, rename and copy them, and end the sessions that block this."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError
from ..machine.parallel import side_by_side
from .connection import APPLICATION, connect, server_errors

if TYPE_CHECKING:
    import psycopg

    from ..settings.addresses import PostgresAddress

NAME_BYTES = 63
"""PostgreSQL truncates longer names (NAMEDATALEN - 1)."""
TERMINATE_MS = 2000
LARGE_BYTES = 50 << 20
"""From this size, copying the files, with its two checkpoints, is faster than copying through the log (measured)."""


@dataclass(frozen=True)
class Session:
    """A connection to a database: who holds it, from where, and its last query."""

    pid: int
    application: str
    user: str
    client: str
    state: str
    age_s: float
    query: str

    def __str__(self) -> str:
        return f"{self.application or 'unnamed'} (pid {self.pid}, {self.user}@{self.client}, {self.state})"


def maintenance(address: PostgresAddress) -> psycopg.Connection[Any]:
    """Connect to another database on the server, from which the address's own can be created, renamed or dropped."""
    return connect(address, database="template1" if address.database == "postgres" else "postgres", autocommit=True)


def sibling_name(name: str, role: str) -> str:
    """Return the name of a database that belongs to another: shop → shop__undo. A digest shortens long names."""
    full = f"{name}__{role}"
    if len(full.encode()) <= NAME_BYTES:
        return full
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    room = NAME_BYTES - len(f"_{digest}__{role}")
    return f"{name.encode()[:room].decode(errors='ignore')}_{digest}__{role}"


def exists(conn: psycopg.Connection[Any], name: str) -> bool:
    """Return whether the server has a database of this name."""
    with server_errors(f"database {name}"):
        return conn.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def names(conn: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Return the server's databases and their comments, empty for none, ordered by name."""
    with server_errors("databases"):
        return conn.execute(
            "SELECT datname::text, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database ORDER BY 1"
        ).fetchall()


def usable(conn: psycopg.Connection[Any]) -> list[str]:
    """Return the databases that accept connections, without templates, ordered by name."""
    with server_errors("databases"):
        found = conn.execute(
            "SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"
        ).fetchall()
    return [name for (name,) in found]


def size_bytes(conn: psycopg.Connection[Any], name: str) -> int:
    """Return the size of a database on disk."""
    with server_errors(f"database {name}"):
        row = conn.execute("SELECT pg_database_size(%s)", (name,)).fetchone()
    return int(row[0]) if row else 0


def seal(conn: psycopg.Connection[Any], name: str, comment: str) -> None:
    """Close a database to connections, with a comment that says what it is. It can still be copied and dropped."""
    from psycopg import sql

    with server_errors(f"database {name}"), conn.transaction():
        text = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
        conn.execute(text)
        _execute_on(conn, name, "ALTER DATABASE {} ALLOW_CONNECTIONS false")


def create(conn: psycopg.Connection[Any], name: str, *, owner: str = "") -> None:
    """Create an empty database from template0, which is as initdb made it and never has sessions."""
    statement = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"
    _execute_on(conn, name, f"{statement} OWNER {{}}" if owner else statement, *([owner] if owner else []))


def drop(conn: psycopg.Connection[Any], name: str) -> list[Session]:
    """Drop a database if it exists, and end its sessions. Returns those."""
    ended = sessions(conn, name)
    _execute_on(conn, name, "DROP DATABASE IF EXISTS {} WITH (FORCE)")
    return ended


def rename(conn: psycopg.Connection[Any], address: PostgresAddress, pairs: Sequence[tuple[str, str]]) -> list[Session]:
    """Rename databases one after the other, all or none, and end their sessions. Returns those."""
    names = [old for old, _ in pairs]

    def swap() -> None:
        with server_errors(f"database {names[0]}"), conn.transaction():
            for old, new in pairs:
                _execute_on(conn, old, "ALTER DATABASE {} RENAME TO {}", new)

    return _without_sessions(conn, address, names, swap)


def clone(conn: psycopg.Connection[Any], address: PostgresAddress, source: str, copy: str) -> list[Session]:
    """Copy a database, and end its sessions. Returns those; new ones wait until the copy is complete.

    A large one is copied file by file, a small one through the log (PostgreSQL 15 and newer, CREATE DATABASE).
    Database-level properties are not copied: see `properties`.
    """
    strategy = "FILE_COPY" if size_bytes(conn, source) > LARGE_BYTES else "WAL_LOG"
    statement = f"CREATE DATABASE {{}} TEMPLATE {{}} STRATEGY {strategy}"
    return _without_sessions(conn, address, [source], lambda: _execute_on(conn, copy, statement, source))


def _without_sessions(
    conn: psycopg.Connection[Any], address: PostgresAddress, names: Sequence[str], work: Callable[[], None]
) -> list[Session]:
    """End the sessions in these databases and do work that allows none. Returns the sessions.

    RENAME, and CREATE DATABASE for its template, lock out new sessions, which wait, and then give the old ones 5 s to
    end (PostgreSQL 18, dbcommands.c and InitPostgres in postinit.c); a second connection meanwhile ends those that came
    in before the lock. ALLOW_CONNECTIONS false would work too, but would persist if we were killed.
    """
    done = threading.Event()
    ended = terminate(conn, names)

    def run_work() -> list[Session]:
        try:
            work()
        finally:
            done.set()
        return []

    def end_latecomers() -> list[Session]:
        late: list[Session] = []
        if not done.wait(0.05):
            # If no session can be ended, `work` itself reports that; if it finished meanwhile, nothing is left to do.
            with contextlib.suppress(LocalEnvError), maintenance(address) as other:
                late += terminate(other, names)
                while not done.wait(0.05):
                    late += terminate(other, names)
        return late

    return ended + [session for found in side_by_side([run_work, end_latecomers]) for session in found]


def sessions(conn: psycopg.Connection[Any], *names: str) -> list[Session]:
    """Return the sessions in these databases except this one, oldest first."""
    with server_errors("sessions"):
        rows = conn.execute(
            "SELECT pid, coalesce(application_name, ''), coalesce(usename, ''), coalesce(host(client_addr), 'socket'),"
            " coalesce(state, 'unknown'), coalesce(extract(epoch FROM clock_timestamp() - state_change), 0)::float8,"
            " coalesce(query, '')"
            " FROM pg_stat_activity WHERE datname = ANY(%s) AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' ORDER BY backend_start",
            (list(names),),
        ).fetchall()
    return [Session(*row) for row in rows]


def terminate(conn: psycopg.Connection[Any], names: Iterable[str]) -> list[Session]:
    """End the sessions in these databases and wait until they are gone. Returns them."""
    if conn.info.parameter_status("default_transaction_read_only") == "on":  # reported since PostgreSQL 14
        raise TypeError("sessions are ended only with the guard's permit")
    ended = sessions(conn, *names)
    if ended:
        with server_errors("sessions"):
            conn.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM unnest(%s::int[]) AS pid",
                (TERMINATE_MS, [session.pid for session in ended]),
            )
    return ended


def describe_ended(ended: Sequence[Session]) -> str:
    """Return whose sessions were ended, to append to a sentence; empty when there were only our own, just closed."""
    ended = [session for session in ended if session.application != APPLICATION]
    if not ended:
        return ""
    owners = ", ".join(str(session) for session in ended[:3]) + (", …" if len(ended) > 3 else "")
    return f"; ended {len(ended)} session{'s' if len(ended) > 1 else ''}: {owners}"


def _execute_on(conn: psycopg.Connection[Any], name: str, statement: Any, *others: str) -> None:
    from psycopg import sql

    with server_errors(f"database {name}"):
        conn.execute(sql.SQL(statement).format(*map(sql.Identifier, (name, *others))))
