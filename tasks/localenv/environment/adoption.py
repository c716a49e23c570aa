"""Makes this project the owner of data that it did not make: of a moved or copied folder, or of plain Compose.

A moved folder has data under the embedded engine alone: its servers keep them in the state folder, beside a note of
their project. Docker's volumes stay with the project of the old path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import engines
from ..aws.emulatordoor import door_to
from ..cognito.users import look_for_pool
from ..engines.docker.takeovernote import note_stage, read_takeover
from ..engines.emulator_server.poolstate import renamed
from ..errors import LocalEnvError
from ..hints import inv
from ..machine.disk import disk_errors
from ..postgres import databases, ledger
from ..postgres.connection import connect, server_errors
from ..postgres.lexer import statements
from ..postgres.scripts import SCHEMA, Script, read_scripts
from ..settings.kept import keep_project, kept_project
from ..snapshot.shelf import Shelf

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

_CREATE_TABLE = re.compile(
    rb"""create\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?((?:"[^"]+"|[\w$]+)(?:\.(?:"[^"]+"|[\w$]+))?)""",
    re.IGNORECASE,
)


def adopt(settings: Settings) -> str:
    """Give a former project's data in the embedded servers to this project; return a sentence, empty if there are none.

    The services must run. Each step is safe to repeat, and the note is changed last.
    """
    if engines.choose(settings).engine != "embedded":
        return ""
    former = kept_project(settings.state_dir)
    if former == settings.project_id:
        return ""
    if former:
        _adopt_databases(settings, former)
        _adopt_pool(settings, former)
    with disk_errors(settings.state_dir):
        keep_project(settings.state_dir, settings.project_id)
    return (
        f"adopted the data of project {former}, which came with the folder, as {settings.project_id}" if former else ""
    )


def adopt_taken_over(settings: Settings) -> str:
    """Mark the database that came with volumes of plain Compose as this project's; return a sentence, or nothing.

    `--adopt` was the consent. Postgres must run. Safe to repeat: the note is changed last.
    """
    takeover = read_takeover(settings)
    if takeover is None or takeover.stage != "copied" or engines.choose(settings).engine != "docker":
        return ""
    told = f"; {_mark(settings)}" if "postgres" in settings.services else ""
    with disk_errors(settings.state_dir):
        note_stage(settings, "adopted")
    return f"adopted the data of Compose project {takeover.project}{told}"


def _mark(settings: Settings) -> str:
    """Write this project's marker into the database of the settings, and keep its contents. Returns what it is now."""
    name = settings.postgres.database
    observed = ledger.observe(settings.postgres)
    if not observed.exists:
        with databases.maintenance(settings.postgres) as conn:
            others = ", ".join(one for one in databases.usable(conn) if one != "postgres")
        return f"it has no database {name}" + (f", but {others}: CONNECTION_URL names the one to use" if others else "")
    with server_errors(f"database {name}"), connect(settings.postgres) as conn:
        ledger.prepare(conn, settings.project_id)
        kept = f"database {name} keeps its {observed.summary}"
        if observed.is_empty or observed.applied:
            return kept
        return f"{kept}; {_record_files(conn, settings)}"


def _record_files(conn: psycopg.Connection[Any], settings: Settings) -> str:
    """Record the schema as applied where its tables are there, the seeds too where these have rows. Returns a sentence.

    Otherwise nothing is recorded, and db.setup decides as for a schema that changed.
    """
    try:
        scripts = read_scripts(settings)
    except LocalEnvError as error:
        return error.message
    schema = [script for script in scripts if script.entry.step == "schema"]
    wanted = [name for script in schema for name in _tables_of(script)]
    rows = conn.execute(
        "SELECT name, to_regclass(name)::text FROM unnest(%s::text[]) AS name", (list(dict.fromkeys(wanted)),)
    ).fetchall()
    missing = [name for name, there in rows if there is None]
    if missing or not rows:
        why = f"without {', '.join(missing[:3])}" if missing else "without tables"
        return f"{SCHEMA} is not its schema ({why}): {inv('db.setup')} builds anew, and {inv('undo')} goes back"
    has_rows = any(_has_rows(conn, table) for _, table in rows)
    for script in scripts if has_rows else schema:
        ledger.record(conn, script.entry)
    count = " and the seeds count" if has_rows else " counts"
    return f"{SCHEMA}{count} as applied; {inv('db.setup', '--force')} builds it anew"


def _tables_of(script: Script) -> Iterator[str]:
    """Yield the tables that a file creates, as it names them."""
    text = script.file.text
    for statement in statements(text):
        found = _CREATE_TABLE.match(text, statement.start, statement.end)
        if found:
            yield found[1].decode(errors="replace")


def _has_rows(conn: psycopg.Connection[Any], table: str) -> bool:
    row = conn.execute(f"SELECT EXISTS (SELECT FROM {table})".encode()).fetchone()  # quoted by the server
    return bool(row and row[0])


def _adopt_databases(settings: Settings, former: str) -> None:
    with databases.maintenance(settings.postgres) as conn:
        names = databases.usable(conn)
        Shelf(settings).adopt(conn, former)
    for name in names:
        ledger.adopt(settings.postgres, name, former, settings.project_id)


def _adopt_pool(settings: Settings, former: str) -> None:
    if settings.cognito_is_emulated and look_for_pool(settings) is None:
        emulator = door_to(settings)
        emulator.replace(renamed(emulator.fetch(), former, settings.project_id))
