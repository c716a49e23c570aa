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
from ..machine.progress import progress
from .connection import APPLICATION, SqlRefused, connect, server_errors

if TYPE_CHECKING:
    import psycopg

    from ..settings.addresses import PostgresAddress

NAME_BYTES = 63
"""PostgreSQL truncates longer names (NAMEDATALEN - 1)."""
IN_USE = "55006"
TERMINATE_MS = 2000
LARGE_BYTES = 150 << 20
"""From this size a server with fsync copies files: logging their pages was faster up to 67 MB, slower at 303 MB."""
CLONING_SERVER = 18_00_00
CANNOT_CLONE = ("XX000", "42501", "22023")
"""SQLSTATEs where files cannot be cloned: EOPNOTSUPP, EXDEV, ENOSYS or EINVAL; EPERM; a server built without it."""


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


def locale(conn: psycopg.Connection[Any], name: str) -> dict[str, str]:
    """Return encoding and locale of a database, as options of CREATE DATABASE; of a missing one, the default."""
    with server_errors(f"database {name}"):
        rows = conn.execute(
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text, to_jsonb(d)"
            " FROM pg_database AS d WHERE datname IN (%s, 'template0') ORDER BY datname <> %s LIMIT 1",
            (name, name),
        ).fetchall()
    encoding, collate, ctype, letter, row = rows[0]
    provider = {"c": "libc", "i": "icu", "b": "builtin"}[letter]
    found = {
        "ENCODING": encoding if row["datname"] == name else "UTF8",
        "LC_COLLATE": collate,
        "LC_CTYPE": ctype,
        "LOCALE_PROVIDER": provider,
        f"{provider.upper()}_LOCALE": row.get("datlocale") or row.get("daticulocale"),  # the latter before 17
        "ICU_RULES": row.get("daticurules"),
    }
    return {option: value for option, value in found.items() if value}


def create(conn: psycopg.Connection[Any], name: str, *, owner: str = "", like: str = "") -> None:
    """Create an empty database from template0, which is as initdb made it and never has sessions.

    It has the locale of database `like`, if that exists, else the server's, and UTF-8.
    """
    from psycopg import sql

    options = locale(conn, like) if like else {"ENCODING": "UTF8"}
    parts = [sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))]
    parts += [sql.SQL(option + " {}").format(sql.Literal(value)) for option, value in options.items()]
    parts += [sql.SQL("OWNER {}").format(sql.Identifier(owner))] if owner else []
    with server_errors(f"database {name}"):
        conn.execute(sql.SQL(" ").join(parts))


def drop(conn: psycopg.Connection[Any], name: str) -> list[Session]:
    """Drop a database if it exists, and end its sessions. Returns those."""
    if not exists(conn, name):
        return []
    ended, statement = sessions(conn, name), "DROP DATABASE IF EXISTS {} WITH (FORCE)"
    try:
        _execute_on(conn, name, statement)
    except SqlRefused as error:
        if getattr(error.__cause__, "sqlstate", "") != IN_USE or not _drop_subscriptions(conn, name):
            raise
        _execute_on(conn, name, statement)
    return ended


def _drop_subscriptions(conn: psycopg.Connection[Any], name: str) -> bool:
    """Drop the subscriptions of a database, which block its removal; return whether there were any.

    Their slots stay at the publisher, which is not asked.
    """
    import psycopg
    from psycopg import sql

    _execute_on(conn, name, "ALTER DATABASE {} ALLOW_CONNECTIONS true")
    given: dict[str, Any] = {**conn.info.get_parameters(), "password": conn.info.password, "dbname": name}
    with server_errors(f"database {name}"), psycopg.connect(**given, autocommit=True) as inside:
        found = inside.execute(
            "SELECT subname FROM pg_subscription JOIN pg_database AS d ON d.oid = subdbid WHERE datname = %s", (name,)
        ).fetchall()
        for (each,) in found:
            for change in ("ALTER SUBSCRIPTION {} DISABLE", "ALTER SUBSCRIPTION {} SET (slot_name = NONE)"):
                inside.execute(sql.SQL(change).format(sql.Identifier(each)))
            inside.execute(sql.SQL("DROP SUBSCRIPTION {}").format(sql.Identifier(each)))
    return bool(found)


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

    Database-level properties are not copied: see `properties`.
    """
    with server_errors(f"database {source}"):
        syncs = conn.execute("SHOW fsync").fetchone() != ("off",)
    through_log = syncs and size_bytes(conn, source) <= LARGE_BYTES

    def work() -> None:
        if through_log:
            _execute_on(conn, copy, "CREATE DATABASE {} TEMPLATE {} STRATEGY WAL_LOG", source)
        else:
            _copy_files(conn, source, copy)

    with progress(f"copying database {source}"):
        return _without_sessions(conn, address, [source], work)


def _copy_files(conn: psycopg.Connection[Any], source: str, copy: str) -> None:
    """Copy a database file by file; the copies share their blocks where the file system can (btrfs, XFS).

    On Linux `clone` is copy_file_range, which copies within the kernel where it cannot share. Elsewhere the server
    reports an error, with nothing left behind, and copies the ordinary way.
    """
    statement = "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY"
    if conn.info.server_version >= CLONING_SERVER:
        try:
            _execute_on(conn, "file_copy_method", "SET {} = clone")
            return _execute_on(conn, copy, statement, source)
        except SqlRefused as error:
            if getattr(error.__cause__, "sqlstate", "") not in CANNOT_CLONE:
                raise
        _execute_on(conn, "file_copy_method", "SET {} = copy")
    return _execute_on(conn, copy, statement, source)


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
            " AND (backend_type IN ('client backend', 'walsender') OR backend_type LIKE 'logical replication%%')"
            " ORDER BY backend_start",
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
