"""A role for SQL that nobody here wrote: it owns one database and may do nothing else, and does not outlive its work.

SET ROLE would not do: what runs after it can RESET ROLE. A role that signs in by itself has nowhere to go back to, and
whatever runs in its sessions (functions, triggers, rules, defaults, views) runs with its rights. Once the database is
handed over, its code runs with the rights of the new owner, as all code in a database does.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import databases
from .connection import connect, server_errors
from .lexer import statements
from .sqlfile import SqlFile

if TYPE_CHECKING:
    import psycopg

    from ..settings.addresses import PostgresAddress

PREFIX = "localenv_restore_"
EXTENSIONS = frozenset(
    [
        "btree_gin",
        "btree_gist",
        "citext",
        "cube",
        "dict_int",
        "fuzzystrmatch",
        "hstore",
        "intarray",
        "isn",
        "lo",
        "ltree",
        "pg_trgm",
        "pgcrypto",
        "plpgsql",
        "seg",
        "tablefunc",
        "tcn",
        "tsm_system_rows",
        "tsm_system_time",
        "unaccent",
        "uuid-ossp",
        "vector",
    ]
)
"""Extensions that PostgreSQL lets the owner of a database make, "trusted" ones: none reaches files or other servers.

Source: PostgreSQL 18, Appendix F. Those with a language are left out but for plpgsql.
"""
_EXTENSION = re.compile(rb'create\s+extension\s+(?:if\s+not\s+exists\s+)?("(?:[^"]|""){1,200}"|[\w-]{1,200})', re.I)
_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS NOINHERIT CONNECTION LIMIT 20"


def name_of(project_id: str) -> str:
    """Name the role of a project: one, since a restore holds the project's lock."""
    return f"{PREFIX}{project_id[-6:]}"


def require_known_extensions(file: SqlFile) -> None:
    """Raise UsageError for an extension that is not on the list, before anything of the file has run."""
    for statement in statements(file.text):
        if statement.words[:2] != ("create", "extension"):
            continue
        found = _EXTENSION.match(file.text, statement.start)
        name = found[1].decode(errors="replace").strip('"').replace('""', '"') if found else "?"
        if name.lower() not in EXTENSIONS:
            raise UsageError(
                f"{file.place(statement.start)}: extension {name!r} is not one that a file may bring",
                hint=f"save the database without it; taken are {', '.join(sorted(EXTENSIONS))}",
                evidence="nothing was restored",
            )


def admit(conn: psycopg.Connection[Any], address: PostgresAddress, role: str, database: str) -> PostgresAddress:
    """Make the role and an empty database that it owns; return where and as whom to connect.

    Both replace what a killed command left. `conn` is that of somebody who may make roles.
    """
    from psycopg import sql

    databases.drop(conn, database)
    remove(conn, role)
    password = secrets.token_urlsafe(24)
    # The server gets a verifier: a password would stand in its log where statements are logged.
    verifier = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    made = sql.SQL(f"CREATE ROLE {{}} {_ATTRIBUTES} PASSWORD {{}}").format(sql.Identifier(role), sql.Literal(verifier))
    with server_errors(f"role {role}"):
        conn.execute(made)
    databases.create(conn, database, owner=role)
    return replace(address, user=role, password=password, database=database)


def let_read_all(conn: psycopg.Connection[Any], role: str) -> None:
    """Let the role read its own tables past row security, which binds an owner where a table forces it."""
    from psycopg import sql

    with server_errors(f"role {role}"):
        conn.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(role)))


def hand_over(conn: psycopg.Connection[Any], address: PostgresAddress, role: str, database: str) -> None:
    """Give all that the role owns in the database, and the database, to the user of the address; remove the role."""
    from psycopg import sql

    old, new = sql.Identifier(role), sql.Identifier(address.user)
    with server_errors(f"database {database}"), connect(address, database=database, autocommit=True) as inside:
        # The database's own settings hold for this session too, and somebody else has chosen them.
        inside.execute("SET default_transaction_read_only = off; SET search_path = ''; SET statement_timeout = 0")
        inside.execute(sql.SQL("REASSIGN OWNED BY {} TO {}; DROP OWNED BY {}").format(old, new, old))
    remove(conn, role)


def remove(conn: psycopg.Connection[Any], role: str) -> None:
    """Remove the role where there is one, and end its sessions. Its database must be gone or handed over."""
    from psycopg import sql

    with server_errors(f"role {role}"):
        if conn.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            return
        conn.execute(
            "SELECT pg_catalog.pg_terminate_backend(pid, %s) FROM pg_catalog.pg_stat_activity WHERE usename = %s",
            (databases.TERMINATE_MS, role),
        )
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
