"""snapshot: all three stores at one point, kept under a name or for a Git branch, and brought back together."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from . import _output, env, root
from ._graph import DESTROYS, READS, REPLACES, WRITES, StepContext, step
from ._lazy import lazy
from ._words import word_step
from .localenv.errors import LocalEnvError, UsageError
from .localenv.hints import inv

if TYPE_CHECKING:
    from .localenv.checkout import githook
    from .localenv.environment.check import Report
    from .localenv.machine import ages
    from .localenv.settings import Settings
    from .localenv.snapshot import branches, exporting, listing, manifest, portable, worktrees
    from .localenv.snapshot import restore as restoring
    from .localenv.snapshot import save as saving
    from .localenv.snapshot import shelf as shelves
    from .localenv.snapshot.listing import Listed
    from .localenv.snapshot.manifest import Manifest
else:
    ages = lazy("localenv.machine.ages")
    branches = lazy("localenv.snapshot.branches")
    exporting = lazy("localenv.snapshot.exporting")
    githook = lazy("localenv.checkout.githook")
    listing = lazy("localenv.snapshot.listing")
    manifest = lazy("localenv.snapshot.manifest")
    portable = lazy("localenv.snapshot.portable")
    restoring = lazy("localenv.snapshot.restore")
    saving = lazy("localenv.snapshot.save")
    shelves = lazy("localenv.snapshot.shelf")
    worktrees = lazy("localenv.snapshot.worktrees")

NAME = "letters, digits, - and _"
FILE = "a file instead, for other machines and engines: .tar.gz, .tgz or .tar"
YES = "do not ask"
CONFIRM = "name of the database, where it is another project's"
BRANCH = "as name that of the branch that is checked out"


def _name(c: StepContext) -> str:
    """Return the name that was typed, or that of the file to restore. Raises UsageError."""
    name, file = str(c.step.arguments["name"] or ""), _file(c)
    if c.step.arguments.get("branch"):
        if name:
            raise UsageError("a name and --branch, which is one", hint="leave out one of them")
        return branches.snapshot_name(c.step.settings)
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
    if not c.step.arguments["from_snapshot"]:
        saving.require_possible(c.step.settings)
    c.step.require_database()
    file, database = _file(c), c.step.settings.postgres.database
    if file and c.step.arguments["from_snapshot"]:
        return [*_replaced(c), f"write snapshot {_name(c)} to {file}"]
    if file:
        return [*_replaced(c), f"write {database}, every table and the emulated pool to {file}"]
    return [*_replaced(c), f"clone {database}, which ends the sessions in it; save every table and the emulated pool"]


def _replaced(c: StepContext) -> list[str]:
    """Return what a save would replace. Raises UsageError for a name or a file that is not to be had."""
    name, file = _name(c), _file(c)
    if c.step.arguments["from_snapshot"]:
        if file is None:
            raise UsageError("--from-snapshot writes a file, and none is named", hint="name one with --file")
        shelves.Shelf(c.step.settings).read(name)
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
    help={
        "name": NAME,
        "file": FILE,
        "branch": BRANCH,
        "from_snapshot": "write to --file the snapshot of that name, not what is there now",
        "yes": YES,
        "confirm": CONFIRM,
    },
)
def save(
    c: StepContext,
    name: str = "",
    file: str = "",
    branch: bool = False,
    from_snapshot: bool = False,
    yes: bool = False,
    confirm: str = "",
) -> str:
    """Keep the state of all stores under a name, or with --file in a file."""
    path = _file(c)
    replaced = _replaced(c)
    settings = c.step.writable_database(confirm)
    if replaced:
        c.step.require_yes(replaced, yes=yes)
    if path and from_snapshot:
        return exporting.export(settings, _name(c), path, c.step.say)
    if path:
        return saving.save_file(settings, _name(c), path, c.step.say)
    return saving.save(settings, _name(c), c.step.say)


def _manifest(c: StepContext) -> Manifest:
    if place := _worktree(c):
        return worktrees.read(c.step.settings, place, _name(c))
    return restoring.read(c.step.settings, _name(c), _file(c))


def _worktree(c: StepContext) -> str:
    """Return the other worktree that was named. Raises UsageError where a file is named too."""
    given = str(c.step.arguments["worktree"] or "")
    if given and _file(c):
        raise UsageError("--worktree and --file: a snapshot is in one of them", hint="leave out one of them")
    return given


def _plan_restore(c: StepContext) -> list[str]:
    c.step.require_database()
    place = _worktree(c)
    if not place:
        return restoring.plan(c.step.settings, _name(c), _file(c))
    fetch = f"have the inv of {place} write snapshot {_name(c)} to a file"
    return [fetch, *restoring.plan(c.step.settings, _name(c), None, fetched=_manifest(c))]


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
    help={
        "name": f"{NAME}; not needed with --file",
        "file": FILE,
        "branch": BRANCH,
        "worktree": "path or branch of another worktree, which has the snapshot",
        "yes": YES,
        "confirm": CONFIRM,
    },
)
def restore(
    c: StepContext,
    name: str = "",
    file: str = "",
    branch: bool = False,
    worktree: str = "",
    yes: bool = False,
    confirm: str = "",
) -> str:
    """Bring all stores back to a snapshot; a failure leaves all as they are."""
    c.step.require_yes(_plan_restore(c), yes=yes)
    settings = c.step.writable_database(confirm)
    proofs: list[Report | LocalEnvError] = []

    def prove(settings: Settings) -> None:
        try:
            proofs.append(root.examine(c, settings=settings))
        except LocalEnvError as error:
            proofs.append(error)

    there = worktrees.fetched(settings, worktree, _name(c), c.step.say) if worktree else nullcontext(_file(c))
    with there as path:
        c.step.say(restoring.restore(settings, _name(c), c.step.say, file=path, prove=prove))
    (report,) = proofs
    if isinstance(report, LocalEnvError):
        raise report
    if report.total:
        error: LocalEnvError = root.failure(report)
        error.message = f"restored as it was saved, but {error.message}"
        raise error
    return f"{report.sentence}, as in snapshot {_name(c)}"


def _branch(c: StepContext) -> str:
    if c.step.arguments["if_running"]:
        return ""
    return branches.require_branch(c.step.settings, str(c.step.arguments["branch"] or ""))


def _check_switch(c: StepContext) -> str | None:
    return (branches.why_not(c.step.settings) or None) if c.step.arguments["if_running"] else None


def _plan_switch(c: StepContext) -> list[str]:
    c.step.require_database()
    return branches.plan(c.step.settings, str(c.step.arguments["branch"] or ""))


@word_step(
    example="inv snapshot.switch",
    values={"branch": "branches"},
    effect=REPLACES,
    shows=True,
    pre=[env.up],
    alone="if_running",
    local_only=True,
    check=_check_switch,
    plan=_plan_switch,
    inputs=_branch,
    word="branch",
    help={
        "branch": "whose data (default: the branch that is checked out)",
        "if_running": "do nothing where the services do not run, or no branch is checked out",
        "confirm": CONFIRM,
    },
)
def switch(c: StepContext, branch: str = "", if_running: bool = False, confirm: str = "") -> str:
    """Load the data of a Git branch, and keep those that are there."""
    return branches.switch(c.step.writable_database(confirm), branch, c.step.say)


def _plan_hook(c: StepContext) -> list[str]:
    found = githook.plan(c.step.settings, remove=bool(c.step.arguments["remove"]))
    if found.before == found.after:
        return [f"leave {found.path} as it is"]
    return [f"write {found.path}" if found.after else f"remove {found.path}"]


@step(
    example="inv snapshot.hook",
    effect=READS,
    local_only=True,
    plan=_plan_hook,
    inputs=_plan_hook,
    help={"remove": "take it out again"},
)
def hook(c: StepContext, remove: bool = False) -> str:
    """Have `git checkout` switch to the data of the branch."""
    found = githook.plan(c.step.settings, remove=remove)
    if found.before == found.after:
        return f"{found.path} {'has no' if remove else 'has the'} hook{'' if remove else ' already'}"
    githook.write(found)
    if remove:
        return f"taken out of {found.path}"
    return f"{found.path}: a checkout switches the data, where the services run"


HEADINGS = ("NAME", "MADE", "ENGINE", "COMMIT", "ROWS", "ITEMS", "USERS", "SIZE", "")


@step(example="inv snapshot.list", effect=READS, local_only=True, name="list")
def list_snapshots(c: StepContext) -> None:
    """List snapshots, data of branches, and what other worktrees have."""
    found = listing.find(c.step.settings)
    c.step.emit(
        [each.as_dict() for each in found],
        lambda: _output.table(map(_row, found), HEADINGS) or f"no snapshots; {inv('snapshot.save', 'NAME')} makes one",
    )


def _name_to_delete(c: StepContext) -> str:
    c.step.check_confirm(name := _deletable(c))
    return name


def _deletable(c: StepContext) -> str:
    """Return the name of a snapshot or a branch with data."""
    name = str(c.step.arguments["name"] or "")
    return name if name and listing.is_branch(c.step.settings, name) else _name(c)


def _plan_delete(c: StepContext) -> list[str]:
    return listing.require_deletable(c.step.settings, _deletable(c))


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
    help={"name": f"{NAME}; or a branch", "confirm": "the name once more, since nothing brings it back"},
)
def delete(c: StepContext, name: str = "", confirm: str = "") -> str:
    """Remove a snapshot, or the data of a branch, after a question."""
    c.step.require_name(_plan_delete(c), _deletable(c), confirm=confirm)
    return listing.delete(c.step.writable(f"snapshot {_deletable(c)}"), _deletable(c), c.step.say)


def _row(each: Listed) -> tuple[object, ...]:
    told = each.as_dict()
    if each.manifest is None and each.entry is None:
        return (each.name, each.age, "", "", "", "", "", "", each.note)
    commit = told["commit"][:7] + (" +changes" if told["dirty"] else "")
    numbers = (
        "" if each.entry else f"{told['rows']:,}",
        f"{told['items']:,}",
        f"{told['users']:,}",
        _size(told["bytes"]),
    )
    return (each.name, each.age, told["engine"], commit, *numbers, each.note)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:,.1f} MB"
