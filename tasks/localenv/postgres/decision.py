"""What to do to a database, and why: decided from what is wanted and what was observed. Connects to nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ..errors import ConfirmationNeeded
from ..hints import Command, either, inv
from ..machine.ages import ago
from ..settings import guard
from ..settings.people import PEOPLE
from . import migrations
from .ledger import Observed
from .scripts import SCHEMA_FILES, SEEDS, Script, of_step

if TYPE_CHECKING:
    from ..settings import Settings

REBUILD = "inv db.setup"
EDITED = "to keep the data, undo the edit"
MIGRATE = Command("db.migrate", first=EDITED)
WRITE = Command("db.new-migration", "NAME", first=EDITED, when="and write the change there")
ACCEPT = Command("db.schema-load", "--accept", when="where the change is in the database already")


@dataclass(frozen=True)
class Decision:
    """What db.setup does, and why: build a new database, bring the existing one up to date in place, or keep it.

    `command` rebuilds a database that is kept although it differs from the files, and `ways` are the other ways out.
    """

    action: Literal["build", "migrate", "seed", "keep"]
    reason: str
    command: str = field(default="", compare=False)
    ways: str = field(default="", compare=False)

    def require_agreement(self, name: str) -> None:
        """Raise ConfirmationNeeded when a database is kept although it differs from the files."""
        if self.command:
            when = f": it builds the new one beside the old one, and {inv('undo')} goes back"
            raise ConfirmationNeeded(
                f"database {name} is {self.reason}", hint=either(Command.of(self.command, when=when), self.ways)
            )


def decide(
    observed: Observed,
    scripts: Sequence[Script],
    project_id: str,
    *,
    typed: bool,
    force: bool = False,
    refill: bool = True,
) -> Decision:
    """Decide what db.setup does. `typed`: the user asked for it by name; only then is existing content replaced.

    `refill`: what one seed filled is filled again when nothing of it is left; else only when that holds for all seeds.
    """
    if not observed.exists:
        return Decision("build", "there is no database yet")
    if observed.is_empty:
        return Decision("build", "the database is empty")
    if observed.project_id != project_id:
        owner = guard.describe_owner(observed.for_guard(""), project_id)
        return _build_or_keep(f"it {owner}", f"{REBUILD} --yes", typed=typed)
    changed, pending = differences(scripts, observed), observed.pending(scripts)
    same = unchanged(scripts, observed)
    if typed and (changed or force):
        return Decision("build", ", ".join(changed) or same or _named(pending, "is not applied", "are not applied"))
    if changed and not _awaits_all_seeds(scripts, observed):
        return _kept(scripts, observed)
    if pending:
        return Decision("migrate", _named(pending, "is pending", "are pending"))
    if _awaits_all_seeds(scripts, observed):
        return Decision("seed", "the schema is there, but no rows from the seeds")
    emptied = [script.file.name for script in of_step(scripts, "seed") if observed.has_nothing_left(script.entry)]
    if emptied and refill:
        return Decision("seed", f"nothing is left of the rows from {', '.join(emptied)}")
    return Decision("keep", same or f"unchanged{_emptied(observed)}")


def _kept(scripts: Sequence[Script], observed: Observed) -> Decision:
    """Return the decision to keep what differs from the files, and the ways to keep its data where they were edited."""
    changed, pending = differences(scripts, observed), observed.pending(scripts)
    why = ", ".join([*changed, *([_named(pending, "is pending too", "are pending too")] if pending else [])])
    kept = _build_or_keep(why, REBUILD, typed=False)
    is_edit = changed == shape_differences(scripts, observed) and not observed.lost and not observed.missing
    return replace(kept, ways=either(MIGRATE if pending else WRITE, ACCEPT)) if is_edit else kept


def require_one_way(scripts: Sequence[Script], observed: Observed) -> None:
    """Raise ConfirmationNeeded where migrations are pending and the schema before them was edited too.

    Nobody knows then whether the edit holds the same change, or one that the database has to get first.
    """
    rows = [(script, observed.find(script.entry)) for script in of_step(scripts, "schema")]
    edited = [script for script, row in rows if row is None or row.sha256 != script.entry.sha256]
    pending = observed.pending(scripts)
    if edited and pending and any(row for _, row in rows):
        raise ConfirmationNeeded(
            f"{_named(edited, 'changed since it was applied', 'changed since they were applied')}, and"
            f" {_named(pending, 'is pending', 'are pending')}",
            hint=either("undo the edit, since a change goes into the schema or into a migration", ACCEPT),
        )


def _named(scripts: Sequence[Script], one: str, more: str) -> str:
    names = [script.file.name for script in scripts]
    return f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''} {one if len(names) == 1 else more}"


def _build_or_keep(why: str, command: str, *, typed: bool) -> Decision:
    if typed:
        return Decision("build", why)
    return Decision("keep", f"kept as it is: {why} (`{command}` rebuilds it)", command)


def _awaits_all_seeds(scripts: Sequence[Script], observed: Observed) -> bool:
    """Return whether schema and migrations are applied as they are now, and no seed has left a row."""
    seeded = [row for row in observed.applied if row.step == "seed"]
    is_shaped = not shape_differences(scripts, observed)
    return bool(of_step(scripts, "seed")) and is_shaped and all(row.has_nothing_left for row in seeded)


def reason_to_skip_schema(scripts: Sequence[Script], observed: Observed, *, typed: bool) -> str | None:
    """Return why the schema is not applied, or None. Over existing content it is applied only when `typed`."""
    same = unchanged(scripts, observed)
    if same or typed or observed.is_empty:
        return same
    if observed.applied:
        schema = replace(observed, applied=tuple(row for row in observed.applied if row.step == "schema"))
        return f"kept as it is: {', '.join(differences(scripts, schema))} ({inv('db.setup')} rebuilds it)"
    return f"kept as it is: it holds {observed.summary} that this project did not make"


def reason_to_skip_migrations(scripts: Sequence[Script], observed: Observed, *, typed: bool) -> str | None:
    """Return why no migration is applied, or None when one is due; `scripts` are schema and migrations.

    Over a database that differs from the files they are applied only when `typed`.
    """
    pending = observed.pending(scripts)
    if not pending:
        return f"{len(of_step(scripts, 'migration'))} applied, none pending"
    if typed:
        return None
    changed = shape_differences(scripts, observed)
    return f"kept as it is: {', '.join(changed)}" if changed else None


def reason_to_skip_seeds(scripts: Sequence[Script], observed: Observed) -> str | None:
    """Return why no seed is applied, or None when one is due."""
    return None if any(observed.awaits(script.entry) for script in scripts) else unchanged(scripts, observed)


def due_schema(scripts: Sequence[Script], observed: Observed, *, again: bool) -> list[Script]:
    """Return the schema files to apply: those that are not applied as they are now, else all of them.

    With `again`, and where something that they created is lost, all too.
    """
    due = [] if again or observed.lost else [script for script in scripts if not observed.has(script.entry)]
    return due or list(scripts)


def due_seeds(scripts: Sequence[Script], observed: Observed, *, again: bool) -> list[Script]:
    """Return the seeds to apply: all of them with `again`, else those that are new or whose rows are all gone.

    Raises ConfirmationNeeded for one that changed since it was applied: run twice, most seeds double their rows.
    """
    if again:
        return list(scripts)
    changed = [s.file.name for s in scripts if _is_edited_seed(s, observed)]
    if changed:
        raise ConfirmationNeeded(
            f"{', '.join(changed)}: applied before, and changed since (the file, or {PEOPLE})",
            hint=either(
                Command("db.reset", when="to reset the contents to the seeds"),
                Command("db.seed", "--force", when="to run them again"),
            ),
        )
    return [script for script in scripts if observed.awaits(script.entry)]


def _is_edited_seed(script: Script, observed: Observed) -> bool:
    """Return whether a seed was applied otherwise than it is now, and has left rows."""
    found = observed.find(script.entry)
    return found is not None and not found.has_nothing_left and not observed.has(script.entry)


def differences(scripts: Sequence[Script], observed: Observed) -> list[str]:
    """List how the files differ from what was applied, but for migrations that are pending; empty when they agree."""
    return [*shape_differences(scripts, observed), *_seed_differences(scripts, observed)]


def shape_differences(scripts: Sequence[Script], observed: Observed) -> list[str]:
    """List how schema and applied migrations differ from what was applied."""
    found: list[str] = []
    for entry in (script.entry for script in of_step(scripts, "schema", "migration")):
        row = observed.find(entry)
        if row is None and entry.step == "schema":
            found.append(f"{entry.path} is not applied")
        elif row is not None and row.sha256 != entry.sha256:
            found.append(f"{entry.path} changed since it was applied")
        elif row is not None and row.inputs != entry.inputs and entry.step == "schema":
            found.append(f"{entry.path} was applied under another name or target")
    found += _gone(scripts, observed, f"{SCHEMA_FILES}/", f"{migrations.FOLDER}/")
    if observed.lost:
        found.append(f"{observed.lost} of its tables, views or routines {'is' if observed.lost == 1 else 'are'} gone")
    elif observed.missing:
        found.append(f"{', '.join(observed.missing)} {'is' if len(observed.missing) == 1 else 'are'} gone")
    return found


def _seed_differences(scripts: Sequence[Script], observed: Observed) -> list[str]:
    found: list[str] = []
    people_changed = False
    for entry in (script.entry for script in of_step(scripts, "seed")):
        row = observed.find(entry)
        if row is None:
            found.append(f"{entry.path} is not applied")
        elif row.has_nothing_left:
            continue
        elif row.sha256 != entry.sha256:
            found.append(f"{entry.path} changed since it was applied")
        elif row.inputs != entry.inputs:
            people_changed = True
    found += _gone(scripts, observed, f"{SEEDS}/")
    return [*found, *([f"{PEOPLE} changed since it was applied"] if people_changed else [])]


def _gone(scripts: Sequence[Script], observed: Observed, *folders: str) -> list[str]:
    known = {script.entry.key for script in scripts}
    gone = [row.path for row in observed.applied if row.path.startswith(folders) and row.key not in known]
    return [f"{path} no longer exists" for path in gone]


def unchanged(scripts: Sequence[Script], observed: Observed) -> str | None:
    """Return "unchanged (a1b2c3d, 3 h ago)" when every file was applied as it is now, else None."""
    entries = [script.entry for script in scripts]
    if not entries or observed.lost or observed.missing or not all(map(observed.has, entries)):
        return None
    digest = entries[0].fingerprint
    if len(entries) > 1:
        digest = hashlib.sha256("".join(entry.fingerprint for entry in entries).encode()).hexdigest()[:7]
    ages = [row.age_s for entry in entries if (row := observed.find(entry))]
    age = f", {ago(min(ages))}" if ages else ""
    return f"unchanged ({digest}{age}){_emptied(observed)}"


def _emptied(observed: Observed) -> str:
    """Return which tables that the seeds filled are empty now; and of a seed of which a part is left, what to do."""
    emptied = sorted({table for row in observed.applied for table in row.emptied})
    if not emptied:
        return ""
    parts = [row.path for row in observed.applied if row.emptied and not row.has_nothing_left]
    also = f", and {', '.join(parts)} filled others too" if parts else ""
    way = f": {inv('db.reset')} resets all, {inv('db.seed', '--force')} may double their rows" if parts else ""
    return f"; {', '.join(emptied)} {'is' if len(emptied) == 1 else 'are'} empty now{also}{way}"


def require_ours(observed: Observed, settings: Settings, *, yes: bool) -> None:
    """Raise ConfirmationNeeded for a local database with content that lacks this project's marker."""
    guard.require_ours(settings, observed.for_guard(settings.postgres.database), yes=yes)
