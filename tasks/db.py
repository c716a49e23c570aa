"""db: the Postgres database. Its shape, its contents, and a look inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import _output, env
from ._graph import StepContext, step
from ._words import word_step

if TYPE_CHECKING:
    from .localenv.postgres.databases import Session

CONFIRM = "name of the database to write to, for --target prod"
YES = "go on with a database that this project did not make"
FILE = "another SQL file than the project's own"
FORMAT = "text or json"


def _is_created(c: StepContext) -> str | None:
    from .localenv.postgres import load

    return load.is_created(c.step.settings)


def _plan_create(c: StepContext) -> list[str]:
    return [f"create {c.step.settings.postgres.database}, empty"]


@step(pre=[env.up], check=_is_created, plan=_plan_create, help={"confirm": CONFIRM})
def create(c: StepContext, confirm: str = "") -> str:
    """Create the database, empty."""
    from .localenv.postgres import load

    c.step.allow_write(c.step.settings.postgres.database, confirm)
    return load.create(c.step.settings)


def _is_shaped(c: StepContext) -> str | None:
    from .localenv.postgres import load

    return load.is_shaped(c.step.settings, c.step.arguments["file"], typed=c.step.typed)


def _plan_schema(c: StepContext) -> list[str]:
    from .localenv.postgres import load

    return [f"apply {load.read_schema(c.step.settings, c.step.arguments['file']).file.name}"]


@step(
    pre=[create],
    check=_is_shaped,
    plan=_plan_schema,
    help={"file": FILE, "yes": YES, "confirm": CONFIRM},
)
def schema_load(c: StepContext, file: str = "", yes: bool = False, confirm: str = "") -> str:
    """Apply sql/schema.sql to the database as it is."""
    from .localenv.postgres import load

    c.step.allow_write(c.step.settings.postgres.database, confirm)
    return load.apply_schema(c.step.settings, file, c.step.say, yes=yes)


def _is_seeded(c: StepContext) -> str | None:
    from .localenv.postgres import load

    return load.is_seeded(c.step.settings, c.step.arguments["file"])


def _plan_seed(c: StepContext) -> list[str]:
    from .localenv.postgres import load

    return [f"apply {script.file.name}" for script in load.read_seeds(c.step.settings, c.step.arguments["file"])]


@step(
    pre=[schema_load],
    check=_is_seeded,
    plan=_plan_seed,
    help={"file": FILE, "yes": YES, "confirm": CONFIRM},
)
def seed(c: StepContext, file: str = "", yes: bool = False, confirm: str = "") -> str:
    """Apply seeds/sql/*.sql to the database as it is, once."""
    from .localenv.postgres import load

    c.step.allow_write(c.step.settings.postgres.database, confirm)
    return load.apply_seeds(c.step.settings, file, c.step.say, again=c.step.force, yes=yes)


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

    return setup.plan(c.step.settings, typed=_may_replace(c))


@step(pre=[env.up], check=_is_set_up, plan=_plan_setup, local_only=True, help={"yes": YES})
def setup(c: StepContext, yes: bool = False) -> str:
    """Build database, schema and seeds beside the old one, then swap."""
    from .localenv.postgres import setup as building

    done = building.setup(c.step.settings, c.step.say, typed=_may_replace(c), force=c.step.force, yes=yes)
    return done + _what_next(c)


@step(pre=[env.up], local_only=True, plan=lambda c: [f"swap {c.step.settings.postgres.database} with the one before"])
def undo(c: StepContext) -> str:
    """Bring back the database that the last db.setup replaced."""
    from .localenv.postgres import setup

    return setup.undo(c.step.settings)


def _plan_reset(c: StepContext) -> list[str]:
    name = c.step.settings.postgres.database
    return [f"drop every table of {name}, then apply sql/schema.sql and seeds/sql/*.sql, in one transaction"]


@step(pre=[create], local_only=True, plan=_plan_reset, help={"yes": YES})
def reset(c: StepContext, yes: bool = False) -> str:
    """Put the contents back to schema and seeds, in place."""
    from .localenv.postgres import load

    return load.reset(c.step.settings, c.step.say, yes=yes) + _what_next(c)


def _what_next(c: StepContext) -> str:
    """Say what a typed rebuild leaves open; within initial-setup the next steps see to it."""
    return "; next: `inv cognito.sync-ids`, since new users have no pool id yet" if c.step.typed else ""


def _is_gone(c: StepContext) -> str | None:
    return None if _is_created(c) else f"there is no {c.step.settings.postgres.database}"


def _plan_drop(c: StepContext) -> list[str]:
    from .localenv.postgres import setup

    sessions = [f"end the session of {session}" for session in setup.read_sessions(c.step.settings)]
    return [*sessions, f"drop {c.step.settings.postgres.database}"]


@step(pre=[env.up], check=_is_gone, local_only=True, plan=_plan_drop, help={"yes": "do not ask"})
def drop(c: StepContext, yes: bool = False) -> str:
    """Drop the database and end the sessions in it, after a question."""
    from .localenv.postgres import setup

    c.step.require_yes(_plan_drop(c), yes=yes)
    return setup.drop(c.step.settings)


@step(reads=True, pre=[env.up], help={"kill": "end them", "format": FORMAT, "confirm": CONFIRM})
def sessions(c: StepContext, kill: bool = False, format: str = "text", confirm: str = "") -> None:
    """List the sessions in the database; --kill ends them."""
    from .localenv.postgres import setup

    if kill:
        c.step.allow_write(c.step.settings.postgres.database, confirm)
    found = setup.read_sessions(c.step.settings, kill=kill)
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


@step(reads=True, pre=[setup], help={"write": "let the session change production data", "confirm": CONFIRM})
def connect(c: StepContext, write: bool = False, confirm: str = "") -> None:
    """Open psql, pgcli, or a small prompt on the database."""
    from .localenv.errors import LocalEnvError
    from .localenv.postgres import prompt

    settings = c.step.settings
    if write:
        c.step.allow_write(c.step.settings.postgres.database, confirm)
    client = prompt.find_client(_shipped_psql())
    if client is None:
        prompt.converse(settings, input, _output.show, write=write or settings.is_local)
        return
    code = prompt.attach(client, settings, write=write or settings.is_local)
    if code:
        raise LocalEnvError(f"{client.name} ended with exit code {code}")


def _shipped_psql() -> Path | None:
    from .localenv.engines import postgres_home
    from .localenv.errors import PreflightFailed

    try:
        return postgres_home.installed_programs() / "bin" / "psql"
    except PreflightFailed:
        return None


@word_step(
    reads=True,
    pre=[setup],
    word="sql",
    iterable=["param"],
    help={
        "sql": "the statement",
        "file": "a file that holds it, such as sql/users/short.sql",
        "param": "name=value for a %(name)s in it; may be repeated",
        "write": "let it change data, and commit (local target only)",
        "format": FORMAT,
    },
)
def query(
    c: StepContext,
    sql: str = "",
    file: str = "",
    param: list[str] | None = None,
    write: bool = False,
    format: str = "text",
) -> None:
    """Run one statement, read-only unless --write, and print its rows."""
    from .localenv.errors import UsageError
    from .localenv.postgres import query as queries

    settings = c.step.settings
    if write and not settings.is_local:
        raise UsageError("db.query --write is for the local target", hint="use `inv db.connect --write --target prod`")
    statement = queries.read_statement(settings, sql, file)
    parameters = queries.parse_parameters(param or (), statement)
    as_json = c.step.format == "json"
    with queries.run(settings, statement, parameters, write=write) as rows:
        _output.stream(queries.as_json(rows, c.step.name) if as_json else queries.as_table(rows))
