"""db: the Postgres database. Its shape, its contents, and a look inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import _app, _output, env
from ._graph import DESTROYS, READS, REPLACES, WRITES, StepContext, step
from ._words import word_step
from .localenv.hints import Command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .localenv.postgres.databases import Session
    from .localenv.postgres.scripts import Script
    from .localenv.postgres.sqlfile import SqlFile
    from .localenv.settings.addresses import PostgresAddress

CONFIRM = "name of the database to change, where it is production's or another project's"
YES = "use a database that this project did not make"
FILE = "another SQL file than the project's own"
FORMAT = "text or json"


def _is_created(c: StepContext) -> str | None:
    from .localenv.postgres import load

    return load.check_created(c.step.settings)


def _plan_create(c: StepContext) -> list[str]:
    return [f"create {c.step.settings.postgres.database}, empty"]


@step(effect=WRITES, pre=[env.up], check=_is_created, plan=_plan_create, help={"confirm": CONFIRM})
def create(c: StepContext, confirm: str = "") -> str:
    """Create the database, empty."""
    from .localenv.postgres import load

    return load.create(c.step.writable_database(confirm))


def _is_shaped(c: StepContext) -> str | None:
    from .localenv.postgres import load

    return load.check_schema(c.step.settings, c.step.arguments["file"], typed=c.step.typed)


def _read_schema(c: StepContext) -> list[Script]:
    from .localenv.postgres import scripts

    return scripts.read_schema(c.step.settings, c.step.arguments["file"])


def _plan_schema(c: StepContext) -> list[str]:
    from .localenv.postgres import load

    return load.plan_schema(c.step.settings, _read_schema(c), again=c.step.force, yes=c.step.arguments["yes"])


@step(
    effect=WRITES,
    pre=[create],
    check=_is_shaped,
    plan=_plan_schema,
    help={"file": FILE, "yes": YES, "confirm": CONFIRM},
    inputs=lambda c: _read_schema(c),
)
def schema_load(c: StepContext, file: str = "", yes: bool = False, confirm: str = "") -> str:
    """Apply sql/schema.sql and sql/schema/*.sql to the database as it is."""
    from .localenv.postgres import load

    settings = c.step.writable_database(confirm, yes=yes)
    return load.apply_schema(settings, file, c.step.say, again=c.step.force, yes=yes or bool(confirm))


def _is_seeded(c: StepContext) -> str | None:
    from .localenv.postgres import load

    return load.check_seeds(c.step.settings, c.step.arguments["file"])


def _read_seeds(c: StepContext) -> list[Script]:
    from .localenv.postgres import scripts

    return scripts.read_seeds(c.step.settings, c.step.arguments["file"])


def _plan_seed(c: StepContext) -> list[str]:
    from .localenv.postgres import load

    return load.plan_seeds(c.step.settings, _read_seeds(c), again=c.step.force, yes=c.step.arguments["yes"])


@step(
    effect=WRITES,
    pre=[schema_load],
    check=_is_seeded,
    plan=_plan_seed,
    help={"file": FILE, "yes": YES, "confirm": CONFIRM},
    inputs=lambda c: _read_seeds(c),
)
def seed(c: StepContext, file: str = "", yes: bool = False, confirm: str = "") -> str:
    """Apply seeds/sql/*.sql to the database as it is, once."""
    from .localenv.postgres import load

    settings = c.step.writable_database(confirm, yes=yes)
    return load.apply_seeds(settings, file, c.step.say, again=c.step.force, yes=yes or bool(confirm))


def _is_set_up(c: StepContext) -> str | None:
    from .localenv.postgres import setup

    decision = setup.read_decision(c.step.settings, typed=_may_replace(c))
    if c.step.requested:  # typed, or a part of initial-setup, which must not call a database ready that is not
        decision.require_agreement(c.step.settings.postgres.database)
    return decision.reason if decision.action == "keep" else None


def _may_replace(c: StepContext) -> bool:
    return c.step.typed or c.step.force


def _plan_setup(c: StepContext) -> list[str]:
    from .localenv.postgres import setup

    yes = bool(c.step.arguments["yes"])
    return setup.plan(c.step.settings, typed=_may_replace(c), force=c.step.force, yes=yes)


def _read_scripts(c: StepContext) -> list[Script]:
    from .localenv.postgres import scripts

    return scripts.read_scripts(c.step.settings)


@step(
    effect=REPLACES,
    pre=[env.up],
    check=_is_set_up,
    plan=_plan_setup,
    local_only=True,
    help={"yes": YES},
    inputs=_read_scripts,
)
def setup(c: StepContext, yes: bool = False) -> str:
    """Build database, schema and seeds beside the old one, then swap."""
    from .localenv.postgres import setup as building

    settings = c.step.writable_database(yes=yes)
    done = building.setup(settings, c.step.say, typed=_may_replace(c), force=c.step.force, yes=yes)
    return done + _app.what_next(c)


def _plan_undo(c: StepContext) -> list[str]:
    from .localenv.postgres import setup

    c.step.require_database()
    return setup.plan_undo(c.step.settings)


@step(effect=REPLACES, pre=[env.up], local_only=True, plan=_plan_undo, help={"confirm": CONFIRM})
def undo(c: StepContext, confirm: str = "") -> str:
    """Bring back the database that the last db.setup replaced."""
    from .localenv.postgres import setup

    return setup.undo(c.step.writable_database(confirm))


def _plan_reset(c: StepContext) -> list[str]:
    from .localenv.postgres import load

    return load.plan_reset(c.step.settings, yes=c.step.arguments["yes"])


@step(
    effect=DESTROYS,
    pre=[create],
    local_only=True,
    plan=_plan_reset,
    help={"yes": YES},
    inputs=_read_scripts,
)
def reset(c: StepContext, yes: bool = False) -> str:
    """Put the contents back to schema and seeds, in place."""
    from .localenv.postgres import load

    return load.reset(c.step.writable_database(yes=yes), c.step.say, yes=yes) + _app.what_next(c)


def _is_gone(c: StepContext) -> str | None:
    return None if _is_created(c) else f"there is no {c.step.settings.postgres.database}"


def _plan_drop(c: StepContext) -> list[str]:
    from .localenv.postgres import setup

    c.step.require_database()
    sessions = [f"end the session of {session}" for session in setup.read_sessions(c.step.settings)]
    return [*sessions, f"drop {c.step.settings.postgres.database}"]


@step(
    effect=DESTROYS,
    pre=[env.up],
    check=_is_gone,
    local_only=True,
    plan=_plan_drop,
    help={"yes": "do not ask", "confirm": CONFIRM},
)
def drop(c: StepContext, yes: bool = False, confirm: str = "") -> str:
    """Drop the database and end the sessions in it, after a question."""
    from .localenv.postgres import setup

    settings = c.step.writable_database(confirm)
    c.step.require_yes(_plan_drop(c), yes=yes)
    return setup.drop(settings)


@step(
    effect=READS,
    effects={"kill": WRITES},
    lock=False,
    pre=[env.up],
    help={"kill": "end them", "format": FORMAT, "confirm": CONFIRM},
)
def sessions(c: StepContext, kill: bool = False, format: str = "text", confirm: str = "") -> None:
    """List the sessions in the database; --kill ends them."""
    from .localenv.postgres import setup

    settings = c.step.writable_database(confirm) if kill else c.step.settings
    found = setup.read_sessions(settings, kill=kill)
    nobody = "nobody else is connected"
    c.step.emit([vars(session) for session in found], lambda: _output.table(map(_row, found), HEADINGS) or nobody)
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
    effect=WRITES,  # the local database may be changed without --write
    shows=True,
    lock=False,
    pre=[setup],
    help={"write": "let the session change production data", "confirm": CONFIRM},
)
def connect(c: StepContext, write: bool = False, confirm: str = "") -> None:
    """Open psql, pgcli, or a small prompt on the database."""
    from .localenv.errors import LocalEnvError
    from .localenv.postgres import prompt

    address = _address_for_session(c, confirm, write=write)
    client = prompt.find_client(_shipped_psql(), address.database)
    if client is None:
        prompt.converse(address, input, _output.show)
        return
    code = prompt.attach(client, address)
    if code:
        raise LocalEnvError(f"{client.name} ended with exit code {code}")


def _address_for_session(c: StepContext, confirm: str, *, write: bool) -> PostgresAddress:
    """Return where the session goes: with a permit where it may change data, else as who cannot, where that is set."""
    from .localenv.errors import ConfirmationNeeded

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
    from .localenv.engines.embedded import home as postgres_home
    from .localenv.errors import PreflightFailed

    try:
        return postgres_home.installed_programs() / "bin" / "psql"
    except PreflightFailed:
        return None


def _statement(c: StepContext) -> tuple[SqlFile, Mapping[str, str]]:
    from .localenv.errors import UsageError
    from .localenv.postgres import query as queries

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
        "format": FORMAT,
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
    format: str = "text",
    confirm: str = "",
) -> None:
    """Run one statement, read-only unless --write, and print its rows."""
    from .localenv.postgres import query as queries

    settings = c.step.settings
    statement, parameters = _statement(c)
    as_json = c.step.format == "json"
    reading = settings.prod_reading or settings.postgres
    address = c.step.writable_database(confirm).postgres if write else reading
    with queries.run(address, statement, parameters) as rows:
        _output.stream(queries.as_json(rows, c.step.name) if as_json else queries.as_table(rows))
