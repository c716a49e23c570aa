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
from .ledger import Observed
from .scripts import SCHEMA_FILES, SEEDS, Script

if TYPE_CHECKING:
    from ..settings import Settings


@dataclass(frozen=True)
class Decision:
    """What db.setup does, and why: build a new database, seed the existing one, or keep it.

    `command` rebuilds a database that is kept although it differs from the files.
    """

    action: Literal["build", "seed", "keep"]
    reason: str
    command: str = field(default="", compare=False)

    def require_agreement(self, name: str) -> None:
        """Raise ConfirmationNeeded when a database is kept although it differs from the files."""
        if self.command:
            raise ConfirmationNeeded(
                f"database {name} is {self.reason}",
                hint=Command.of(
                    self.command, when=f": it builds the new one beside the old one, and {inv('db.undo')} goes back"
                ),
            )


def decide(
    observed: Observed, scripts: Sequence[Script], project_id: str, *, typed: bool, force: bool = False
) -> Decision:
    """Decide what db.setup does. `typed`: the user asked for it by name; only then is existing content replaced."""
    if not observed.exists:
        return Decision("build", "there is no database yet")
    if observed.is_empty:
        return Decision("build", "the database is empty")
    if observed.project_id != project_id:
        owner = guard.describe_owner(observed.for_guard(""), project_id)
        return _build_or_keep(f"it {owner}", "inv db.setup --yes", typed=typed)
    changed = differences(scripts, observed)
    if _awaits_all_seeds(scripts, observed) and not (typed and changed):
        return Decision("seed", "the schema is there, but no rows from the seeds")
    same = unchanged(scripts, observed)
    if same and not changed:
        return Decision("build" if typed and force else "keep", same)
    return _build_or_keep(", ".join(changed), "inv db.setup", typed=typed)


def _build_or_keep(why: str, command: str, *, typed: bool) -> Decision:
    if typed:
        return Decision("build", why)
    return Decision("keep", f"kept as it is: {why} (`{command}` rebuilds it)", command)


def _awaits_all_seeds(scripts: Sequence[Script], observed: Observed) -> bool:
    """Return whether the schema is applied as it is now, and no seed has left a row."""
    schema = [script.entry for script in scripts if script.entry.step == "schema"]
    seeded = [row for row in observed.applied if row.step == "seed"]
    is_shaped = all(map(observed.has, schema)) and not observed.lost
    return len(scripts) > len(schema) and is_shaped and all(row.has_nothing_left for row in seeded)


def reason_to_skip_schema(scripts: Sequence[Script], observed: Observed, *, typed: bool) -> str | None:
    """Return why the schema is not applied, or None. Over existing content it is applied only when `typed`."""
    same = unchanged(scripts, observed)
    if same or typed or observed.is_empty:
        return same
    if observed.applied:
        schema = replace(observed, applied=tuple(row for row in observed.applied if row.step == "schema"))
        return f"kept as it is: {', '.join(differences(scripts, schema))} ({inv('db.setup')} rebuilds it)"
    return f"kept as it is: it holds {observed.summary} that this project did not make"


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
    changed = [s.file.name for s in scripts if observed.find(s.entry) and not observed.has(s.entry)]
    if changed:
        raise ConfirmationNeeded(
            f"{', '.join(changed)}: applied before, and changed since (the file, or {PEOPLE})",
            hint=either(
                Command("db.reset", when="to reset the contents to the seeds"),
                Command("db.seed", "--force", when="to run them again"),
            ),
        )
    return [script for script in scripts if observed.awaits(script.entry)]


def differences(scripts: Sequence[Script], observed: Observed) -> list[str]:
    """List how the files differ from what was applied; empty when they are the same."""
    found: list[str] = []
    people_changed = False
    entries = [script.entry for script in scripts]
    for entry in entries:
        row = observed.find(entry)
        if row is None:
            found.append(f"{entry.path} is not applied")
        elif row.sha256 != entry.sha256:
            found.append(f"{entry.path} changed since it was applied")
        elif row.inputs != entry.inputs and entry.step == "schema":
            found.append(f"{entry.path} was applied under another name or target")
        elif row.inputs != entry.inputs:
            people_changed = True
    known = {(entry.step, entry.path) for entry in entries}
    for row in observed.applied:
        if row.path.startswith((f"{SEEDS}/", f"{SCHEMA_FILES}/")) and (row.step, row.path) not in known:
            found.append(f"{row.path} no longer exists")
    if people_changed:
        found.append(f"{PEOPLE} changed since it was applied")
    if observed.lost:
        found.append(f"{observed.lost} of its tables, views or routines {'is' if observed.lost == 1 else 'are'} gone")
    return found


def unchanged(scripts: Sequence[Script], observed: Observed) -> str | None:
    """Return "unchanged (a1b2c3d, 3 h ago)" when every file was applied as it is now, else None."""
    entries = [script.entry for script in scripts]
    if not entries or observed.lost or not all(map(observed.has, entries)):
        return None
    digest = entries[0].fingerprint
    if len(entries) > 1:
        digest = hashlib.sha256("".join(entry.fingerprint for entry in entries).encode()).hexdigest()[:7]
    age_s = min(row.age_s for entry in entries if (row := observed.find(entry)))
    emptied = sorted({table for row in observed.applied for table in row.emptied})
    but = f"; {', '.join(emptied)} {'is' if len(emptied) == 1 else 'are'} empty now" if emptied else ""
    return f"unchanged ({digest}, {ago(age_s)}){but}"


def require_ours(observed: Observed, settings: Settings, *, yes: bool) -> None:
    """Raise ConfirmationNeeded for a local database with content that lacks this project's marker."""
    guard.require_ours(settings, observed.for_guard(settings.postgres.database), yes=yes)
