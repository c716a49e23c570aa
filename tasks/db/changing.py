"""What db's tasks do for a schema that changes: a new migration, the way back, and what differs from the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import env
from .._graph import DESTROYS, READS, WRITES, Found, StepContext, step
from .._lazy import lazy
from .._words import word_step
from ..localenv.errors import LocalEnvError
from ..localenv.hints import inv
from .building import CONFIRM

if TYPE_CHECKING:
    from ..localenv.engines import pg_dump
    from ..localenv.postgres import migrating, schemadiff, scripts
else:
    pg_dump = lazy("localenv.engines.pg_dump")
    migrating = lazy("localenv.postgres.migrating")
    schemadiff = lazy("localenv.postgres.schemadiff")
    scripts = lazy("localenv.postgres.scripts")


def _new_file(c: StepContext) -> Path:
    return migrating.new_file(c.step.settings.root, c.step.arguments["name"] or "")


@word_step(
    example="inv db.new-migration add_bio_to_users",
    effect=READS,  # of no store: it writes a file
    shows=True,
    local_only=True,
    word="name",
    needed=True,
    plan=lambda c: [f"write {_new_file(c)}"],
    inputs=_new_file,
    help={"name": "what it does: add_bio_to_users"},
)
def new_migration(c: StepContext, name: str | None = None) -> str:
    """Write an empty migration into sql/migrations, and print its path."""
    path = _new_file(c)
    migrating.write_new(c.step.settings.root, path)
    c.step.emit({"path": str(path)}, str(path))
    return (
        f"write the change below `-- migrate:up` and what undoes it below `-- migrate:down`, then {inv('db.migrate')}"
    )


def _plan_rollback(c: StepContext) -> list[str]:
    c.step.require_database()
    return migrating.plan_rollback(c.step.settings)


@step(
    example="inv db.rollback --confirm cruddur",
    effect=DESTROYS,
    pre=[env.up],
    plan=_plan_rollback,
    inputs=lambda c: scripts.read_migrations(c.step.settings),
    help={"confirm": "name of the database, since nothing brings back what a down block removes"},
)
def rollback(c: StepContext, confirm: str = "") -> str:
    """Undo the newest migration by its down block, after a question."""
    settings = c.step.writable_database(confirm)
    if settings.is_local:
        c.step.require_name(migrating.plan_rollback(settings), settings.postgres.database, confirm=confirm)
    return migrating.rollback(settings, c.step.say, yes=bool(confirm))


def _plan_diff(c: StepContext) -> list[str]:
    c.step.require_database()
    return schemadiff.plan(c.step.settings)


@step(
    example="inv db.diff",
    codes={1: "they differ"},
    effect=WRITES,  # a database beside, for as long as it takes
    shows=True,
    local_only=True,
    pre=[env.up],
    plan=_plan_diff,
    inputs=lambda c: migrating.read_shape(c.step.settings),
    help={"confirm": CONFIRM},
)
def diff(c: StepContext, confirm: str = "") -> None:
    """Compare the database with what the files make; exit 1 where they differ."""
    settings = c.step.writable_database(confirm)
    lines = schemadiff.compare(settings, pg_dump.dump_command, c.step.say)
    c.step.emit({"alike": not lines, "diff": lines}, lines)
    if lines:
        raise Found(LocalEnvError("the database is not as its files make it"))
