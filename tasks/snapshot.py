"""snapshot: all three stores at one point, kept under a name and brought back together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import _output, env, root
from ._graph import DESTROYS, READS, REPLACES, WRITES, StepContext, step
from ._lazy import lazy
from ._words import word_step
from .localenv.errors import LocalEnvError, UsageError
from .localenv.hints import inv

if TYPE_CHECKING:
    from .localenv.environment.check import Report
    from .localenv.machine import ages
    from .localenv.settings import Settings
    from .localenv.snapshot import listing, manifest, portable
    from .localenv.snapshot import restore as restoring
    from .localenv.snapshot import save as saving
    from .localenv.snapshot import shelf as shelves
    from .localenv.snapshot.listing import Listed
    from .localenv.snapshot.manifest import Manifest
else:
    ages = lazy("localenv.machine.ages")
    listing = lazy("localenv.snapshot.listing")
    manifest = lazy("localenv.snapshot.manifest")
    portable = lazy("localenv.snapshot.portable")
    restoring = lazy("localenv.snapshot.restore")
    saving = lazy("localenv.snapshot.save")
    shelves = lazy("localenv.snapshot.shelf")

NAME = "letters, digits, - and _"
FILE = "a file instead, for other machines and engines: .tar.gz, .tgz or .tar"
YES = "do not ask"
CONFIRM = "name of the database, where it is another project's"


def _name(c: StepContext) -> str:
    """Return the name that was typed, or that of the file to restore. Raises UsageError."""
    name, file = str(c.step.arguments["name"] or ""), _file(c)
    if not name and file and c.step.name == "snapshot.restore":
        return portable.read(file).name
    if not name:
        there = f"{inv('snapshot.list')} shows those that there are"
        hint = f"put it after the command: {inv(c.step.name, 'seeded')}; {there}"
        raise UsageError(f"{c.step.name} needs the name of a snapshot", hint=hint)
    return manifest.checked_name(name)


def _file(c: StepContext) -> Path | None:
    given = str(c.step.arguments.get("file") or "")
    return Path(given).expanduser() if given else None


def _plan_save(c: StepContext) -> list[str]:
    saving.require_possible(c.step.settings)
    c.step.require_database()
    file, database = _file(c), c.step.settings.postgres.database
    if file:
        return [*_replaced(c), f"write {database}, every table and the emulated pool to {file}"]
    return [*_replaced(c), f"clone {database}, which ends the sessions in it; save every table and the emulated pool"]


def _replaced(c: StepContext) -> list[str]:
    """Return what a save would replace. Raises UsageError for a name or a file that is not to be had."""
    name, file = _name(c), _file(c)
    if file is None:
        return _replaced_snapshot(c, name)
    portable.check_path(file)
    return [line] if (line := portable.replaced(file)) else []


def _replaced_snapshot(c: StepContext, name: str) -> list[str]:
    shelf = shelves.Shelf(c.step.settings)
    twin = shelf.twin(name)
    if twin:
        raise UsageError(f"there is a snapshot {twin!r} already: not every disk tells it from {name!r}")
    return [f"replace snapshot {name}, made {ages.ago(shelf.read(name).age_s)}"] if name in shelf.names() else []


@word_step(
    example="inv snapshot.save seeded",
    values={"name": "snapshots"},
    effect=WRITES,
    pre=[env.up],
    local_only=True,
    plan=_plan_save,
    inputs=_replaced,
    word="name",
    needed=True,
    help={"name": NAME, "file": FILE, "yes": YES, "confirm": CONFIRM},
)
def save(c: StepContext, name: str = "", file: str = "", yes: bool = False, confirm: str = "") -> str:
    """Keep the state of all stores under a name, or with --file in a file."""
    path = _file(c)
    replaced = _replaced(c)
    settings = c.step.writable_database(confirm)
    if replaced:
        c.step.require_yes(replaced, yes=yes)
    if path:
        return saving.save_file(settings, _name(c), path, c.step.say)
    return saving.save(settings, _name(c), c.step.say)


def _manifest(c: StepContext) -> Manifest:
    return restoring.read(c.step.settings, _name(c), _file(c))


def _plan_restore(c: StepContext) -> list[str]:
    c.step.require_database()
    return restoring.plan(c.step.settings, _name(c), _file(c))


@word_step(
    example="inv snapshot.restore seeded",
    values={"name": "snapshots"},
    effect=REPLACES,
    pre=[env.up],
    local_only=True,
    plan=_plan_restore,
    inputs=_manifest,
    word="name",
    needed=True,
    help={"name": f"{NAME}; not needed with --file", "file": FILE, "yes": YES, "confirm": CONFIRM},
)
def restore(c: StepContext, name: str = "", file: str = "", yes: bool = False, confirm: str = "") -> str:
    """Bring all stores back to a snapshot; a failure leaves all as they are."""
    c.step.require_yes(_plan_restore(c), yes=yes)
    settings = c.step.writable_database(confirm)
    proofs: list[Report | LocalEnvError] = []

    def prove(settings: Settings) -> None:
        try:
            proofs.append(root.examine(c, settings=settings))
        except LocalEnvError as error:
            proofs.append(error)

    c.step.say(restoring.restore(settings, _name(c), c.step.say, file=_file(c), prove=prove))
    (report,) = proofs
    if isinstance(report, LocalEnvError):
        raise report
    if report.total:
        error: LocalEnvError = root.failure(report)
        error.message = f"restored as it was saved, but {error.message}"
        raise error
    return f"{report.sentence}, as in snapshot {_name(c)}"


HEADINGS = ("NAME", "MADE", "ENGINE", "COMMIT", "ROWS", "ITEMS", "USERS", "SIZE", "")


@step(example="inv snapshot.list", effect=READS, local_only=True, name="list")
def list_snapshots(c: StepContext) -> None:
    """List this project's snapshots, and clones that lost theirs."""
    found = listing.find(c.step.settings)
    c.step.emit(
        [each.as_dict() for each in found],
        lambda: _output.table(map(_row, found), HEADINGS) or f"no snapshots; {inv('snapshot.save', 'NAME')} makes one",
    )


def _name_to_delete(c: StepContext) -> str:
    c.step.check_confirm(name := _name(c))
    return name


def _plan_delete(c: StepContext) -> list[str]:
    return listing.require_deletable(c.step.settings, _name(c))


@word_step(
    example="inv snapshot.delete seeded --confirm seeded",
    values={"name": "snapshots"},
    effect=DESTROYS,
    pre=[env.up],
    local_only=True,
    plan=_plan_delete,
    inputs=_name_to_delete,
    word="name",
    needed=True,
    help={"name": NAME, "confirm": "the name once more, since nothing brings it back"},
)
def delete(c: StepContext, name: str = "", confirm: str = "") -> str:
    """Remove a snapshot, after a question."""
    c.step.require_name(_plan_delete(c), _name(c), confirm=confirm)
    return listing.delete(c.step.writable(f"snapshot {_name(c)}"), _name(c), c.step.say)


def _row(each: Listed) -> tuple[object, ...]:
    told = each.as_dict()
    if each.manifest is None:
        return (each.name, each.age, "", "", "", "", "", "", each.state)
    commit = told["commit"][:7] + (" +changes" if told["dirty"] else "")
    numbers = (f"{told['rows']:,}", f"{told['items']:,}", f"{told['users']:,}", _size(told["bytes"]))
    return (each.name, each.age, told["engine"], commit, *numbers, each.state)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:,.1f} MB"
