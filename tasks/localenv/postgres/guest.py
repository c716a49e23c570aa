"""A short-lived role to run untrusted SQL: it owns one database and has no other privileges.

SET ROLE is not enough: SQL that runs after it can RESET ROLE. A role that logs in itself has nothing to reset to, and
everything in its sessions (functions, triggers, rules, defaults, views) runs with its privileges. Once the database is
handed over, its code runs with the privileges of the new owner, like all code in a database.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import databases
from .connection import connect, server_errors
from .lexer import Statement, statements
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
"""The "trusted" extensions, which the owner of a database may create: none can access files or other servers.

Source: PostgreSQL 18, Appendix F, without languages other than plpgsql.
"""
_EXTENSION = re.compile(rb'create\s+extension\s+(?:if\s+not\s+exists\s+)?("(?:[^"]|""){1,200}"|[\w-]{1,200})', re.I)
_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS NOINHERIT CONNECTION LIMIT 20"


def role_name(project_id: str) -> str:
    """Return the name of a project's guest. One is enough: a restore holds the project's lock."""
    return f"{PREFIX}{project_id[-6:]}"


def require_known_extensions(file: SqlFile) -> None:
    """Raise UsageError for an extension that is not on the list, before any of the file runs."""
    for statement in statements(file.text):
        require_known_extension(file, statement)


def require_known_extension(file: SqlFile, statement: Statement) -> None:
    """Raise UsageError where a statement creates an extension that is not on the list.

    Asked again before each statement is sent: settings of those before it may change where it begins.
    """
    if statement.words[:2] != ("create", "extension"):
        return
    found = _EXTENSION.match(file.text, statement.start)
    name = found[1].decode(errors="replace").strip('"').replace('""', '"') if found else "?"
    if name.lower() not in EXTENSIONS:
        raise UsageError(
            f"{file.place(statement.start)}: extension {name!r} is not one that a file may create",
            hint=f"save the database without it; allowed are {', '.join(sorted(EXTENSIONS))}",
            evidence="nothing was restored",
        )


def admit(conn: psycopg.Connection[Any], address: PostgresAddress, role: str, database: str) -> PostgresAddress:
    """Create the role and an empty database that it owns; return the address to connect to as that role.

    Both replace what a killed command left behind. `conn` belongs to a user who may create roles.
    """
    from psycopg import sql

    databases.drop(conn, database)
    remove(conn, role)
    password = secrets.token_urlsafe(24)
    # The server gets a verifier: its log of statements would show a password.
    verifier = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    made = sql.SQL(f"CREATE ROLE {{}} {_ATTRIBUTES} PASSWORD {{}}").format(sql.Identifier(role), sql.Literal(verifier))
    with server_errors(f"role {role}"):
        conn.execute(made)
    databases.create(conn, database, owner=role)
    return replace(address, user=role, password=password, database=database)


def bypass_row_security(conn: psycopg.Connection[Any], role: str) -> None:
    """Exempt the role from row security, which applies to an owner too where a table forces it."""
    from psycopg import sql

    with server_errors(f"role {role}"):
        conn.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(role)))


def hand_over(conn: psycopg.Connection[Any], address: PostgresAddress, role: str, database: str) -> None:
    """Make the user of the address the owner of the database and all that the role owns in it; remove the role."""
    from psycopg import sql

    old, new = sql.Identifier(role), sql.Identifier(address.user)
    with server_errors(f"database {database}"), connect(address, database=database, autocommit=True) as inside:
        # The database's own settings, which are not trusted, apply to this session too.
        inside.execute("SET default_transaction_read_only = off; SET search_path = ''; SET statement_timeout = 0")
        inside.execute(sql.SQL("REASSIGN OWNED BY {} TO {}; DROP OWNED BY {}").format(old, new, old))
    remove(conn, role)


def remove(conn: psycopg.Connection[Any], role: str) -> None:
    """Remove the role if it exists, and end its sessions. Its database must be gone or handed over."""
    from psycopg import sql

    with server_errors(f"role {role}"):
        if conn.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            return
        conn.execute(
            "SELECT pg_catalog.pg_terminate_backend(pid, %s) FROM pg_catalog.pg_stat_activity WHERE usename = %s",
            (databases.TERMINATE_MS, role),
        )
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
