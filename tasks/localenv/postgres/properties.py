"""Database-level properties, which a copy does not inherit: owner, comment, limit, settings and privileges.

PostgreSQL 18, CREATE DATABASE: "database-level configuration parameters and permissions are not copied".
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .connection import server_errors

if TYPE_CHECKING:
    import psycopg

LISTS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)
"""Settings whose value is a list of names, each quoted separately (PostgreSQL 18, pg_dump: dumputils.c)."""


@dataclass(frozen=True)
class Setting:
    """A setting of a database, for everyone or, with `role`, for that role in it."""

    role: str
    name: str
    value: str


@dataclass(frozen=True)
class Grant:
    """A privilege on a database: CONNECT, CREATE or TEMPORARY. `role` is empty for PUBLIC."""

    role: str
    privilege: str
    may_pass_on: bool


@dataclass(frozen=True)
class Properties:
    """All properties of a database. `grants` is None if nothing was ever granted or revoked."""

    owner: str
    comment: str | None
    connection_limit: int
    settings: tuple[Setting, ...]
    grants: tuple[Grant, ...] | None

    @classmethod
    def of(cls, data: dict[str, Any]) -> Properties:
        """Return what `dataclasses.asdict` turned into `data`. Raises TypeError or KeyError for anything else."""
        grants = data["grants"]
        return cls(
            str(data["owner"]),
            None if data["comment"] is None else str(data["comment"]),
            int(data["connection_limit"]),
            tuple(Setting(**each) for each in data["settings"]),
            None if grants is None else tuple(Grant(**each) for each in grants),
        )


def fetch(conn: psycopg.Connection[Any], name: str) -> Properties:
    """Fetch the properties of an existing database."""
    with server_errors(f"database {name}"):
        row = conn.execute(
            "SELECT oid, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), datconnlimit, datacl IS NULL"
            " FROM pg_database WHERE datname = %s",
            (name,),
        ).fetchone()
        assert row, name
        oid, owner, comment, limit, untouched = row
        settings = conn.execute(
            "SELECT coalesce(rolname, ''), split_part(one, '=', 1), substr(one, strpos(one, '=') + 1)"
            " FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole, unnest(setconfig) AS one"
            " WHERE setdatabase = %s ORDER BY 1, 2",
            (oid,),
        ).fetchall()
        grants = conn.execute(
            "SELECT coalesce(rolname, ''), privilege_type, is_grantable"
            " FROM pg_database, aclexplode(datacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee"
            " WHERE pg_database.oid = %s ORDER BY 1, 2",
            (oid,),
        ).fetchall()
    held = None if untouched else tuple(Grant(*grant) for grant in grants)
    return Properties(owner, comment, limit, tuple(Setting(*setting) for setting in settings), held)


def apply(conn: psycopg.Connection[Any], name: str, wanted: Properties, *, roles: bool = True) -> list[str]:
    """Set these properties on a new database; without `roles`, only those that name no role, for another server.

    Returns a sentence for each that this server rejects: a missing role, an unknown setting.
    """
    refused = []
    for statement in _statements(name, wanted, roles=roles):
        text = statement.as_string(conn)
        reason = _reason_refused(conn, text)
        if reason:
            refused.append(f"{text}: {reason}")
    return refused


def _reason_refused(conn: psycopg.Connection[Any], text: str) -> str:
    import psycopg

    with server_errors(text):
        try:
            conn.execute(text.encode())
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
            return error.diag.message_primary or str(error)
    return ""


def _statements(name: str, wanted: Properties, *, roles: bool) -> list[Any]:
    from psycopg import sql

    database = sql.Identifier(name)
    found: list[Any] = [
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(wanted.comment)),
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, sql.Literal(wanted.connection_limit)),
    ]
    if roles:
        found.append(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(wanted.owner)))
    found += [_setting(database, setting) for setting in wanted.settings if roles or not setting.role]
    if roles and wanted.grants is not None:
        found.append(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        found += [_grant(database, grant) for grant in wanted.grants]
    return found


def _setting(database: Any, setting: Setting) -> Any:
    from psycopg import sql

    whose = sql.SQL("ALTER DATABASE {}").format(database)
    if setting.role:
        whose = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(setting.role), database)
    values = _names(setting.value) if setting.name in LISTS else [setting.value]
    value = sql.SQL(", ").join(sql.Literal(each) for each in values)
    return sql.SQL("{} SET {} TO {}").format(whose, _name(setting.name), value)


def _name(name: str) -> Any:
    """Return the name of a setting, quoted; an extension's settings have a dot in theirs."""
    from psycopg import sql

    return sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))


def _names(value: str) -> list[str]:
    """Split a list of names; quoted ones may contain anything."""
    return [name.strip() for name in next(csv.reader(io.StringIO(value), skipinitialspace=True), [])] or [""]


def _grant(database: Any, grant: Grant) -> Any:
    from psycopg import sql

    role = sql.Identifier(grant.role) if grant.role else sql.SQL("PUBLIC")
    option = sql.SQL(" WITH GRANT OPTION") if grant.may_pass_on else sql.SQL("")
    return sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(sql.SQL(grant.privilege), database, role, option)
