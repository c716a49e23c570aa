"""The session in which a file runs: as clean as a new one, and with the people of the seeds at hand.

The people live in the session's temporary schema and vanish with it; nothing of them stays in the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..settings.people import Person
from .connection import LOCK_S, server_errors
from .faults import UNKNOWN_PERSON

if TYPE_CHECKING:
    import psycopg

# With psql, each file starts so: in a session of its own.
_RESET = """
RESET SESSION AUTHORIZATION;
RESET ALL;
SET lock_timeout = '{seconds}s';
DEALLOCATE ALL;
DISCARD TEMP;
"""
# The temporary schema is last in the path, so that an app may have its own table `people`.
_PEOPLE = """
CREATE TEMPORARY TABLE people (
    person text PRIMARY KEY, handle text NOT NULL, display_name text NOT NULL, email text NOT NULL, uuid uuid NOT NULL
);
SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', false);
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE
    found uuid;
BEGIN
    SELECT p.uuid INTO found FROM pg_temp.people AS p
     WHERE name IN (p.person, p.handle) ORDER BY p.person = name DESC LIMIT 1;
    IF found IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = {code}, DETAIL = name,
            MESSAGE = format('nobody in {source} is called %L', name);
    END IF;
    RETURN found;
END $$;
"""


def reset(conn: psycopg.Connection[Any]) -> None:
    """Reset settings, prepared statements and temporary objects of earlier files, inside the open transaction.

    Statements wait 10 s for another session's lock, unless a file sets another limit.
    """
    with server_errors("session"):
        conn.execute(_RESET.replace("{seconds}", str(LOCK_S)))


def check_constraints(conn: psycopg.Connection[Any], file: str) -> None:
    """Check deferred constraints now, so that a violation is reported for the file that caused it."""
    with server_errors(file):
        conn.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


def provide_people(conn: psycopg.Connection[Any], people: Sequence[Person], source: str) -> None:
    """Create pg_temp.people (person, handle, display_name, email, uuid) and pg_temp.person(name) → uuid.

    `source` is the name of the people's file, for messages.
    """
    from psycopg import sql

    with server_errors(source):
        text = _PEOPLE.replace("{source}", source.replace("'", "").replace("%", "%%"))
        conn.execute(text.replace("{code}", f"'{UNKNOWN_PERSON}'"))
        columns: list[list[str]] = [
            [str(getattr(person, name)) for person in people]
            for name in ("person", "handle", "display_name", "email", "uuid")
        ]
        conn.execute(
            sql.SQL(
                "INSERT INTO pg_temp.people SELECT * FROM unnest({}::text[], {}::text[], {}::text[], {}::text[],"
            ).format(*map(sql.Literal, columns[:4]))
            + sql.SQL(" {}::uuid[])").format(sql.Literal(columns[4]))
        )
