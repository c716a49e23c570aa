"""What db's tasks make of the database: its shape and its contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _app, env
from .._graph import REPLACES, WRITES, StepContext, step
from .._lazy import lazy
from ..localenv.hints import inv

if TYPE_CHECKING:
    from ..localenv.postgres import load, migrating, scripts
    from ..localenv.postgres import setup as building
    from ..localenv.postgres.scripts import Script
else:
    load = lazy("localenv.postgres.load")
    migrating = lazy("localenv.postgres.migrating")
    scripts = lazy("localenv.postgres.scripts")
    building = lazy("localenv.postgres.setup")

CONFIRM = "name of the database to change, where it is production's or another project's"
YES = "use a database that this project did not make"
FILE = "another SQL file than the project's own"
ACCEPT = "run nothing: what the files say is in the database already"


def _is_created(c: StepContext) -> str | None:
    return load.check_created(c.step.settings)


def _plan_create(c: StepContext) -> list[str]:
    return [f"create {c.step.settings.postgres.database}, empty"]


@step(
    example="inv db.create",
    effect=WRITES,
    pre=[env.up],
    check=_is_created,
    plan=_plan_create,
    help={"confirm": CONFIRM},
)
def create(c: StepContext, confirm: str = "") -> str:
    """Create the database, empty."""
    return load.create(c.step.writable_database(confirm))


def _is_shaped(c: StepContext) -> str | None:
    if c.step.arguments["accept"]:
        return migrating.check_accepted(c.step.settings, c.step.arguments["file"])
    return load.check_schema(c.step.settings, c.step.arguments["file"], typed=c.step.typed)


def _read_schema(c: StepContext) -> list[Script]:
    return scripts.read_schema(c.step.settings, c.step.arguments["file"])


def _plan_schema(c: StepContext) -> list[str]:
    yes = bool(c.step.arguments["yes"])
    if c.step.arguments["accept"]:
        return migrating.plan_accept(c.step.settings, c.step.arguments["file"], yes=yes)
    return load.plan_schema(c.step.settings, _read_schema(c), again=c.step.force, yes=yes)


@step(
    example="inv db.schema-load --file more.sql",
    effect=REPLACES,  # of what is there, where the database has contents
    pre=[create],
    check=_is_shaped,
    plan=_plan_schema,
    help={"file": FILE, "accept": ACCEPT, "yes": YES, "confirm": CONFIRM},
    inputs=lambda c: _read_schema(c),
)
def schema_load(c: StepContext, file: str = "", accept: bool = False, yes: bool = False, confirm: str = "") -> str:
    """Apply sql/schema.sql and sql/schema/*.sql to the database as it is."""
    settings = c.step.writable_database(confirm, yes=yes)
    if accept:
        return migrating.accept(settings, file, yes=yes or bool(confirm))
    return load.apply_schema(settings, file, c.step.say, again=c.step.force, yes=yes or bool(confirm))


def _is_migrated(c: StepContext) -> str | None:
    return migrating.check_migrated(c.step.settings, typed=c.step.typed)


def _plan_migrate(c: StepContext) -> list[str]:
    return migrating.plan_migrate(c.step.settings, yes=c.step.arguments["yes"])


@step(
    example="inv db.migrate --plan",
    effect=WRITES,
    pre=[schema_load],
    check=_is_migrated,
    plan=_plan_migrate,
    help={"yes": YES, "confirm": CONFIRM},
    inputs=lambda c: migrating.read_shape(c.step.settings),
)
def migrate(c: StepContext, yes: bool = False, confirm: str = "") -> str:
    """Apply the pending files of sql/migrations, each in its own transaction."""
    settings = c.step.writable_database(confirm, yes=yes)
    return migrating.migrate(settings, c.step.say, yes=yes or bool(confirm))


def _is_seeded(c: StepContext) -> str | None:
    return load.check_seeds(c.step.settings, c.step.arguments["file"])


def _read_seeds(c: StepContext) -> list[Script]:
    return scripts.read_seeds(c.step.settings, c.step.arguments["file"])


def _plan_seed(c: StepContext) -> list[str]:
    return load.plan_seeds(c.step.settings, _read_seeds(c), again=c.step.force, yes=c.step.arguments["yes"])


@step(
    example="inv db.seed --file seeds/sql/01_users.sql",
    effect=WRITES,
    pre=[migrate],
    check=_is_seeded,
    plan=_plan_seed,
    help={"file": FILE, "yes": YES, "confirm": CONFIRM},
    inputs=lambda c: _read_seeds(c),
)
def seed(c: StepContext, file: str = "", yes: bool = False, confirm: str = "") -> str:
    """Apply seeds/sql/*.sql to the database as it is, once."""
    settings = c.step.writable_database(confirm, yes=yes)
    return load.apply_seeds(settings, file, c.step.say, again=c.step.force, yes=yes or bool(confirm))


def _is_set_up(c: StepContext) -> str | None:
    decision = building.read_decision(c.step.settings, typed=_may_replace(c), refill=c.step.requested)
    if c.step.requested:  # typed, or a part of initial-setup, which must not call a database ready that is not
        decision.require_agreement(c.step.settings.postgres.database)
    return decision.reason if decision.action == "keep" else None


def _may_replace(c: StepContext) -> bool:
    return c.step.typed or c.step.force


def _plan_setup(c: StepContext) -> list[str]:
    yes = bool(c.step.arguments["yes"])
    how = {"typed": _may_replace(c), "force": c.step.force, "refill": c.step.requested}
    return building.plan(c.step.settings, yes=yes, **how)


def _read_scripts(c: StepContext) -> list[Script]:
    return scripts.read_scripts(c.step.settings)


@step(
    example="inv db.setup --force",
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
    settings = c.step.writable_database(yes=yes)
    how = {"typed": _may_replace(c), "force": c.step.force, "refill": c.step.requested}
    done = building.setup(settings, c.step.say, yes=yes, **how)
    return done + _app.what_next(c)


def _plan_reset(c: StepContext) -> list[str]:
    return building.plan_reset(c.step.settings, yes=c.step.arguments["yes"])


@step(
    example="inv db.reset",
    effect=REPLACES,
    pre=[create],
    local_only=True,
    plan=_plan_reset,
    help={"yes": YES},
    inputs=_read_scripts,
)
def reset(c: StepContext, yes: bool = False) -> str:
    """Put the contents back to schema and seeds."""
    settings = c.step.writable_database(yes=yes)
    return building.reset(settings, c.step.say, yes=yes) + _app.what_next(c)


def _is_gone(c: StepContext) -> str | None:
    return None if _is_created(c) else f"there is no {c.step.settings.postgres.database}"


def _plan_drop(c: StepContext) -> list[str]:
    c.step.require_database()
    sessions = [f"end the session of {session}" for session in building.read_sessions(c.step.settings)]
    return [*sessions, f"drop {c.step.settings.postgres.database}; {inv('undo')} brings it back"]


@step(
    example="inv db.drop --yes",
    effect=REPLACES,
    pre=[env.up],
    check=_is_gone,
    local_only=True,
    plan=_plan_drop,
    help={"yes": "do not ask", "confirm": CONFIRM},
)
def drop(c: StepContext, yes: bool = False, confirm: str = "") -> str:
    """Drop the database and end the sessions in it, after a question."""
    c.step.require_yes(_plan_drop(c), yes=yes)
    return building.drop(c.step.writable_database(confirm))
