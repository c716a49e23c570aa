"""ddb: the items of the seeds: those of the app's part, and those that stand in seeds/ddb for any table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _app, db
from .._graph import WRITES, StepContext, step
from .._lazy import lazy
from ..localenv.errors import TimedOut, UsageError
from ..localenv.machine.reading import is_folder, path_of, read_bytes, require_utf8
from ..localenv.settings.parts import ITEMS, has
from ..localenv.settings.people import find_person, read_people
from . import tables
from .tables import CONFIRM

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from ..localenv.dynamodb import client as dynamodb
    from ..localenv.dynamodb import itemwriter as item_writer
    from ..localenv.dynamodb import tablefiles as table_files
    from ..localenv.dynamodb import tableseeds
    from ..localenv.dynamodb.tableseeds import TableSeeds
    from ..localenv.environment.app import App, Say, SeedFile, Seeding
    from ..localenv.machine import ages
    from ..localenv.postgres import handles
    from ..localenv.postgres.handles import Lookup
    from ..localenv.settings import Settings
else:
    dynamodb = lazy("localenv.dynamodb.client")
    item_writer = lazy("localenv.dynamodb.itemwriter")
    table_files = lazy("localenv.dynamodb.tablefiles")
    tableseeds = lazy("localenv.dynamodb.tableseeds")
    ages = lazy("localenv.machine.ages")
    handles = lazy("localenv.postgres.handles")


def lookup(c: StepContext) -> Lookup:
    queries = c.step.settings.root / "sql" / "users"
    return handles.Lookup(by_handles=queries / "by_handles.sql", handles=queries / "handles.sql")


@dataclass(frozen=True)
class TableItems:
    """The seeds of any table. They are read when they are used: a reset makes their tables just before."""

    settings: Settings

    def check(self) -> str | None:
        return self._prepared.check()

    def plan_lines(self) -> list[str]:
        return self._prepared.plan_lines()

    def seed(self, say: Say) -> str:
        return self._prepared.apply()

    @property
    def _prepared(self) -> TableSeeds:
        return tableseeds.prepare(self.settings)


@dataclass(frozen=True)
class Seedings:
    """Several seedings as one: all of them are right, or it is not."""

    each: Sequence[Seeding]

    def check(self) -> str | None:
        found = [seeding.check() for seeding in self.each]
        return "; ".join(filter(None, found)) if all(found) else None

    def plan_lines(self) -> list[str]:
        return [line for seeding in self.each for line in seeding.plan_lines()]

    def seed(self, say: Say) -> str:
        return "; ".join(seeding.seed(say) for seeding in self.each)


def seeding_of(
    c: StepContext, settings: Settings | None = None, inside: psycopg.Connection[Any] | None = None
) -> Seeding:
    """Read and check the seeds, those of a file that was given alone; with `settings` that have a permit to write them.

    Users are looked up `inside` a connection that is open, where one is given.
    """
    settings = settings or c.step.settings
    each: list[Seeding] = [_of_part(c, settings, inside)] if _has_part(c) else []
    if _has_items(c):
        each.append(TableItems(settings))
    return Seedings(each)


def _has_part(c: StepContext) -> bool:
    return bool(c.step.arguments.get("file")) or not _app.why_no_seeds(c.step.settings)


def _has_items(c: StepContext) -> bool:
    return not c.step.arguments.get("file") and has(c.step.settings.root, ITEMS)


def _tables(c: StepContext) -> str:
    """Name the tables that are written to, as --confirm wants them."""
    own = [c.step.settings.message_table] if _has_part(c) else []
    others = [file.table for file in tableseeds.find_files(c.step.settings)] if _has_items(c) else []
    return ",".join(dict.fromkeys([*own, *others]))


def _of_part(c: StepContext, settings: Settings, inside: psycopg.Connection[Any] | None) -> Seeding:
    part = _part(c)
    with _mistakes(part):
        return part.prepare(
            dynamodb.connect(settings),
            settings.message_table,
            _files(c, part),
            find_person=partial(find_person, read_people(settings.root)),
            find_users=lambda wanted: handles.fetch_users(settings, lookup(c), wanted, c.step.say, inside=inside),
            write=item_writer.write,
            ago=ages.ago,
            anew=c.step.force,
        )


def for_reset(c: StepContext, settings: Settings, inside: psycopg.Connection[Any] | None) -> Seeding | None:
    """Read and check the seeds for a reset; None where the app has none."""
    return None if _app.why_absent("ddb.seed", c) else seeding_of(c, settings, inside)


def _part(c: StepContext) -> App:
    part = _app.part(c.step.settings)
    assert part, "the step is skipped without it"
    return part


def _files(c: StepContext, part: App) -> Iterator[SeedFile]:
    """Read the file, or the folder of files, that was given, or that of the part. Raises UsageError."""
    root, given = c.step.settings.root, c.step.arguments.get("file", "")
    start = path_of(given) if given else root / part.SEEDS
    paths: Sequence[Path] = sorted(start.glob(part.PATTERN)) if is_folder(start) else [start]
    if not paths:
        raise UsageError(f"{given or part.SEEDS}: no {part.PATTERN} in it", hint="put a seed file there")
    for path in paths:
        name = table_files.shown(path, root)
        data = read_bytes(path, name)
        require_utf8(data, name)
        yield name, data


@contextmanager
def _mistakes(part: App) -> Iterator[None]:
    """Turn what the part finds wrong in a seed file into the error that users know."""
    try:
        yield
    except part.Mistake as error:
        raise UsageError(str(error), hint=getattr(error, "hint", "")) from error


def _is_seeded(c: StepContext) -> str | None:
    return seeding_of(c).check()


def _plan_seed(c: StepContext) -> Iterable[str]:
    return seeding_of(c).plan_lines()


def _read(c: StepContext) -> None:
    if _has_part(c):
        part = _part(c)
        with _mistakes(part):
            part.read_seeds(_files(c, part), partial(find_person, read_people(c.step.settings.root)))
    if _has_items(c):
        tableseeds.precheck(c.step.settings)


@step(
    example="inv ddb.seed",
    effect=WRITES,
    pre=[db.setup, tables.schema_load],
    check=_is_seeded,
    plan=_plan_seed,
    help={"file": "another seed file, or folder of them, than the app's", "confirm": CONFIRM},
    inputs=_read,
)
def seed(c: StepContext, file: str = "", confirm: str = "") -> str:
    """Write the items of the seeds, the newest one now."""
    seeding_of(c)  # a mistake in them is said before anybody is asked
    seeding = seeding_of(c, c.step.writable(_tables(c), confirm))
    part = _app.part(c.step.settings)
    busy: tuple[type[Exception], ...] = (part.Busy,) if part else ()
    try:
        return seeding.seed(c.step.say)
    except busy as error:
        raise TimedOut(str(error), hint="wait a moment, then run the same command again") from error
