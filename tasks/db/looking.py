"""What db's tasks show of the database: who is in it, a session, a query, all of it as SQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import _output, env
from .._graph import READS, WRITES, StepContext, step
from .._lazy import lazy
from .._words import word_step
from ..localenv.errors import ConfirmationNeeded, LocalEnvError, PreflightFailed, UsageError
from ..localenv.hints import Command
from ..localenv.machine.reading import path_of
from .building import CONFIRM, setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..localenv.engines import pg_dump
    from ..localenv.engines.embedded import home as postgres_home
    from ..localenv.machine import wholefile
    from ..localenv.postgres import dump as dumping
    from ..localenv.postgres import prompt
    from ..localenv.postgres import query as queries
    from ..localenv.postgres import setup as building
    from ..localenv.postgres.databases import Session
    from ..localenv.postgres.sqlfile import SqlFile
    from ..localenv.settings.addresses import PostgresAddress
else:
    postgres_home = lazy("localenv.engines.embedded.home")
    pg_dump = lazy("localenv.engines.pg_dump")
    wholefile = lazy("localenv.machine.wholefile")
    dumping = lazy("localenv.postgres.dump")
    prompt = lazy("localenv.postgres.prompt")
    queries = lazy("localenv.postgres.query")
    building = lazy("localenv.postgres.setup")


@step(
    example="inv db.sessions --kill",
    effect=READS,
    effects={"kill": WRITES},
    lock=False,
    pre=[env.up],
    help={"kill": "end them", "confirm": CONFIRM},
)
def sessions(c: StepContext, kill: bool = False, confirm: str = "") -> None:
    """List the sessions in the database; --kill ends them."""
    settings = c.step.writable_database(confirm) if kill else c.step.settings
    found = building.read_sessions(settings, kill=kill)
    nobody = "nobody else is connected"
    c.step.emit(found, lambda: _output.table(map(_row, found), HEADINGS) or nobody)
    if kill and found:
        c.step.say(f"ended {len(found)}")


HEADINGS = ("PID", "APPLICATION", "USER", "CLIENT", "STATE", "FOR", "LAST QUERY")


def _row(session: Session) -> tuple[object, ...]:
    query = " ".join(session.query.split())
    shown = query if len(query) <= 60 else f"{query[:59]}…"
    return (
        session.pid,
        session.application,
        session.user,
        session.client,
        session.state,
        f"{session.age_s:.0f} s",
        shown,
    )


@step(
    example="inv db.connect",
    effect=WRITES,  # the local database may be changed without --write
    shows=True,
    lock=False,
    pre=[setup],
    inputs=lambda c: _refuse_json(c, "a session at the terminal has no answer", "give db.query a statement"),
    help={"write": "let the session change production data", "confirm": CONFIRM},
)
def connect(c: StepContext, write: bool = False, confirm: str = "") -> None:
    """Open psql, pgcli, or a small prompt on the database."""
    address = _address_for_session(c, confirm, write=write)
    client = prompt.find_client(_shipped_psql(), address.database)
    if client is None:
        prompt.converse(address, input, _output.show)
        return
    code = prompt.attach(client, address)
    if code:
        raise LocalEnvError(f"{client.name} ended with exit code {code}")


def _refuse_json(c: StepContext, why: str, hint: str) -> None:
    if c.step.as_json:
        raise UsageError(f"{c.step.name} --format json: {why}", hint=hint)


def _address_for_session(c: StepContext, confirm: str, *, write: bool) -> PostgresAddress:
    """Return where the session goes: with a permit where it may change data, else as who cannot, where that is set."""
    settings = c.step.settings
    if write or (settings.is_local and confirm):
        return c.step.writable_database(confirm).postgres
    if settings.is_local:
        try:
            return c.step.writable_database().postgres
        except ConfirmationNeeded as error:
            c.step.say(f"read-only, unless you {error.hint}: {error.message}")
            return settings.postgres
    if settings.prod_reading is None:
        c.step.say("read-only as a setting that the session can lift; PROD_READ_CONNECTION_URL names a safer role")
    return settings.prod_reading or settings.postgres


def _shipped_psql() -> Path | None:
    try:
        return postgres_home.installed_programs() / "bin" / "psql"
    except PreflightFailed:
        return None


def _statement(c: StepContext) -> tuple[SqlFile, Mapping[str, str]]:
    settings, arguments = c.step.settings, c.step.arguments
    if arguments["write"] and not settings.is_local:
        raise UsageError(
            "db.query --write is for the local target", hint=Command("db.connect", "--write", "--target", "prod")
        )
    statement = queries.read_statement(settings, arguments["sql"], arguments["file"])
    if not arguments["write"]:
        queries.require_read_only(statement)
    return statement, queries.parse_parameters(arguments["param"] or (), statement)


@word_step(
    example="inv db.query 'select count(*) from users'",
    effect=READS,
    effects={"write": WRITES},
    lock=False,
    pre=[setup],
    word="sql",
    iterable=["param"],
    help={
        "sql": "the statement",
        "file": "a file that holds it, such as sql/users/short.sql",
        "param": "name=value for a %(name)s in it; may be repeated",
        "write": "let it change data, and commit (local target only)",
        "confirm": CONFIRM,
    },
    inputs=_statement,
)
def query(
    c: StepContext,
    sql: str = "",
    file: str = "",
    param: list[str] | None = None,
    write: bool = False,
    confirm: str = "",
) -> None:
    """Run one statement, read-only unless --write, and print its rows."""
    settings = c.step.settings
    statement, parameters = _statement(c)
    reading = settings.prod_reading or settings.postgres
    address = c.step.writable_database(confirm).postgres if write else reading
    with queries.run(address, statement, parameters) as rows:
        if c.step.as_json:
            c.step.stream("row", rows.objects(), lambda _: ())
        else:
            _output.stream(queries.as_table(rows))


def _what_to_dump(c: StepContext) -> tuple[list[str], Path | None]:
    """Return the options of pg_dump, and the file; None is stdout, which gets every byte as it is."""
    file, schema_only, data_only = (c.step.arguments[name] for name in ("file", "schema_only", "data_only"))
    if schema_only and data_only:
        raise UsageError("--schema-only and --data-only leave nothing to write", hint="give one of the two")
    if not file:
        raise UsageError("db.dump wants a file", hint=Command("db.dump", "--file", "dump.sql", when="(- is stdout)"))
    if file == "-":
        _refuse_json(c, "stdout has the SQL", "name a file: --file dump.sql")
    else:
        wholefile.require_folder(path_of(file).absolute().parent)
    return ["--schema-only"] * schema_only + ["--data-only"] * data_only, None if file == "-" else path_of(file)


@step(
    example="inv db.dump --file dump.sql",
    effect=READS,
    lock=False,
    local_only=True,
    pre=[setup],
    inputs=_what_to_dump,
    help={
        "file": "where to write it, or - for stdout",
        "schema_only": "without the rows",
        "data_only": "the rows alone",
    },
)
def dump(c: StepContext, file: str = "", schema_only: bool = False, data_only: bool = False) -> str | None:
    """Write the database as SQL, by the pg_dump of the server's own release."""
    settings = c.step.settings
    wanted, path = _what_to_dump(c)
    size = dumping.write_sql([*pg_dump.dump_command(settings), *wanted], settings.postgres, path)
    c.step.note(file=file, bytes=size)
    return f"{size:,} bytes in {file}" if path else None
