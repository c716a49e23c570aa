"""undo: the state before the last command that replaced or removed something, and a list of those that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _output, env
from ._graph import READS, REPLACES, StepContext
from ._lazy import lazy
from ._words import word_step
from .localenv.errors import UsageError
from .localenv.hints import inv
from .localenv.settings.variables import checked, number

if TYPE_CHECKING:
    from .localenv.snapshot import undoing
    from .localenv.snapshot.entries import Found
    from .localenv.snapshot.entry import Entry
else:
    undoing = lazy("localenv.snapshot.undoing")


def _id(c: StepContext) -> str:
    return str(c.step.arguments["id"] or "")


def _check(c: StepContext) -> None:
    given = c.step.arguments
    if given["keep"]:
        checked("--keep", given["keep"], number)
    if given["id"]:
        checked("--id", given["id"], undoing.entry_id)
    if sum(map(bool, (given["keep"], given["list"], given["id"]))) > 1:
        raise UsageError("undo brings back one state, or lists them with --list, or removes some with --keep")


def _plan(c: StepContext) -> list[str]:
    settings = c.step.settings
    if c.step.arguments["list"]:
        return []
    if c.step.arguments["keep"]:
        return undoing.plan_forget(settings, int(c.step.arguments["keep"]))
    lines, changed = undoing.plan(settings, _id(c))
    return [*lines, *(f"lose what changed since: {change}" for change in changed)]


@word_step(
    example="inv undo --list",
    values={"id": "undo"},
    effect=REPLACES,
    effects={"list": READS},
    pre=[env.up],
    local_only=True,
    plan=_plan,
    inputs=_check,
    word="id",
    help={
        "id": "which one, as --list names them (default: the last)",
        "list": "list what there is to go back to",
        "keep": "remove what goes back further than this many commands",
        "yes": "do not ask where something has changed since",
    },
)
def undo(
    c: StepContext,
    id: str = "",
    list: bool = False,
    keep: str = "",
    yes: bool = False,
) -> str | None:
    """Bring back what the last command replaced or removed; a second undo undoes that."""
    if list:
        found = undoing.find(c.step.settings)
        c.step.emit([_as_dict(c, each) for each in found], lambda: _listed(c, found))
        return None
    if keep:
        removed = undoing.forget(c.step.writable("what undo brings back"), int(keep))
        for line in removed:
            c.step.say(line)
        c.step.note(removed=len(removed))
        return f"removed {len(removed)}; the newest {keep} are kept"
    changed = undoing.plan(c.step.settings, _id(c))[1]
    if changed:
        c.step.require_yes((f"lose what changed since: {change}" for change in changed), yes=yes)
    return undoing.undo(c.step.writable("the stores"), _id(c), c.step.say)


HEADINGS = ("ID", "WHEN", "COMMAND", "SIZE", "BRINGS BACK", "")


def _listed(c: StepContext, found: list[Found]) -> list[str]:
    rows = (_row(each.entry, undoing.state(c.step.settings, each)) for each in found)
    return _output.table(rows, HEADINGS) or [f"nothing to undo: {inv('undo')} goes back once something was replaced"]


def _row(entry: Entry, state: str) -> tuple[str, ...]:
    size = f"{entry.size_bytes / 1_000_000:,.1f} MB"
    return entry.id, entry.age, entry.command or "of an earlier version", size, ", ".join(entry.contents), state


def _as_dict(c: StepContext, found: Found) -> dict[str, Any]:
    entry = found.entry
    return {
        "id": entry.id,
        "created": entry.created,
        "command": entry.command,
        "engine": entry.engine,
        "bytes": entry.size_bytes,
        "bringsBack": entry.contents,
        "state": undoing.state(c.step.settings, found) or "ok",
    }
